"""Evolution's JSON in our words. Pure; unknown fields are ignored, missing ones are None, shapes never trusted.

Shapes as recorded from 2.3.6, with the variants of 1.8 to 2.4 where they differ.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from core.errors import Malformed
from manager.providers.port import (
    ConnectionReported,
    MessageReported,
    Pairing,
    PairingReported,
    ProviderEvent,
    Snapshot,
    State,
)

STATES = {
    "open": State.CONNECTED,
    "connecting": State.CONNECTING,
    "close": State.DISCONNECTED,
    "refused": State.REFUSED,
}
STATUSES = {
    "PENDING": "pending",
    "SERVER_ACK": "sent",
    "DELIVERY_ACK": "delivered",
    "READ": "read",
    "PLAYED": "played",
    "ERROR": "error",
}
WRAPPERS = ("ephemeralMessage", "viewOnceMessage", "viewOnceMessageV2", "deviceSentMessage")
MOST_WRAPPED = 4
AHEAD = timedelta(hours=26)  # the two farthest zones are 26 h apart: a clock further ahead of ours is wrong
EARLIEST, LATEST = datetime(2009, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)  # WhatsApp began in 2009
LONGEST_NAME = 200
QR = re.compile(r"[!-~]{1,1000}")  # WhatsApp's have some 240 characters, and a QR code ends at 2,953
PAIRING_CODE = re.compile(r"[A-Z0-9]{6,8}")
Facts = dict[str, Any]


def hook_settings(url: str, token: str, jwt_key: str) -> dict[str, Any]:
    """The `webhook` object of create and webhook/set. `events` must be there (2.3.6 fails without); [] is all."""
    headers = {"X-Webhook-Token": token, "jwt_key": jwt_key}
    return {"enabled": True, "url": url, "headers": headers, "byEvents": False, "base64": False, "events": []}


def snapshot(name: str, answer: object) -> Snapshot:
    """Any answer of create, connect, restart or connectionState.

    `{"instance":{"state":"open"}}` · `{"pairingCode":null,"code":"2@…","base64":"data:…","count":1}` ·
    `{"count":0}` (no code yet) · create's `{"instance":{"status":"connecting"},"qrcode":{…}}` ·
    200 `{"error":true}` raises BadResponse in the client, before it comes here.
    """
    body = _object(answer)
    instance = _object(body.get("instance"))
    word = _text(instance.get("state") or instance.get("status"))
    pairing = _pairing(_object(body.get("qrcode")) or body)
    if word in STATES:
        return Snapshot(name=name, state=STATES[word], pairing=pairing)
    asked = pairing is not None or "count" in body
    return Snapshot(name=name, state=State.CONNECTING if asked else State.UNKNOWN, pairing=pairing)


def reason_text(answer: object) -> str:
    """The first text in an error body: string, list, list of lists, list of objects. For people; never branch on it."""
    body = _object(answer)
    found: Any = _object(body.get("response")).get("message", body.get("message"))
    while isinstance(found, list) and found:
        found = found[0]
    return found if isinstance(found, str) else ""


def parse_event(event: str, document: Mapping[str, Any], facts: Facts) -> list[ProviderEvent]:
    """A webhook's meaning. `facts`: delivery_id, instance, received_at.

    [] for kinds nobody asks about yet, for a message that is no text, that has no id or chat or goes to a
    broadcast or newsletter, and for a code of no known form. A connection's unknown word is State.UNKNOWN.
    Raises Malformed for a `qrcode.updated` that has neither a code nor the end of codes.
    """
    read = READERS.get(event)
    if read is None:
        return []
    return read(document, {**facts, "reported_at": _reported_at(document, facts["received_at"])})


def _connection(document: Mapping[str, Any], facts: Facts) -> list[ProviderEvent]:
    """`{"instance":"…","wuid":"5511…@s.whatsapp.net","profileName":"…","state":"open","statusReason":200}`"""
    data = _object(document.get("data"))
    words = (data.get("state"), data.get("status"), data.get("connection"), document.get("status"))
    word = next((word for word in words if isinstance(word, str)), "")
    state = STATES.get(word, State.UNKNOWN)
    given = _number(data.get("statusReason"))
    reason = given if given is not None and 0 < given < 1000 else None
    phone = user_of(_text(data.get("wuid"))) if state is State.CONNECTED else None
    if state is State.CONNECTED and phone is None:
        phone = user_of(_text(document.get("sender")))
    name = clean(_text(data.get("profileName")))[:LONGEST_NAME] or None
    return [ConnectionReported(**facts, state=state, reason=reason, phone=phone, profile_name=name)]


def _qrcode(document: Mapping[str, Any], facts: Facts) -> list[ProviderEvent]:
    """`{"qrcode":{"pairingCode":null,"code":"2@…","base64":"data:image/png;base64,…"}}`, or at the limit
    `{"message":"QR code limit reached…","statusCode":500}`. The picture is ours to draw, from the code.
    """
    data = _object(document.get("data"))
    if "qrcode" not in data:
        if "statusCode" not in data:
            raise Malformed("No QR code in the event", code="NO_QRCODE")
        return [PairingReported(**facts, pairing=None)]
    pairing = _pairing(_object(data["qrcode"]))
    return [PairingReported(**facts, pairing=pairing)] if pairing else []


def _messages(document: Mapping[str, Any], facts: Facts) -> list[ProviderEvent]:
    """One message as an object, or several in an array."""
    data = document.get("data")
    each = data if isinstance(data, list) else [data]
    return [report for one in each for report in _message(_object(one), facts)]


def _message(data: Mapping[str, Any], facts: Facts) -> list[ProviderEvent]:
    """`{"key":{"remoteJid","remoteJidAlt"?,"fromMe","id","participant"?},"pushName","message":{…},"messageTimestamp"}`"""
    key = _object(data.get("key"))
    message_id = _name(key.get("id"))
    chat = _aliases(key, "remoteJid", "remoteJidAlt", "senderPn", "senderLid")
    content = text_of(data.get("message"))
    if not message_id or not chat or content is None or chat[0].endswith(("@broadcast", "@newsletter")):
        return []
    from_me = key.get("fromMe") is True
    in_group = chat[0].endswith("@g.us")
    if in_group:
        chat = chat[:1]
    author = _aliases(key, "participant", "participantAlt", "participantPn") if in_group else chat
    return [
        MessageReported(
            **facts,
            message_id=message_id,
            chat=chat,
            author=() if from_me else author,
            from_me=from_me,
            text=clean(content),
            kind="text",
            status=STATUSES.get(_text(data.get("status")), "pending" if from_me else "delivered"),
            push_name=clean(_text(data.get("pushName")))[:LONGEST_NAME] or None,
            sent_at=moment(data.get("messageTimestamp")),
        )
    ]


READERS: Mapping[str, Callable[[Mapping[str, Any], Facts], list[ProviderEvent]]] = {
    "connection.update": _connection,
    "qrcode.updated": _qrcode,
    "messages.upsert": _messages,
    "send.message": _messages,
}


def text_of(message: object) -> str | None:
    """The text of a message: a plain string, `conversation`, `extendedTextMessage.text`, also inside wrappers."""
    for _ in range(MOST_WRAPPED):
        if isinstance(message, str):
            return message
        content = _object(message)
        wrapper = next((name for name in WRAPPERS if name in content), None)
        if wrapper is None:
            spoken = content.get("conversation")
            extended = _object(content.get("extendedTextMessage")).get("text")
            return next((text for text in (spoken, extended) if isinstance(text, str)), None)
        message = _object(content[wrapper]).get("message")
    return None


def moment(value: object) -> datetime | None:
    """A message's time: seconds or milliseconds as number or string, `{low,high,unsigned}`, ISO text; else None."""
    if isinstance(value, Mapping):
        low, high = _number(value.get("low")), _number(value.get("high"))
        value = None if low is None else (high or 0) * 2**32 + low % 2**32
    seconds = _number(value)
    try:
        if seconds is None:
            found = datetime.fromisoformat(value) if isinstance(value, str) else None
            found = found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
        else:
            found = datetime.fromtimestamp(seconds / 1000 if seconds > 10**11 else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return found.astimezone(UTC) if found and EARLIEST < found < LATEST else None


def clean(text: str) -> str:
    """The text as PostgreSQL and JSON can hold it: NUL and lone surrogates become U+FFFD."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def user_of(jid: str) -> str | None:
    """The digits of a phone's JID: `5511999990001:12@s.whatsapp.net` → `5511999990001`; None for other kinds."""
    user, _, server = jid.partition("@")
    digits = user.partition(":")[0]
    return digits if server in ("s.whatsapp.net", "c.us", "") and digits.isascii() and digits.isdigit() else None


def _aliases(key: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    """The JIDs under these names, devices stripped, each once, in order; bare digits are a phone's."""
    found = []
    for name in names:
        jid = _name(key.get(name))
        user, _, server = jid.partition("@")
        if phone := user_of(jid):
            found.append(f"{phone}@s.whatsapp.net")
        elif user and server:
            found.append(f"{user.partition(':')[0]}@{server}")
    return tuple(dict.fromkeys(found))


def _name(value: object) -> str:
    """An id or a JID, fit for an index; "" for what cannot be one."""
    name = clean(_text(value))
    return name if len(name) <= LONGEST_NAME else ""


def _pairing(found: Mapping[str, Any]) -> Pairing | None:
    qr, code = _text(found.get("code")), _text(found.get("pairingCode")).replace("-", "").upper()
    pairing = Pairing(qr=_matching(QR, qr), pairing_code=_matching(PAIRING_CODE, code))
    return None if pairing == Pairing() else pairing


def _matching(pattern: re.Pattern[str], text: str) -> str | None:
    return text if pattern.fullmatch(text) else None


def _reported_at(document: Mapping[str, Any], received_at: datetime) -> datetime | None:
    """The sender's time; None for one from the future, which no later report could ever pass."""
    found = _local_time(document.get("date_time"))
    return found if found and found <= received_at + AHEAD else None


def _local_time(value: object) -> datetime | None:
    """`date_time` is the gateway's wall clock with a false Z: right for before and after, wrong as a time."""
    try:
        found = datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found and EARLIEST < found < LATEST else None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None
