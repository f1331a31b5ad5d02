"""The worker: events take effect in order, each once; one that fails stops nobody else; a lost lease changes nothing.

Most tests use a toy owner on the real tables: a delivery `{"event":"said","data":"text"}` becomes the feed row
`{"type":"said","data":{"text":…}}` of the instance's user, in the order in which the events took effect.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from core.db import Transaction, transactions
from core.errors import Malformed, NotNow, StorageUnavailable, Unavailable
from core.events import DomainEvent, Effects
from core.selection import Selection
from tests.factories import body_of, connection_update, make_instance, text_message
from webhooks import lanes
from webhooks.inbox import Delivery, Inbox
from webhooks.lanes import Held, LostLease, Stored
from webhooks.owners import Owners
from webhooks.replay import requeue
from webhooks.retry import TRIES
from webhooks.stats import prune, prune_aside, queue_stats
from webhooks.worker import IMPATIENT, Worker

SECRET = "texto-secreto-de-uma-pessoa"


@dataclass(frozen=True, kw_only=True)
class Said:
    user_id: UUID
    text: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    events: Sequence[Said] = ()
    issues: Sequence[str] = ()


@dataclass
class Diary:
    """An owner that writes what was said into the feed, and fails at what it is told to fail at."""

    poison: dict[str, Exception] = field(default_factory=dict)
    broken_sql: dict[str, str] = field(default_factory=dict)
    unrecordable: set[str] = field(default_factory=set)
    folded: list[list[str]] = field(default_factory=list)
    patience: list[str] = field(default_factory=list)

    __hash__ = object.__hash__

    def keys(self, incoming: Sequence[Said]) -> set[UUID]:
        return {said.user_id for said in incoming}

    def load(self, connection: Connection, keys: set[UUID]) -> dict[UUID, str]:
        self.patience.append(connection.execute(text("SHOW lock_timeout")).scalar_one())
        rows = connection.execute(text("SELECT id, email FROM profiles WHERE id = ANY(:ids)"), {"ids": list(keys)})
        return {row.id: row.email for row in rows}

    def fold(self, state: Mapping[UUID, str], incoming: Sequence[Said]) -> list[Said]:
        self.folded.append([said.text for said in incoming])
        for said in incoming:
            assert said.user_id in state
            if said.text in self.poison:
                raise self.poison[said.text]
        return list(incoming)

    def apply(self, connection: Connection, changes: list[Said]) -> Effects:
        for said in changes:
            if said.text in self.broken_sql:
                connection.execute(text(self.broken_sql[said.text]))
        odd = {said.text: "\0" for said in changes if said.text in self.unrecordable}
        return Effects(
            events=[
                DomainEvent(user_id=said.user_id, type="said", data={"text": odd.get(said.text, said.text)})
                for said in changes
            ]
        )


def resolve(connection: Connection, names: Collection[str]) -> dict[str, UUID]:
    query = text("SELECT instance_name, user_id FROM whatsapp_instances WHERE instance_name = ANY(:names)")
    return {row.instance_name: row.user_id for row in connection.execute(query, {"names": list(names)})}


def translate(stored: Stored, user_id: UUID) -> Reading:
    document = json.loads(stored.body)
    if document["data"] == "nonsense":
        raise Malformed(SECRET, code="NONSENSE")
    return Reading(events=[Said(user_id=user_id, text=document["data"])] if document["event"] == "said" else [])


@pytest.fixture
def transaction(engine: Engine) -> Transaction:
    return transactions(engine)


@pytest.fixture
def diary() -> Diary:
    return Diary()


MakeWorker = Callable[..., Worker]


@pytest.fixture
def make_worker(transaction: Transaction, diary: Diary) -> MakeWorker:
    owners = Owners(resolve=resolve, translate=translate, by_kind={Said: diary})

    def make(name: str = "first", through: Transaction = transaction, told: list[str] | None = None) -> Worker:
        return Worker(through, owners, (told if told is not None else []).extend, name=name)

    return make


@pytest.fixture
def worker(make_worker: MakeWorker) -> Worker:
    return make_worker()


@pytest.fixture
def inbox(engine: Engine) -> Iterator[Inbox]:
    made = Inbox(engine, lambda: None)
    yield made
    made.stop()


Say = Callable[..., list[int]]


@pytest.fixture
def users() -> dict[str, UUID]:
    return {}


@pytest.fixture
def say(inbox: Inbox, transaction: Transaction, users: dict[str, UUID]) -> Say:
    """Put what an instance says into the inbox, in order; the ids. Instances are made as they are spoken of."""

    def put(name: str, *texts: str, kind: str = "said", known: bool = True) -> list[int]:
        if known and name not in users:
            with transaction() as connection:
                users[name], _ = make_instance(connection, name)
        bodies = [json.dumps({"event": kind, "instance": name, "data": said}).encode() for said in texts]
        return [inbox.record(Delivery(instance=name, event=kind, body=body)).id for body in bodies]

    return put


@pytest.fixture
def heard(rows, users):
    """The feed of an instance's user: texts in order; the ids must be 1, 2, 3 …"""

    def look(name: str) -> list[str]:
        found = rows("SELECT id, data FROM feed WHERE user_id = :u ORDER BY id", u=users[name])
        assert [row["id"] for row in found] == list(range(1, len(found) + 1))
        return [row["data"]["text"] for row in found]

    return look


@pytest.fixture
def stats(transaction):
    def look():
        with transaction() as connection:
            return queue_stats(connection)

    return look


@pytest.fixture
def do(transaction):
    """Run a statement: this is how tests age rows."""

    def run(statement: str) -> int:
        with transaction() as connection:
            changed: int = connection.execute(text(statement)).rowcount
            return changed

    return run


AGE_LEASES = "UPDATE lanes SET lease_until = lease_until - interval '1 minute' WHERE lease_until > '-infinity'"
AGE_RETRIES = "UPDATE lanes SET retry_at = retry_at - interval '2 hours'"
STRETCH_RETRIES = "UPDATE lanes SET retry_at = retry_at + interval '1 hour'"


# ---- order, once -----------------------------------------------------------------------------------------------


def test_the_events_of_an_instance_take_effect_in_order(worker, say, heard, rows):
    texts = {name: [f"{name}{number}" for number in range(9)] for name in ("a", "b", "c")}
    for number in range(9):
        for name in texts:
            say(name, texts[name][number])
    assert worker.work() == 27
    assert {name: heard(name) for name in texts} == texts
    assert worker.work() == 0
    assert rows("SELECT FROM inbox") == rows("SELECT FROM set_aside") == []


def test_each_batch_is_one_fold_of_many_lanes(worker, say, diary):
    say("a", "a1", "a2")
    say("b", "b1")
    worker.work()
    assert diary.folded == [["a1", "a2", "b1"]]


def test_feed_rows_go_on_without_gaps_over_batches_and_the_users_are_told_after_each(make_worker, say, heard, users):
    told: list[str] = []
    worker = make_worker(told=told)
    for number in range(5):
        say("a", f"a{number}", f"a{number}!")
        worker.work()
    say("b", "b")
    worker.work()
    assert heard("a") == [word for number in range(5) for word in (f"a{number}", f"a{number}!")]
    assert told == [str(users["a"])] * 5 + [str(users["b"])]


def test_nothing_to_do_is_nothing_done(worker, rows):
    assert worker.work() == 0
    assert rows("SELECT FROM lanes") == []


def test_an_event_nobody_owns_is_finished_and_stays_in_the_log(worker, say, rows, diary):
    [number] = say("a", "x", kind="born.tomorrow")
    assert worker.work() == 1
    assert rows("SELECT FROM inbox") == rows("SELECT FROM set_aside") == []
    assert rows("SELECT id FROM webhook_events") == [{"id": number}]
    assert diary.folded == []


# ---- set aside -------------------------------------------------------------------------------------------------


def aside(rows) -> dict[int, tuple[str, str, str]]:
    found = rows("SELECT event_id, lane, state, reason FROM set_aside")
    return {row["event_id"]: (row["lane"], row["state"], row["reason"]) for row in found}


def test_a_poison_event_is_parked_and_stops_nobody(worker, say, heard, rows, diary):
    diary.poison[SECRET] = ValueError(SECRET)
    _, bad, _ = say("a", "a1", SECRET, "a2")
    say("b", "b1", "b2")
    assert worker.work() == 5
    assert (heard("a"), heard("b")) == (["a1", "a2"], ["b1", "b2"])
    lane, state, reason = aside(rows).pop(bad)
    assert (lane, state) == ("a", "parked")
    assert reason.startswith("ValueError at test_worker.py:")
    assert SECRET not in reason
    assert rows("SELECT FROM inbox") == []
    say("a", "a3")
    assert worker.work() == 1
    assert heard("a") == ["a1", "a2", "a3"]
    assert len(aside(rows)) == 1


def test_a_statement_that_fails_parks_its_event_and_undoes_nothing_else(worker, say, heard, rows, diary):
    diary.broken_sql[SECRET] = f"INSERT INTO profiles (id, email) VALUES (NULL, '{SECRET}')"
    _, bad, _ = say("a", "a1", SECRET, "a2")
    assert worker.work() == 3
    assert heard("a") == ["a1", "a2"]
    assert aside(rows)[bad][1] == "parked"
    assert SECRET not in aside(rows)[bad][2]


def test_an_event_whose_telling_cannot_be_written_is_parked_too(worker, say, heard, rows, diary):
    diary.unrecordable.add("a2")
    _, bad, _ = say("a", "a1", "a2", "a3")
    say("b", "b1")
    assert worker.work() == 4
    assert (heard("a"), heard("b")) == (["a1", "a3"], ["b1"])
    assert aside(rows)[bad][1] == "parked"


def test_all_of_a_batch_may_be_poison(worker, say, rows, diary, stats):
    for number in range(20):
        diary.poison[f"bad{number}"] = RuntimeError()
        say(f"lane{number % 3}", f"bad{number}")
    assert worker.work() == 20
    assert len(aside(rows)) == stats().parked == stats().processed_total == 20
    assert rows("SELECT FROM feed") == rows("SELECT FROM inbox") == []


def test_an_instance_nobody_knows_is_quarantined(worker, say, heard, rows):
    ghosts = say("ghost", "boo", "boo!", known=False)
    say("a", "a1")
    assert worker.work() == 3
    assert heard("a") == ["a1"]
    assert aside(rows) == dict.fromkeys(ghosts, ("ghost", "quarantined", "unknown_instance"))


def test_a_delivery_that_cannot_be_read_is_quarantined_with_its_code(worker, say, heard, rows):
    _, bad, _ = say("a", "a1", "nonsense", "a2")
    worker.work()
    assert heard("a") == ["a1", "a2"]
    assert aside(rows) == {bad: ("a", "quarantined", "nonsense")}


def test_the_counter_is_right_however_events_end(worker, say, stats, diary):
    diary.poison |= {"poison": ValueError(), "later": NotNow("x")}
    say("a", "a1", "poison", "a2", "nonsense")
    say("b", "b1", "later", "b2", "b3")
    say("ghost", "boo", known=False)
    worker.work()
    found = stats()
    assert (found.processed_total, found.pending, found.parked, found.quarantined) == (6, 3, 1, 2)
    assert found.processing == 0
    assert found.oldest_age_s is not None


# ---- again later -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [NotNow("x"), Unavailable("x")])
def test_an_error_that_may_pass_lets_the_lane_rest_and_keeps_its_order(worker, say, heard, rows, diary, do, error):
    diary.poison["a2"] = error
    _, held_up, _ = say("a", "a1", "a2", "a3")
    say("b", "b1", "b2")
    assert worker.work() == 5
    assert (heard("a"), heard("b")) == (["a1"], ["b1", "b2"])
    assert rows("SELECT id, attempts FROM inbox ORDER BY id LIMIT 1") == [{"id": held_up, "attempts": 1}]
    do(STRETCH_RETRIES)
    say("a", "a4")
    assert worker.work() == 0
    del diary.poison["a2"]
    do(AGE_RETRIES)
    assert worker.work() == 3
    assert heard("a") == ["a1", "a2", "a3", "a4"]
    assert aside(rows) == {}


def test_the_lane_rests_longer_each_time_and_the_event_is_parked_after_5_tries(worker, say, heard, rows, diary, do):
    diary.poison["a1"] = NotNow(SECRET)
    bad, _ = say("a", "a1", "a2")
    rests = []
    for tried in range(1, TRIES):
        [before] = rows("SELECT clock_timestamp() AS at")
        assert worker.work() == 2
        assert rows("SELECT attempts FROM inbox ORDER BY id LIMIT 1") == [{"attempts": tried}]
        [after] = rows("SELECT retry_at, clock_timestamp() AS at FROM lanes")
        rests.append((after["retry_at"] - after["at"], after["retry_at"] - before["at"]))
        do(STRETCH_RETRIES)
        assert worker.work() == 0
        do(AGE_RETRIES)
    for (least, most), seconds in zip(rests, (1, 2, 4, 8), strict=True):
        assert least <= timedelta(seconds=seconds) <= most
    assert worker.work() == 2
    assert heard("a") == ["a2"]
    assert aside(rows)[bad] == ("a", "parked", aside(rows)[bad][2])
    assert aside(rows)[bad][2].startswith("NotNow NOT_NOW at ")
    assert rows("SELECT FROM inbox") == []


LOCK = "SELECT FROM profiles WHERE email = 'b@x' FOR UPDATE"


def test_a_lock_that_somebody_keeps_holds_up_one_lane_only(worker, say, heard, diary, do, engine):
    diary.broken_sql["b1"] = LOCK
    for name in ("a", "b", "c"):
        say(name, f"{name}1", f"{name}2")
    with engine.connect() as keeper:
        keeper.execute(text(LOCK))
        assert worker.work() == 6
        assert (heard("a"), heard("b"), heard("c")) == (["a1", "a2"], [], ["c1", "c2"])
        keeper.rollback()
    do(AGE_RETRIES)
    assert worker.work() == 2
    assert heard("b") == ["b1", "b2"]
    assert "2s" not in diary.patience


def test_those_that_wait_for_a_lock_are_tried_again_apart_from_the_others(worker, say, heard, diary, do, engine):
    diary.broken_sql |= {"b1": LOCK, "d1": LOCK}
    for name in ("a", "b", "c", "d"):
        say(name, f"{name}1")
    with engine.connect() as keeper:
        keeper.execute(text(LOCK))
        assert worker.work() == 4
        assert diary.patience == ["200ms"] * 3 + ["20ms"] * 2  # all, a, b; then c and d, which may wait for the same
        diary.folded.clear()
        do(AGE_RETRIES)
        for name in ("a", "b", "c"):
            say(name, f"{name}2")
        assert worker.work() == 5
        assert diary.folded == [["a2", "c2"], ["b1", "b2", "d1"], ["b1"], ["d1"]]
        keeper.rollback()
    do(AGE_RETRIES)
    assert worker.work() == 3
    assert [heard(name) for name in ("a", "b", "c", "d")] == [["a1", "a2"], ["b1", "b2"], ["c1", "c2"], ["d1"]]


KILL_ME = "SELECT pg_terminate_backend(pg_backend_pid())"


def test_a_database_that_goes_away_is_nobodys_fault(worker, say, heard, diary, rows, do):
    diary.broken_sql["a2"] = KILL_ME
    say("a", "a1", "a2", "a3")
    with pytest.raises(StorageUnavailable):
        worker.work()
    assert heard("a") == []
    assert rows("SELECT DISTINCT attempts FROM inbox") == [{"attempts": 0}]
    diary.broken_sql.clear()
    assert worker.work() == 3
    assert heard("a") == ["a1", "a2", "a3"]


def test_a_database_that_goes_away_while_poison_is_sought_is_nobodys_fault_either(worker, say, heard, diary, rows):
    diary.poison["a1"] = ValueError()
    diary.broken_sql["a2"] = KILL_ME
    say("a", "a1", "a2", "a3")
    with pytest.raises(StorageUnavailable):
        worker.work()
    assert heard("a") == []
    assert aside(rows) == {}
    diary.broken_sql.clear()
    assert worker.work() == 3
    assert heard("a") == ["a2", "a3"]


# ---- leases ----------------------------------------------------------------------------------------------------


def interrupted(transaction: Transaction, at: int, by: Callable[[], object]) -> Transaction:
    """Transactions of which the one numbered `at` begins only after `by` was called."""
    count = iter(range(1, 100))

    @contextmanager
    def begin() -> Iterator[Connection]:
        if next(count) == at:
            by()
        with transaction() as connection:
            yield connection

    def make() -> AbstractContextManager[Connection]:
        return begin()

    return make


def test_a_leased_lane_is_left_alone_until_its_lease_is_over(transaction, make_worker, say, heard, do):
    say("a", "a1", "a2")
    with transaction() as connection:
        lanes.claim(connection, "dead", after="", lanes=10, events=10)
    say("b", "b1")
    second = make_worker("second")
    assert second.work() == 1
    assert (heard("a"), heard("b")) == ([], ["b1"])
    do(AGE_LEASES)
    assert second.work() == 2
    assert heard("a") == ["a1", "a2"]


def test_a_dead_workers_lane_is_taken_over_within_30_seconds():
    assert timedelta(seconds=5) <= lanes.LEASE <= timedelta(seconds=30)


@pytest.mark.parametrize("poison", [False, True], ids=["in the batch", "while poison is sought"])
def test_who_lost_a_lease_changes_nothing(transaction, make_worker, say, heard, stats, do, diary, poison):
    if poison:
        diary.poison["a1"] = ValueError()
    say("a", "a1", "a2")
    say("b", "b1")
    second = make_worker("second")
    done = []

    def take_over() -> None:
        done.append(second.work())
        do(AGE_LEASES)
        done.append(second.work())

    told: list[str] = []
    first = make_worker("first", through=interrupted(transaction, 3 if poison else 2, take_over), told=told)
    first.work()
    assert done == [0, 3]
    assert told == []
    assert (heard("a"), heard("b")) == (["a2"] if poison else ["a1", "a2"], ["b1"])
    assert (stats().processed_total, stats().parked) == (3, int(poison))
    assert first.work() == 0


def test_a_late_writer_is_told_that_its_lease_is_lost(transaction, say, do):
    say("a", "a1")
    say("b", "b1")
    held: list[Held] = []
    with transaction() as connection:
        held += lanes.claim(connection, "first", after="", lanes=10, events=10)
    do(AGE_LEASES)
    do("DELETE FROM inbox WHERE lane = 'b'")
    with transaction() as connection:
        assert [lane.lane for lane in lanes.claim(connection, "second", after="", lanes=10, events=10)] == ["a"]
    with pytest.raises(LostLease), transaction() as connection:
        lanes.settle(connection, "first", held)


def test_a_worker_that_froze_in_its_transaction_stops_nobody_else(transaction, make_worker, say, heard, do):
    say("a", "a1")
    with transaction() as connection:
        held = lanes.claim(connection, "frozen", after="", lanes=10, events=10)
    do(AGE_LEASES)
    say("b", "b1")
    with transaction() as connection:
        lanes.settle(connection, "frozen", held)  # and here it stands, with its lane's row locked
        assert make_worker("healthy").work() == 1
        connection.rollback()
    assert (heard("a"), heard("b")) == ([], ["b1"])


def test_a_lane_gives_its_first_events_up_to_a_weight_and_always_one(transaction, say):
    [heavy, *_] = say("a", "x" * 9_000_000, "a2", "a3")
    say("b", "y" * 9_000_000, "z" * 9_000_000)
    with transaction() as connection:
        a, b = lanes.claim(connection, "first", after="", lanes=10, events=10)
    assert ([event.id for event in a.heads], a.emptied) == ([heavy], False)
    assert (len(b.heads), b.emptied) == (1, False)


HEAVY = """
UPDATE webhook_events SET body = convert_to('{"event":"heavy","data":"' || repeat('x', 30000000) || '"}', 'UTF8')
WHERE instance < 'f'
"""


def test_a_batch_has_a_weight_however_many_lanes_it_is_of(transaction, worker, say, do, rows):
    for name in ("a", "b", "c", "d", "e", "f"):
        say(name, "x", kind="heavy", known=True)
    do(HEAVY)
    with transaction() as connection:
        held = lanes.claim(connection, "other", after="", lanes=10, events=10)
        assert [lane.lane for lane in held] == ["a", "b"]
        left = connection.execute(text("SELECT lane FROM lanes WHERE unsettled = 0 AND lease_until < now()"))
        assert sorted(left.scalars()) == ["c", "d", "e", "f"]
        connection.rollback()
    assert [worker.work() for _ in range(3)] == [2, 2, 2]
    assert rows("SELECT FROM inbox") == rows("SELECT FROM set_aside") == []


def test_an_event_heavier_than_a_batch_is_one_of_its_own(transaction, say, do):
    say("a", "x", "y")
    say("b", "x")
    do("UPDATE webhook_events SET body = convert_to(repeat('x', 70000000), 'UTF8') WHERE instance = 'a'")
    with transaction() as connection:
        [lane] = lanes.claim(connection, "first", after="", lanes=10, events=10)
    assert (lane.lane, len(lane.heads), lane.emptied) == ("a", 1, False)


def test_a_row_of_which_the_log_knows_nothing_is_thrown_away(worker, say, do, rows, heard):
    do("INSERT INTO inbox (id, lane) VALUES (1, 'ghost'), (2, 'a')")
    do("INSERT INTO inbox (id, lane) SELECT n, 'b' FROM generate_series(100, 2000) AS n")
    say("a", "a1")
    say("b", "b1")
    assert [worker.work() for _ in range(4)] == [1, 1, 0, 0]
    assert (heard("a"), heard("b")) == (["a1"], ["b1"])
    assert rows("SELECT FROM inbox") == []


def test_the_same_worker_may_claim_again_what_it_holds(transaction, say):
    say("a", "a1")
    epochs = []
    for _ in range(2):
        with transaction() as connection:
            [lane] = lanes.claim(connection, "first", after="", lanes=10, events=10)
            epochs.append(lane.epoch)
    assert epochs == [1, 2]


# ---- fairness --------------------------------------------------------------------------------------------------


def test_a_deep_lane_does_not_keep_another_one_waiting(worker, say, heard, transaction, do):
    say("deep", "d0")
    do("""
        WITH copies AS (
            INSERT INTO webhook_events (id, key, instance, event, body)
            SELECT -n, sha256(convert_to(n::text, 'UTF8')), instance, event, body
            FROM webhook_events, generate_series(1, 10000) AS n RETURNING id, instance
        ) INSERT INTO inbox (id, lane) SELECT id, instance FROM copies
    """)
    say("other", "o1", "o2")
    worked = worker.work()
    assert 2 < worked < 1000
    assert heard("other") == ["o1", "o2"]


def test_no_lane_of_many_is_forgotten(worker, say, heard, rows):
    names = [f"user_{number}-{'aB'[number % 2]}" for number in range(150)]
    for name in names:
        say(name, "x")
    for _ in range(6):
        worker.work()
    assert rows("SELECT FROM inbox") == []
    assert all(heard(name) == ["x"] for name in names)


# ---- what is thrown away ---------------------------------------------------------------------------------------


def test_prune_throws_away_old_finished_deliveries_and_nothing_else(worker, say, rows, diary, transaction, do):
    diary.poison |= {"poison": ValueError(), "later": NotNow("x")}
    [old] = say("a", "old")
    [parked] = say("b", "poison")
    [unfinished] = say("c", "later")
    worker.work()
    do("UPDATE webhook_events SET received_at = now() - interval '8 days'")
    [fresh] = say("d", "fresh")
    worker.work()
    with transaction() as connection:
        assert prune(connection, timedelta(days=7)) == 1
        assert prune(connection, timedelta(days=7)) == 0
    kept = {row["id"] for row in rows("SELECT id FROM webhook_events")}
    assert kept == {parked, unfinished, fresh}
    assert old not in kept
    do("UPDATE set_aside SET at = now() - interval '31 days'")
    with transaction() as connection:
        assert prune_aside(connection, timedelta(days=30)) == 0  # what was parked waits for a person
    do("UPDATE set_aside SET state = 'quarantined'")
    with transaction() as connection:
        assert prune_aside(connection, timedelta(days=30)) == 1
        assert prune(connection, timedelta(days=7)) == 1
    assert {row["id"] for row in rows("SELECT id FROM webhook_events")} == {unfinished, fresh}


@pytest.fixture
def old(worker: Worker, say: Say, do: Callable[[str], int]) -> int:
    [number] = say("a", "old")
    worker.work()
    do("UPDATE webhook_events SET received_at = now() - interval '8 days'")
    return number


def test_what_is_being_thrown_away_is_not_replayed(old, transaction, rows):
    with transaction() as pruning, transaction() as replaying:
        assert prune(pruning, timedelta(days=7)) == 1
        replaying.execute(IMPATIENT)
        with pytest.raises(OperationalError):
            requeue(replaying, Selection(ids=(old,)))
        replaying.rollback()
    assert rows("SELECT FROM inbox") == rows("SELECT FROM webhook_events") == []


def test_what_is_being_replayed_is_not_thrown_away(old, transaction, worker, heard):
    with transaction() as replaying:
        assert requeue(replaying, Selection(ids=(old,))).ids == [old]
        with transaction() as pruning:
            assert prune(pruning, timedelta(days=7)) == 0
    assert worker.work() == 1
    assert heard("a") == ["old", "old"]


# ---- the product's own owners ----------------------------------------------------------------------------------


def test_real_deliveries_reach_instance_message_and_feed(system, rows):
    with system.transaction() as connection:
        user, name = make_instance(connection)
    documents = [
        connection_update(name, "connecting", "2026-11-22T03:16:11.000Z"),
        connection_update(name, "open", "2026-11-22T03:16:13.000Z", wuid="5511988887777@s.whatsapp.net"),
        text_message(name, "Olá, João 👋", message_id="M1"),
        text_message(name, "Olá de novo", message_id="M2"),
    ]
    for document in documents:
        system.inbox.record(Delivery(instance=name, event=document["event"], body=body_of(document)))
    assert system.worker.work() == 4
    assert rows("SELECT status, phone_number FROM whatsapp_instances") == [
        {"status": "connected", "phone_number": "5511988887777"}
    ]
    assert [row["content"] for row in rows("SELECT content FROM messages ORDER BY whatsapp_message_id")] == [
        "Olá, João 👋",
        "Olá de novo",
    ]
    feed = rows("SELECT id, type FROM feed WHERE user_id = :u ORDER BY id", u=user)
    assert [row["id"] for row in feed] == list(range(1, len(feed) + 1))
    assert [row["type"] for row in feed if row["type"] == "message"] == ["message", "message"]


def test_a_large_body_is_judged_by_the_worker(system, rows):
    with system.transaction() as connection:
        _, name = make_instance(connection)
    padding = "x" * (1024 * 1024)
    bodies: dict[str, dict[str, object] | None] = {
        "bad_event": {"instance": name, "event": 7, "data": padding},
        "no_event": {"instance": name, "data": padding},
        "instance_mismatch": {"instance": "another", "event": "call", "data": padding},
        "invalid_json": None,
    }
    for document in bodies.values():
        body = body_of(document) if document else b'{"data":"' + padding.encode()
        system.inbox.record(Delivery(instance=name, event=None, body=body))
    by_suffix = {"instance": name, "data": {"state": "open"}, "padding": padding}
    system.inbox.record(Delivery(instance=name, event="connection.update", body=body_of(by_suffix)))
    assert system.worker.work() == 5
    reasons = rows("SELECT reason, state FROM set_aside ORDER BY event_id")
    assert reasons == [{"reason": reason, "state": "quarantined"} for reason in bodies]
    assert rows("SELECT status FROM whatsapp_instances") == [{"status": "connected"}]
