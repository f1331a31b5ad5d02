"""The health monitor against the sandbox: for each way in which a WhatsApp stops, exactly what is told and tried.

Time is the monitor's clock, moved by hand; everything else is real.
"""

from datetime import timedelta
from uuid import uuid4

import pytest
import requests

from core.errors import ProviderError
from monitor.alerting.silences import Silences
from monitor.leader import Deposed
from monitor.pausing import Pausing
from monitor.policy.health import Action
from monitor.watching import attempt_log
from monitor.watching.watched import Attempt
from tests.flow.ward import Ward
from tests.waiting import until


@pytest.fixture
def variables():
    """A breaker that tries again at once: its half minute is real time."""
    return {"BREAKER_OPEN_MS": "1"}


@pytest.fixture
def ward(web, working, sandbox, monitor_clock, rows):
    return Ward(working, sandbox, monitor_clock, rows)


@pytest.fixture
def user(ward):
    """Connected for a quarter of an hour, and found well."""
    made = ward.admit()
    ward.look()
    ward.check(15)
    assert ward.told(made) == []
    return made


def test_a_day_of_checks_changes_nothing_on_the_gateway(ward, user, sandbox):
    sandbox.log.clear()
    ward.check(24 * 60)
    calls = {call.split("?")[0] for call in ward.asked("/")}
    assert calls <= {"GET /metrics", f"GET /instance/connectionState/user_{user}"}
    assert (ward.alerts(), ward.attempts()) == ([], [])
    assert ward.health(user)["state"] == "healthy"


def test_a_drop_that_the_gateway_mends_itself_is_nobody_s_business(ward, user):
    ward.drop(user, 408)
    until(lambda: ward.state(user), lambda state: state == "open")
    ward.settle(60)
    assert (ward.told(user), ward.attempts()) == ([], [])


def test_the_seed_s_ladder_after_a_silent_drop(ward, user):
    """Failure 1 is recorded, 2 alerts, 3 reconnects; told that it is back only once that is seen twice."""
    ward.drop(user, 408, silent=True)
    ward.check()
    assert (ward.told(user), ward.health(user)["failures"], ward.status(user)) == ([], 1, "disconnected")
    ward.check()
    assert (ward.told(user), ward.attempts()) == (["alert:down"], [])
    ward.check()
    ward.settle(15)
    until(lambda: ward.state(user), lambda state: state == "open")
    assert (ward.told(user), ward.attempts()) == (["alert:down"], ["connect"])
    ward.settle(60)
    assert ward.told(user) == ["alert:down", "reconnected:recovered"]
    assert (ward.health(user)["state"], ward.status(user)) == ("healthy", "connected")
    ward.check(30)
    assert (ward.told(user), ward.attempts()) == (["alert:down", "reconnected:recovered"], ["connect"])


def test_a_restart_at_any_point_forgets_nothing_and_repeats_nothing(ward, user):
    ward.drop(user, 408, silent=True)
    for _ in range(4):
        ward.reborn()
        ward.check()
    until(lambda: ward.state(user), lambda state: state == "open")
    for _ in range(6):
        ward.reborn()
        ward.look(15)
    assert ward.told(user) == ["alert:down", "reconnected:recovered"]
    assert ward.attempts() == ["connect"]


def test_a_monitor_that_was_away_for_an_hour_makes_one_round_of_it(ward, user, sandbox, rows):
    sandbox.log.clear()
    ward.look(3600)
    ward.settle(30)
    assert len(ward.asked("connectionState", "/metrics")) == 1
    found = rows("SELECT verdict FROM health_intervals ORDER BY since")
    assert [row["verdict"] for row in found] == ["up", "unknown", "up"]


def test_two_that_lead_by_mistake_write_once(ward, user):
    """The old leader decided, froze, and wakes up when another one leads."""
    old = ward.system.monitor
    term = old.leader.term
    ward.drop(user, 408, silent=True)
    ward.check(2)
    ward.reborn()
    ward.check()
    with pytest.raises(Deposed):
        old.watches["evolution"].step(term)
    assert ward.told(user)[:1] == ["alert:down"]
    assert len(ward.attempts()) <= 1


def test_a_pause_ends_it_all_and_resuming_begins_anew(ward, user, web, bearer, rows):
    admin = bearer(uuid4(), role="admin")
    ward.drop(user, 408, silent=True)
    ward.check(2)
    assert requests.post(f"{web}/api/admin/instances/user_{user}/pause", headers=admin, timeout=30).ok
    assert rows("SELECT closed_at IS NOT NULL AS closed FROM incidents") == [{"closed": True}]
    ward.check(60)
    assert (ward.told(user), ward.attempts()) == (["alert:down"], [])
    assert requests.post(f"{web}/api/admin/instances/user_{user}/resume", headers=admin, timeout=30).ok
    ward.check(2)
    assert ward.told(user) == ["alert:down", "alert:down"]


def test_only_administrators_pause_and_only_what_is_watched(ward, user, web, bearer):
    path = f"{web}/api/admin/instances/user_{user}/pause"
    assert requests.post(path, headers=bearer(user), timeout=30).status_code == 403
    nobody = path.replace(str(user), "nobody")
    assert requests.post(nobody, headers=bearer(uuid4(), role="admin"), timeout=30).status_code == 404


def test_time_under_a_pause_is_unknown(ward, user, rows):
    pausing = Pausing(transaction=ward.system.transaction, clock=ward.clock)
    pausing.pause(f"user_{user}", by="operator")
    ward.check(60)
    pausing.resume(f"user_{user}", by="operator")
    ward.check(2)
    found = rows("SELECT verdict FROM health_intervals ORDER BY since")
    assert [row["verdict"] for row in found] == ["up", "unknown", "up"]


def test_who_is_paused_costs_no_question(ward, sandbox):
    pausing = Pausing(transaction=ward.system.transaction, clock=ward.clock)
    names = ward.fill(5)
    ward.check(3)
    for name in names:
        pausing.pause(name, by="operator")
    sandbox.log.clear()
    ward.settle(180)
    assert ward.asked("/") == []


@pytest.fixture
def attempt(ward, user, rows):
    """One that was decided and is still to be made."""
    (found,) = rows("SELECT id, asked_at FROM whatsapp_instances WHERE user_id = :user", user=user)
    monitor = ward.system.monitor

    def make():
        made = Attempt(
            instance_id=found["id"],
            user_id=user,
            name=f"user_{user}",
            action=Action.RESTART,
            number=1,
            reason=None,
            incident_id=None,
            asked_at=found["asked_at"],
            term=monitor.leader.term,
        )
        with ward.system.transaction() as connection:
            (number,) = attempt_log.begin(connection, [made], ward.clock.now())
        return number, made

    return make


def outcome(rows) -> object:
    return rows("SELECT outcome FROM connection_events")[0]["outcome"]


def test_what_was_decided_is_done(ward, attempt, rows):
    monitor = ward.system.monitor
    monitor.actions.start([attempt()])
    monitor.actions.finish()
    assert outcome(rows) in ("asked", "open")  # the gateway's answer may still show how it was before
    assert len(ward.asked("/instance/restart/")) == 1


def overtaken_by_a_pause(ward, user):
    Pausing(transaction=ward.system.transaction, clock=ward.clock).pause(f"user_{user}", by="operator")


def overtaken_by_a_person(ward, user):
    with ward.system.transaction() as connection:
        connection.exec_driver_sql("UPDATE whatsapp_instances SET asked_at = now()")


def overtaken_by_a_verdict(ward, user):
    ward.drop(user, 401)
    until(lambda: ward.status(user), lambda status: status == "disconnected")
    ward.settle(20)


def overtaken_by_another_leader(ward, user):
    ward.reborn()


@pytest.mark.parametrize(
    "meanwhile",
    [overtaken_by_a_pause, overtaken_by_a_person, overtaken_by_a_verdict, overtaken_by_another_leader],
)
def test_what_was_overtaken_is_not_done_any_more(ward, user, attempt, rows, meanwhile):
    actions, decided = ward.system.monitor.actions, attempt()
    meanwhile(ward, user)
    actions.start([decided])
    actions.finish()
    assert outcome(rows) == "overtaken"
    assert ward.asked("/instance/restart/") == []


@pytest.fixture
def lost_pairing(ward, attempt):
    """An attempt that the gateway has answered with a code, and nobody has heard of it yet."""

    def make():
        number, _ = attempt()
        with ward.system.transaction() as connection:
            attempt_log.answered(connection, number, "shows_code", ward.clock.now())

    return make


def test_an_answer_is_not_lost_with_the_process_that_got_it(ward, user, lost_pairing):
    """The pairing is lost: no second attempt, whoever leads."""
    ward.drop(user, 408, silent=True)
    ward.check(2)
    lost_pairing()
    ward.reborn()
    ward.look(5)
    told = ["alert:down", "reconnect_failed:reconnect_failed", "alert:needs_qr"]
    assert ward.told(user) == told
    ward.check(60)
    assert (ward.told(user), ward.attempts()) == (told, ["restart"])


def test_an_answer_that_came_while_nobody_watched_is_of_yesterday(ward, user, lost_pairing, rows):
    pausing = Pausing(transaction=ward.system.transaction, clock=ward.clock)
    pausing.pause(f"user_{user}", by="operator")
    lost_pairing()
    ward.look(5)
    assert rows("SELECT taken_in FROM connection_events") == [{"taken_in": True}]
    ward.drop(user, 408, silent=True)
    pausing.resume(f"user_{user}", by="operator")
    ward.check(2)
    assert ward.told(user) == ["alert:down"]


def test_one_row_that_cannot_be_read_keeps_nobody_from_being_watched(ward, user, rows):
    other = ward.admit()
    ward.check(2)
    with ward.system.transaction() as connection:
        connection.exec_driver_sql(
            'UPDATE instance_health SET memory = \'{"announced": ["of a later version"]}\', settled_until = NULL'
            " WHERE instance_id = (SELECT id FROM whatsapp_instances WHERE user_id = %s)",
            (other,),
        )
    ward.drop(user, 408, silent=True)
    ward.check(2)
    assert ward.told(user) == ["alert:down"]
    assert ward.health(other)["state"] == "healthy"


def test_maintenance_looks_at_nobody(ward, user, sandbox):
    silences = Silences(ward.system.transaction, ward.clock)
    begin, end = ward.clock.now(), ward.clock.now() + timedelta(hours=1)
    silences.add(kind="maintenance", starts_at=begin, ends_at=end, reason=None, by="operator")
    ward.drop(user, 408, silent=True)
    sandbox.log.clear()
    ward.check(30)
    assert (ward.asked("connectionState", "/metrics"), ward.told(user)) == ([], [])
    ward.check(33)
    assert ward.told(user)[:1] == ["alert:down"]


def test_a_row_that_is_deleted_between_look_and_verdict_is_no_trouble(ward, user):
    other = ward.admit()
    ward.drop(other, 408, silent=True)
    ward.check()
    with ward.system.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM whatsapp_instances WHERE user_id = %s", (other,))
    ward.check(3)
    assert ward.health(user)["state"] == "healthy"


def test_the_words_are_those_of_the_seed(ward, user, rows):
    ward.drop(user, 408, silent=True)
    ward.check(3)
    ward.settle(15)
    until(lambda: ward.state(user), lambda state: state == "open")
    ward.settle(60)
    titles = [row["data"]["title"] for row in rows("SELECT data FROM feed WHERE data ? 'title' ORDER BY id")]
    assert titles[0].startswith("⚠️")
    assert titles[-1] == "Reconectado! ✅"


def test_a_phone_that_was_unpaired_is_told_once_and_never_reconnected(ward, user):
    ward.drop(user, 401)
    until(lambda: ward.status(user), lambda status: status == "disconnected")
    ward.settle(20)
    assert ward.told(user) == ["alert:needs_qr"]
    ward.check(120)
    assert (ward.told(user), ward.attempts()) == (["alert:needs_qr"], [])


@pytest.mark.parametrize("reason", [402, 403, 406])
def test_a_ban_is_told_once_and_left_alone(ward, user, reason):
    if reason == 403:
        ward.drop(user, reason)
    else:  # the sandbox's phones are not banned like that
        ward.drop(user, 408, silent=True)
        ward.report(user, "close", statusReason=reason)
    until(lambda: ward.status(user), lambda status: status == "disconnected")
    ward.settle(20)
    assert ward.told(user) == ["alert:banned"]
    ward.check(60)
    assert (ward.told(user), ward.attempts()) == (["alert:banned"], [])


def test_two_that_fight_for_one_session_are_not_helped(ward, user):
    ward.drop(user, 408, silent=True)
    for _ in range(3):
        ward.report(user, "close", statusReason=440)
        ward.look(5)
    ward.settle(20)
    assert ward.told(user) == ["alert:conflict"]
    ward.check(60)
    assert (ward.told(user), ward.attempts()) == (["alert:conflict"], [])


def test_one_that_the_gateway_lost_is_told_after_two_looks(ward, user, sandbox):
    sandbox.reset()
    ward.check()
    ward.settle(30)
    assert ward.told(user) == ["alert:gone"]
    ward.check(60)
    assert (ward.told(user), ward.attempts()) == (["alert:gone"], [])


def test_connecting_for_ever_counts_after_two_minutes_and_is_restarted(ward, user):
    ward.mode(user, "stuck_connecting")
    ward.check(2)
    assert (ward.told(user), ward.attempts()) == ([], [])
    ward.check(5)
    assert ward.told(user)[0] == "alert:down"
    assert ward.attempts()[0] == "restart"


def test_what_never_comes_back_is_given_up_and_says_so(ward, user):
    ward.mode(user, "stuck_connecting")
    ward.check(180)
    assert ward.told(user) == ["alert:down", "reconnect_failed:reconnect_failed", "alert:gave_up"]
    assert len(ward.attempts()) == 5
    assert ward.health(user)["state"] == "error"


def test_a_person_s_click_ends_the_giving_up(ward, user):
    ward.mode(user, "stuck_connecting")
    ward.check(60)
    ward.mode(user, "normal")
    until(lambda: ward.state(user), lambda state: state == "open")
    ward.settle(120)
    assert ward.told(user)[-1] == "reconnected:recovered"
    assert ward.health(user)["state"] == "healthy"


def test_an_open_one_that_sends_nothing_is_restarted_with_care(ward, user):
    ward.mode(user, "half_open")
    with pytest.raises(ProviderError):
        ward.system.manager.send_text(user, "5511988887777", "oi")
    ward.check()
    assert (ward.told(user), ward.attempts()) == (["alert:deaf"], ["revive"])
    until(lambda: ward.state(user), lambda state: state == "open")
    ward.settle(120)
    assert ward.told(user) == ["alert:deaf", "reconnected:recovered"]
    ward.check(60)
    assert ward.attempts() == ["revive"]


def test_flapping_is_told_once(ward, user):
    for _ in range(12):
        ward.drop(user, 408, silent=True)
        ward.check(1)
        ward.system.manager.reconnect_user_whatsapp(user)
        until(lambda: ward.state(user), lambda state: state == "open")
        ward.check(1)
    assert ward.told(user) == ["alert:flapping"]
    ward.check(60)
    assert ward.told(user) == ["alert:flapping", "reconnected:recovered"]
    assert len(ward.attempts()) == 0


def test_a_gateway_that_is_away_is_one_alert_and_nobody_s_fault(ward, user, sandbox, rows):
    """One alert, one recovery; nothing about instances, nothing tried."""
    others = [ward.admit() for _ in range(3)]
    ward.check(10)
    ward.sandbox.stop()
    ward.settle(600)
    assert ward.alerts() == ["gateway_down"]
    assert ward.health(user)["failures"] == 0
    ward.sandbox.start()
    ward.settle(900)
    assert ward.alerts() == ["gateway_down", "gateway_recovered"]
    assert ward.attempts() == []
    assert [ward.told(one) for one in (user, *others)] == [[]] * 4


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ({"status": 401}, "gateway_auth"),
        ({"license_required": True}, "gateway_licence"),
        ({"status": 503}, "gateway_down"),
        ({"garbage": "html"}, "gateway_down"),
    ],
)
def test_the_gateway_s_own_trouble_is_named(ward, user, faults, kind):
    ward.play("faults", **faults)
    ward.settle(600)
    assert ward.alerts() == [kind]
    ward.play("faults")
    ward.settle(900)
    assert ward.alerts() == [kind, "gateway_recovered"]
    assert (ward.attempts(), ward.told(user)) == ([], [])


def test_who_parted_by_their_own_wish_is_not_missed(ward, user):
    ward.drop(user, 408, silent=True)
    ward.check(2)
    ward.system.manager.part_user_whatsapp(user)
    ward.check(60)
    assert (ward.told(user), ward.attempts()) == (["alert:down"], [])
    assert ward.health(user)["state"] == "unknown"
