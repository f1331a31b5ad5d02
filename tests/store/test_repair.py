"""What waits is woken in order; what is set aside comes back; a dry run tells exactly what would change."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, text

from core import diff
from core.audit import note
from core.db import Base
from core.errors import Malformed, NotFound
from core.selection import Selection
from tests.store.test_storms import work_all
from tests.store.test_worker import AGE_LEASES, interrupted
from tests.store.toys import Register, owners_of
from webhooks import envelope, lanes
from webhooks.history import AT_ONCE
from webhooks.inbox import Delivery
from webhooks.repair import Repair
from webhooks.replay import USELESS
from webhooks.stats import prune_aside
from webhooks.worker import Worker

PARKED = Selection(state="parked")


@pytest.fixture
def repair(transaction, register):
    tables = ("profiles", "whatsapp_instances")
    return Repair(transaction, owners_of(register), owners_of(register), tables=tables, note=note)


def aside(rows):
    return {row["event_id"]: (row["state"], row["reason"]) for row in rows("SELECT * FROM set_aside")}


# ---- waiting ---------------------------------------------------------------------------------------------------


def test_one_that_waits_is_done_once_what_it_waits_for_has_come(toy_worker, send, rows, values, stats):
    [mark] = send("a", ("mark", ["M1", "read"]))
    assert toy_worker.work() == 1
    assert rows("SELECT event_id, lane, state, reason, waits_for FROM set_aside") == [
        {"event_id": mark, "lane": "a", "state": "waiting", "reason": "waits_for_message", "waits_for": "M1"}
    ]
    assert (stats().waiting, stats().pending, stats().processed_total) == (1, 0, 1)
    send("a", ("put", ["M1", "hello"]))
    assert work_all(toy_worker) == 2
    assert values()["M1"] == "hello+read"
    assert rows("SELECT FROM set_aside") == rows("SELECT FROM inbox") == []


def test_those_that_wait_are_done_in_their_order_and_before_what_came_later(toy_worker, send, register, values):
    send("a", ("mark", ["M1", "one"]), ("mark", ["M2", "other"]), ("mark", ["M1", "two"]), ("mark", ["M1", "three"]))
    work_all(toy_worker)
    send("a", ("put", ["M1", "hello"]))
    assert toy_worker.work() == 1
    send("a", ("mark", ["M1", "four"]))
    register.seen.clear()
    work_all(toy_worker)
    assert register.seen == ["one", "two", "three", "four"]
    assert values()["M1"] == "hello+one+two+three+four"


def test_what_comes_in_one_lane_wakes_nobody_in_another(toy_worker, send, rows):
    send("a", ("mark", ["M1", "read"]))
    work_all(toy_worker)
    send("b", ("put", ["M1", "hello"]), ("put", ["M2", "hello"]))
    assert work_all(toy_worker) == 2
    assert rows("SELECT lane FROM set_aside") == [{"lane": "a"}]


def test_one_that_waits_is_woken_where_events_are_done_one_by_one_too(toy_worker, send, register, rows, values):
    register.poison.add("bad")
    send("a", ("mark", ["M1", "read"]), ("put", ["M9", "bad"]), ("put", ["M1", "hello"]))
    work_all(toy_worker)
    assert values()["M1"] == "hello+read"
    assert [row["state"] for row in rows("SELECT state FROM set_aside")] == ["parked"]


def test_an_event_that_is_odd_takes_effect_and_is_kept_for_a_second_look(toy_worker, send, rows, values):
    [odd, _] = send("a", ("put", ["M1", "odd one"]), ("put", ["M2", "x"]))
    work_all(toy_worker)
    assert values() == {"M1": "odd one", "M2": "x"}
    assert aside(rows) == {odd: ("quarantined", "odd_value")}


def test_issues_are_written_to_the_log_of_flagged_deliveries_only(toy_worker, send, rows):
    flagged, plain = send("a", ("put", ["M1", "x", "no_time", 'odd"{,}\\']), ("put", ["M2", "x"]))
    work_all(toy_worker)
    assert rows("SELECT id, issues FROM webhook_events ORDER BY id") == [
        {"id": flagged, "issues": ["no_time", 'odd"{,}\\']},
        {"id": plain, "issues": None},
    ]


def test_what_waits_is_forgotten_after_30_days_and_what_is_parked_is_not(toy_worker, send, register, do, transaction):
    register.poison.add("bad")
    send("a", ("mark", ["M1", "x"]), ("put", ["M2", "bad"]), ("put", {}))
    work_all(toy_worker)
    do("UPDATE set_aside SET at = now() - interval '31 days'")
    with transaction() as connection:
        assert prune_aside(connection, timedelta(days=30)) == 2
        assert prune_aside(connection, timedelta(days=30)) == 0


# ---- replay ----------------------------------------------------------------------------------------------------


def test_three_thousand_parked_events_are_replayed_in_order_once(toy_worker, flood, register, repair, rows, do, send):
    flood("a", "put", 3_000)
    do("""
        WITH gone AS (DELETE FROM inbox RETURNING id, lane)
        INSERT INTO set_aside (event_id, lane, state, reason) SELECT id, lane, 'parked', 'ValueError' FROM gone
    """)
    done = repair.replay(PARKED, actor="operator")
    assert (done.replayed, dict(done.refused)) == (3_000, {})
    assert repair.replay(PARKED, actor="operator").replayed == 0
    assert work_all(toy_worker) == 3_000
    assert register.seen == [str(number) for number in range(1, 3_001)]
    assert rows("SELECT FROM set_aside") == []
    assert [row["action"] for row in rows("SELECT action FROM audit")] == ["replayed"] * 2


def test_more_than_one_statement_takes_them_all(flood, repair, do, rows):
    count = AT_ONCE + 10
    flood("a", "put", count)
    do("""
        WITH gone AS (DELETE FROM inbox RETURNING id, lane)
        INSERT INTO set_aside (event_id, lane, state, reason) SELECT id, lane, 'parked', 'ValueError' FROM gone
    """)
    assert repair.replay(Selection(instance="a"), actor="operator").replayed == count
    assert rows("SELECT count(*) AS n FROM inbox") == [{"n": count}]


def test_a_poison_event_works_after_the_fix(toy_worker, send, register, repair, values, rows):
    register.poison.add("bad")
    send("a", ("put", ["M1", "bad"]), ("put", ["M2", "y"]))
    work_all(toy_worker)
    register.poison.clear()
    assert repair.replay(PARKED, actor="operator").replayed == 1
    work_all(toy_worker)
    assert (values(), aside(rows)) == ({"M1": "bad", "M2": "y"}, {})


def test_deliveries_of_an_instance_that_was_not_there_yet_are_adopted(toy_worker, send, repair, values):
    ids = send("late", ("put", ["M1", "x"]), ("put", ["M2", "y"]), known=False)
    work_all(toy_worker)
    send("late")
    assert repair.replay(Selection(reason="unknown_instance"), actor="operator").replayed == len(ids)
    work_all(toy_worker)
    assert values() == {"M1": "x", "M2": "y"}


@pytest.mark.parametrize("reason", sorted(USELESS))
def test_what_the_entrance_judged_never_takes_effect(inbox, send, repair, rows, reason):
    send("a")
    body = b'{"event":"put","instance":"a","data":["M1","forged"]}'
    receipt = inbox.record(Delivery(instance="a", event="put", body=body, problem=reason))
    for selection in (Selection(reason=reason), Selection(ids=(receipt.id,)), Selection(instance="a")):
        done = repair.replay(selection, actor="operator")
        assert (done.replayed, done.refused) == (0, {reason: 1})
    assert repair.try_replay(Selection(ids=(receipt.id,))).changes == []
    assert repair.rebuild("a", actor="operator", dry_run=True).replayed == 0
    assert rows("SELECT FROM inbox") == []
    assert len(rows("SELECT FROM set_aside")) == 1


def test_all_that_the_envelope_refuses_is_known_as_useless():
    for body in (b"\xff", b"[" * 100_000, b"[]", b"{", b'{"a":' + b"1" * 5_000 + b"}", b'{"event":1,"event":2}', b"{}"):
        with pytest.raises(Malformed) as refused:
            envelope.read(body, event=None, instance="a")
        assert refused.value.code.lower() in USELESS


def test_deliveries_of_no_instance_pending_ones_and_strangers_are_refused(inbox, send, repair):
    lost = inbox.record(Delivery(instance=None, event="error", body=b"{}")).id
    [pending] = send("a", ("put", ["M1", "x"]))
    done = repair.replay(Selection(ids=(lost, pending, 7)), actor="operator")
    assert (done.replayed, done.refused) == (0, {"no_instance": 1, "pending": 1, "not_found": 1})


def test_finished_deliveries_are_replayed_by_number_or_by_instance_and_time(toy_worker, send, repair, register):
    one, two = send("a", ("put", ["M1", "x"]), ("put", ["M2", "y"]))
    send("b", ("put", ["M3", "z"]))
    work_all(toy_worker)
    assert repair.replay(Selection(instance="a"), actor="operator").replayed == 0
    assert repair.replay(Selection(ids=(two,)), actor="operator").replayed == 1
    work_all(toy_worker)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    assert repair.replay(Selection(instance="a", until=long_ago), actor="operator").replayed == 0
    assert repair.replay(Selection(instance="a", since=long_ago), actor="operator").replayed == 2
    work_all(toy_worker)
    assert register.seen == ["x", "y", "z", "y", "x", "y"]
    assert one < two


def test_a_replay_of_everything_is_not_a_slip_of_the_pen(repair):
    for attempt in (lambda: repair.replay(Selection(), actor="x"), lambda: repair.try_replay(Selection())):
        with pytest.raises(Malformed):
            attempt()


# ---- what is set aside -----------------------------------------------------------------------------------------


def test_what_is_set_aside_is_listed_newest_first_and_page_by_page(toy_worker, send, repair, register, do):
    register.poison.add("bad")
    ids = send("a", ("put", {"k": 1}), ("put", ["M1", "bad"]), ("mark", ["M2", "x"]), ("put", ["M3", "odd", "hm"]))
    send("b", ("put", {"k": 1}))
    work_all(toy_worker)
    do("UPDATE set_aside SET at = '2026-11-22Z'")
    seen, after = [], None
    while True:
        page = repair.find(Selection(instance="a"), limit=3, after=after)
        seen += page.items
        if (after := page.last) is None:
            break
    assert [one.id for one in seen] == ids[::-1]
    odd, waiting, parked, drifted = seen
    assert (odd.issues, waiting.waits_for, parked.state) == (["hm"], "M2", "parked")
    assert drifted.fingerprint
    assert drifted.size > 10
    assert not any(hasattr(one, "body") for one in seen)
    assert [one.id for one in repair.find(Selection(state="waiting"), limit=9).items] == [ids[2]]
    assert len(repair.find(Selection(event="put", reason="unknown_shape"), limit=9).items) == 2


# ---- dry run and rebuild ---------------------------------------------------------------------------------------


def told(changes):
    return [(one.table, one.before, one.after) for one in changes]


def everything(rows):
    tables = ("profiles", "inbox", "set_aside", "webhook_events", "feed", "audit")
    return {table: rows(f"SELECT * FROM {table} ORDER BY 1") for table in tables}


def test_a_dry_run_tells_exactly_what_would_change_and_changes_nothing(toy_worker, send, register, repair, rows, do):
    send("a", ("put", ["Old", "before"]), ("put", ["Gone", "x"]), ("put", ["Same", "same"]))
    work_all(toy_worker)
    register.poison |= {"after", "new", "drop me", "same again"}
    send("a", ("put", ["Old", "after"]), ("put", ["New", "new"]), ("drop", ["Gone", "drop me"]))
    send("a", ("put", ["Same", "same again"]), ("mark", ["New", "seen"]))
    work_all(toy_worker)
    do("UPDATE webhook_events SET body = convert_to(replace(convert_from(body, 'UTF8'), 'same again', 'same'), 'UTF8')")
    register.poison.clear()
    before = everything(rows)
    done = repair.try_replay(PARKED)
    assert everything(rows) == before
    found = [
        (table, old and old.get("name"), new and {name: new[name] for name in ("email", "name") if name in new})
        for table, old, new in told(done.changes)
    ]
    assert sorted(found, key=str) == sorted(
        [
            ("profiles", "before", {"name": "after"}),
            ("profiles", None, {"email": "New", "name": "new+seen"}),
            ("profiles", "x", None),
        ],
        key=str,
    )
    assert (done.replayed, done.frames) == (4, 5)  # the mark that waited is awake too
    assert repair.replay(PARKED, actor="operator").replayed == 4


def test_a_dry_run_of_too_many_is_refused_before_a_lane_is_touched(toy_worker, send, repair, rows):
    ids = tuple(send("a", ("put", ["M1", "x"]), ("put", ["M2", "y"]), ("put", ["M3", "z"])))
    work_all(toy_worker)
    before = rows("SELECT lane, owner, epoch FROM lanes")
    with pytest.raises(Malformed):
        repair.try_replay(Selection(ids=ids), at_most=2)
    assert rows("SELECT lane, owner, epoch FROM lanes") == before
    assert repair.try_replay(Selection(ids=ids), at_most=3).replayed == 3


def test_a_dry_run_says_what_would_fail_again(toy_worker, send, register, repair, rows):
    register.poison.add("bad")
    send("a", ("put", ["M1", "bad"]), ("put", ["M2", "x"]), ("put", {"k": 1}))
    work_all(toy_worker)
    done = repair.try_replay(Selection(instance="a"))
    assert (done.replayed, done.changes) == (2, [])
    assert [(reason.split(" ")[0], count) for reason, count in sorted(done.failed.items())] == [
        ("ValueError", 1),
        ("unknown_shape", 1),
    ]


def test_a_dry_run_is_right_after_a_savepoint_was_rolled_back(toy_worker, send, register, repair):
    register.poison |= {"bad", "fine"}
    send("a", ("put", ["M1", "fine"]), ("put", ["M2", "bad"]), ("put", ["M3", "fine"]))
    work_all(toy_worker)
    register.poison.discard("fine")
    done = repair.try_replay(PARKED)
    assert sorted(one.after["email"] for one in done.changes) == ["M1", "M3"]


def test_what_others_commit_meanwhile_is_no_change_of_ours(toy_worker, send, register, repair, do):
    register.poison.add("bad")
    send("a", ("put", ["M1", "bad"]))
    work_all(toy_worker)
    register.poison.clear()

    class Busy(Register):
        __hash__ = object.__hash__

        def apply(self, connection, changes):
            do("INSERT INTO profiles (email, name) VALUES ('other', 'x')")
            do("UPDATE profiles SET name = 'theirs' WHERE email = 'a@x'")
            return super().apply(connection, changes)

    busy = Repair(repair._transaction, owners_of(Busy()), owners_of(Busy()), tables=repair._tables, note=note)
    changes = busy.try_replay(PARKED).changes or ()
    assert [change.after and change.after["email"] for change in changes] == ["M1"]


def test_a_dry_run_leaves_out_what_ends_workers(send, repair, inbox, do):
    [bad] = send("a", ("put", ["M1", "crash"]))
    do("DELETE FROM inbox")
    do("INSERT INTO set_aside (event_id, lane, state, reason) SELECT id, 'a', 'parked', 'crashed_worker' "
       "FROM webhook_events")  # fmt: skip
    done = repair.try_replay(Selection(ids=(bad,)))
    assert (done.replayed, done.refused) == (0, {"crashed_worker": 1})
    assert repair.replay(Selection(ids=(bad,)), actor="operator").replayed == 1


def test_no_worker_touches_the_lanes_of_a_dry_run_and_its_late_writer_is_fenced_off(
    transaction, toy_worker, send, register, repair, rows, values, do
):
    register.poison.add("bad")
    send("a", ("put", ["M1", "bad"]))
    work_all(toy_worker)
    register.poison.clear()
    send("a", ("put", ["M2", "later"]))
    send("b", ("put", ["M3", "x"]))
    with transaction() as connection:
        late = lanes.claim(connection, "late", after="", lanes=10, events=10)
    worked = []

    class Watched(Register):
        __hash__ = object.__hash__

        def apply(self, connection, changes):
            do(AGE_LEASES + " AND lane = 'b'")
            worked.append(Worker(transaction, owners_of(register), print, name="other").work())
            return super().apply(connection, changes)

    watched = owners_of(Watched())
    Repair(transaction, watched, watched, tables=[], note=note).try_replay(PARKED)
    assert worked == [1]
    assert values() == {"M3": "x"}
    with pytest.raises(lanes.LostLease), transaction() as connection:
        lanes.settle(connection, "late", late)
    assert work_all(toy_worker) == 1


def test_a_rebuild_folds_the_log_anew_without_frames(toy_worker, send, register, repair, rows, values, do):
    send("a", ("put", ["M1", "x"]), ("mark", ["M1", "seen"]), ("put", ["M2", "y"]))
    send("b", ("put", ["M3", "z"]))
    work_all(toy_worker)
    feed = rows("SELECT * FROM feed ORDER BY user_id, id")
    do("UPDATE profiles SET name = 'wrong' WHERE email = 'M1'")
    do("DELETE FROM profiles WHERE email IN ('M2', 'M3')")
    dry = repair.rebuild("a", actor="operator", dry_run=True)
    assert values() == {"M1": "wrong"}
    real = repair.rebuild("a", actor="operator", dry_run=False, compare=True)
    assert values() == {"M1": "x+seen", "M2": "y"}
    assert sorted(str(one.after.get("name")) for one in dry.changes) == ["x+seen", "y"]
    assert len(dry.changes) == len(real.changes) == 2
    assert rows("SELECT * FROM feed ORDER BY user_id, id") == feed
    assert [(row["action"], row["subject"]) for row in rows("SELECT * FROM audit")] == [("rebuilt", "a")]
    assert repair.rebuild("a", actor="operator", dry_run=True).changes is not None
    assert rows("SELECT FROM inbox") == []


def test_a_rebuild_leaves_alone_what_is_parked_or_not_done_yet(toy_worker, send, register, repair, rows, values):
    register.poison.add("bad")
    send("a", ("put", ["M1", "bad"]))
    work_all(toy_worker)
    send("a", ("put", ["M2", "pending"]))
    register.poison.clear()
    done = repair.rebuild("a", actor="operator", dry_run=False)
    assert (done.replayed, done.changes, values()) == (0, None, {})
    assert len(rows("SELECT FROM inbox")) == 1


def test_a_rebuild_commits_part_by_part_and_keeps_its_lane_between_them(
    transaction, toy_worker, flood, send, register, values, rows
):
    flood("a", "put", 1_200)
    work_all(toy_worker)
    send("a", ("put", ["M1", "pending"]))
    with transaction() as connection:
        connection.execute(text("DELETE FROM profiles WHERE email = 'K'"))
    seen, worked = [], []

    class Watched(Register):
        __hash__ = object.__hash__

        def apply(self, connection, changes):
            seen.append(values().get("K"))
            return super().apply(connection, changes)

    def interrupt() -> None:
        worked.append(Worker(transaction, owners_of(register), print, name="other").work())

    owners = owners_of(Watched())
    between = interrupted(transaction, 5, interrupt)  # after: is it there, take over, which, the first part
    repair = Repair(between, owners, owners, tables=["profiles"], note=note)
    assert repair.rebuild("a", actor="operator", dry_run=False).replayed == 1_200
    assert (seen, values()["K"], worked) == ([None, "500", "1000"], "1200", [0])
    [entry] = rows("SELECT subject, details FROM audit")
    assert entry == {"subject": "a", "details": {"deliveries": 1_200, "failed": {}}}
    assert toy_worker.work() == 1


def test_a_rebuild_leaves_what_waits_its_time_and_clears_what_is_understood_now(toy_worker, send, repair, rows, do):
    waiting, odd, mended, flagged, kept = send(
        "a",
        ("mark", ["M9", "x"]),
        ("put", ["M1", "odd"]),
        ("put", ["M2", "odd too"]),
        ("put", ["M3", "x", "no_time"]),
        ("put", ["M4", "x", "no_chat"]),
    )
    work_all(toy_worker)
    do("UPDATE set_aside SET at = '2026-01-01Z'")
    for old, new in (("odd too", "well"), (', "no_time"', "")):
        do(
            "UPDATE webhook_events SET body = convert_to(replace(convert_from(body, 'UTF8'), :old, :new), 'UTF8')",
            old=old,
            new=new,
        )
    repair.rebuild("a", actor="operator", dry_run=False)
    found = rows("SELECT event_id, state, at FROM set_aside ORDER BY event_id")
    assert [(row["event_id"], row["state"]) for row in found] == [(waiting, "waiting"), (odd, "quarantined")]
    assert {row["at"] for row in found} == {datetime(2026, 1, 1, tzinfo=UTC)}
    assert rows(
        "SELECT id, issues FROM webhook_events WHERE id = ANY(:ids) ORDER BY id", ids=[mended, flagged, kept]
    ) == [
        {"id": mended, "issues": None},
        {"id": flagged, "issues": None},
        {"id": kept, "issues": ["no_chat"]},
    ]


def test_deliveries_of_a_deleted_instance_come_back_with_it_and_it_is_not_rebuilt(
    transaction, toy_worker, send, register, repair, rows, values
):
    send("a", ("put", ["M1", "x"]))
    deleted = replace(owners_of(register), resolve=lambda _, names: dict.fromkeys(names))
    Worker(transaction, deleted, print, name="w").work()
    assert [reason for _, reason in aside(rows).values()] == ["deleted_instance"]
    with pytest.raises(NotFound):
        Repair(transaction, deleted, deleted, tables=[], note=note).rebuild("a", actor="operator", dry_run=False)
    assert repair.replay(Selection(reason="deleted_instance"), actor="operator").replayed == 1
    assert work_all(toy_worker) == 1
    assert values() == {"M1": "x"}


def test_an_instance_that_is_not_there_cannot_be_rebuilt(repair, rows):
    with pytest.raises(NotFound):
        repair.rebuild("ghost", actor="operator", dry_run=False)
    assert rows("SELECT FROM lanes") == []


def test_a_comparison_does_not_read_what_others_have_locked_long_ago(engine, transaction, do):
    do("INSERT INTO profiles (email, name) SELECT 'old' || n, 'x' FROM generate_series(1, 3000) AS n")
    do("SELECT FROM profiles FOR KEY SHARE")
    asked: list[int] = []

    def listen(_connection, _cursor, _statement, parameters, _context, _many) -> None:
        asked.append(len(parameters))

    with transaction() as ours, transaction() as before:
        since = diff.mark(ours)
        ours.execute(text("DELETE FROM profiles WHERE email = 'old7'"))
        tables = diff.tables_named(before, ["profiles"])
        event.listen(engine, "before_cursor_execute", listen)
        try:
            changes = diff.changes(ours, before, tables, since)
        finally:
            event.remove(engine, "before_cursor_execute", listen)
        ours.rollback()
    assert [(one.before and one.before["email"], one.after) for one in changes] == [("old7", None)]
    assert sum(asked) < 50


@pytest.mark.parametrize("strength", ["KEY SHARE", "NO KEY UPDATE"])
def test_a_row_that_was_locked_before_it_was_deleted_is_found(transaction, do, strength):
    do("INSERT INTO profiles (email, name) VALUES ('M1', 'x'), ('M2', 'y')")
    with transaction() as ours, transaction() as before:
        since = diff.mark(ours)
        for statement in (f"SELECT FROM profiles FOR {strength}", "DELETE FROM profiles WHERE email = 'M1'"):
            with ours.begin_nested():
                ours.execute(text(statement))
        stamped = before.execute(text("SELECT CAST(CAST(xmax AS text) AS bigint) FROM profiles WHERE email = 'M1'"))
        assert stamped.scalar_one() < int(since.xid)  # not a transaction's number: two of ours share the row
        changes = diff.changes(ours, before, diff.tables_named(before, ["profiles"]), since)
        ours.rollback()
    assert [(one.before and one.before["email"], one.after) for one in changes] == [("M1", None)]


def test_more_rows_than_are_read_at_once_are_compared(transaction, do):
    do("INSERT INTO profiles (email, name) SELECT 'old' || n, 'x' FROM generate_series(1, 2500) AS n")
    with transaction() as ours, transaction() as before:
        since = diff.mark(ours)
        ours.execute(text("DELETE FROM profiles WHERE email LIKE '%5'"))
        ours.execute(text("UPDATE profiles SET name = email"))
        changes = diff.changes(ours, before, diff.tables_named(before, ["profiles"]), since)
        ours.rollback()
    gone = [one for one in changes if one.after is None]
    assert (len(changes), len(gone)) == (2_500, 250)


def test_every_table_can_be_compared(transaction):
    names = sorted(Base.metadata.tables)
    with transaction() as ours, transaction() as before:
        since = diff.mark(ours)
        assert diff.changes(ours, before, diff.tables_named(before, names), since) == []


def test_waking_nobody_reads_none_of_what_is_parked(engine, do):
    do("""
        INSERT INTO set_aside (event_id, lane, state, reason)
        SELECT n, 'a', 'parked', 'x' FROM generate_series(1, 20000) AS n
    """)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE set_aside"))
        plan = connection.execute(
            text("EXPLAIN DELETE FROM set_aside USING unnest(ARRAY['a'], ARRAY['k']) AS came (lane, key)"
                 " WHERE state = 'waiting' AND set_aside.lane = came.lane AND waits_for = came.key")
        ).scalars()  # fmt: skip
        assert "ix_set_aside_waits_for" in "\n".join(plan)
