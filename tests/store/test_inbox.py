"""The entrance of the inbox: kept before it is answered, once, whatever else happens."""

import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import Engine, event

from core.db import make_engine
from core.errors import NotNow
from tests.waiting import until
from webhooks.inbox import RECORD, Delivery, Inbox, Receipt

Record = Callable[[Delivery], Receipt]


class Bell:
    def __init__(self) -> None:
        self.rung = 0

    def __call__(self) -> None:
        self.rung += 1


@pytest.fixture
def bell():
    return Bell()


@pytest.fixture
def inbox(engine: Engine, bell: Bell) -> Iterator[Inbox]:
    made = Inbox(engine, bell, wait_s=60)
    yield made
    made.stop()


def delivery(number: int = 1, instance: str | None = "user_1", problem: str | None = None) -> Delivery:
    body = json.dumps({"event": "call", "instance": instance, "data": number}).encode()
    return Delivery(instance=instance, event="call", body=body, problem=problem)


def together(record: Record, deliveries: Sequence[Delivery], threads: int = 50) -> list[Receipt]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(record, deliveries))


def batches(ids: Sequence[int]) -> int:
    return len({number // 1000 for number in ids})


def test_a_delivery_is_kept_when_its_receipt_comes_and_put_into_its_lane(inbox, rows, bell):
    one = delivery()
    receipt = inbox.record(one)
    assert receipt.status == "stored"
    logged = rows("SELECT id, key, instance, event, body FROM webhook_events")
    assert [row | {"key": bytes(row["key"]), "body": bytes(row["body"])} for row in logged] == [
        {"id": receipt.id, "key": one.key, "instance": "user_1", "event": "call", "body": one.body}
    ]
    assert rows("SELECT id, lane, attempts FROM inbox") == [{"id": receipt.id, "lane": "user_1", "attempts": 0}]
    until(lambda: bell.rung)


def test_the_same_delivery_from_50_threads_is_one_row_and_50_receipts(inbox, rows):
    receipts = together(inbox.record, [delivery()] * 50)
    assert Counter(receipt.status for receipt in receipts) == {"stored": 1, "duplicate": 49}
    assert [{"id": number} for number in {receipt.id for receipt in receipts}] == rows("SELECT id FROM webhook_events")
    assert len(rows("SELECT FROM inbox")) == 1
    assert inbox.record(delivery()) == Receipt(id=receipts[0].id, status="duplicate")
    assert len(rows("SELECT FROM inbox")) == 1


def test_the_same_bytes_for_two_instances_are_two_deliveries(inbox):
    body = b'{"event":"call"}'
    receipts = [inbox.record(Delivery(instance=name, event="call", body=body)) for name in ("a", "b")]
    assert [receipt.status for receipt in receipts] == ["stored", "stored"]


def test_a_delivery_of_no_instance_is_kept_in_the_log_alone(inbox, rows):
    receipt = inbox.record(Delivery(instance=None, event="error", body=b"{}"))
    assert receipt.status == "stored"
    assert rows("SELECT id, event FROM webhook_events") == [{"id": receipt.id, "event": "error"}]
    assert rows("SELECT FROM inbox") == rows("SELECT FROM set_aside") == []


def test_the_border_between_instance_and_body_counts():
    assert Delivery(instance="ab", event=None, body=b"c").key != Delivery(instance="a", event=None, body=b"bc").key


def test_what_went_to_the_wrong_address_does_not_swallow_what_did_not(inbox, rows):
    assert inbox.record(delivery(1, problem="instance_mismatch")).status == "quarantined"
    assert inbox.record(delivery(1)).status == "stored"
    assert inbox.record(delivery(1, problem="instance_mismatch")).status == "duplicate"
    assert len(rows("SELECT 1 FROM inbox")) == 1


def test_a_batch_is_closed_by_its_weight_too(inbox):
    heavy = [Delivery(instance="user_1", event="x", body=b"%d" % n + b"x" * 3_000_000) for n in range(6)]
    receipts = together(inbox.record, heavy, threads=6)
    assert {receipt.status for receipt in receipts} == {"stored"}
    assert batches([receipt.id for receipt in receipts]) >= 3


@pytest.fixture
def held(session_engine: Engine) -> Iterator[Callable[[], None]]:
    """Nobody can write deliveries until this is called. (A lock in the database would be waited for 2 s.)"""
    let_go = threading.Event()

    def wait(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        assert statement != RECORD or let_go.wait(60)

    event.listen(session_engine, "before_cursor_execute", wait)
    yield let_go.set
    let_go.set()
    event.remove(session_engine, "before_cursor_execute", wait)


def test_many_deliveries_share_commits(inbox: Inbox, rows, held):
    with ThreadPoolExecutor(50) as pool:
        receipts = [pool.submit(inbox.record, delivery(number)) for number in range(50)]
        until(lambda: inbox.waiting, lambda joined: joined == 50)
        held()
        ids = [receipt.result(timeout=60).id for receipt in receipts]
    assert len(set(ids)) == len(rows("SELECT FROM inbox")) == 50
    assert batches(ids) <= 3


def test_ids_rise_in_the_order_of_arrival(inbox):
    ids = [inbox.record(delivery(number)).id for number in range(40)]
    assert ids == sorted(ids)


def test_ids_rise_in_the_order_of_arrival_within_a_shared_commit_too(engine, bell, held):
    inbox = Inbox(engine, bell, wait_s=60)
    arrived: list[int] = []
    receipts: dict[int, Receipt] = {}

    def record(number: int) -> None:
        receipts[number] = inbox.record(delivery(number))

    threads = []
    for number in random.Random(7).sample(range(1000), 60):
        thread = threading.Thread(target=record, args=(number,), daemon=True)
        thread.start()
        arrived.append(number)
        threads.append(thread)
        until(lambda: inbox.waiting, lambda now: now == len(arrived))
    held()
    for thread in threads:
        thread.join(timeout=60)
    inbox.stop()
    ids = [receipts[number].id for number in arrived]
    assert ids == sorted(ids)
    assert batches(ids) <= 3


@pytest.mark.parametrize(
    "odd",
    [
        Delivery(instance="user\0name", event="call", body=b"{}"),
        Delivery(instance="user_1", event="call\0", body=b"{}"),
        Delivery(instance="user_1", event="\ud800", body=b"{}"),
    ],
)
def test_a_row_that_the_database_refuses_does_not_sink_its_batch(inbox: Inbox, rows, held, odd):
    good = [delivery(number) for number in range(20)]

    def record(one: Delivery) -> str:
        try:
            return inbox.record(one).status
        except NotNow:
            return "not now"

    with ThreadPoolExecutor(21) as pool:
        outcomes = [pool.submit(record, one) for one in [*good[:10], odd, *good[10:]]]
        until(lambda: inbox.waiting, lambda joined: joined == 21)
        held()
        said = [outcome.result(timeout=60) for outcome in outcomes]
    assert said == ["stored"] * 10 + ["not now"] + ["stored"] * 10
    assert len(rows("SELECT FROM webhook_events")) == len(rows("SELECT FROM inbox")) == 20
    assert inbox.record(delivery(99)).status == "stored"


def test_a_quarantined_delivery_is_set_aside_and_never_enters_a_lane(inbox, rows, bell):
    receipts = [inbox.record(delivery(1, problem="bad_event")), inbox.record(delivery(2, None, "no_instance"))]
    assert [receipt.status for receipt in receipts] == ["quarantined"] * 2
    assert rows("SELECT event_id, lane, state, reason FROM set_aside ORDER BY event_id") == [
        {"event_id": receipts[0].id, "lane": "user_1", "state": "quarantined", "reason": "bad_event"},
        {"event_id": receipts[1].id, "lane": None, "state": "quarantined", "reason": "no_instance"},
    ]
    assert rows("SELECT FROM inbox") == []
    assert inbox.record(delivery(1, problem="bad_event")).status == "duplicate"
    assert len(rows("SELECT FROM set_aside")) == 2


def test_two_processes_with_the_same_deliveries_in_opposite_orders(engine, database_url, rows):
    deliveries = [delivery(number, f"user_{number % 7}") for number in range(200)]
    engines = [make_engine(database_url, statement_timeout_ms=60_000) for _ in range(2)]
    for one_engine in engines:
        event.listen(one_engine, "connect", wait_long_for_locks)
    inboxes = [Inbox(one_engine, Bell(), wait_s=60) for one_engine in engines]
    orders = [deliveries, deliveries[::-1]]
    receipts: list[list[Receipt]] = [[], []]

    def post(which: int) -> None:
        receipts[which] = together(inboxes[which].record, orders[which], threads=40)

    threads = [threading.Thread(target=post, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for one in inboxes:
        one.stop()
    for one_engine in engines:
        one_engine.dispose()
    assert Counter(receipt.status for receipt in receipts[0] + receipts[1]) == {"stored": 200, "duplicate": 200}
    assert [receipt.id for receipt in receipts[0]] == [receipt.id for receipt in receipts[1]][::-1]
    assert rows("SELECT count(*) AS n FROM inbox") == rows("SELECT count(*) AS n FROM webhook_events") == [{"n": 200}]


def wait_long_for_locks(connection: psycopg.Connection, _: object) -> None:
    """The other process may hold them for more than the usual 2 s; of a deadlock one hears after one."""
    connection.execute("SET lock_timeout = '60s'")
    connection.commit()


# ---- our own trouble -------------------------------------------------------------------------------------------


def refused(inbox: Inbox) -> None:
    with pytest.raises(NotNow):
        inbox.record(delivery())


def test_a_database_that_is_away_is_a_not_now_at_once(free_port):
    engine = make_engine(f"postgresql://x@127.0.0.1:{free_port}/x", statement_timeout_ms=1000)
    inbox = Inbox(engine, Bell(), wait_s=3600)
    refused(inbox)
    refused(inbox)
    inbox.stop()
    engine.dispose()


def test_a_database_that_does_not_write_is_a_not_now_within_the_wait(engine, held, rows):
    inbox = Inbox(engine, Bell(), wait_s=0.1)
    refused(inbox)
    assert inbox.waiting == 1
    held()
    until(lambda: rows("SELECT FROM inbox"))
    inbox.stop()


def test_a_database_that_says_nothing_is_a_not_now_too():
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        engine = make_engine(f"postgresql://x@127.0.0.1:{frozen.getsockname()[1]}/x", statement_timeout_ms=1000)
        inbox = Inbox(engine, Bell(), wait_s=0.1)
        refused(inbox)
    until(lambda: inbox.waiting == 0)
    inbox.stop()
    engine.dispose()


def test_an_inbox_that_is_full_says_not_now_at_once_and_takes_up_again(engine, held, rows):
    inbox = Inbox(engine, Bell(), wait_s=60, most_waiting=1, batch=5)
    with ThreadPoolExecutor(30) as pool:
        outcomes = [pool.submit(attempt, inbox, number) for number in range(30)]
        until(lambda: sum(outcome.done() for outcome in outcomes), lambda done: done >= 10)
        held()
        statuses = Counter(outcome.result(timeout=60) for outcome in outcomes)
    assert statuses["not now"] >= 10
    assert statuses["stored"] == len(rows("SELECT FROM inbox"))
    assert inbox.record(delivery(99)).status == "stored"
    inbox.stop()


def attempt(inbox: Inbox, number: int) -> str:
    try:
        return inbox.record(delivery(number)).status
    except NotNow:
        return "not now"


def test_stopping_keeps_what_was_taken_and_takes_no_more(engine, rows, held):
    inbox = Inbox(engine, Bell(), wait_s=60)
    with ThreadPoolExecutor(5) as pool:
        outcomes = [pool.submit(attempt, inbox, number) for number in range(5)]
        until(lambda: inbox.waiting, lambda joined: joined == 5)
        stopping = pool.submit(inbox.stop)
        held()
        stopping.result(timeout=60)
        assert [outcome.result(timeout=60) for outcome in outcomes].count("stored") == len(rows("SELECT FROM inbox"))
    assert attempt(inbox, 99) == "not now"


def test_a_bell_that_breaks_breaks_nothing_else(engine, rows):
    def broken() -> None:
        raise RuntimeError("no bell")

    inbox = Inbox(engine, broken)
    assert [inbox.record(delivery(number)).status for number in range(3)] == ["stored"] * 3
    inbox.stop()
