"""How an instance stands, and the codes it pairs by. Readers of `events`; the words are `wire`'s. Pure."""

from collections.abc import Mapping
from typing import Any

from core.errors import Malformed
from manager.providers.evolution.heard import Heard, Reports, unknown_shape
from manager.providers.evolution.jids import user_of
from manager.providers.evolution.values import LONGEST_NAME, clean, integer, mapping, text
from manager.providers.evolution.wire import STATES, pairing
from manager.providers.port import ConnectionReported, PairingReported, State

PICTURE = "data:image/png;base64,"


def connection(heard: Heard) -> Reports:
    """`{"instance":"…","wuid":"5511…@s.whatsapp.net","profileName":"…","state":"open","statusReason":200}`"""
    data = heard.one()
    words = (data.get("state"), data.get("status"), data.get("connection"), heard.document.get("status"))
    word = next((word for word in words if isinstance(word, str)), None)
    if word is None:
        raise unknown_shape()
    state = STATES.get(word, State.UNKNOWN)
    if state is State.UNKNOWN:
        heard.odd("unknown_state")
    phone = user_of(data.get("wuid")) or user_of(heard.document.get("sender"))
    return [
        ConnectionReported(
            **heard.facts,
            state=state,
            reason=_reason(data.get("statusReason")),
            phone=phone if state is State.CONNECTED else None,
            profile_name=clean(text(data.get("profileName")))[:LONGEST_NAME] or None,
        )
    ]


def status(heard: Heard) -> Reports:
    """`{"instance":"…","status":"closed","disconnectionReasonCode":401,…}`, sent with every final close."""
    reason = _reason(heard.one().get("disconnectionReasonCode"))
    return [ConnectionReported(**heard.facts, state=State.DISCONNECTED, reason=reason)]


def gone(heard: Heard) -> Reports:
    """Logged out, removed or deleted; `data` is null or `{"instanceName","instanceId"}` and tells nothing more."""
    return [ConnectionReported(**heard.facts, state=State.DISCONNECTED, ended=True)]


def qrcode(heard: Heard) -> Reports:
    """`{"qrcode":{"pairingCode":null,"code":"2@…","base64":"data:image/png;base64,…"}}`, or at the limit
    `{"message":"QR code limit reached…","statusCode":500}`. The picture is ours to draw, from the code.
    """
    data = heard.one()
    if "qrcode" not in data and "statusCode" in data:
        return [PairingReported(**heard.facts, pairing=None)]
    codes = mapping(data.get("qrcode"))
    if not codes.get("code") and not codes.get("pairingCode"):
        raise Malformed("No QR code in the event", code="NO_QRCODE")
    found = pairing(codes)
    if _is_odd(codes) or found is None:
        heard.odd("bad_qr")
    return [PairingReported(**heard.facts, pairing=found)] if found else []


def _is_odd(codes: Mapping[str, Any]) -> bool:
    """Whether one of the codes has a form that we do not know, or the picture is none."""
    found, picture = pairing(codes), codes.get("base64")
    lost = found and ((codes.get("code") and not found.qr) or (codes.get("pairingCode") and not found.pairing_code))
    return bool(lost) or (picture is not None and not text(picture).startswith(PICTURE))


def _reason(value: object) -> int | None:
    reason = integer(value)
    return reason if reason is not None and 0 < reason < 1000 else None
