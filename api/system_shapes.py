"""Our words → those of the seed's fourth route family, `/system/whatsapp/*`. Pure.

`connected` is always a boolean, and true with `isLogged` alone.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from api import shapes
from core.errors import AppError, NotConfigured, ProviderError, SwitchedOff
from manager.configuration import Configuration
from manager.lifecycle import InstanceRecord, Standing, Status, instance_name_for
from manager.service import CLOSE, LOGOUT, Connecting

LOGGED, READ, OPENING, NOT_LOGGED = "isLogged", "qrReadSuccess", "inChat", "notLogged"
CONNECTED, WAITING, NO_SESSION = "Connected", "Waiting for QRCode Scan", "Session not initialized"
READ_CODE, CONNECTING = "QRCode read, waiting for the phone", "Connecting"
LOGGED_OUT, CLOSED = "Successfully logged out", "Session closed"
NO_URL, NO_PHONE = "URL do WPPConnect não configurada", "Número de telefone inválido"
SWITCHED_OFF = "O serviço WhatsApp está desativado"
PHONE_CODES = ("INVALID_PHONE_NUMBER", "PHONE_NUMBER_REQUIRED")
FACTS = ("instanceName", "status", "qr", "pairingCode", "expiresAt")
NOTHING_SHOWN = dict.fromkeys(("qrCode", "qrcode", "qr", "pairingCode", "pairingCodeFormatted", "expiresAt"))
SHORTEST, LONGEST = 10, 15  # digits of a phone number, country code included
LATER = timedelta(milliseconds=1)  # what we set ourselves is a microsecond later


def started(result: Connecting, now: datetime) -> dict[str, Any]:
    """`{"success":true,"qrcode":"data:image/png;…","pairingCode":"ABCD-1234","raw":{…},"status":{"connected":false,…}}`"""
    shown = code(result.record, now)
    is_waiting = not result.already_connected and (shown["qrcode"] or shown["pairingCode"])
    return {**shown, "status": _session(NOT_LOGGED, WAITING) if is_waiting else session(result.record)}


def code(record: InstanceRecord, now: datetime) -> dict[str, Any]:
    """What a phone can pair with now, null where there is nothing; `raw` is what we know, as we say it."""
    shown = shapes.connecting(Connecting(record=record), now)
    raw = {name: shown[name] for name in FACTS}
    kept = {name: shown[name] for name in ("success", *NOTHING_SHOWN, "message")}
    return {**kept, "pairingCode": shown["pairingCodeFormatted"], "raw": raw}


def no_code(user_id: UUID) -> dict[str, Any]:
    """The same of somebody who has never connected."""
    raw = {**dict.fromkeys(FACTS), "instanceName": instance_name_for(user_id), "status": Status.DISCONNECTED}
    return {"success": True, **NOTHING_SHOWN, "message": shapes.MESSAGES[Status.DISCONNECTED], "raw": raw}


def session(record: InstanceRecord | None) -> dict[str, Any]:
    """`{"connected":true,"status":"isLogged","message":"Connected","phone":"5511…","device":{…},"battery":null}`;
    without a phone the first three. No gateway tells us of devices and batteries."""
    status = record.status if record else Status.DISCONNECTED
    if record and status is Status.CONNECTED:
        device = {"manufacturer": None, "model": None, "os": None}
        phone = {"phone": record.standing.phone, "device": device, "battery": None}
        return {**_session(LOGGED, CONNECTED), **phone}
    if record and status is Status.QR_PENDING:
        return _session(READ, READ_CODE) if _has_read(record.standing) else _session(NOT_LOGGED, WAITING)
    return _session(OPENING, CONNECTING) if status is Status.CONNECTING else _session(NOT_LOGGED, NO_SESSION)


def parted(record: InstanceRecord, how: str) -> dict[str, Any]:
    said = {LOGOUT: LOGGED_OUT, CLOSE: CLOSED}[how]
    raw = {"instanceName": record.name, "status": record.status}
    return {"success": True, "response": {"message": said, "raw": raw}}


def configuration(found: Configuration) -> dict[str, Any]:
    """null: what the environment says. The key is never told, only whether one is kept."""
    return {
        "success": True,
        "enabled": found.enabled,
        "provider": found.provider,
        "url": found.url,
        "instanceName": found.instance_name,
        "hasKey": found.key is not None,
    }


def trouble(error: AppError) -> tuple[int, str]:
    """The status and the words of an error: the gateway's own status where it answered with one, 400 for what can be
    set right here, 500 for all other trouble that is not the caller's."""
    if isinstance(error, NotConfigured):
        return 400, NO_URL
    if isinstance(error, SwitchedOff):
        return 400, SWITCHED_OFF
    if error.code in PHONE_CODES:
        return 400, NO_PHONE
    status = error.provider_status if isinstance(error, ProviderError) else None
    if status and status >= 400:
        return status, f"Erro HTTP {status} na API WPPConnect: {error.message}"
    return min(error.http_status, 500), error.message


def is_phone(written: object) -> bool:
    """10 to 15 digits, however they are written; a JID's server aside."""
    number = written.partition("@")[0].partition(":")[0] if isinstance(written, str) else ""
    return SHORTEST <= sum(character.isdigit() for character in number) <= LONGEST


def _session(word: str, message: str) -> dict[str, Any]:
    return {"connected": word == LOGGED, "status": word, "message": message}


def _has_read(standing: Standing) -> bool:
    """A gateway that connects again while it shows a code: a phone has read it. Both times are the gateway's."""
    since, at = standing.pairing_at, standing.state_at
    return since is not None and at is not None and at - since >= LATER
