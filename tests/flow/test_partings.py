"""Pairing by code, parting in its three ways, and coming back: through the API, on the sandbox."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import requests
from sqlalchemy import text

from core.errors import Unavailable
from manager import store
from manager.adoption.takeover import TakeOver
from manager.census import Census
from manager.gateways import Gateways
from manager.hooks import Hooks, Removals
from manager.leases import Leases
from manager.lifecycle import Lifetimes, Status, instance_name_for
from manager.providers.evolution.client import EvolutionClient
from manager.providers.port import State
from manager.service import WhatsAppManager
from manager.upstream import StillThere
from tests.conftest import KEY
from tests.factories import body_of, connection_update, hook_keys, text_message
from tests.waiting import until
from webhooks.inbox import Delivery

ANA = "5511999990001"


@pytest.fixture
def user():
    return uuid4()


@pytest.fixture
def ask(web, working, bearer, user):
    """Calls the API as the user: path, body → status and JSON."""

    def call(path, body=None, **query):
        url = f"{web}/api/{path}"
        headers = bearer(user)
        answer = (
            requests.get(url, params=query, headers=headers, timeout=60)
            if body is None
            else requests.post(url, json=body, headers=headers, timeout=60)
        )
        return answer.status_code, answer.json()

    return call


def play(box, path, body):
    requests.post(f"{box.url}/sandbox/{path}", json=body, timeout=10).raise_for_status()


def state_of(box, name):
    answer = requests.get(f"{box.url}/instance/connectionState/{name}", headers={"apikey": KEY}, timeout=10)
    return answer.json()["instance"]["state"] if answer.status_code == 200 else answer.status_code


def asked(box, *parts):
    return sum(
        all(part in f"{item['method']} {item['path']}" for part in parts)
        for item in box.log.items()
        if item["kind"] == "request"
    )


def connected(ask, box, user):
    """Paired with a phone, and known to be."""
    assert ask("whatsapp/connect", {})[1]["status"] in ("qr_pending", "connecting")
    until(lambda: ask("whatsapp/status")[1]["status"], lambda status: status == "qr_pending")
    play(box, "phones/scan", {"instance": instance_name_for(user)})
    until(lambda: ask("whatsapp/status")[1]["status"], lambda status: status == "connected")


def heard(ask, box, user, words):
    """Whether a message that somebody writes now arrives."""
    play(box, "phones/message", {"instance": instance_name_for(user), "from": ANA, "text": words})
    found = until(lambda: ask("messages", q=words)[1]["items"])
    return [item["text"] for item in found]


@pytest.mark.parametrize("written", [ANA, "+55 (11) 99999-0001", "5511999990001@s.whatsapp.net"])
def test_a_phone_pairs_by_code(ask, sandbox, user, rows, written):
    """B001–B005, B012, X01, X02, X27"""
    status, body = ask("whatsapp/connect", {"method": "code", "phone_number": written})
    code = body["pairingCode"]
    assert (status, len(code), code.isalnum(), code) == (200, 8, True, code.upper())
    assert body["pairingCodeFormatted"] == f"{code[:4]}-{code[4:]}"
    left = datetime.fromisoformat(body["expiresAt"]) - datetime.now(UTC)
    assert timedelta(seconds=45) < left <= timedelta(seconds=60)
    assert "código" in body["message"]
    assert asked(sandbox, f"/instance/connect/{instance_name_for(user)}") == 1
    assert rows("SELECT pairing_method FROM whatsapp_instances") == [{"pairing_method": "code"}]


@pytest.mark.parametrize(
    ("phone", "code"),
    [
        (None, "PHONE_NUMBER_REQUIRED"),
        ("", "PHONE_NUMBER_REQUIRED"),
        ("11999887766", "INVALID_PHONE_NUMBER"),
        ("999", "INVALID_PHONE_NUMBER"),
        ("5511999990001x", "INVALID_PHONE_NUMBER"),
        (5511999990001, "INVALID_PHONE_NUMBER"),
        ("5511999990001@lid", "INVALID_PHONE_NUMBER"),
        ("120363000000000001@g.us", "INVALID_PHONE_NUMBER"),
        ("5" * 30, "INVALID_PHONE_NUMBER"),
    ],
)
def test_a_code_needs_a_full_number(ask, sandbox, phone, code):
    """B006, B015, X27"""
    status, body = ask("whatsapp/connect", {"method": "code", "phone_number": phone})
    assert (status, body["code"]) == (400, code)
    assert asked(sandbox, "/instance/") == 0


def test_a_code_can_be_asked_for_while_a_qr_is_shown(ask, sandbox, user):
    """The gateway takes no number while it connects: the instance is made anew."""
    assert ask("whatsapp/connect", {})[1]["qr"]
    _, body = ask("whatsapp/connect", {"method": "code", "phone_number": ANA})
    assert len(body["pairingCode"]) == 8
    assert (asked(sandbox, "POST /instance/create"), asked(sandbox, "DELETE /instance/delete")) == (2, 1)


def test_a_second_click_gets_the_same_code(ask, sandbox):
    first, second = (ask("whatsapp/connect", {"method": "code", "phone_number": ANA})[1] for _ in range(2))
    assert first["pairingCode"] == second["pairingCode"]


def test_who_logs_out_and_connects_again_hears_messages(ask, sandbox, user):
    """An instance of 2.3.x that was logged out pairs again and never hears a message: it is made anew."""
    connected(ask, sandbox, user)
    assert heard(ask, sandbox, user, "antes") == ["antes"]
    status, body = ask("whatsapp/disconnect", {})
    assert (status, body["status"], body["connected"], body["needsQR"]) == (200, "disconnected", False, True)
    assert state_of(sandbox, instance_name_for(user)) != "open"
    connected(ask, sandbox, user)
    assert heard(ask, sandbox, user, "depois") == ["depois"]
    assert asked(sandbox, "POST /instance/create") == 2


def test_people_hear_that_they_logged_out_and_need_a_new_code(ask, sandbox, user, rows):
    connected(ask, sandbox, user)
    ask("whatsapp/disconnect", {"mode": "logout"})
    told = until(lambda: rows("SELECT data FROM feed WHERE type = 'disconnected' ORDER BY id"))
    assert [row["data"]["reason"] for row in told] == ["logged_out"]
    assert told[0]["data"]["needsUser"] is True


def test_closing_takes_it_off_the_gateway(ask, sandbox, user, rows):
    """X21"""
    connected(ask, sandbox, user)
    status, body = ask("whatsapp/disconnect", {"mode": "close"})
    assert (status, body["status"]) == (200, "disconnected")
    assert state_of(sandbox, instance_name_for(user)) == 404
    assert rows("SELECT gone_at IS NOT NULL AS gone, deleted_at FROM whatsapp_instances") == [
        {"gone": True, "deleted_at": None}
    ]
    connected(ask, sandbox, user)


def test_deleting_hides_it_and_connecting_brings_it_back(ask, sandbox, user, system, rows):
    """A056, A057, X46; messages and contacts stay."""
    connected(ask, sandbox, user)
    assert heard(ask, sandbox, user, "guardada") == ["guardada"]
    status, body = ask("whatsapp/disconnect", {"mode": "delete"})
    assert (status, body["status"], body["phoneNumber"]) == (200, "disconnected", None)
    assert system.manager.find_user_instance(user) is None
    late = body_of(connection_update(instance_name_for(user), "open", "2026-11-22T03:16:13.000Z"))
    system.inbox.record(Delivery(instance=instance_name_for(user), event="connection.update", body=late))
    reasons = "SELECT DISTINCT reason FROM set_aside WHERE state = 'quarantined'"
    until(lambda: rows(reasons), lambda found: found == [{"reason": "deleted_instance"}])
    connected(ask, sandbox, user)
    assert [item["text"] for item in ask("messages", q="guardada")[1]["items"]] == ["guardada"]


@pytest.mark.parametrize("mode", ["logout", "close", "delete"])
def test_parting_from_nothing_is_404(ask, mode):
    assert ask("whatsapp/disconnect", {"mode": mode})[0] == 404


@pytest.mark.parametrize("mode", ["x", None, 5, ["logout"]])
def test_an_unknown_way_to_part_is_400(ask, mode):
    assert ask("whatsapp/disconnect", {"mode": mode})[0] == 400


def test_parting_twice_is_parting_once(ask, sandbox, user):
    connected(ask, sandbox, user)
    for mode in ("logout", "logout", "close", "close"):
        assert ask("whatsapp/disconnect", {"mode": mode})[0] == 200


def test_used_up_codes_need_a_click_that_makes_it_anew(ask, sandbox, user, system):
    """The gateway counts its codes over the instance's life: after the limit only a new one has any."""
    ask("whatsapp/connect", {})
    refused = connection_update(instance_name_for(user), "refused", "2099-01-01T00:00:00.000Z", statusReason=428)
    del refused["date_time"]
    body = body_of(refused)
    system.inbox.record(Delivery(instance=instance_name_for(user), event="connection.update", body=body))
    until(lambda: ask("whatsapp/status")[1]["status"], lambda status: status == "disconnected")
    assert ask("whatsapp/connect", {})[1]["qr"]
    assert asked(sandbox, "POST /instance/create") == 2


@pytest.mark.usefixtures("web")
def test_what_connects_for_a_minute_without_a_code_is_made_anew(system, sandbox, user, engine):
    system.manager.ensure_user_instance(_profile(system, user))
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE whatsapp_instances SET state = 'connecting', asked_at = now() - interval '61 seconds'")
        )
    assert system.manager.connect_user_whatsapp(user).record.standing.pairing
    assert asked(sandbox, "POST /instance/create") == 2


def test_what_was_paired_and_comes_back_by_itself_is_never_made_anew(ask, sandbox, user, engine):
    """Most drops show no more than `connecting`, and the pairing is still good."""
    connected(ask, sandbox, user)
    play(sandbox, f"instances/{instance_name_for(user)}/drop", {"reason": 408, "silent": True})
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE whatsapp_instances SET state = 'connecting', status = 'connecting',"
                " asked_at = now() - interval '1 hour'"
            )
        )
    ask("whatsapp/connect", {})
    ask("whatsapp/connect", {"method": "code", "phone_number": ANA})
    assert asked(sandbox, "DELETE /instance/") == 0
    until(lambda: ask("whatsapp/status")[1]["connected"])


def test_a_removal_leaves_alone_what_was_connected_again(ask, system, sandbox, upstream, user, engine):
    connected(ask, sandbox, user)
    with engine.begin() as connection:
        record = store.named(connection, [instance_name_for(user)])[instance_name_for(user)]
    removals = Removals(upstream=upstream, leases=Leases(system.transaction), clock=system.clock)
    assert removals._finish(replace(record, spent=True, hooked=False)) is False
    assert state_of(sandbox, instance_name_for(user)) == "open"


class Breaking(EvolutionClient):
    """A gateway that is gone in the middle of a logout."""

    def logout(self, name):
        raise Unavailable("in the middle")


def manager_on(system, provider):
    return WhatsAppManager(
        system.transaction,
        Gateways.one(replace(system.upstream, provider=provider)),
        Leases(system.transaction),
        system.clock,
        lifetimes=Lifetimes(qr=timedelta(seconds=45)),
        rung=lambda _: None,
    )


def test_a_logout_that_breaks_off_is_remembered(system, sandbox, user, rows):
    """How far it got nobody knows: the next pairing is with an instance made anew."""
    system.manager.ensure_user_instance(_profile(system, user))
    with pytest.raises(Unavailable):
        manager_on(system, Breaking(sandbox.url, KEY)).part_user_whatsapp(user)
    assert rows("SELECT spent FROM whatsapp_instances") == [{"spent": True}]


def test_a_check_that_fails_leaves_the_mark_of_the_dead(system, sandbox, user, rows, engine, free_port):
    name = system.manager.ensure_user_instance(_profile(system, user)).name
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO instance_leases VALUES (:name, 'dead', now() - interval '1 second', 'logout')"),
            {"name": name},
        )
    away = manager_on(system, EvolutionClient(f"http://127.0.0.1:{free_port}", KEY))
    assert away.settle_interrupted() == 1
    assert rows("SELECT operation FROM instance_leases") == [{"operation": "logout"}]


def test_nothing_is_forgotten_while_the_gateway_is_deleting(system, sandbox, user, engine):
    system.manager.ensure_user_instance(_profile(system, user))
    with engine.begin() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET spent = true, hooked_at = NULL"))
    with pytest.raises(StillThere):
        system.manager.forget(user, actor="operator")
    with engine.begin() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET gone_at = now()"))
    system.manager.forget(user, actor="operator")
    assert system.manager.find_user_instance(user) is None


def test_a_row_of_another_time_has_the_users_lease(system, sandbox, user, engine, rows):
    system.manager.ensure_user_instance(_profile(system, user))
    with engine.begin() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET instance_name = 'auzap_1', state = 'connected'"))
        connection.execute(
            text("INSERT INTO instance_leases VALUES (:name, 'dead', now() - interval '1 second', 'connect')"),
            {"name": instance_name_for(user)},
        )
    assert system.manager.settle_interrupted() == 1
    assert rows("SELECT state FROM whatsapp_instances") == [{"state": "not_found"}]


@pytest.mark.parametrize("stale", ["refused", "connecting"])
def test_what_is_open_is_never_made_anew(ask, sandbox, user, engine, stale):
    """Its open was never reported: a click finds it, and the phone stays paired."""
    connected(ask, sandbox, user)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE whatsapp_instances SET state = :state, asked_at = now() - interval '1 hour',"
                " status = CASE :state WHEN 'connecting' THEN 'connecting' ELSE 'disconnected' END"
            ),
            {"state": stale},
        )
    for body in ({}, {"method": "code", "phone_number": ANA}):
        assert ask("whatsapp/connect", body)[1]["alreadyConnected"] is True
    assert asked(sandbox, "DELETE /instance/") == 0


def _profile(system, user):
    with system.transaction() as connection:
        connection.execute(text("INSERT INTO profiles (id) VALUES (:id) ON CONFLICT DO NOTHING"), {"id": user})
    return user


def test_what_somebody_died_over_is_looked_at(system, sandbox, user, rows, engine):
    """F-72: the lease of the dead says what they were doing; nobody knows how far it got until somebody looks."""
    name = system.manager.ensure_user_instance(_profile(system, user)).name
    with engine.begin() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET state = 'connected', status = 'connected'"))
        connection.execute(
            text("INSERT INTO instance_leases VALUES (:name, 'dead', now() - interval '1 second', 'connect')"),
            {"name": name},
        )
    assert system.manager.settle_interrupted() == 1
    assert system.manager.find_user_instance(user).status is Status.DISCONNECTED
    assert (system.manager.settle_interrupted(), rows("SELECT FROM instance_leases")) == (0, [])


# ---- the webhook, set right again --------------------------------------------------------------------------------


@pytest.fixture
def upstream(system):
    return replace(system.upstream, sleep=lambda _: None)


@pytest.fixture
def hooks(system, upstream):
    return Hooks(upstream=upstream, leases=Leases(system.transaction), clock=system.clock)


def webhook_of(box, name):
    answer = requests.get(f"{box.url}/webhook/find/{name}", headers={"apikey": KEY}, timeout=10)
    answer.raise_for_status()
    return answer.json()


def set_webhook(box, name, **wrong):
    now = webhook_of(box, name)
    settings = {
        "enabled": True,
        "url": now["url"],
        "headers": now["headers"],
        "events": [],
        "byEvents": False,
        "base64": False,
    }
    answer = requests.post(
        f"{box.url}/webhook/set/{name}", json={"webhook": settings | wrong}, headers={"apikey": KEY}, timeout=10
    )
    answer.raise_for_status()


@pytest.mark.parametrize(
    ("wrong", "drift"),
    [
        ({"url": "http://elsewhere/"}, ["url"]),
        ({"enabled": False}, ["disabled"]),
        ({"byEvents": True}, ["by_events"]),
        ({"events": ["CALL"]}, ["events"]),
        ({"headers": {"jwt_key": "k" * 40}}, ["token", "jwt_key"]),
        ({"headers": {"X-Webhook-Token": "t"}}, ["token", "jwt_key"]),
    ],
)
def test_a_webhook_that_drifted_is_set_right_and_written_down(system, sandbox, hooks, user, rows, wrong, drift):
    name = system.manager.ensure_user_instance(_profile(system, user)).name
    right = webhook_of(sandbox, name)
    set_webhook(sandbox, name, **wrong)
    assert (hooks.check(), hooks.check()) == (1, 0)
    now = webhook_of(sandbox, name)
    assert {key: now[key] for key in ("url", "headers", "enabled")} == {
        key: right[key] for key in ("url", "headers", "enabled")
    }
    (entry,) = rows("SELECT * FROM audit")
    assert (entry["action"], entry["subject"], entry["details"]) == ("hook.repaired", name, {"drift": drift})


def test_the_longest_unchecked_come_first(system, sandbox, hooks, engine):
    names = [system.manager.ensure_user_instance(_profile(system, uuid4())).name for _ in range(3)]
    for name in names:
        set_webhook(sandbox, name, url="http://elsewhere/")
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE whatsapp_instances SET hook_checked_at = now() - interval '1 day' WHERE instance_name = :name"
            ),
            {"name": names[1]},
        )
    assert hooks.check(at_once=1) == 1
    assert [webhook_of(sandbox, name)["url"] != "http://elsewhere/" for name in names] == [False, True, False]


def test_rotated_keys_overlap_for_a_day(system, sandbox, hooks, user, web, engine):
    """F-20"""
    name = system.manager.ensure_user_instance(_profile(system, user)).name
    old = hook_keys(system, name)
    hooks.rotate(name, actor="operator")
    new = hook_keys(system, name)
    assert webhook_of(sandbox, name)["headers"]["X-Webhook-Token"] == new.token != old.token

    def post(token):
        headers = {"X-Webhook-Token": token}
        return requests.post(f"{web}/api/webhook/evolution", json=text_message(name, "oi"), headers=headers, timeout=10)

    assert [post(token).status_code for token in (old.token, new.token)] == [200, 200]
    with engine.begin() as connection:
        connection.execute(text("UPDATE webhook_keys SET expires_at = now() WHERE expires_at IS NOT NULL"))
    until(lambda: post(old.token).status_code, lambda status: status == 401)  # the gate remembers for 5 s
    assert post(new.token).status_code == 200


@pytest.mark.usefixtures("web")  # the gateway deletes once its last webhook was taken
def test_what_the_gateway_had_not_deleted_yet_is_finished_later(system, user, rows, engine):
    upstream = system.upstream  # it pauses between its looks
    record = system.manager.ensure_user_instance(_profile(system, user))
    with engine.begin() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET spent = true, hooked_at = NULL"))
    removals = Removals(upstream=upstream, leases=Leases(system.transaction), clock=system.clock)
    assert (removals.finish(), removals.finish()) == (1, 0)
    assert upstream.provider.state(record.name).state is State.NOT_FOUND
    assert rows("SELECT gone_at IS NOT NULL AS gone FROM whatsapp_instances") == [{"gone": True}]


# ---- sending -----------------------------------------------------------------------------------------------------


def test_a_text_is_sent_and_stands_in_the_conversation(ask, sandbox, user):
    """H001–H003, X26"""
    connected(ask, sandbox, user)
    status, body = ask("whatsapp/send", {"to": f"{ANA}@s.whatsapp.net", "message": "Olá!"})
    assert (status, body["success"], bool(body["messageId"])) == (200, True, True)
    (item,) = until(lambda: ask("messages", q="Olá!")[1]["items"])
    assert (item["messageId"], item["fromMe"], item["phoneNumber"]) == (body["messageId"], True, ANA)


@pytest.mark.parametrize(
    ("asked_for", "code"),
    [
        ({"message": "oi"}, "VALIDATION_ERROR"),
        ({"to": "123", "message": "oi"}, "INVALID_PHONE_NUMBER"),
        ({"to": ANA}, "VALIDATION_ERROR"),
        ({"to": ANA, "message": "   "}, "VALIDATION_ERROR"),
        ({"to": ANA, "message": "x" * 4097}, "MESSAGE_TOO_LONG"),
    ],
)
def test_what_cannot_be_sent_is_400(ask, sandbox, user, engine, system, asked_for, code):
    """H008, H009, H041"""
    system.manager.ensure_user_instance(_profile(system, user))
    with engine.begin() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET state = 'connected', status = 'connected'"))
    status, body = ask("whatsapp/send", asked_for)
    assert (status, body["code"]) == (400, code)


def test_without_a_phone_nothing_is_sent(ask, sandbox):
    assert ask("whatsapp/send", {"to": ANA, "message": "oi"})[0] == 404
    ask("whatsapp/connect", {})
    status, body = ask("whatsapp/send", {"to": ANA, "message": "oi"})
    assert (status, body["code"]) == (409, "INSTANCE_NOT_CONNECTED")


# ---- what the gateway has --------------------------------------------------------------------------------------


@pytest.fixture
def census(system, upstream):
    takeover = TakeOver(
        transaction=system.transaction,
        upstream=upstream,
        leases=Leases(system.transaction),
        clock=system.clock,
        rung=lambda _: None,
    )
    return Census(takeover=takeover)


def make_on_gateway(box, name):
    body = {"instanceName": name, "integration": "WHATSAPP-BAILEYS", "webhook": {"url": "http://old/", "events": []}}
    requests.post(f"{box.url}/instance/create", json=body, headers={"apikey": KEY}, timeout=10).raise_for_status()


def test_an_instance_of_a_known_user_is_taken_over(system, sandbox, census, user):
    make_on_gateway(sandbox, instance_name_for(_profile(system, user)))
    make_on_gateway(sandbox, instance_name_for(uuid4()))
    make_on_gateway(sandbox, "loja")
    census.take()
    record = system.manager.find_user_instance(user)
    assert record.hooked
    assert webhook_of(sandbox, record.name)["url"].endswith(f"/api/webhook/user/{user}")
    assert webhook_of(sandbox, "loja")["url"] == "http://old/"


def test_what_the_gateway_lost_is_written_down_once_and_kept(system, sandbox, census, user, rows):
    lost = system.manager.ensure_user_instance(_profile(system, uuid4())).name
    sandbox.reset()
    kept = system.manager.ensure_user_instance(_profile(system, user)).name
    census.take()
    census.take()
    assert rows("SELECT action, subject FROM audit") == [{"action": "instance.vanished", "subject": lost}]
    assert {row["instance_name"] for row in rows("SELECT instance_name FROM whatsapp_instances")} == {kept, lost}


def test_an_empty_list_condemns_nobody(system, sandbox, census, user, rows):
    """F-78"""
    system.manager.ensure_user_instance(_profile(system, user))
    sandbox.reset()
    census.take()
    assert rows("SELECT FROM audit") == []
    assert rows("SELECT gone_at FROM whatsapp_instances") == [{"gone_at": None}]
