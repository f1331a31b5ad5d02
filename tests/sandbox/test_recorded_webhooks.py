"""Every scenario of the recorded webhooks, played: each event a real 2.3.6 sent comes here too, in the same shape.

The recordings are samples (some deliveries of a scenario were left out), so ours may be more.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from sandbox.server import Sandbox
from tests.sandbox.receiver import KEY, Client, eventually
from tests.sandbox.recordings import shape, webhooks

Scene = Callable[[Client], object]

ANA = "5511999990001"

# Scenarios of which something is missing here, and why. It fails when nothing is missing any more.
DIFFERENT: dict[str, str] = {}
# WhatsApp cannot be reached: Evolution says `connecting` again and again.
UNREACHABLE = ("A3-wa-unreachable", "A4-unreachable-teardown")


def paired(client: Client) -> None:
    client.pair("shop1", hook={"base64": True})
    client.message("shop1")


def closed(client: Client) -> None:
    client.create("shop1", hook={"base64": True})


def qr_shown(client: Client) -> None:
    client.create("shop1", qrcode=True, number="5511977770009")


def logged_out(client: Client) -> None:
    paired(client)
    client.call("DELETE", "/instance/logout/shop1")


def relogged_in(client: Client) -> None:
    logged_out(client)
    again(client)


def evolution(client: Client) -> None:
    client.create("shop1", integration="EVOLUTION", number="5500000101")


def says(sample: str, **more: Any) -> Scene:
    return lambda client: client.message("shop1", **{"sample": sample, "text": "Oi", **more})


def then(*scenes: Scene) -> Scene:
    """One after the other."""

    def play(client: Client) -> None:
        for scene in scenes:
            scene(client)

    return play


def message_to_deaf(client: Client) -> None:
    client.message("shop1")
    sends(client, "sendText", {"text": "x"})


def again(client: Client) -> None:
    client.call("GET", "/instance/connect/shop1")
    client.scan("shop1", profile_name=None)


def recreate(client: Client) -> None:
    client.call("DELETE", "/instance/delete/shop1")
    client.reaches("shop1", None)
    client.pair("shop1")
    client.message("shop1")


def sends(client: Client, verb: str, body: dict[str, Any]) -> str:
    answer = client.call("POST", f"/message/{verb}/shop1", {"number": ANA, **body})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"]["id"])


def everything_sent(client: Client) -> None:
    pixel = "iVBORw0KGgo="
    quoted = {"key": {"id": "3EB0TEXT0001"}, "message": {"conversation": "Oi"}}
    sends(client, "sendText", {"text": "Olá", "quoted": quoted})
    for number in (ANA, "120363000000000001@g.us", "123456789012345@lid"):
        sends(client, "sendText", {"number": number, "text": "Olá"})
    sends(client, "sendMedia", {"mediatype": "image", "mimetype": "image/png", "media": pixel, "caption": "legenda"})
    document = {"mediatype": "document", "mimetype": "application/pdf", "fileName": "a.pdf", "caption": "doc"}
    sends(client, "sendMedia", {"media": pixel, **document})
    key = {"remoteJid": f"{ANA}@s.whatsapp.net", "fromMe": False, "id": "AAA"}
    sends(client, "sendReaction", {"key": key, "reaction": "👍"})
    sends(client, "sendLocation", {"latitude": -23.5, "longitude": -46.6, "name": "Loja", "address": "Rua X"})
    sends(client, "sendContact", {"contact": [{"fullName": "Bia", "phoneNumber": "5511999990002"}]})
    sends(client, "sendPoll", {"name": "Qual?", "selectableCount": 1, "values": ["A", "B"]})
    sends(client, "sendButtons", {"title": "T", "description": "D", "footer": "F", "buttons": [{"id": "yes"}]})


def read(client: Client) -> None:
    sends(client, "sendText", {"text": "Olá"})
    client.message("shop1", sample="read")


def edited(client: Client) -> None:
    id_ = sends(client, "sendText", {"text": "vou editar"})
    key = {"id": id_, "remoteJid": f"{ANA}@s.whatsapp.net", "fromMe": True}
    client.call("POST", "/chat/updateMessage/shop1", {"number": ANA, "text": "editado", "key": key})


def rejects_a_call(client: Client) -> None:
    flags = ("groupsIgnore", "alwaysOnline", "readMessages", "readStatus", "syncFullHistory")
    client.call(
        "POST", "/settings/set/shop1", {"rejectCall": True, "msgCall": "nao atendo", **dict.fromkeys(flags, False)}
    )
    client.message("shop1", sample="call")


def base64_off(client: Client) -> None:
    """It takes effect with the next connection only."""
    hook = {"enabled": True, "url": client.receiver.url + client.hook, "events": [], "base64": False}
    client.call("POST", "/webhook/set/shop1", {"webhook": hook})
    says("image", text="")(client)


def without_base64(client: Client) -> None:
    client.pair("shop1")
    client.message("shop1")


def tear_down(client: Client) -> None:
    logout(client)
    delete(client)


def base64_on(client: Client) -> None:
    hook = {"enabled": True, "url": client.receiver.url + client.hook, "events": [], "base64": True}
    client.call("POST", "/webhook/set/shop1", {"webhook": hook})
    says("image")(client)


def base64_on_after_restart(client: Client) -> None:
    base64_on(client)
    restart(client)
    says("image")(client)


def drop(client: Client, reason: int) -> None:
    assert client.drop("shop1", reason).status_code == 200


def drop_then_media(client: Client) -> None:
    """The flag that was switched off is read when the connection starts anew."""
    base64_off(client)
    drop(client, 408)
    client.reaches("shop1", "open")
    says("image", text="")(client)


def restart(client: Client) -> None:
    client.call("POST", "/instance/restart/shop1")
    client.reaches("shop1", "open")


def restart_and_message(client: Client) -> None:
    restart(client)
    client.message("shop1")


def call(client: Client, method: str, path: str) -> None:
    client.call(method, path)


def limit(client: Client) -> None:
    client.call("POST", "/sandbox/instances/shop1/mode", {"mode": "qr_limit"})
    client.call("GET", "/instance/connect/shop1")


def evolution_channel(client: Client) -> None:
    key = {"remoteJid": f"{ANA}@s.whatsapp.net", "fromMe": False, "id": "EVO1"}
    body = {"numberId": "5500000101", "key": key, "pushName": "Ana", "messageType": "conversation"}
    picture = {"imageMessage": {"caption": "c", "url": "http://x/y.png"}, "base64": "iVBOR"}
    client.call("POST", "/webhook/evolution", body | {"message": {"conversation": "oi"}})
    client.call("POST", "/webhook/evolution", body | {"message": {"conversation": "oi"}})
    client.call("POST", "/webhook/evolution", body | {"message": picture, "messageType": "imageMessage"})
    sends(client, "sendText", {"text": "resposta"})


delete = partial(call, method="DELETE", path="/instance/delete/shop1")
logout = partial(call, method="DELETE", path="/instance/logout/shop1")
connect = partial(call, method="GET", path="/instance/connect/shop1")


def delete_shown(client: Client) -> None:
    qr_shown(client)
    delete(client)


def nothing(client: Client) -> None:
    """The scene starts on an empty server."""


# Scenario: what comes before, and what happens.
SCENES: dict[str, tuple[Scene, Scene]] = {
    "A2-hazard": (evolution, evolution_channel),
    "A3-wa-unreachable": (nothing, lambda client: client.create("shop1", qrcode=True)),
    "A4-unreachable-teardown": (lambda client: client.create("shop1", qrcode=True), tear_down),
    "B1-create": (nothing, lambda client: client.create("shop1", qrcode=True)),
    "B1-scan": (qr_shown, lambda client: client.scan("shop1", profile_name=None)),
    "B2-text-first-after-open": (paired, says("text")),
    "B2-text-second": (paired, says("text")),
    "B2-text-extended": (paired, says("link")),
    "B2-text-reply": (paired, says("reply")),
    "B2-duplicate-of-second": (paired, says("repeat")),
    "B2-empty-text": (paired, says("empty")),
    "B2-image": (paired, says("image")),
    "B2-image-nocaption": (paired, says("image", text="")),
    "B2-audio-ptt": (paired, says("audio")),
    "B2-document": (paired, says("document")),
    "B2-video": (paired, says("video")),
    "B2-sticker": (paired, says("sticker")),
    "B2-location": (paired, says("location")),
    "B2-contact": (paired, says("contact")),
    "B2-reaction": (paired, says("reaction")),
    "B2-edit": (paired, says("edit")),
    "B2-revoke": (paired, says("revoke")),
    "B2-buttons-response": (paired, says("buttons")),
    "B2-list-response": (paired, says("list")),
    "B2-poll-creation": (paired, says("poll")),
    "B2-view-once-image": (paired, says("view_once")),
    "B2-ephemeral-text": (paired, says("ephemeral")),
    "B2-old-timestamp": (paired, says("text")),
    "B2-undecryptable": (paired, says("undecryptable")),
    "B2-after-undecryptable": (paired, says("text")),
    "B2-android-id": (paired, says("text")),
    "B2-second-contact": (paired, says("text", **{"from": "5521988880000"})),
    "B2-no-pushname": (paired, says("no_name", **{"from": "5521977770000"})),
    "B2-lid-addressed": (paired, then(says("lid"), says("lid"))),
    "B2-lid-without-pn": (paired, says("text", **{"from": "555555555555555@lid"})),
    "B2-pn-with-sender-lid": (paired, then(says("pn_lid"), says("pn_lid"))),
    "B2-group-text": (paired, says("group")),
    "B2-group-text-2": (paired, then(says("group"), says("group"))),
    "B2-from-own-phone": (paired, says("own_phone")),
    "B2-presence": (paired, says("presence")),
    "B2-call": (paired, says("call")),
    "B3-sends": (paired, everything_sent),
    "B3-receipts": (paired, read),
    "B3-chat": (paired, edited),
    "B4-call-rejected": (paired, rejects_a_call),
    "B4-base64-off-live": (paired, base64_off),
    "B4-network-drop": (paired, partial(drop, reason=408)),
    "B4-after-drop-media": (paired, drop_then_media),
    "B4-stream-error-503": (paired, partial(drop, reason=500)),
    "B4-restart-when-open": (paired, restart),
    "B4-message-after-restart": (paired, restart_and_message),
    "B4-replaced": (paired, partial(drop, reason=440)),
    "B4-logout": (paired, logout),
    "B4c-pair": (nothing, lambda client: client.pair("shop1")),
    "B4c-first-login-message": (paired, says("text")),
    "B4c-logout": (paired, logout),
    "B4c-relogin": (logged_out, again),
    "B4c-message-after-relogin": (relogged_in, message_to_deaf),
    "B4c-process-restart": (paired, restart),
    "B4c-message-after-process-restart": (paired, says("text")),
    "B4d-stream-conflict-without-code": (paired, partial(drop, reason=500)),
    "B4d-message-after-relink": (paired, says("text")),
    "B4d-logout-again": (paired, logout),
    "B4d-relogin-again": (logged_out, then(again, says("text"))),
    "B4d-restart-endpoint": (relogged_in, restart_and_message),
    "B4d-delete-open": (paired, delete),
    "B4d-recreate": (paired, recreate),
    "B4d-login-failure-401": (paired, partial(drop, reason=401)),
    "B4d-connect-after-401": (logged_out, connect),
    "B4d-delete-qr-shown": (qr_shown, delete),
    "B5-qr-rotation-default-45s": (nothing, delete_shown),
    "B5-pairing-code": (nothing, delete_shown),
    "B5-create-with-number": (nothing, delete_shown),
    "B5-qr-limit-4-of-2.5s": (nothing, then(qr_shown, limit)),
    "B6-evolution-channel": (nothing, then(evolution, evolution_channel)),
    "B6-byevents-true": (evolution, evolution_channel),
    "B6-byevents-true-url-with-query": (nothing, then(evolution, evolution_channel)),
    "B6-byevents-true-trailing-slash": (nothing, then(evolution, evolution_channel)),
    "B6-custom-headers": (evolution, evolution_channel),
    "B6-jwt-key": (evolution, evolution_channel),
    "B6-subset-events": (evolution, evolution_channel),
    "B6-base64-false-baileys": (nothing, then(without_base64, says("text"))),
    "B6-base64-on-live": (without_base64, base64_on),
    "B6-base64-on-after-restart": (without_base64, base64_on_after_restart),
    "B9-delete-create-race": (paired, recreate),
}


def scenario_of(delivery: dict[str, Any]) -> str:
    return str(delivery["name"]).rsplit(" ", 2)[0]


def told(event: str, data: Any) -> str:
    """The event and the shape of its data, to be compared."""
    shown = shape(_loosened(data))
    return f"{event} {json.dumps(shown, sort_keys=True)}"


def _loosened(data: Any) -> Any:
    """Without what a person may or may not have, and with bytes as one value."""
    if isinstance(data, dict) and data and all(key.isdigit() for key in data):
        return b""
    if isinstance(data, dict):
        return {key: _loosened(inner) for key, inner in data.items() if key not in ("profileName", "pairingCode")}
    return [_loosened(inner) for inner in data] if isinstance(data, list) else data


RECORDED: dict[str, set[str]] = {}
for _delivery in webhooks():
    _body = _delivery["body"]
    RECORDED.setdefault(scenario_of(_delivery), set()).add(told(_body["event"], _body["data"]))


@pytest.fixture(scope="module")
def unreachable_box() -> Iterator[Sandbox]:
    with Sandbox(key=KEY, time_scale=0.01, reachable=False) as box:
        yield box
        box.reset()


@pytest.mark.parametrize("scenario", sorted(RECORDED))
def test_what_the_real_server_told_is_told_here(scenario: str, client: Client, unreachable_box: Sandbox) -> None:
    if scenario in UNREACHABLE:
        unreachable_box.reset()
        client.box = unreachable_box
    before, scene = SCENES[scenario]
    before(client)
    scene(client)

    def missing() -> set[str]:
        return RECORDED[scenario] - {told(one.event, one.data) for one in client.receiver.under(client.hook)}

    try:
        eventually(lambda: not missing())
        assert scenario not in DIFFERENT
    except AssertionError:
        if scenario in DIFFERENT and missing():
            return
        pytest.fail(f"never came: {missing()}, but {[one.event for one in client.receiver.under(client.hook)]}")


def test_what_is_different_was_recorded() -> None:
    assert set(DIFFERENT) <= set(RECORDED) == set(SCENES)
