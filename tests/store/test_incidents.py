"""Incidents: opened, carried on and closed with all that a tick decided; read, acknowledged, dropped."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import event, text

from core.db import Base
from core.errors import NotFound, StorageUnavailable
from monitor import casebook, incidents
from monitor.casebook import Wanted
from monitor.housekeeping import tidy
from monitor.incidents import Happening, Step, Subject
from monitor.tables import Alert, AlertTarget, GatewayHealth, Incident
from tests.factories import make_instance

AT = datetime(2026, 11, 22, 3, 17, tzinfo=UTC)
DAY = timedelta(days=1)
GATEWAY = Subject(gateway="evolution")


def minutes(count):
    return AT + timedelta(minutes=count)


@pytest.fixture
def subject(transaction):
    """Somebody's instance, as what an incident is about."""

    def make(organization=None):
        with transaction() as connection:
            user, name = make_instance(connection, organization_id=organization)
            query = "SELECT id FROM whatsapp_instances WHERE instance_name = :name"
            number = connection.execute(text(query), {"name": name}).scalar_one()
        return Subject(
            gateway="evolution", instance_id=number, instance_name=name, user_id=user, organization_id=organization
        )

    return make


@pytest.fixture
def write(transaction):
    def put(*happenings):
        with transaction() as connection:
            return incidents.write(connection, happenings)

    return put


@pytest.fixture
def read(transaction):
    """An incident and its timeline as (kind, code)."""

    def look(number):
        with transaction() as connection:
            steps = casebook.timeline(connection, number)
            return casebook.find(connection, number), [(step.kind, step.code) for step in steps]

    return look


@pytest.fixture
def listed(transaction):
    def look(*, before=None, limit=50, **wanted):
        with transaction() as connection:
            found = casebook.newest(connection, Wanted(**wanted), before=before, limit=limit)
        return [one.id for one in found]

    return look


def failing(failures, at=AT):
    return Step(at=at, kind="verdict", code="check_failed", facts={"failures": failures})


def test_the_first_notice_opens_an_incident(subject, write, read):
    whom = subject("org_1")
    facts = {"failures": 2, "reason": 408, "since": minutes(-3).isoformat()}
    (written,) = write(
        Happening(
            subject=whom,
            incident_id=None,
            at=AT,
            notices=("down",),
            steps=(failing(1, minutes(-1)), failing(2)),
            facts=facts,
            reason=408,
        )
    )
    found, steps = read(written.incident_id)
    assert (found.kind, found.reason, found.opened_at, found.closed_at) == ("down", 408, AT, None)
    assert (found.instance_name, found.user_id, found.organization_id) == (whom.instance_name, whom.user_id, "org_1")
    assert steps == [("verdict", "check_failed"), ("verdict", "check_failed"), ("notice", "down")]
    (told,) = written.told
    assert (told.incident_id, told.kind, told.instance_id, told.at) == (found.id, "down", whom.instance_id, AT)
    assert told.facts == {**facts, "seconds": 180}
    assert told.again == 0


def test_without_notice_or_incident_nothing_is_written(subject, write, rows):
    (written,) = write(Happening(subject=subject(), incident_id=None, at=AT, steps=(failing(1),)))
    assert (written.incident_id, written.told) == (None, ())
    assert write() == []
    assert rows("SELECT FROM incidents") == rows("SELECT FROM incident_steps") == []


def test_an_incident_is_carried_on_and_closed(subject, write, read):
    whom = subject()
    (first,) = write(Happening(subject=whom, incident_id=None, at=AT, notices=("down",)))
    number = first.incident_id
    tried = Step(at=minutes(1), kind="action", code="try_connect", facts={"number": 1})
    write(Happening(subject=whom, incident_id=number, at=minutes(1), steps=(tried,), reason=428))
    (last,) = write(Happening(subject=whom, incident_id=number, at=minutes(9), notices=("recovered",), closes=True))
    found, steps = read(number)
    assert last.incident_id == number
    assert [told.kind for told in last.told] == ["recovered"]
    assert (found.kind, found.reason, found.closed_at) == ("down", 428, minutes(9))
    assert steps == [("notice", "down"), ("action", "try_connect"), ("notice", "recovered")]


def test_an_incident_is_called_by_the_gravest_that_was_told(subject, write, read):
    whom = subject()
    (first,) = write(Happening(subject=whom, incident_id=None, at=AT, notices=("down", "flapping")))
    kinds = [read(first.incident_id)[0].kind]
    for count, kind in enumerate(("reconnect_failed", "banned", "gave_up", "recovered"), start=1):
        write(Happening(subject=whom, incident_id=first.incident_id, at=minutes(count), notices=(kind,)))
        kinds.append(read(first.incident_id)[0].kind)
    assert kinds == ["down", "reconnect_failed", "banned", "banned", "banned"]


def test_a_reason_once_known_is_kept_until_another_is(subject, write, read):
    whom = subject()
    (first,) = write(Happening(subject=whom, incident_id=None, at=AT, notices=("down",), reason=408))
    for reason, expected in ((None, 408), (401, 401), (None, 401)):
        write(Happening(subject=whom, incident_id=first.incident_id, at=AT, notices=("needs_qr",), reason=reason))
        assert read(first.incident_id)[0].reason == expected


def test_a_server_has_incidents_too(write, read):
    (written,) = write(
        Happening(subject=GATEWAY, incident_id=None, at=AT, notices=("gateway_down",), facts={"affected": 9})
    )
    found, _ = read(written.incident_id)
    assert (found.kind, found.gateway, found.instance_id, found.instance_name) == (
        "gateway_down",
        "evolution",
        None,
        None,
    )
    assert written.told[0].facts == {"affected": 9}


def test_many_at_once_come_back_in_order_and_cost_four_statements(subject, transaction, read):
    whom = [subject() for _ in range(30)]
    with transaction() as connection:
        old = incidents.write(
            connection, [Happening(subject=one, incident_id=None, at=AT, notices=("down",)) for one in whom[::3]]
        )
        known = iter(old)
        round_ = [
            Happening(subject=one, incident_id=next(known).incident_id, at=minutes(1), steps=(failing(3),))
            if n % 3 == 0
            else Happening(subject=one, incident_id=None, at=minutes(1), notices=("down",) if n % 3 == 1 else ())
            for n, one in enumerate(whom)
        ]
        asked = []
        event.listen(connection, "before_cursor_execute", lambda *facts: asked.append(facts[2]))
        written = incidents.write(connection, round_)
    assert len(asked) <= 4
    names = [read(one.incident_id)[0].instance_name if one.incident_id else None for one in written]
    assert names == [one.instance_name if n % 3 != 2 else None for n, one in enumerate(whom)]


def test_a_day_of_failing_checks_is_one_line(subject, write, transaction):
    whom = subject()
    (first,) = write(Happening(subject=whom, incident_id=None, at=AT, notices=("needs_qr",)))
    number = first.incident_id
    for count in range(1, 6):
        write(Happening(subject=whom, incident_id=number, at=minutes(count), steps=(failing(count, minutes(count)),)))
    with transaction() as connection:
        steps = casebook.timeline(connection, number)
    assert [(step.code, step.at) for step in steps] == [("needs_qr", AT), ("check_failed", minutes(1))]
    assert steps[1].facts == {"failures": 5, "times": 5, "until": minutes(5).isoformat()}


def test_what_is_not_the_same_verdict_again_is_a_line_of_its_own(subject, write, read):
    whom = subject()
    (first,) = write(Happening(subject=whom, incident_id=None, at=AT, notices=("down",), steps=(failing(2),)))
    number = first.incident_id
    said = Step(at=minutes(2), kind="verdict", code="now_disconnected")
    tried = Step(at=minutes(3), kind="action", code="try_connect")
    for step in (failing(3, minutes(1)), said, tried, Step(at=minutes(4), kind="action", code="try_connect")):
        write(Happening(subject=whom, incident_id=number, at=step.at, steps=(step,)))
    write(Happening(subject=whom, incident_id=number, at=minutes(5), steps=(failing(4, minutes(5)), failing(5))))
    assert [code for _, code in read(number)[1]].count("try_connect") == 2
    assert len(read(number)[1]) == 8


def test_a_repeated_verdict_with_news_is_written_with_them(subject, write, read):
    whom = subject()
    (first,) = write(Happening(subject=whom, incident_id=None, at=AT, notices=("down",)))
    for count, notices in ((1, ()), (2, ("gave_up",))):
        step = failing(count, minutes(count))
        write(
            Happening(subject=whom, incident_id=first.incident_id, at=step.at, notices=notices, steps=(step,)),
        )
    codes = [code for _, code in read(first.incident_id)[1]]
    assert codes == ["down", "check_failed", "check_failed", "gave_up"]


def test_a_verdict_is_not_counted_on_a_notice_of_the_same_name(write, read):
    (first,) = write(Happening(subject=GATEWAY, incident_id=None, at=AT, notices=("gateway_down",)))
    step = Step(at=minutes(1), kind="verdict", code="gateway_down")
    write(Happening(subject=GATEWAY, incident_id=first.incident_id, at=minutes(1), steps=(step,)))
    assert read(first.incident_id)[1] == [("notice", "gateway_down"), ("verdict", "gateway_down")]


def test_what_is_closed_stays_closed_then(subject, write, read):
    whom = subject()
    (first,) = write(Happening(subject=whom, incident_id=None, at=AT, notices=("down",)))
    for count in (5, 9):
        write(Happening(subject=whom, incident_id=first.incident_id, at=minutes(count), closes=True))
    assert read(first.incident_id)[0].closed_at == minutes(5)


def test_steps_of_an_incident_that_is_gone_are_dropped_and_the_rest_is_kept(subject, write, read):
    one, other = subject(), subject()
    (here,) = write(Happening(subject=one, incident_id=None, at=AT, notices=("down",)))
    write(
        Happening(subject=other, incident_id=2**40, at=AT, steps=(failing(3), failing(4))),
        Happening(subject=one, incident_id=here.incident_id, at=AT, steps=(failing(3), failing(4))),
    )
    assert len(read(here.incident_id)[1]) == 3


def test_codes_are_kept_with_whatever_stands_in_their_facts(subject, write, transaction):
    facts = {"word": 'quo"te\\', "none": None, "number": 1.5, "yes": True, "list": ["ç"]}
    step = Step(at=AT, kind="signal", code="reported", facts=facts)
    (written,) = write(Happening(subject=subject(), incident_id=None, at=AT, notices=("down",), steps=(step,)))
    with transaction() as connection:
        assert casebook.timeline(connection, written.incident_id)[0] == step


def test_incidents_are_listed_newest_first_and_chosen(subject, write, listed):
    one, other = subject("org_1"), subject("org_2")
    opened = [
        write(Happening(subject=whom, incident_id=None, at=AT, notices=(kind,), closes=closed))[0].incident_id
        for whom, kind, closed in (
            (one, "down", True),
            (one, "needs_qr", False),
            (other, "down", False),
            (GATEWAY, "gateway_down", False),
        )
    ]
    first, second, third, fourth = opened
    assert listed() == [fourth, third, second, first]
    assert listed(limit=2) == [fourth, third]
    assert listed(before=third) == [second, first]
    assert listed(open=True) == [fourth, third, second]
    assert listed(open=False) == [first]
    assert listed(kind="down") == [third, first]
    assert listed(instance_name=one.instance_name) == [second, first]
    assert listed(organization_id="org_2", open=True) == [third]
    assert listed(user_id=one.user_id) == [second, first]


@pytest.mark.parametrize("number", [0, 999_999_999, 2**63, 10**30])
def test_an_incident_that_is_not_there_is_not_found(transaction, number):
    with transaction() as connection, pytest.raises(NotFound):
        casebook.find(connection, number)


def test_somebody_elses_incident_is_not_found(subject, write, transaction):
    whom = subject()
    (written,) = write(Happening(subject=whom, incident_id=None, at=AT, notices=("down",)))
    with transaction() as connection:
        assert casebook.find(connection, written.incident_id, user_id=whom.user_id).id == written.incident_id
        with pytest.raises(NotFound):
            casebook.find(connection, written.incident_id, user_id=uuid4())


def test_acknowledging_is_written_down_once(subject, write, read, transaction, rows):
    (written,) = write(Happening(subject=subject(), incident_id=None, at=AT, notices=("down",)))
    for by, count in (("ana", 5), ("bia", 6)):
        with transaction() as connection:
            incidents.acknowledge(connection, written.incident_id, by, minutes(count))
    found, steps = read(written.incident_id)
    assert (found.acknowledged_at, found.acknowledged_by) == (minutes(5), "ana")
    assert steps == [("notice", "down"), ("person", "acknowledged")]
    audited = rows("SELECT actor, subject FROM audit WHERE action = 'incident.acknowledged'")
    assert audited == [{"actor": "ana", "subject": str(written.incident_id)}]


def test_what_closed_long_ago_is_dropped_with_all_that_belongs_to_it(subject, write, transaction, rows, listed):
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    old, running = (
        write(Happening(subject=subject(), incident_id=None, at=long_ago, notices=("down",), closes=closed))[0]
        for closed in (True, False)
    )
    with transaction() as connection:
        assert incidents.prune(connection, incidents.KEPT) == 1
        assert incidents.prune(connection, incidents.KEPT) == 0
    assert listed() == [running.incident_id]
    assert {row["incident_id"] for row in rows("SELECT incident_id FROM incident_steps")} == {running.incident_id}
    assert old.incident_id != running.incident_id


def test_an_incident_of_an_instance_that_was_deleted_ends(subject, write, transaction, listed):
    whom = subject()
    (written,) = write(Happening(subject=whom, incident_id=None, at=AT, notices=("down",)))
    (server,) = write(Happening(subject=GATEWAY, incident_id=None, at=AT, notices=("gateway_down",)))
    with transaction() as connection:
        connection.execute(text("DELETE FROM whatsapp_instances WHERE id = :id"), {"id": whom.instance_id})
        incidents.end_orphaned(connection)
    assert listed(open=False) == [written.incident_id]
    assert listed(open=True) == [server.incident_id]


def test_dropping_an_incident_asks_no_table_row_by_row():
    """Every foreign key to what is dropped has an index that begins with it; servers are a handful."""
    dropped = {Incident.__table__, Alert.__table__, AlertTarget.__table__}
    keys = [
        (table, key.parent)
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if key.column.table in dropped and table is not GatewayHealth.__table__
    ]
    assert len(keys) == 6
    bare = [column for table, column in keys if column not in {next(iter(index.columns)) for index in table.indexes}]
    assert bare == []


def test_a_prune_that_fails_keeps_no_other_from_its_turn(transaction):
    did = []

    def impossible(connection, _):
        connection.exec_driver_sql("SELECT 1 / 0")

    def locked(connection, _):
        raise StorageUnavailable("locked")

    def prune(connection, age):
        did.append(age)
        return 3 - len(did)

    tidy(transaction, [(impossible, DAY), (locked, DAY), (prune, DAY)])
    assert did == [DAY] * 3
