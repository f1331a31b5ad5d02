"""What is written down when people are to be told, and for whom."""

from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet

from core import events
from core.crypto import Vault
from core.errors import Malformed, NotFound
from monitor.alerting import silences
from monitor.alerting.alert_log import AlertLog
from monitor.alerting.alerts import record
from monitor.alerting.reminders import Reminders, remind
from monitor.alerting.silences import Silences
from tests.alerting import NOON, incident, states, target, told
from tests.factories import make_instance

DAY = timedelta(days=1)
LATER = timedelta(minutes=3)


@pytest.fixture
def vault():
    return Vault(Fernet.generate_key().decode())


@pytest.fixture
def aim(transaction, vault):
    """A target called `name`."""
    return lambda name, **columns: target(transaction, vault, f"json://{name}.example/", name=name, **columns)


@pytest.fixture
def opened(transaction):
    def make(*args, **more):
        with transaction() as connection:
            return incident(connection, *args, **more)

    return make


@pytest.fixture
def tell(transaction):
    def write(*what):
        with transaction() as connection:
            frames = record(connection, what)
            events.record(connection, frames)
            return frames

    return write


@pytest.fixture
def person(transaction):
    def make(role="user"):
        with transaction() as connection:
            user_id, name = make_instance(connection)
            connection.exec_driver_sql("UPDATE profiles SET role = %s WHERE id = %s", (role, user_id))
            return user_id, name

    return make


def test_the_user_of_an_instance_is_told_with_a_button(person, opened, tell):
    user_id, name = person()
    person("admin")
    number = opened(name)
    [frame] = tell(told(number, "reconnect_failed", name, user_id=user_id))
    assert (frame.user_id, frame.type) == (user_id, "reconnect_failed")
    assert frame.data["action"] == {"label": "Reconectar Agora", "command": "start"}
    assert frame.data["incidentId"] == number
    assert frame.data["instanceName"] == name
    assert frame.data["title"]
    assert name in frame.data["text"]


@pytest.mark.parametrize(
    ("kind", "type_"), [("down", "alert"), ("banned", "alert"), ("recovered", "reconnected"), ("needs_qr", "alert")]
)
def test_the_frames_of_kinds(person, opened, tell, kind, type_):
    user_id, name = person()
    [frame] = tell(told(opened(name), kind, name, user_id=user_id))
    assert frame.type == type_


def test_all_administrators_are_told_of_a_server(person, opened, tell):
    admins = {person("admin")[0], person("admin")[0]}
    person()
    frames = tell(told(opened(None), "gateway_down", None), told(opened(None), "gateway_recovered", None))
    assert {frame.user_id for frame in frames} == admins
    assert [frame.type for frame in frames] == ["alert", "alert", "notice", "notice"]


def test_nothing_is_said_twice(opened, tell, aim, rows):
    aim("a")
    number = opened()
    assert [tell(told(number)), tell(told(number))] == [[], []]
    tell(told(number), told(number), told(number, "banned"))
    tell(told(number, "reminder", again=1), told(number, "reminder", again=2), told(number, "reminder", again=1))
    found = [row["dedupe"].removeprefix(f"{number}:") for row in rows("SELECT dedupe FROM alerts ORDER BY id")]
    assert found == ["down", "banned", "reminder:1", "reminder:2"]
    assert len(states(rows)) == 4


def test_a_decision_that_is_undone_tells_nobody(transaction, opened, aim, rows):
    aim("a")
    number = opened()

    def decide():
        with transaction() as connection:
            record(connection, [told(number)])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        decide()
    assert rows("SELECT FROM alerts") == rows("SELECT FROM alert_deliveries") == []


def test_targets_of_other_organizations_hear_nothing(opened, tell, aim, rows):
    aim("all")
    aim("mine", organization_id="org_1")
    aim("other", organization_id="org_2")
    tell(told(opened(organization_id="org_1"), organization_id="org_1"))
    tell(told(opened(), "banned"))
    tell(told(opened(None), "gateway_down", None))
    assert [(kind, name) for kind, name, _ in states(rows)] == [
        ("down", "all"),
        ("down", "mine"),
        ("banned", "all"),
        ("gateway_down", "all"),
    ]


def test_targets_choose_by_severity_and_kind_and_can_be_switched_off(opened, tell, aim, rows):
    aim("critical", least="critical")
    aim("warning", least="warning")
    aim("banned", kinds=["banned"])
    aim("off", enabled=False)
    number = opened()
    tell(told(number, "down"), told(number, "banned"))
    assert [(kind, name) for kind, name, _ in states(rows)] == [
        ("down", "warning"),
        ("banned", "banned"),
        ("banned", "critical"),
        ("banned", "warning"),
    ]


def test_who_heard_of_it_hears_that_it_is_over(opened, tell, aim, transaction, rows):
    aim("heard", least="critical", kinds=["banned"])
    aim("did not", least="critical", kinds=["gone"])
    number = opened()
    tell(told(number, "banned"))
    with transaction() as connection:
        connection.exec_driver_sql("UPDATE alert_deliveries SET state = 'sent'")
    aim("came later")
    tell(told(number, "recovered", after=LATER))
    assert states(rows) == [("banned", "heard", "sent"), ("recovered", "heard", "pending")]


def test_a_recovery_takes_the_place_of_what_has_not_left_yet(opened, tell, aim, transaction, rows):
    aim("slow")
    number, other = opened(), opened("user_2")
    tell(told(number, "down"), told(number, "reconnect_failed"), told(number, "gave_up"), told(other, "down", "user_2"))
    with transaction() as connection:
        connection.exec_driver_sql("""
            UPDATE alert_deliveries SET claimed_until = now() + interval '1 minute' FROM alerts
            WHERE alerts.id = alert_id AND kind = 'reconnect_failed'
        """)
        connection.exec_driver_sql("""
            UPDATE alert_deliveries SET claimed_until = now() - interval '1 second' FROM alerts
            WHERE alerts.id = alert_id AND kind = 'gave_up'
        """)
    tell(told(number, "recovered", after=LATER))
    assert [(kind, state) for kind, _, state in states(rows)] == [
        ("down", "collapsed"),
        ("reconnect_failed", "pending"),  # somebody is sending it
        ("gave_up", "collapsed"),  # who had it died
        ("down", "pending"),
        ("recovered", "pending"),
    ]


def test_a_whole_incident_in_one_transaction(opened, tell, aim, rows):
    aim("a")
    number = opened()
    tell(told(number), told(number, "recovered", after=LATER))
    assert [(kind, state) for kind, _, state in states(rows)] == [("down", "collapsed"), ("recovered", "pending")]


def test_silences_of_an_instance_an_organization_and_all(transaction, clock, person, opened, tell, aim, rows):
    aim("a")
    quiet, soon = Silences(transaction, clock), clock.now() + timedelta(hours=1)
    user_id, name = person()
    [instance] = rows("SELECT id FROM whatsapp_instances")
    silence = quiet.add(kind="mute", ends_at=soon, by="x", instance_name=name, reason="obra")
    quiet.add(kind="maintenance", ends_at=soon, by="x", organization_id="org_1")
    first = opened(name)
    assert tell(told(first, name=name, instance_id=instance["id"], user_id=user_id))  # the live channel is not muted
    tell(told(opened(), "banned", organization_id="org_1"))
    tell(told(opened(None), "gateway_down", None))
    quiet.end(silence.id, "x")
    tell(told(first, "gone", name, instance_id=instance["id"]))
    assert [(kind, state) for kind, _, state in states(rows)] == [
        ("down", "muted"),
        ("banned", "muted"),
        ("gateway_down", "pending"),
        ("gone", "pending"),
    ]
    quiet.add(kind="mute", ends_at=soon, by="x")
    tell(told(opened(None), "gateway_auth", None))
    assert states(rows)[-1] == ("gateway_auth", "a", "muted")


def test_a_recovery_that_nobody_hears_takes_no_alerts_place(transaction, clock, opened, tell, aim, rows):
    aim("a")
    number = opened()
    tell(told(number))
    Silences(transaction, clock).add(kind="mute", ends_at=clock.now() + timedelta(hours=1), by="x")
    tell(told(number, "recovered", after=LATER))
    assert [(kind, state) for kind, _, state in states(rows)] == [("down", "pending"), ("recovered", "muted")]


def test_silences_begin_and_end(transaction, clock, person):
    quiet = Silences(transaction, clock)
    _, name = person()
    hour = timedelta(hours=1)
    now = quiet.add(kind="maintenance", ends_at=clock.now() + hour, by="x", instance_name=name)
    then = quiet.add(kind="mute", starts_at=clock.now() + hour, ends_at=clock.now() + 2 * hour, by="x")
    assert [one.id for one in quiet.list()] == [now.id, then.id]
    assert quiet.list()[0].instance_name == name

    def active():
        with transaction() as connection:
            return silences.active(connection, clock.now())

    assert (active().mute.everybody, len(active().maintenance.instances)) == (False, 1)
    clock.advance(hours=1)
    assert active().mutes(None, None)
    assert active().maintenance.instances == frozenset()
    quiet.end(then.id, "x")
    assert not active().mutes(None, None)
    assert quiet.list() == []
    with pytest.raises(NotFound):
        quiet.end(now.id, "x")


def test_maintenance_is_more_than_a_mute(transaction, clock):
    quiet = Silences(transaction, clock)
    quiet.add(kind="mute", ends_at=clock.now() + LATER, by="x", organization_id="muted")
    quiet.add(kind="maintenance", ends_at=clock.now() + LATER, by="x", organization_id="closed")
    with transaction() as connection:
        active = silences.active(connection, clock.now())
    assert [active.mutes(uuid4(), name) for name in ("muted", "closed", None)] == [True, True, False]
    assert [active.maintains(uuid4(), name) for name in ("muted", "closed", None)] == [False, True, False]


def test_silences_that_make_no_sense(transaction, clock):
    quiet = Silences(transaction, clock)
    with pytest.raises(Malformed):
        quiet.add(kind="mute", ends_at=clock.now(), by="x")
    with pytest.raises(Malformed):
        quiet.add(kind="mute", ends_at=clock.now() + LATER, by="x", instance_name="a", organization_id="b")
    with pytest.raises(NotFound):
        quiet.add(kind="mute", ends_at=clock.now() + LATER, by="x", instance_name="nobody")


def test_an_open_incident_is_told_again_every_day_until_somebody_knows(transaction, person, opened, aim, tell, rows):
    aim("a", least="critical")
    _, name = person()
    opened(name)  # its kind is too harmless for this target
    number = opened(name, kind="banned")
    tell(told(number, "banned", name))

    def again(after):
        with transaction() as connection:
            found = remind(connection, NOON + after, DAY)
            record(connection, found)
            return [(one.incident_id, one.again) for one in found if one.incident_id == number]

    assert again(DAY - timedelta(seconds=1)) == []
    assert again(DAY) == [(number, 1)]
    assert again(DAY) == []
    assert again(2 * DAY) == [(number, 2)]
    assert [kind for kind, _, _ in states(rows)] == ["banned", "reminder", "reminder"]
    with transaction() as connection:
        connection.exec_driver_sql("UPDATE incidents SET acknowledged_at = now()")
    assert again(5 * DAY) == []


def test_who_is_gone_keeps_nobody_from_being_reminded(transaction, clock, person, opened, aim, rows):
    aim("a")
    user_id, name = person()
    _, deserted = person()
    opened(name, user_id=user_id)
    opened(deserted, user_id=uuid4())  # its user has no profile any more
    opened("deleted", user_id=uuid4())
    clock.advance(hours=25)
    assert Reminders(transaction, clock, DAY, lambda _: None).tell() == 2
    assert [row["user_id"] for row in rows("SELECT user_id FROM feed")] == [user_id]
    assert states(rows) == [("reminder", "a", "pending")] * 2


def test_what_is_over_is_not_told_again(transaction, person, opened):
    opened(person()[1])
    with transaction() as connection:
        connection.exec_driver_sql("UPDATE incidents SET closed_at = now()")
        assert remind(connection, NOON + 2 * DAY, DAY) == []


def test_reminders_reach_the_browser_and_can_be_switched_off(transaction, clock, person, opened, rows):
    user_id, name = person()
    opened(name, user_id=user_id)
    clock.advance(hours=25)
    rung: list[list[str]] = []
    assert Reminders(transaction, clock, None, rung.append).tell() == 0
    assert Reminders(transaction, clock, DAY, rung.append).tell() == 1
    assert rung == [[str(user_id)]]
    [row] = rows("SELECT type, data FROM feed")
    assert (row["type"], row["data"]["kind"]) == ("alert", "reminder")


def test_the_log_shows_what_was_told_and_what_became_of_it(transaction, opened, tell, aim):
    aim("a")
    aim("b")
    user_id = uuid4()
    first, second = opened("user_1", user_id=user_id), opened("user_2")
    tell(told(first), told(second, "banned", "user_2"))
    with transaction() as connection:
        connection.exec_driver_sql("""
            UPDATE alert_deliveries SET state = 'sent', attempts = 2, sent_at = '2026-11-22T12:01Z' FROM alert_targets t
            WHERE t.id = target_id AND t.name = 'b'
        """)
    log = AlertLog(transaction)
    newest, oldest = log.newest(limit=5)
    assert (newest.kind, newest.severity, newest.instance_name) == ("banned", "critical", "user_2")
    assert (oldest.user_id, oldest.incident_id) == (user_id, first)
    assert [(one.target, one.state, one.attempts) for one in oldest.deliveries] == [
        ("a", "pending", 0),
        ("b", "sent", 2),
    ]
    assert oldest.deliveries[1].sent_at == NOON + timedelta(minutes=1)
    assert [one.id for one in log.newest(limit=1)] == [newest.id]
    assert [one.id for one in log.newest(limit=5, before=newest.id)] == [oldest.id]
    assert [one.id for one in log.newest(limit=5, kind="banned")] == [newest.id]
    assert [one.id for one in log.newest(limit=5, instance="user_1")] == [oldest.id]
