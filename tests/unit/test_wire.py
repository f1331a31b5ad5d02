"""Evolution's answers in our words: every recorded one, and whatever else may come."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadResponse, ProviderError
from manager.providers.evolution import answers as replies
from manager.providers.evolution import metrics, rows, wire
from manager.providers.port import Found, Hook, HookSeen, Sent, Snapshot, State

PAYLOADS = Path(__file__).parent.parent / "payloads"
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()))
keys = st.text() | st.sampled_from(["qrcode", "code", "pairingCode", "state", "status", "count", "instance", "message"])
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=20
)


def lines(name):
    return [json.loads(line) for line in (PAYLOADS / "recorded" / name).read_text(encoding="utf-8").splitlines()]


@given(anything)
def test_any_answer_makes_a_snapshot_and_a_reason(answer):
    assert isinstance(wire.snapshot("user_x", answer).state, State)
    assert isinstance(replies.reason_text(answer), str)


@given(anything)
def test_any_answer_makes_rows_or_is_refused(answer):
    assert isinstance(rows.hook(answer), HookSeen | None)
    assert isinstance(rows.has_no_whatsapp(answer), bool)
    if isinstance(answer, dict):
        assert isinstance(rows.sent(answer).status, str)
    if isinstance(answer, list):
        assert all(found.name for found in rows.instances(answer))


@given(anything, st.integers(100, 999))
def test_any_status_with_any_json_is_a_result_or_our_error(answer, status):
    reply = replies.Reply(status=status, document=answer)
    if status in replies.SUCCESS and not (isinstance(answer, dict) and answer.get("error") is True):
        assert reply.result() is answer
    else:
        with pytest.raises(ProviderError) as caught:
            reply.result()
        assert caught.value.provider_status == status


@given(st.text(), st.text())
def test_any_text_is_metrics_or_none(before, label):
    states = metrics.states(f'{before}\nevolution_instance_state{{instance="{label}",state="open"}} 1')
    assert states is not None


ASKED = ("/instance/create", "/instance/connect/", "/instance/connectionState/", "/instance/restart/")


def answers():
    """Recorded successes of the calls that answer with an instance."""
    for exchange in lines("http.jsonl"):
        path, answer = exchange["request"]["path"], exchange["response"]
        if path.startswith(ASKED) and answer["status"] < 300:
            yield exchange["name"], answer["body"]


@pytest.mark.parametrize(("name", "body"), list(answers()))
def test_a_recorded_answer_is_understood(name, body):
    found = wire.snapshot("user_x", body)
    instance = body.get("instance", {})
    word = instance.get("state") or instance.get("status")
    code = body.get("qrcode", body).get("code")
    if body.get("error"):
        assert found.state is State.UNKNOWN  # the client refuses it before it comes here
    elif word:
        assert found.state is wire.STATES[word]
    else:
        assert found.state is State.CONNECTING
    assert (found.pairing.qr if found.pairing else None) == code


def test_an_answer_without_a_code_yet_is_connecting():
    assert wire.snapshot("user_x", {"count": 0}) == Snapshot(name="user_x", state=State.CONNECTING)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"response": {"message": "text"}}, "text"),
        ({"response": {"message": ["in a list"]}}, "in a list"),
        ({"response": {"message": [["in two lists", "more"]]}}, "in two lists"),
        ({"response": {"message": [{"exists": False}]}}, ""),
        ({"message": "at the top"}, "at the top"),
        ({}, ""),
        (None, ""),
    ],
)
def test_the_reason_of_a_failure_is_found_wherever_it_stands(body, reason):
    assert replies.reason_text(body) == reason


NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("61", 60),
        ("9" * 400, 60),
        ("Sun, 22 Nov 2026 10:00:09 GMT", 9),
        ("Sun, 22 Nov 2026 09:59:00 GMT", 0),
        ("Sun, 22 Nov 2026 12:00:00 GMT", 60),
        ("Sun, 22 Nov 2026 11:00:09 +0100", 9),
        ("Sun, 22 Nov 2026 10:00:09", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_how_long_a_server_asks_us_to_wait(header, wait_s):
    assert replies.wait_s(header, NOW) == wait_s


ONE = 'evolution_instance_state{instance="user_1",integration="WHATSAPP-BAILEYS",state="open"} 1'


@pytest.mark.parametrize(
    ("text", "states"),
    [
        (ONE, {"user_1": State.CONNECTED}),
        (ONE.replace("open", "close"), {"user_1": State.DISCONNECTED}),
        (ONE.replace("open", "connecting"), {"user_1": State.CONNECTING}),
        (ONE.replace("open", "paused"), {"user_1": State.UNKNOWN}),
        (ONE + " 1761400001000", {"user_1": State.CONNECTED}),
        (ONE + ".0\r", {"user_1": State.CONNECTED}),
        (f"  {ONE}\n{ONE.replace('user_1', 'user_2')}\n", {"user_1": State.CONNECTED, "user_2": State.CONNECTED}),
        ('evolution_instance_state { state="open" , instance="a", } 1e0', {"a": State.CONNECTED}),
        (r'evolution_instance_state{instance="a\"b\\c\nd}",state="open"} 1', {'a"b\\c\nd}': State.CONNECTED}),
        (ONE[:-1] + "0", {}),
        (ONE[:-1] + "NaN", {}),
        (ONE[:-2], {}),
        ("evolution_instance_state 1", {}),
        ('evolution_instance_state{instance="a"} 1', {}),
        ('evolution_instance_state{instance="a",state="open} 1', {}),
        ('evolution_instance_state_old{instance="a",state="open"} 1', {}),
        ("# TYPE evolution_instance_state gauge\n", {}),
        ('evolution_instance_up{instance="a",state="open"} 1', None),
        ("", None),
        ("<html>", None),
    ],
)
def test_metrics_tell_the_live_states(text, states):
    assert metrics.states(text) == states


FLAT = {
    "name": "user_1",
    "connectionStatus": "open",
    "ownerJid": "5511999990001:3@s.whatsapp.net",
    "profileName": "Ana",
}
OLD = {
    "instance": {
        "instanceName": "user_1",
        "status": "open",
        "owner": "5511999990001@s.whatsapp.net",
        "profileName": "Ana",
    }
}
ANA = Found(name="user_1", stored_state=State.CONNECTED, phone="5511999990001", profile_name="Ana")


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (FLAT, [ANA]),
        (OLD, [ANA]),
        ({"name": "a"}, [Found(name="a", stored_state=State.UNKNOWN)]),
        ({"instance": {"instanceName": "a", "status": "created"}}, [Found(name="a", stored_state=State.UNKNOWN)]),
        ({"name": "a", "connectionStatus": 7, "ownerJid": 7}, [Found(name="a", stored_state=State.UNKNOWN)]),
        ({"name": ""}, []),
        ({"name": 7}, []),
        ({}, []),
        (None, []),
        ("user_1", []),
    ],
)
def test_instances_are_read_in_every_versions_shape(row, found):
    assert rows.instances([row]) == found


@pytest.mark.parametrize("document", [{"instances": []}, {}, None, "x", 7])
def test_what_is_no_list_holds_no_instances(document):
    with pytest.raises(BadResponse):
        rows.instances(document)


def test_every_recorded_row_is_read():
    found = [
        rows.instances(it["response"]["body"]) for it in lines("http.jsonl") if it["name"] == "fetchInstances-by-name"
    ]
    assert found[0][0].name == "alpha"


ROW = {"url": "http://x/", "enabled": True, "headers": {"x-webhook-token": "t", "jwt_key": "k"}, "events": ["CALL"]}
SEEN = HookSeen(enabled=True, url="http://x/", token="t", jwt_key="k", events=frozenset({"CALL"}))


@pytest.mark.parametrize(
    ("changed", "seen"),
    [
        ({}, {}),
        ({"enabled": False, "events": []}, {"enabled": False, "events": frozenset()}),
        ({"headers": None}, {"token": None, "jwt_key": None}),
        ({"headers": {"jwt_key": 7}}, {"token": None, "jwt_key": None}),
        ({"webhookByEvents": True}, {"by_events": True}),
        ({"webhook_by_events": True}, {"by_events": True}),
        ({"events": [*wire.EVENTS, "NEW"]}, {"events": frozenset()}),
        ({"events": None}, {"events": frozenset()}),
    ],
)
def test_a_stored_hook_is_read(changed, seen):
    assert rows.hook(ROW | changed) == replace(SEEN, **seen)


@pytest.mark.parametrize("document", [None, {}, {"enabled": False, "url": "", "events": []}, {"url": None}, []])
def test_a_hook_without_a_url_is_none(document):
    assert rows.hook(document) is None


def test_every_recorded_message_that_was_taken_has_its_id():
    taken = [it for it in lines("http.jsonl") if it["name"].startswith("sendText-ok")]
    assert taken
    for exchange in taken:
        body = exchange["response"]["body"]
        assert rows.sent(body) == Sent(message_id=body["key"]["id"], status="pending")


def test_every_recorded_failure_is_the_error_that_the_table_says():
    kinds = {400: "ProviderError", 401: "ProviderRefused", 403: "NameInUse", 500: "ProviderError"}
    for exchange in lines("http.jsonl"):
        status, body = exchange["response"]["status"], exchange["response"]["body"]
        if status in kinds and isinstance(body, dict):
            error = replies.Reply(status=status, document=body).failure(creating=True)
            assert type(error).__name__ == kinds[status], exchange["name"]
        if status == 404:
            error = replies.Reply(status=status, document=body).failure()
            assert type(error).__name__ in ("InstanceUnknown", "NotOffered"), exchange["name"]
            assert (type(error).__name__ == "NotOffered") == ("Cannot " in json.dumps(body)), exchange["name"]


@pytest.mark.parametrize(
    ("reason", "events"),
    [
        ("webhook.events[0] is not one of enum values: CALL,QRCODE_UPDATED", {"CALL", "QRCODE_UPDATED"}),
        ("webhook.events is too short", wire.EVENTS),
        ("not one of enum values: ", wire.EVENTS),
        ("", wire.EVENTS),
    ],
)
def test_the_events_that_a_refusal_lists(reason, events):
    assert wire.allowed_events(reason) == events


@pytest.mark.parametrize(("token", "jwt_key"), [("", "k"), ("t", ""), ("", "")])
def test_a_hook_without_its_secrets_is_never_made(token, jwt_key):
    with pytest.raises(ValueError, match="token and its jwt_key"):
        wire.hook_settings(Hook(url="http://x/", token=token, jwt_key=jwt_key))
