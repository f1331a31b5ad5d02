"""One instance that reports without end (F-12), events that end or hang the worker (F-56, F-14)."""

import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from structlog.testing import capture_logs

from core.errors import StorageUnavailable
from core.events import Effects
from tests.store.test_worker import AGE_LEASES, AGE_RETRIES, KILL_ME, STRETCH_RETRIES
from tests.store.toys import Register, owners_of
from webhooks import lanes
from webhooks.watchdog import GAVE_UP, LONGEST_S, Watchdog
from webhooks.worker import Worker

ROOT = Path(__file__).resolve().parents[2]


def work_all(worker) -> int:
    done = 0
    while some := worker.work():
        done += some
    return done


# ---- storms ----------------------------------------------------------------------------------------------------


def test_a_storm_leaves_the_newest_row_of_each_batch_and_counts_the_others(toy_worker, flood, rows, stats, values, do):
    flood("noisy", "report", 1_000)
    batches = 0
    while rows("SELECT FROM inbox"):
        assert toy_worker.work() == 500
        do(STRETCH_RETRIES)
        assert toy_worker.work() == 0  # it rests
        do(AGE_RETRIES)
        batches += 1
    found = stats()
    assert (batches, found.processed_total, found.coalesced_total, found.storms) == (2, 1_000, 998, 1)
    assert len(rows("SELECT FROM webhook_events")) == batches
    assert values()["K"] == "1000"


def test_a_lane_that_storms_rests_two_seconds_and_no_other_lane_waits(toy_worker, flood, send, rows, values, do):
    flood("noisy", "report", 200)
    send("calm", ("put", ["M1", "x"]))
    [before] = rows("SELECT clock_timestamp() AS at")
    toy_worker.work()
    assert values()["M1"] == "x"
    [after] = rows("SELECT retry_at, clock_timestamp() AS at FROM lanes WHERE lane = 'noisy'")
    assert after["retry_at"] - after["at"] <= timedelta(seconds=2) <= after["retry_at"] - before["at"]
    do(STRETCH_RETRIES)
    flood("noisy", "report", 0)
    send("calm", ("put", ["M2", "y"]))
    assert toy_worker.work() == 1
    assert values()["M2"] == "y"


def test_a_batch_with_anything_else_in_it_does_not_rest_and_stays_in_the_log(toy_worker, flood, send, rows):
    flood("noisy", "report", 200)
    send("noisy", ("put", ["M1", "x"]))
    assert toy_worker.work() == 201
    assert len(rows("SELECT FROM webhook_events")) == 201
    assert rows("SELECT retry_at FROM lanes") == [{"retry_at": None}]


def test_sixty_reports_a_minute_are_no_storm(toy_worker, flood, rows, stats):
    flood("busy", "report", 60)
    work_all(toy_worker)
    assert (stats().storms, len(rows("SELECT FROM webhook_events"))) == (0, 60)
    assert rows("SELECT retry_at FROM lanes") == [{"retry_at": None}]


def test_a_storm_is_told_once_and_its_end_after_a_calm_minute(toy_worker, flood, send, do, stats):
    with capture_logs() as logs:
        for _ in range(2):
            do("UPDATE webhook_events SET key = sha256(key)")
            flood("noisy", "report", 100)
            work_all(toy_worker)
            do(AGE_RETRIES)
        do("UPDATE lanes SET storm_minute = storm_minute - interval '2 minutes'")
        assert stats().storms == 0
        send("noisy", ("report", ["K", "calm"]))
        work_all(toy_worker)
    told = [(line["event"], line["instance"]) for line in logs if "storm" in line["event"]]
    assert told == [("instance_storms", "noisy"), ("instance_storm_over", "noisy")]
    assert stats().storms == 0


def test_a_storm_goes_on_into_the_next_minute(toy_worker, flood, send, do, rows):
    minute = "SELECT date_trunc('minute', now()) AS at"
    for lane in ("noisy", "loud", "shrill"):
        before = rows(minute)
        flood(lane, "report", 100)
        work_all(toy_worker)
        do(AGE_RETRIES)
        do("UPDATE lanes SET storm_minute = storm_minute - interval '1 minute'")
        send(lane, ("report", ["K", "1"]), ("report", ["K", "2"]))
        assert toy_worker.work() == 2
        do(STRETCH_RETRIES)
        if rows(minute) == before:  # else it was the minute after the next, where it is over
            break
    assert toy_worker.work() == 0
    found = rows("SELECT retry_at > now() AS rests, coalesced FROM lanes WHERE lane = :lane", lane=lane)
    assert found == [{"rests": True, "coalesced": 100}]


def test_a_lane_takes_its_fair_share_once_its_storm_is_over(toy_worker, transaction, flood, do):
    flood("noisy", "report", 100)
    toy_worker.work()
    do(AGE_RETRIES)
    do("UPDATE webhook_events SET key = sha256(key)")
    flood("noisy", "put", 400)
    flood("calm", "put", 400)

    def shares() -> list[int]:
        with transaction() as connection:
            held = lanes.claim(connection, "w", after="", lanes=10, events=500)
            connection.rollback()
        return [len(lane.heads) for lane in held]

    assert shares() == [250, 400]
    do("UPDATE lanes SET storm_minute = storm_minute - interval '2 minutes'")
    assert shares() == [250, 250]


# ---- what brings workers down ----------------------------------------------------------------------------------


def crashing(database_url: str) -> int:
    """A worker's process that works until nothing is due; its exit code."""
    command = [sys.executable, "-m", "tests.store.crasher", database_url]
    return subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode


def test_an_event_that_ends_the_process_is_parked_after_three_tries_alone(database_url, send, do, rows, values):
    before = [("put", [f"B{number}", "x"]) for number in range(5)]
    ids = send("a", *before, ("put", ["C", "crash"]), ("put", ["D", "y"]))
    send("b", ("put", ["E", "z"]))
    codes: list[int] = []
    while not codes or codes[-1]:
        codes.append(crashing(database_url))
        do(AGE_LEASES)
        assert len(codes) < 10
    assert codes == [9] * 5 + [0]
    assert rows("SELECT event_id, state, reason FROM set_aside") == [
        {"event_id": ids[5], "state": "parked", "reason": "crashed_worker"}
    ]
    assert values() == {**{f"B{number}": "x" for number in range(5)}, "D": "y", "E": "z"}
    assert rows("SELECT unsettled, careful FROM lanes") == [{"unsettled": 0, "careful": 0}] * 2


class Cut(Register):
    """Its database goes away in the middle."""

    __hash__ = object.__hash__

    def apply(self, connection, changes):
        connection.execute(text(KILL_ME))
        return Effects()


def test_what_the_worker_survives_is_no_crash(transaction, register, send, do, rows, values):
    faulty, sound = (Worker(transaction, owners_of(one), lambda _: None, name="w") for one in (Cut(), register))
    send("a", ("put", ["M1", "x"]), ("put", ["M2", "y"]))
    for _ in range(5):
        with pytest.raises(StorageUnavailable):
            faulty.work()
    assert rows("SELECT unsettled, careful FROM lanes") == [{"unsettled": 1, "careful": 0}]
    do(AGE_LEASES)
    assert sound.work() == 2


def test_a_worker_that_is_robbed_has_not_crashed(transaction, send, do, rows):
    send("a", ("put", ["M1", "x"]))
    for _ in range(3):
        with transaction() as connection:
            [lane] = lanes.claim(connection, "w", after="", lanes=10, events=10)
            assert not lane.careful
        rob(transaction, "a")
    assert rows("SELECT unsettled FROM lanes") == [{"unsettled": 0}]


def test_a_worker_that_was_dead_when_it_was_robbed_has(transaction, send, do, rows):
    send("a", ("put", ["M1", "x"]))
    with transaction() as connection:
        lanes.claim(connection, "dead", after="", lanes=10, events=10)
    do(AGE_LEASES)
    rob(transaction, "a")
    assert rows("SELECT unsettled FROM lanes") == [{"unsettled": 1}]


def rob(transaction, name: str) -> None:
    with transaction() as connection:
        lanes.take_over(connection, "robber", [name])
    with transaction() as connection:
        lanes.release(connection, "robber", [name])


def test_a_hanging_batch_ends_the_process_after_30_seconds():
    ended = threading.Event()
    dog = Watchdog(ended.set)
    with dog.watch():
        for _ in range(LONGEST_S):
            dog.look()
        assert not ended.is_set()
        dog.look()
    assert ended.is_set()


def test_many_short_batches_and_idleness_do_not():
    ended: Counter[str] = Counter()
    dog = Watchdog(lambda: ended.update(["x"]))
    for _ in range(3 * LONGEST_S):
        with dog.watch():
            dog.look()
        dog.look()
    assert not ended


class Stuck(Register):
    """It hangs until somebody ends it."""

    __hash__ = object.__hash__

    def __init__(self) -> None:
        super().__init__()
        self.began, self.ended = threading.Event(), threading.Event()

    def load(self, connection, keys):
        self.began.set()
        assert self.ended.wait(30)
        return super().load(connection, keys)


def test_an_owner_that_hangs_is_noticed(transaction, send):
    send("a", ("put", ["M1", "x"]))
    stuck = Stuck()
    worker = Worker(transaction, owners_of(stuck), lambda _: None, name="w", give_up=stuck.ended.set)
    working = threading.Thread(target=worker.work)
    working.start()
    assert stuck.began.wait(30)
    for _ in range(LONGEST_S + 1):
        worker.watchdog.look()
    working.join(30)
    assert stuck.ended.is_set()
    assert not working.is_alive()


def test_a_hung_worker_leaves_with_its_code():
    code = "from webhooks.watchdog import Watchdog\nd = Watchdog()\nwith d.watch():\n while True: d.look()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=20, check=False, capture_output=True)
    assert done.returncode == GAVE_UP


# ---- drift -----------------------------------------------------------------------------------------------------


def drifted(event: str) -> float:
    return REGISTRY.get_sample_value("zelador_schema_drift_total", {"event": event}) or 0


def test_what_is_not_understood_has_a_fingerprint_and_is_counted(toy_worker, send, rows):
    known, other = drifted("put"), drifted("other")
    send("a", ("put", {"new": 1}), ("put", {"new": 2}), ("put", {"newer": "x"}), ("put", ["M1", "odd"]))
    work_all(toy_worker)
    found = [(row["reason"], row["fingerprint"]) for row in rows("SELECT * FROM set_aside ORDER BY event_id")]
    assert [reason for reason, _ in found] == ["unknown_shape"] * 3 + ["odd_value"]
    one, same, another, odd = (seen for _, seen in found)
    assert one == same
    assert len({one, another, odd}) == 3
    assert (drifted("put") - known, drifted("other") - other) == (4, 0)


def test_an_unknown_instance_is_no_drift(toy_worker, send, rows):
    send("ghost", ("put", ["M1", "x"]), known=False)
    work_all(toy_worker)
    assert rows("SELECT reason, fingerprint FROM set_aside") == [{"reason": "unknown_instance", "fingerprint": None}]
