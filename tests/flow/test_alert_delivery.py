"""Alerts on their way out: to a real receiver, through real failures."""

import json
import logging
import subprocess
import sys
from datetime import time as hour
from datetime import timedelta
from email import message_from_string, policy
from pathlib import Path

import apprise
import pytest
import requests
from cryptography.fernet import Fernet
from sqlalchemy import text

from core.crypto import Vault
from core.db import transactions
from core.errors import NotConnected
from manager.providers.port import State
from monitor.alerting.alerts import record
from monitor.alerting.channels import Channels, NotSent, addresses_of
from monitor.alerting.deliveries import LOOKED_AT_MOST
from monitor.alerting.outbox import Outbox
from monitor.alerting.targets import Targets
from tests.alerting import NOON, Listener, PostOffice, incident, states, target, told
from tests.factories import make_instance
from tests.unit.test_target_rules import GOOD
from tests.waiting import until

NIGHTLY = {"quiet_from": hour(22), "quiet_until": hour(7), "timezone": "America/Sao_Paulo"}
ROOT = Path(__file__).resolve().parents[2]
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def post_office():
    made = PostOffice()
    yield made
    made.close()


@pytest.fixture
def transaction(engine):
    return transactions(engine)


@pytest.fixture
def vault():
    return Vault(Fernet.generate_key().decode())


@pytest.fixture
def wrote():
    """What went out by WhatsApp."""
    return []


@pytest.fixture
def channels(wrote):
    return Channels(lambda *what: wrote.append(what), allow_private=True)


@pytest.fixture
def outbox(transaction, vault, channels):
    made = Outbox(transaction, vault, channels.send, patience_s=20)
    yield made
    made.stop()


@pytest.fixture
def aim(transaction, vault, listener):
    """A target at a path of the listener."""
    return lambda path="/in", **columns: target(transaction, vault, listener.url(path), name=path, **columns)


@pytest.fixture
def tell(transaction):
    """Decide that people are told, of incidents by the name of their instance."""
    incidents = {}

    def write(*what, name="user_1", **more):
        with transaction() as connection:
            if name not in incidents:
                incidents[name] = incident(connection, name)
            record(connection, [told(incidents[name], kind, name, **more) for kind in what])
        return incidents[name]

    return write


@pytest.fixture
def do(transaction):
    def run(statement, **values):
        with transaction() as connection:
            connection.execute(text(statement), values)

    return run


def test_an_alert_arrives_in_plain_words(outbox, aim, listener, tell, rows):
    aim()
    number = tell("down")
    assert outbox.deliver(NOON) == 1
    [body] = listener.bodies()
    assert "user_1" in body["message"]
    assert body["message"].endswith(f"Incidente {number}")
    assert body["type"] == "warning"
    [row] = rows("SELECT state, attempts, sent_at, claimed_until, error FROM alert_deliveries")
    assert row == {"state": "sent", "attempts": 1, "sent_at": NOON, "claimed_until": None, "error": None}
    assert outbox.deliver(NOON + DAY) == 0
    assert len(listener.bodies()) == 1


def test_each_target_hears_its_own_language(outbox, aim, listener, tell):
    aim("/pt")
    aim("/en", language="en")
    tell("down")
    assert outbox.deliver(NOON) == 2
    assert listener.titles("/pt") != listener.titles("/en")
    assert "Incident " in listener.bodies("/en")[0]["message"]


def test_what_fails_is_tried_again_with_growing_waits(outbox, aim, listener, tell, rows):
    aim()
    listener.answers["/in"] = 500
    tell("down")
    assert [outbox.deliver(NOON + timedelta(seconds=s)) for s in (0, 29, 30, 89, 90)] == [0] * 5
    assert len(listener.bodies()) == 3
    [row] = rows("SELECT state, attempts, error FROM alert_deliveries")
    assert row == {"state": "pending", "attempts": 3, "error": "HTTP_500"}
    listener.answers.clear()
    assert outbox.deliver(NOON + timedelta(seconds=90 + 120)) == 1
    assert states(rows) == [("down", "/in", "sent")]


def test_after_a_day_it_is_given_up_and_the_reason_kept(outbox, aim, listener, tell, rows):
    aim()
    listener.answers["/in"] = 404
    tell("down")
    outbox.deliver(NOON)
    outbox.deliver(NOON + DAY)
    [row] = rows("SELECT state, attempts, error FROM alert_deliveries")
    assert row == {"state": "failed", "attempts": 2, "error": "HTTP_404"}
    assert outbox.deliver(NOON + 2 * DAY) == 0


def test_the_day_of_trying_begins_with_the_first_attempt(outbox, aim, listener, tell, rows):
    """Decided two days ago: nobody was there to send it, or a digest held it back."""
    aim()
    listener.answers["/in"] = 500
    tell("down")
    outbox.deliver(NOON + 2 * DAY)
    outbox.deliver(NOON + 3 * DAY - MINUTE)
    assert states(rows) == [("down", "/in", "pending")]
    outbox.deliver(NOON + 3 * DAY)
    assert states(rows) == [("down", "/in", "failed")]


def test_what_waited_for_a_dead_target_is_given_up_with_what_was_tried(outbox, aim, listener, tell, rows):
    aim()
    listener.answers["/in"] = 500
    for name in ("a", "b"):
        tell("down", name=name)
    for after in (timedelta(), DAY):
        outbox.deliver(NOON + after)
    assert len(listener.bodies()) == 2
    assert rows("SELECT DISTINCT state, error FROM alert_deliveries") == [{"state": "failed", "error": "HTTP_500"}]


def test_a_dead_target_does_not_stand_before_the_others(transaction, vault, channels, aim, listener, tell):
    """There is room for one at a time, and the dead one has a backlog."""
    aim("/dead")
    listener.answers["/dead"] = 500
    for name in ("a", "b", "c"):
        tell("down", name=name)
    aim("/in")
    tell("down", name="d", after=MINUTE)
    outbox = Outbox(transaction, vault, channels.send, width=1, patience_s=20)
    assert [outbox.deliver(NOON + MINUTE) for _ in range(3)] == [0, 1, 0]
    assert [len(listener.bodies(path)) for path in ("/dead", "/in")] == [1, 1]


def test_a_target_that_takes_nothing_is_left_alone_for_longer_each_time(outbox, aim, listener, tell, rows):
    """However many wait for it, and each in its turn."""
    aim()
    listener.answers["/in"] = 500
    for name in ("a", "b", "c", "d"):
        tell("down", name=name)
    for seconds in (0, 29, 30, 89, 90, 209, 210):
        outbox.deliver(NOON + timedelta(seconds=seconds))
    assert len(listener.bodies()) == 4
    assert rows("SELECT DISTINCT attempts, next_at FROM alert_deliveries") == [
        {"attempts": 1, "next_at": NOON + timedelta(seconds=510)}
    ]


def test_a_message_that_is_refused_does_not_stand_before_the_others(transaction, vault, channels, aim, listener, tell):
    aim()

    def send(url, title, body, severity):
        if "user_1" in body:
            raise NotSent("not this one", code="HTTP_400")
        channels.send(url, title, body, severity)

    outbox = Outbox(transaction, vault, send, patience_s=20)
    for name in ("user_1", "user_2", "user_3"):
        tell("down", name=name)
    assert [outbox.deliver(NOON), outbox.deliver(NOON + MINUTE)] == [0, 2]


def test_an_alert_that_cannot_be_put_in_words_blocks_nothing(outbox, aim, listener, tell, do, rows):
    aim()
    number = tell("down", "banned")
    tell("down", name="user_2")
    do("UPDATE alerts SET kind = 'born_tomorrow' WHERE kind = 'down' AND incident_id = :id", id=number)
    assert outbox.deliver(NOON) == 2
    broken = "SELECT state, attempts, error FROM alert_deliveries WHERE state <> 'sent'"
    assert rows(broken) == [{"state": "pending", "attempts": 1, "error": "CRASHED"}]
    outbox.deliver(NOON + timedelta(seconds=29))
    outbox.deliver(NOON + DAY)
    assert rows(broken) == [{"state": "failed", "attempts": 2, "error": "CRASHED"}]


def test_a_digest_leaves_without_what_cannot_be_put_in_words(outbox, aim, listener, tell, do, rows):
    aim(digest_minutes=30)
    for name in ("a", "b", "c"):
        tell("down", name=name)
    do("UPDATE alerts SET kind = 'born_tomorrow' WHERE id = (SELECT min(id) FROM alerts)")
    assert outbox.deliver(NOON + 30 * MINUTE) == 1
    assert listener.titles() == ["2 avisos do Zelador"]
    assert [state for _, _, state in states(rows)] == ["pending", "sent", "sent"]


def test_what_a_wrong_clock_has_dated_ahead_is_not_waited_for(outbox, aim, listener, tell):
    aim()
    aim("/night", **NIGHTLY)
    aim("/digest", digest_minutes=30)
    tell("down", after=DAY)
    assert outbox.deliver(NOON) == 3


def test_what_is_held_back_for_the_night_is_not_taken_for_wrongly_dated(outbox, aim, listener, tell, rows):
    aim(**NIGHTLY)
    tell("down", after=timedelta(hours=14))
    morning = [{"next_at": NOON + timedelta(hours=22)}]
    for hours in (14, 15, 21):
        assert outbox.deliver(NOON + timedelta(hours=hours)) == 0
        assert rows("SELECT next_at FROM alert_deliveries") == morning


def test_what_waits_goes_out_as_soon_as_the_target_takes_messages_again(outbox, aim, listener, tell):
    aim()
    listener.answers["/in"] = 503
    for name in ("a", "b"):
        tell("down", name=name)
        outbox.deliver(NOON)
    listener.answers.clear()
    tell("down", name="c")
    assert outbox.deliver(NOON) == 3


def test_nobody_is_held_up_by_slow_broken_and_throwing_targets(transaction, vault, channels, aim, listener, tell, rows):
    for path in ("/held", "/broken", "/in"):
        aim(path)
    target(transaction, vault, "json://127.0.0.1:1/", name="gone")
    target(transaction, vault, "whatsapp://user_1/5511999990001", name="throws")
    listener.answers["/broken"] = 500

    def send(url, *message):
        if url.startswith("whatsapp"):
            raise ZeroDivisionError(url)
        channels.send(url, *message)

    outbox = Outbox(transaction, vault, send, patience_s=0)
    tell("down")
    outbox.deliver(NOON)
    listener.wait_for(1)
    until(lambda: {name: state for _, name, state in states(rows)}["/in"], lambda state: state == "sent")
    tell("down", name="user_2")  # while the slow one is still at it
    until(lambda: outbox.deliver(NOON) or len(listener.titles()), lambda count: count >= 2)
    assert len(listener.titles("/held")) == 1
    listener.release.set()
    until(lambda: outbox.deliver(NOON) or len(listener.titles("/held")), lambda count: count == 2)
    outbox.stop(10)
    found = rows(
        "SELECT name, max(error) AS error FROM alert_deliveries JOIN alert_targets t ON t.id = target_id GROUP BY name"
    )
    errors = {row["name"]: row["error"] for row in found}
    assert errors == {"/held": None, "/in": None, "/broken": "HTTP_500", "gone": "NOT_SENT", "throws": "CRASHED"}


def test_a_target_that_answers_a_byte_at_a_time_has_its_time_too(transaction, vault, aim, listener, tell, rows):
    aim("/drip")
    channels = Channels(lambda *_: None, allow_private=True, timeout_s=0.3)
    tell("down")
    assert Outbox(transaction, vault, channels.send, patience_s=20).deliver(NOON) == 0
    assert rows("SELECT error FROM alert_deliveries") == [{"error": "TIMED_OUT"}]


def test_a_redirect_is_not_followed(channels, listener):
    listener.answers["/in"] = 307
    with pytest.raises(NotSent) as caught:
        channels.send(listener.url(), "a", "b")
    assert caught.value.code == "HTTP_307"
    assert listener.bodies("/elsewhere") == []


def test_a_header_for_the_webhook_goes_along(channels, listener):
    channels.send(listener.url() + "?+X-Token=s3cret", "a", "b")
    assert listener.headers[0]["X-Token"] == "s3cret"


def test_alerts_of_an_incident_come_in_order(outbox, aim, listener, tell):
    aim()
    listener.answers["/in"] = 500
    tell("down", "reconnect_failed")
    outbox.deliver(NOON)
    tell("gave_up")
    tell("banned", name="user_2")
    outbox.deliver(NOON)
    listener.answers.clear()
    assert outbox.deliver(NOON + MINUTE) == 4
    titles = [title for title in listener.titles()[2:] if title != listener.titles()[1]]
    assert len(set(titles)) == 3
    assert titles.index(listener.titles()[0]) == 0


def test_a_short_outage_that_nobody_heard_of_is_one_message(outbox, aim, listener, tell, rows):
    aim()
    tell("down")
    tell("recovered", after=3 * MINUTE)
    assert outbox.deliver(NOON + 3 * MINUTE) == 1
    [body] = listener.bodies()
    assert "3 min" in body["message"]
    assert "já voltou" in body["message"]
    assert [(kind, state) for kind, _, state in states(rows)] == [("down", "collapsed"), ("recovered", "sent")]


def test_a_recovery_never_comes_before_its_alert(transaction, vault, channels, aim, listener, tell, rows):
    aim("/held")
    outbox = Outbox(transaction, vault, channels.send, patience_s=0)
    tell("down")
    outbox.deliver(NOON)
    listener.wait_for(1, "/held")
    tell("recovered", after=MINUTE)  # the alert is on its way: it is too late to hold it back
    outbox.deliver(NOON + MINUTE)
    assert len(listener.bodies("/held")) == 1
    listener.release.set()
    until(lambda: outbox.deliver(NOON + MINUTE) or len(listener.bodies("/held")), lambda count: count == 2)
    outbox.stop(10)
    assert [(kind, state) for kind, _, state in states(rows)] == [("down", "sent"), ("recovered", "sent")]
    assert listener.bodies("/held")[1]["type"] == "info"


def test_quiet_hours_let_only_the_critical_through(outbox, aim, listener, tell):
    aim(**NIGHTLY)
    night = timedelta(hours=14)  # 23:00 in São Paulo
    tell("down", after=night)
    tell("banned", name="user_2", after=night)
    assert outbox.deliver(NOON + night) == 1
    assert listener.bodies()[0]["type"] == "failure"
    assert outbox.deliver(NOON + timedelta(hours=21, minutes=59)) == 0
    assert outbox.deliver(NOON + timedelta(hours=22)) == 1


def test_a_critical_alert_does_not_wait_behind_those_that_are_held_back(outbox, aim, listener, tell, do, rows):
    aim(**NIGHTLY)
    night = timedelta(hours=14)  # 23:00 in São Paulo
    for number in range(LOOKED_AT_MOST):
        tell("down", name=f"user_{number}", after=night)
    tell("banned", name="user_x", after=night)
    assert outbox.deliver(NOON + night) == 1
    assert listener.bodies()[0]["type"] == "failure"
    tell("banned", name="user_0", after=night + MINUTE)  # what is held back was of the same incident
    assert outbox.deliver(NOON + night + MINUTE) == 2
    assert [body["type"] for body in listener.bodies()[1:]] == ["warning", "failure"]
    held = rows("SELECT count(*) AS count, min(next_at) AS until FROM alert_deliveries WHERE state = 'pending'")
    assert held == [{"count": LOOKED_AT_MOST - 1, "until": NOON + timedelta(hours=22)}]


def test_a_digest_gathers_what_comes_while_it_waits(outbox, aim, listener, tell):
    aim(digest_minutes=30)
    sent = []
    for minute in range(61):
        if minute in (0, 10, 29, 31):
            tell("down", name=f"user_{minute}", after=minute * MINUTE)
        if outbox.deliver(NOON + minute * MINUTE):
            sent.append(minute)
    assert sent == [30]
    assert listener.titles() == ["3 avisos do Zelador"]


def test_a_digest_is_one_message(outbox, aim, listener, tell, rows):
    aim(digest_minutes=30)
    tell("down", name="user_1")
    tell("down", name="user_2", after=10 * MINUTE)
    tell("banned", name="user_2", after=11 * MINUTE)
    assert outbox.deliver(NOON + 29 * MINUTE) == 0
    assert outbox.deliver(NOON + 30 * MINUTE) == 1
    [body] = listener.bodies()
    assert body["title"] == "3 avisos do Zelador"
    lines = body["message"].splitlines()
    assert [line[:5] for line in lines] == ["09:00", "09:10", "09:11"]  # in São Paulo
    assert ["user_1" in lines[0], "user_2" in lines[1]] == [True, True]
    assert {state for _, _, state in states(rows)} == {"sent"}


def test_a_digest_that_fails_is_tried_again_as_a_whole(outbox, aim, listener, tell):
    aim(digest_minutes=5)
    listener.answers["/in"] = 500
    tell("down", name="user_1")
    tell("down", name="user_2")
    outbox.deliver(NOON + 5 * MINUTE)
    listener.answers.clear()
    assert outbox.deliver(NOON + 6 * MINUTE) == 1
    assert [body["title"] for body in listener.bodies()] == ["2 avisos do Zelador"] * 2


def test_what_is_muted_or_switched_off_is_not_sent(outbox, aim, listener, tell, do):
    aim()
    off = aim("/off")
    tell("down")
    do("UPDATE alert_targets SET enabled = false WHERE id = :id", id=off)
    do("UPDATE alert_deliveries SET state = 'muted' WHERE target_id <> :id", id=off)
    assert outbox.deliver(NOON) == 0
    assert listener.bodies() == listener.bodies("/off") == []


def test_two_monitors_at_once_send_it_once(transaction, vault, channels, aim, listener, tell, rows):
    aim("/held")
    tell("down")
    one, other = (Outbox(transaction, vault, channels.send, patience_s=0) for _ in range(2))
    one.deliver(NOON)
    listener.wait_for(1, "/held")
    assert other.deliver(NOON) == 0
    listener.release.set()
    one.stop(10)
    assert [len(listener.bodies("/held")), *states(rows)] == [1, ("down", "/held", "sent")]


def test_what_a_dead_process_had_under_way_is_sent_again(outbox, aim, listener, tell, do):
    aim()
    tell("down")
    do("UPDATE alert_deliveries SET claimed_until = now() + interval '1 minute', attempts = 1")
    assert outbox.deliver(NOON) == 0
    do("UPDATE alert_deliveries SET claimed_until = now() - interval '1 second'")
    assert outbox.deliver(NOON) == 1


def test_a_key_that_is_lost_costs_only_the_target(outbox, transaction, aim, listener, tell, rows):
    target(transaction, Vault(Fernet.generate_key().decode()), listener.url("/lost"), name="lost")
    aim()
    tell("down")
    assert outbox.deliver(NOON) == 1
    assert rows("SELECT error FROM alert_deliveries WHERE error IS NOT NULL") == [{"error": "WRONG_KEY"}]


@pytest.mark.parametrize("address", ["169.254.169.254", "::1"])
def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(transaction, vault, tell, rows, address):
    channels = Channels(lambda *_: None, resolve=lambda _: [address])
    target(transaction, vault, "jsons://metadata.example/latest", name="a")
    tell("down")
    assert Outbox(transaction, vault, channels.send, patience_s=20).deliver(NOON) == 0
    assert rows("SELECT error FROM alert_deliveries") == [{"error": "ALERT_TARGET_FORBIDDEN"}]


@pytest.mark.parametrize("url", ["json://localhost:{}/in", "ntfy://localhost:{}/topic", "mailto://a:b@localhost:{}"])
def test_a_name_that_moves_inside_after_it_was_checked_is_not_connected_to(listener, url):
    channels = Channels(lambda *_: None, resolve=lambda _: ["93.184.215.14"])
    with pytest.raises(NotSent) as caught:
        channels.send(url.format(listener.port), "a", "b")
    assert caught.value.code == "ALERT_TARGET_FORBIDDEN"
    assert listener.bodies() == []


def test_names_cannot_call_everybody_or_break_lines(channels, listener):
    channels.send(listener.url(), "a\x00\u202eb", "*x* <b>@everyone</b>\nnext")
    [body] = listener.bodies()
    assert (body["title"], body["message"]) == ("ab", "*x* <b>@\u200beveryone</b>\nnext")


def test_nothing_of_a_url_or_a_text_is_logged(channels, listener, caplog):
    caplog.set_level(logging.DEBUG)
    listener.answers["/s3cret-path"] = 500
    for url in (listener.url("/s3cret-path"), "json://user:s3cret@127.0.0.1:1/s3cret"):
        with pytest.raises(NotSent) as caught:
            channels.send(url, "s3cret title", "s3cret body")
        assert "s3cret" not in str(caught.value)
    assert "s3cret" not in caplog.text


def test_a_message_from_a_process_of_its_own(listener):
    channels = Channels(lambda *_: None, allow_private=True, apart=True)
    channels.send(listener.url(), "Olá", "ação", "critical")
    assert [(body["title"], body["message"], body["type"]) for body in listener.bodies()] == [
        ("Olá", "ação", "failure")
    ]
    listener.answers["/in"] = 410
    with pytest.raises(NotSent) as caught:
        channels.send(listener.url(), "a", "b")
    assert caught.value.code == "HTTP_410"


def test_whatsapp_through_another_instance(system, sandbox, tell, rows, do):
    with system.transaction() as connection:
        user_id, _ = make_instance(connection)
    name = system.manager.connect_user_whatsapp(user_id).record.name
    requests.post(f"{sandbox.url}/sandbox/phones/scan", json={"instance": name}, timeout=10).raise_for_status()
    until(lambda: system.gateway.state(name).state, lambda state: state is State.CONNECTED)
    do("UPDATE whatsapp_instances SET state = 'connected', status = 'connected', qr_code = NULL")
    target(system.transaction, system.vault, f"whatsapp://{name}/5511999990001", name="wa")
    target(system.transaction, system.vault, "whatsapp://nobody/5511999990001", name="nobody")
    tell("down")
    system.alerting.outbox.deliver(NOON)
    until(
        lambda: rows("SELECT error FROM alert_deliveries WHERE attempts > 0 AND claimed_until IS NULL"),
        lambda f: len(f) == 2,
    )
    assert states(rows) == [("down", "nobody", "pending"), ("down", "wa", "sent")]
    assert {"error": "INSTANCE_NOT_FOUND"} in rows("SELECT error FROM alert_deliveries")
    sent = [item for item in sandbox.log.items() if item["path"].startswith("/message/sendText")]
    assert len(sent) == 1


def test_whatsapp_that_is_not_connected_is_tried_again(transaction, vault, tell, rows):
    def send(*_):
        raise NotConnected("no phone")

    target(transaction, vault, "whatsapp://user_9/5511999990001", name="wa")
    tell("down")
    assert Outbox(transaction, vault, Channels(send).send, patience_s=20).deliver(NOON) == 0
    assert rows("SELECT state, error FROM alert_deliveries") == [
        {"state": "pending", "error": "INSTANCE_NOT_CONNECTED"}
    ]


def test_targets_of_the_environment_follow_it(transaction, vault, channels, listener, tell, rows):
    targets = Targets(transaction, vault, channels)
    urls = [listener.url("/a"), listener.url("/b")]
    for _ in range(2):
        targets.from_environment([*urls, urls[0]])
    first = targets.list()
    assert [(one.from_env, one.enabled, one.organization_id) for one in first] == [(True, True, None)] * 2
    tell("down")
    targets.from_environment(urls[:1])
    assert sorted(one.enabled for one in targets.list()) == [False, True]
    assert sorted(state for _, _, state in states(rows)) == ["failed", "pending"]
    targets.from_environment(urls)
    assert [(one.id, one.enabled) for one in targets.list()] == [(one.id, True) for one in first]


@pytest.mark.parametrize("url", [url for url in GOOD if not url.startswith("whatsapp")])
def test_apprise_takes_what_the_rules_let_through(url):
    assert apprise.Apprise.instantiate(url) is not None


def test_what_means_something_to_a_target_is_escaped(monkeypatch, channels):
    posted = []

    def post(*_, data, **__):
        posted.append(json.loads(data))
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "post", post)
    [url] = [url for url in GOOD if url.startswith("tgram")]
    with pytest.raises(NotSent):
        channels.send(url, "T <b> & c", "x <script>y</script>\n\nz")
    assert posted[0]["text"].splitlines()[:2] == ["<b>T &lt;b&gt; &amp; c</b>", "x &lt;script&gt;y&lt;/script&gt;"]


def test_a_mail_is_a_mail(channels, post_office):
    channels.send(f"mailto://127.0.0.1:{post_office.port}?from=z%40example.org&to=p%40example.org", "Olá <b>", "ação")
    [mail] = [message_from_string(raw, policy=policy.default) for raw in post_office.mails]
    assert (mail["Subject"], mail["From"], mail["To"]) == ("Olá <b>", "z@example.org", "p@example.org")
    assert mail.get_content().strip() == "ação"


def test_a_web_process_does_not_load_apprise():
    ask = "import sys, bootstrap.web; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", ask], cwd=ROOT, check=False).returncode == 0


def test_the_resolver_knows_this_machine():
    assert "127.0.0.1" in addresses_of("localhost")


def test_a_slow_name_server_is_no_answer():
    def resolve(_):
        raise OSError("timed out")

    with pytest.raises(NotSent) as caught:
        Channels(lambda *_: None, resolve=resolve).send("jsons://example.org/", "a", "b")
    assert caught.value.code == "ALERT_TARGET_UNRESOLVED"
