"""Several workers in several processes on one database: order and once-only, whatever is killed or frozen when.

The ledger: every instance gets messages whose texts are 1, 2, 3 …; in the end its user's feed must tell exactly
these, in this order, with ids without a gap, and nothing may be left over. The workers are real processes of
`ops.py worker`, on the suite's own PostgreSQL; what they have is recorded by the web role's own entrance.

A dead worker's lanes rest until their lease is over. Most kills here let the lease end at once (rows are aged, as
everywhere in the suite), so that the next worker meets the dead one's last statements; the last ones do not.
"""

import json
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from bootstrap.system import System
from tests.factories import body_of, make_instance, text_message
from tests.waiting import until
from tests.web_process import WebProcess
from tests.worker_process import Toll, WorkerProcess
from webhooks.inbox import Delivery, Receipt

WORKERS, ROUNDS, FREEZE_EVERY = 4, 12, 3  # and at the end all workers but one die at once: 15 kills in all
INSTANCES, SLICE = 96, 10  # more instances than a worker takes at once; so many messages for each in each round
AGAIN_EVERY = 10  # so many messages come twice more: the same delivery, and the same message in another one
RESCUE_S = 90  # a guard: P6 promises 30
AWAY_S = 2.5  # longer than anybody waits for a lock
RESTING_S = 90  # guards: a lease of 20 s may be in the way, and a slow machine
DEEP, SAMPLES, BETWEEN, FEW = 100_000, 10, 2_000, 5_000
COPIES, MESSAGES = 50, 1_000
SECRET = "a-shared-secret-of-the-workers-test-0123456789"

Hire = Callable[..., WorkerProcess]
Rows = Callable[..., list[dict[str, object]]]

HOLDERS = """
SELECT DISTINCT CAST(split_part(owner, ':', 2) AS int) AS pid FROM lanes
WHERE lease_until > now() AND EXISTS (SELECT FROM inbox WHERE inbox.lane = lanes.lane)
"""
# who froze in a transaction has its lanes locked: they cannot be aged, and nobody else can have them either
AGE = text("""
UPDATE lanes SET lease_until = now() - interval '1 second' WHERE lane IN (
    SELECT lane FROM lanes WHERE CAST(split_part(owner, ':', 2) AS int) = :pid AND lease_until > now()
    FOR UPDATE SKIP LOCKED
)
""")
OF_THE_DEAD = """
SELECT lane FROM lanes WHERE CAST(split_part(owner, ':', 2) AS int) = ANY(:pids)
AND EXISTS (SELECT FROM inbox WHERE inbox.lane = lanes.lane)
"""
LEFT = "SELECT (SELECT count(*) FROM inbox) AS due, (SELECT count(*) FROM set_aside) AS aside"
FINISHED = "SELECT coalesce(sum(finished), 0)::int AS n FROM lanes"
TOLD = "SELECT user_id, id, type, data->>'text' AS text FROM feed ORDER BY user_id, id"
CAME = "SELECT received_at AS at FROM webhook_events WHERE instance = :name ORDER BY id"
TOLD_AT = "SELECT id, at FROM feed WHERE user_id = :user ORDER BY id"
KEPT = """
SELECT user_id, content FROM messages JOIN whatsapp_instances ON whatsapp_instances.id = instance_id
ORDER BY user_id, arrival
"""
FILL = text("""
WITH batches AS MATERIALIZED (
    SELECT k, nextval('inbox_batches') * 1000 AS base FROM generate_series(0, :most / 500 - 1) AS k
), bodies AS (
    SELECT base + n AS id, k * 500 + n AS number FROM batches, generate_series(1, 500) AS n
), logged AS (
    INSERT INTO webhook_events (id, key, instance, event, body)
    SELECT id, sha256(convert_to(:name || number, 'UTF8')), :name, 'messages.upsert',
           convert_to(replace(:body, '{number}', CAST(number AS text)), 'UTF8')
    FROM bodies RETURNING id
)
INSERT INTO inbox (id, lane) SELECT id, :name FROM logged
""")


@pytest.fixture
def hire(engine: Engine, database_url: str, place: Path) -> Iterator[Hire]:
    """Start a worker process; all of them are gone before the rows are."""
    with ExitStack() as stack:

        def start(url: str = database_url) -> WorkerProcess:
            return stack.enter_context(WorkerProcess(url, place / "workers"))

        yield start


@pytest.fixture
def entrance(system: System) -> System:
    """The web role's inbox, which wakes the workers as the web role does."""
    system.start()
    return system


@dataclass
class Ledger:
    """What was recorded for whom, and whether it is what took effect."""

    system: System
    rows: Rows
    numbers: dict[tuple[UUID, str], int] = field(default_factory=dict)

    def open(self, *, organization_id: str | None = None) -> tuple[UUID, str]:
        with self.system.transaction() as connection:
            account = make_instance(connection, organization_id=organization_id)
        self.numbers[account] = 0
        return account

    def record(self, account: tuple[UUID, str], count: int) -> None:
        """The account's next messages, one after the other; now and then one comes again."""
        for _ in range(count):
            self.numbers[account] += 1
            number = self.numbers[account]
            document = numbered(account[1], number)
            fresh = self._deliver(account[1], document)
            assert fresh.status == "stored"
            if number % AGAIN_EVERY == 0:
                assert self._deliver(account[1], document) == Receipt(id=fresh.id, status="duplicate")
                later = document | {"date_time": "2026-11-22T03:16:14.000Z"}
                assert self._deliver(account[1], later).status == "stored"

    def _deliver(self, name: str, document: dict[str, object]) -> Receipt:
        return self.system.inbox.record(Delivery(instance=name, event="messages.upsert", body=body_of(document)))

    @property
    def deliveries(self) -> int:
        return sum(number + number // AGAIN_EVERY for number in self.numbers.values())

    def finished(self) -> int:
        [row] = self.rows(FINISHED)
        assert isinstance(row["n"], int)
        return row["n"]

    def wait_for(self, finished: int, guard_s: float) -> None:
        until(self.finished, lambda done: done >= finished, guard_s)

    def wait(self, guard_s: float) -> None:
        until(lambda: self.rows(LEFT), lambda left: left == [{"due": 0, "aside": 0}], guard_s)

    def check(self, also: str) -> None:
        """Everything once and in order. `also` is said where it is not so."""
        assert self.rows(LEFT) == [{"due": 0, "aside": 0}], also
        told: dict[object, list[tuple[object, ...]]] = {user: [] for user, _ in self.numbers}
        kept: dict[object, list[object]] = {user: [] for user, _ in self.numbers}
        for row in self.rows(TOLD):
            told[row["user_id"]].append((row["id"], row["type"], row["text"]))
        for row in self.rows(KEPT):
            kept[row["user_id"]].append(row["content"])
        for (user, name), last in self.numbers.items():
            expected = [(number, "message", str(number)) for number in range(1, last + 1)]
            assert told[user] == expected, f"the feed of {name}; {also}"
            assert kept[user] == [str(number) for number in range(1, last + 1)], f"the messages of {name}; {also}"
        assert self.finished() == self.deliveries, also


@pytest.fixture
def ledger(entrance: System, rows: Rows) -> Ledger:
    return Ledger(entrance, rows)


def numbered(instance: str, number: int) -> dict[str, object]:
    """The instance's message whose text is this number, from one of seven people."""
    sender = f"55119999900{number % 7:02}@s.whatsapp.net"
    return text_message(instance, str(number), sender=sender, message_id=f"{instance}-{number}")


# ---- kill -9 and freezing, at random ----------------------------------------------------------------------------


@dataclass
class Crew:
    """Some workers, one of which is killed or frozen at a time. Every choice is `dice`'s."""

    hire: Hire
    ledger: Ledger
    engine: Engine
    dice: random.Random
    workers: list[WorkerProcess] = field(default_factory=list)
    gone: list[WorkerProcess] = field(default_factory=list)
    hits: int = 0

    def fill(self) -> None:
        while len(self.workers) < WORKERS:
            self.workers.append(self.hire())

    def victim(self) -> WorkerProcess:
        """Who is in the middle of something, if anybody is."""
        assert all(worker.alive for worker in self.workers), self.logs()
        holders = {row["pid"] for row in self.ledger.rows(HOLDERS)}
        busy = [worker for worker in self.workers if worker.pid in holders]
        self.hits += bool(busy)
        return self.dice.choice(busy or self.workers)

    def kill_one(self) -> None:
        victim = self.victim()
        self.bury(victim)
        self.age(victim)
        self.fill()

    def freeze_one(self) -> None:
        """While it is away, the others take what it had; at the latest after a while, for where it froze in a
        transaction that all of them wait for, nothing is done before it is back."""
        victim = self.victim()
        victim.freeze()
        self.age(victim)
        with suppress(AssertionError):
            self.after(SLICE * INSTANCES // 10, AWAY_S)
        victim.thaw()

    def bury(self, worker: WorkerProcess) -> None:
        worker.kill()
        self.workers.remove(worker)
        self.gone.append(worker)

    def age(self, worker: WorkerProcess) -> None:
        """The lease of its lanes is over."""
        with self.engine.begin() as connection:
            connection.execute(AGE, {"pid": worker.pid})

    def after(self, more: int, guard_s: float) -> None:
        """When so many more deliveries are done."""
        self.ledger.wait_for(min(self.ledger.finished() + more, self.ledger.deliveries), guard_s)

    def logs(self) -> str:
        return "\n".join(worker.log() for worker in [*self.gone, *self.workers])


@pytest.mark.timeout(600)  # some 40 s, and up to 20 more where leases have to end; much more on a slow machine
def test_order_and_once_only_under_random_kills_and_freezes(hire, ledger, engine, rows):
    seed = random.randrange(2**32)
    crew = Crew(hire, ledger, engine, random.Random(seed))
    for number in range(INSTANCES):  # a third of them share their contacts: their workers meet in these rows
        ledger.open(organization_id="org" if number % 3 == 0 else None)
    crew.fill()
    with ThreadPoolExecutor(16) as senders:
        for round_ in range(ROUNDS):
            sending = [senders.submit(ledger.record, account, SLICE) for account in ledger.numbers]
            crew.after(crew.dice.randrange(SLICE * INSTANCES // 2), RESTING_S)
            if round_ % FREEZE_EVERY == 0:
                crew.freeze_one()
            crew.kill_one()
            for sent in sending:
                sent.result(timeout=RESTING_S)
        sending = [senders.submit(ledger.record, account, SLICE) for account in ledger.numbers]
        crew.victim()
        last = crew.workers[-1]
        for worker in crew.workers[:-1]:
            crew.bury(worker)
        dead = [worker.pid for worker in crew.gone]
        until(lambda: rows(OF_THE_DEAD, pids=dead), lambda left: not left, RESCUE_S)
        for sent in sending:
            sent.result(timeout=RESTING_S)
    ledger.wait(RESTING_S)
    about = f"seed {seed}, {len(dead)} killed, {crew.hits} times somebody at work\n{crew.logs()}"
    ledger.check(about)
    assert len(dead) == ROUNDS + WORKERS - 1
    assert crew.hits > ROUNDS / 2, about
    assert last.end() == 0, about
    assert "Traceback" not in crew.logs(), about


# ---- a worker that was away --------------------------------------------------------------------------------------

# the statement a worker froze before, and what it may say of it afterwards: on a slow machine the database may end its
# transaction before the first write too, after 20 s
BEFORE_ITS_FIRST_WRITE = (b"SET\n    finished = finished + done.n", {"lease_lost", "worker_waits"})
BEFORE_ITS_LAST_WRITE = (b"INSERT INTO feed_heads", {"worker_waits"})


@pytest.mark.parametrize("moment", [BEFORE_ITS_FIRST_WRITE, BEFORE_ITS_LAST_WRITE], ids=["first write", "last write"])
def test_a_frozen_workers_lease_is_taken_and_its_late_write_refused(hire, ledger, rows, engine, database_url, moment):
    """Before its first write it holds nothing but the lease, and its epoch is what refuses it. Before the last one
    its lanes are locked, and the database itself ends its transaction: nothing is aged there."""
    words, says = moment
    a, b = ledger.open(), ledger.open()
    ledger.record(a, 25)
    with Toll(database_url, words) as toll:
        frozen = hire(toll.url)
        assert toll.reached.wait(RESTING_S), frozen.log()
        frozen.freeze()
        assert told_to(rows, a) == 0
        healthy = hire()
        ledger.record(b, 25)
        until(lambda: told_to(rows, b) == 25, guard_s=RESTING_S)
        if moment == BEFORE_ITS_FIRST_WRITE:
            with engine.begin() as connection:
                connection.execute(AGE, {"pid": frozen.pid})
        ledger.wait(RESCUE_S)  # P6
        ledger.check("while it was frozen")
        toll.passed.set()
        frozen.thaw()
        until(lambda: frozen.said().keys() & says, guard_s=RESTING_S)
        ledger.check("after its late write")
        assert healthy.end() == 0
        ledger.record(a, 25)  # and it is a worker again
        ledger.record(b, 25)
        ledger.wait(RESTING_S)
        ledger.check("with the thawed one alone")
        [(said, times)] = frozen.said().items()
        assert (said in says, times) == (True, 1)
        assert frozen.end() == 0


def told_to(rows: Rows, account: tuple[UUID, str]) -> int:
    return len(rows("SELECT FROM feed WHERE user_id = :user", user=account[0]))


# ---- a deep instance ---------------------------------------------------------------------------------------------


# what the planner knows: within a minute it is told the truth; before that it may believe that nothing is queued
TOLD_THE_TRUTH = "ANALYZE inbox, webhook_events"
TOLD_OLD_NEWS = """
UPDATE pg_class SET reltuples = 0, relpages = greatest(relpages, 10)
WHERE relname IN ('inbox', 'pk_inbox', 'ix_inbox_lane', 'webhook_events', 'pk_webhook_events')
"""


@pytest.mark.parametrize("statistics", [TOLD_THE_TRUTH, TOLD_OLD_NEWS], ids=["fresh statistics", "old statistics"])
def test_of_100_000_queued_of_one_instance_few_go_before_anothers_next(hire, ledger, rows, engine, statistics):
    a, b = ledger.open(), ledger.open()
    body = json.dumps(numbered(a[1], 0))
    body = body.replace(f"{a[1]}-0", f"{a[1]}-{{number}}").replace('"conversation": "0"', '"conversation": "{number}"')
    with engine.begin() as connection:
        connection.execute(FILL, {"most": DEEP, "name": a[1], "body": body})
        connection.execute(text(statistics))
    assert rows(LEFT) == [{"due": DEEP, "aside": 0}]
    worker = hire()
    for _ in range(SAMPLES):
        ledger.wait_for(ledger.finished() + BETWEEN, RESTING_S)
        ledger.record(b, 1)
        until(lambda: told_to(rows, b) == ledger.numbers[b], guard_s=RESTING_S)
    [left] = rows(LEFT)
    assert left["due"]  # it was deep all the time
    assert worker.end() == 0
    came, told, deep = times(rows(CAME, name=b[1])), times(rows(TOLD_AT, user=b[0])), times(rows(TOLD_AT, user=a[0]))
    # all by the database's clock; the tenth came once more, as another delivery
    went_before = [sum(began < at <= ended for at in deep) for began, ended in zip(came[:SAMPLES], told, strict=True)]
    assert max(went_before) <= FEW, went_before
    done = [row["text"] for row in rows(TOLD) if row["user_id"] == a[0]]
    assert done == [str(number) for number in range(1, len(done) + 1)]
    assert len(done) >= SAMPLES * BETWEEN


def times(found: list[dict[str, object]]) -> list[datetime]:
    return [row["at"] for row in found if isinstance(row["at"], datetime)]


# ---- many copies -------------------------------------------------------------------------------------------------


def test_50_parallel_copies_of_1_000_messages_are_1_000_rows_and_1_000_effects(hire, ledger, rows, database_url, place):
    """Each message is posted on all connections before any answer is read; they lead to two web processes."""
    accounts = [ledger.open() for _ in range(10)]
    worker = hire()
    variables = {"DATABASE_URL": database_url, "ZELADOR_DATA_DIR": str(place / "copies"), "WEBHOOK_SECRET": SECRET}
    answers: Counter[str] = Counter()
    with ExitStack() as stack:
        webs = [stack.enter_context(WebProcess(**variables)) for _ in range(2)]
        lines = [stack.enter_context(Line(webs[copy % 2].port)) for copy in range(COPIES)]
        for number in range(MESSAGES):
            account = accounts[number % len(accounts)]
            ledger.numbers[account] += 1
            posted = post_everywhere(lines, body_of(numbered(account[1], ledger.numbers[account])))
            assert len({receipt["id"] for receipt in posted}) == 1
            answers.update(str(receipt["status"]) for receipt in posted)
    assert answers == {"stored": MESSAGES, "duplicate": MESSAGES * (COPIES - 1)}
    assert rows("SELECT count(*) AS n FROM webhook_events") == [{"n": MESSAGES}]
    until(lambda: rows("SELECT FROM inbox"), lambda due: not due, RESTING_S)
    for query in ("SELECT count(*) AS n FROM messages", "SELECT count(*) AS n FROM feed", FINISHED):
        assert rows(query) == [{"n": MESSAGES}]
    for user, _ in accounts:
        told = [row["text"] for row in rows(TOLD) if row["user_id"] == user]
        assert told == [str(number) for number in range(1, MESSAGES // len(accounts) + 1)]
    assert worker.end() == 0


class Line:
    """A gateway's connection, kept alive."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=RESTING_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._socket.close()

    def post(self, body: bytes) -> None:
        head = (
            f"POST /api/webhook/whatsapp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"X-Webhook-Token: {SECRET}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)

    def answer(self) -> dict[str, object]:
        assert self._answers.readline().startswith(b"HTTP/1.1 200 ")
        size = 0
        while (line := self._answers.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        receipt: dict[str, object] = json.loads(self._answers.read(size))
        return receipt


def post_everywhere(lines: Sequence[Line], body: bytes) -> list[dict[str, object]]:
    for line in lines:
        line.post(body)
    return [line.answer() for line in lines]
