"""The broker's REST in our words. Webhooks are read by `events`. Called by the client.

Pure; unknown fields are ignored, missing ones are None, shapes never trusted. Builds of 2026 name a `connectionState`,
which tells them from those of 2025; these only say `connected`: whether a phone was ever paired.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import BadResponse, InvalidRecipient, NotOffered
from manager.providers.evolution.answers import UNREADABLE
from manager.providers.evolution.jids import user_of
from manager.providers.evolution.messages import status_of
from manager.providers.evolution.values import called, identifier, mapping, text
from manager.providers.evolution.wire import pairing
from manager.providers.port import Found, Sent, Snapshot, State

ROUTE = "/instances"
STATES = {
    "open": State.CONNECTED,
    "connecting": State.CONNECTING,
    "close": State.DISCONNECTED,
    "qr_timeout": State.REFUSED,
}
NOT_YET_PAIRED = "~"  # what Baileys calls the account from the pairing code until the phone has taken it
RENAMED = re.compile(r"[^A-Za-z0-9_]+")
BRAZILIAN = re.compile(r"55[0-9]{10,11}")
PNG = b"\x89PNG\r\n\x1a\n"
LARGEST_PICTURE_BYTES = 64 * 1024
Row = Mapping[str, Any]


def base_of(url: str) -> str:
    """The server's address, which may be written with the route of the instances: `https://broker.example/instances`."""
    return url.rstrip("/").removesuffix(ROUTE)


def kept_name(name: str) -> str:
    """The name, where the broker will call the instance by it. Raises NotOffered where it would make up another."""
    if not name or RENAMED.sub("-", name.lower()) != name:
        raise NotOffered("The broker would give the instance another name")
    return name


def recipient(to: str) -> str:
    """The digits to send to. Raises InvalidRecipient for what is no Brazilian phone: the broker would take ten or
    eleven digits of another country for a number in Brazil.
    """
    digits = user_of(to)
    if digits is None or not BRAZILIAN.fullmatch(digits):
        raise InvalidRecipient("The broker sends to Brazilian numbers only")
    return digits


def is_told(row: Row) -> bool:
    """Whether the build says how the connection stands."""
    return isinstance(row.get("connectionState"), str)


def snapshot(name: str, row: Row) -> Snapshot:
    """`{"connectionState":"close","connectionStateDetail":{"isLoggedOut":true,…},…}`; 2025: `{"connected":true,
    "user":{"id","name"}|null}`, where nobody is paired and so a code is shown, or soon will be.
    """
    state = _state(row)
    ended = mapping(row.get("connectionStateDetail")).get("isLoggedOut") is True
    return Snapshot(name=name, state=state, ended=ended and state is not State.CONNECTED)


def may_show_qr(row: Row) -> bool:
    """Whether a QR is there to be looked at, by what the build says."""
    return _state(row) is State.CONNECTING and row.get("hasLastQr") is not False


def waits_for_phone(row: Row) -> bool:
    """Whether nobody is paired, as far as the build says."""
    seen = snapshot("", row)
    if not is_told(row):
        return seen.state is not State.CONNECTED
    shows_qr = seen.state is not State.CONNECTED and row.get("hasLastQr") is True
    return shows_qr or seen.ended or seen.state is State.REFUSED


def states(rows: Iterable[object]) -> dict[str, State]:
    """By name. UNKNOWN where the list does not say."""
    return {name: _state(row) for name, row in _named(rows)}


def instances(rows: Iterable[object]) -> list[Found]:
    """Rows without an id are left out."""
    return [found(name, row) for name, row in _named(rows)]


def row_of(name: str, rows: Iterable[object]) -> Row | None:
    return dict(_named(rows)).get(name)


def found(name: str, row: Row) -> Found:
    """`{"user":{"id":"554123912160:18@s.whatsapp.net","name":"…"}|null}`; `user` is null until a phone is paired."""
    user, state = mapping(row.get("user")), _state(row)
    is_paired = user.get("name") != NOT_YET_PAIRED
    return Found(
        name=name,
        stored_state=state,
        phone=user_of(user.get("id")) if is_paired else None,
        profile_name=called(user.get("name")) if is_paired else None,
    )


def picture(body: bytes) -> str:
    """A PNG as a data URL. Raises BadResponse for anything else."""
    if not body.startswith(PNG) or len(body) > LARGEST_PICTURE_BYTES:
        raise BadResponse("The broker's QR is no picture", provider_status=200)
    return f"data:image/png;base64,{b64encode(body).decode()}"


def pairing_code(answer: Mapping[str, Any]) -> str:
    """`{"pairingCode":"K3ZT9QWB"}`. Raises BadResponse for a form that we do not know."""
    codes = pairing({"pairingCode": answer.get("pairingCode")})
    if codes is None or codes.pairing_code is None:
        raise BadResponse("The broker's pairing code is none", provider_status=200)
    return codes.pairing_code


def sent(answer: Mapping[str, Any]) -> Sent:
    """`{"id":"3EB0…","messageId":"3EB0…","status":1}`, the number being WAProto's."""
    message_id = identifier(answer.get("id")) or identifier(answer.get("messageId"))
    return Sent(message_id=message_id or None, status=status_of(answer.get("status")) or "pending")


def is_well(document: object) -> bool:
    """Whether this is what `/health` says."""
    return document is not UNREADABLE and mapping(document).get("status") == "ok"


def _state(row: Row) -> State:
    if is_told(row):
        return STATES.get(row["connectionState"], State.UNKNOWN)
    if not isinstance(row.get("connected"), bool):
        return State.UNKNOWN
    is_paired = row["connected"] and mapping(row.get("user")).get("name") != NOT_YET_PAIRED
    return State.CONNECTED if is_paired else State.CONNECTING


def _named(rows: Iterable[object]) -> Iterable[tuple[str, Row]]:
    return ((name, row) for row in map(mapping, rows) if (name := text(row.get("id"))))
