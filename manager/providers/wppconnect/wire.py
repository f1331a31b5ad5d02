"""WPPConnect Server's REST in our words: what we send and what it answers. Webhooks are read by `events`.

Called by the client and the readers of webhooks. Pure; unknown fields are ignored, missing ones are None, shapes never
trusted. Shapes as of server 2.10.4, with the variants of 1.x and 2.x where they differ.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.errors import BadResponse, InvalidRecipient, ProviderError
from manager.providers.evolution.jids import jid, user_of
from manager.providers.evolution.values import called, items, mapping, text
from manager.providers.evolution.wire import PAIRING_CODE, QR
from manager.providers.port import Found, Hook, Pairing, Sent, Snapshot, State
from manager.providers.wppconnect.ids import address, message_id

STATES = {
    None: State.DISCONNECTED,
    "CLOSED": State.DISCONNECTED,
    "INITIALIZING": State.CONNECTING,
    "QRCODE": State.CONNECTING,
    "PHONECODE": State.CONNECTING,
    "CONNECTED": State.CONNECTED,
}
PICTURE = "data:image/png;base64,"
BASE64 = re.compile(r"[A-Za-z0-9+/]{1,100000}={0,2}")
RECIPIENTS = {  # what goes along, only where it is true: old versions trip over false
    "s.whatsapp.net": (),
    "g.us": ("isGroup",),
    "newsletter": ("isNewsletter",),
    "lid": ("isLid",),
}
ACKS = {**dict.fromkeys(range(-5, 0), "error"), 0: "pending", 1: "sent", 2: "delivered", 3: "read", 4: "played"}


def start_body(phone: str | None, hook: Hook | None) -> dict[str, Any]:
    """The body of start-session. It replaces what the server has stored, so the webhook goes with each; `{}` keeps
    that. Never `waitQrCode`: for a session that is paired the answer would never come."""
    if hook is None and phone is None:
        return {}
    named = {"webhook": hook.url if hook else None, "phone": phone}
    return {"waitQrCode": False} | {key: value for key, value in named.items() if value}


def snapshot(name: str, answer: Mapping[str, Any]) -> Snapshot:
    """status-session's `{"status":"QRCODE","qrcode":"data:image/png;base64,…","urlcode":"2@…","version":"2.10.4"}`, and
    `{"status":"CLOSED","qrcode":null}` for what it does not know as for what is closed. CONNECTED may be stale.

    Codes count in QRCODE only: the last one stands there still when the time for pairing is over.
    """
    word = answer.get("status", "")
    state = STATES.get(word, State.UNKNOWN) if isinstance(word, str | None) else State.UNKNOWN
    return Snapshot(name=name, state=state, pairing=pairing(answer) if word == "QRCODE" else None)


def started(name: str, answer: Mapping[str, Any]) -> Snapshot:
    """start-session's answer shows how it was before; what was closed opens now."""
    found = snapshot(name, answer)
    return replace(found, state=State.CONNECTING) if found.state is State.DISCONNECTED else found


def pairing(found: Mapping[str, Any]) -> Pairing | None:
    """`{"urlcode":"2@…","qrcode":"data:image/png;base64,…"}`, in webhooks the picture without what comes before its
    comma; None where neither has a form that we know."""
    if QR.fullmatch(text(found.get("urlcode"))):
        return Pairing(qr=found["urlcode"])
    drawn = text(found.get("qrcode")).removeprefix(PICTURE)
    return Pairing(qr=f"{PICTURE}{drawn}") if BASE64.fullmatch(drawn) else None


def pairing_code(value: object) -> Pairing | None:
    """`K3ZT9QWB`, or `K3ZT-9QWB`."""
    code = text(value).replace("-", "").upper()
    return Pairing(pairing_code=code) if PAIRING_CODE.fullmatch(code) else None


def names(answer: Mapping[str, Any]) -> list[str]:
    """`{"response":["user_1",…]}`, the stored sessions; before 2.2.1 `[{"session":"user_1"}]`, the running ones.

    Raises BadResponse where there is no list.
    """
    if not isinstance(answer.get("response"), list):
        raise BadResponse("The gateway answered with something else than a list", provider_status=200)
    found = (text(mapping(one).get("session")) or text(one) for one in items(answer["response"]))
    return [name for name in found if name]


def identity(name: str, answer: Mapping[str, Any]) -> Found | None:
    """host-device's `{"response":{"pushname":"Ana","phoneNumber":"5511…@c.us","wid":…}}`, or get-phone-number's
    `{"response":"5511…@c.us"}`; None where no phone is named."""
    device = mapping(answer.get("response")) or {"phoneNumber": answer.get("response")}
    phone = user_of(address(device.get("phoneNumber"))) or user_of(address(device.get("wid")))
    if phone is None:
        return None
    return Found(name=name, stored_state=State.UNKNOWN, phone=phone, profile_name=called(device.get("pushname")))


def text_body(to: str, words: str) -> dict[str, Any]:
    """For one recipient: the server goes on after a number that has no WhatsApp, so a second one would get it twice.

    Raises InvalidRecipient for what is neither a number nor a chat.
    """
    user, _, server = jid(to).partition("@")
    if server not in RECIPIENTS:
        raise InvalidRecipient("Nobody can be written to there")
    return {"phone": user, "message": words} | dict.fromkeys(RECIPIENTS[server], True)


def sent(answer: Mapping[str, Any]) -> Sent:
    """`{"response":[{"id":"true_5511…@c.us_3EB0…","ack":0,…}]}`; old versions give the one without the list.

    Raises ProviderError where a success says that it failed: `"ack":-1`, `"isSendFailure":true`.
    """
    given = answer.get("response")
    first = mapping(given[0] if isinstance(given, list) and given else given)
    status = status_of(first.get("ack")) or "pending"
    if status == "error" or first.get("isSendFailure") is True:
        raise ProviderError("The gateway could not send it", provider_status=201)
    return Sent(message_id=message_id(first.get("id")) or None, status=status)


def status_of(ack: object) -> str | None:
    """How far a message got; None for a number that says nothing of that."""
    return ACKS.get(ack) if isinstance(ack, int) and not isinstance(ack, bool) else None
