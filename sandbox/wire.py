"""Bodies of Evolution's instance and settings routes: their checks, and the rows in Evolution's
JSON. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any

from sandbox import errors, ids, subscription
from sandbox.errors import ApiError
from sandbox.profiles import Profile
from sandbox.state import BAILEYS, CHANNEL, SETTINGS, Instance

CLIENT_NAME = "sandbox"
WHATSAPP_WEB_VERSION = "2.3000.1027934701"
INTEGRATIONS = (BAILEYS, CHANNEL)
REQUIRED_SETTINGS = (
    "rejectCall",
    "groupsIgnore",
    "alwaysOnline",
    "readMessages",
    "readStatus",
    "syncFullHistory",
)

_NUMBER = r"^\d+[\.@\w-]+"
_PRISMA = "\nInvalid `prisma.{call}` invocation:\n\n\n{reason}"
BROKEN_KEY = _PRISMA.format(
    call="setting.upsert()",
    reason="Foreign key constraint violated on the constraint: `Setting_instanceId_fkey`",
)
_NO_NAME = _PRISMA.format(call="instance.create()", reason="Argument `name` is missing.")


def new_instance(body: Mapping[str, Any], profile: Profile) -> Instance:
    """The instance that POST /instance/create asks for. Raises ApiError 400, and then nothing was made."""
    integration = body.get("integration")
    if integration not in INTEGRATIONS:
        raise ApiError(400, ["Invalid integration"])
    name, number = body.get("instanceName"), body.get("number")
    if name is None:
        raise ApiError(400, [_NO_NAME])
    if not isinstance(name, str):
        raise errors.invalid("instanceName is not of a type(s) string")
    if number is not None and not isinstance(number, str):
        raise errors.invalid("number is not of a type(s) string")
    if number is not None and not re.match(_NUMBER, number):
        raise errors.invalid("number does not match pattern " + json.dumps(_NUMBER))
    if len(name) > 255:
        raise ApiError(400, [BROKEN_KEY])
    instance = Instance(name=name, token=str(body.get("token") or ids.token()), number=number, settings=_settings(body))
    instance.integration = integration
    if integration == CHANNEL:
        instance.status = instance.live.state = "open"
    if body.get("webhook") is not None:
        instance.webhook = subscription.created(body["webhook"], profile)
    return instance


def created(
    instance: Instance, body: Mapping[str, Any], qrcode: dict[str, Any] | None, profile: Profile
) -> dict[str, Any]:
    """The 201 body of create; `qrcode` only when it was asked for."""
    answer = {
        "instance": {
            "instanceName": instance.name,
            "instanceId": instance.id,
            "integration": instance.integration,
            "webhookWaBusiness": None,
            "accessTokenWaBusiness": "",
            "status": instance.live.state,
        },
        "hash": instance.token,
        "webhook": subscription.echo(body.get("webhook")),
        **{transport: {} for transport in profile.transports},
        "settings": dict(instance.settings),
    }
    return answer if qrcode is None else answer | {"qrcode": qrcode}


def qrcode(instance: Instance) -> dict[str, Any]:
    """`{pairingCode, code, base64, count}`, or only `{count}` while there is none; it may be an old one."""
    live = instance.live
    if live.qr is None:
        return {"count": live.qr_count}
    code = live.qr
    return {
        "pairingCode": code.pairing_code,
        "code": code.code,
        "base64": code.base64,
        "count": live.qr_count,
    }


def state(instance: Instance) -> dict[str, Any]:
    return {"instance": {"instanceName": instance.name, "state": instance.live.state}}


def row(instance: Instance) -> dict[str, Any]:
    """One row of GET /instance/fetchInstances: the database's view, which may be older than the state."""
    return {
        "id": instance.id,
        "name": instance.name,
        "connectionStatus": instance.status,
        "ownerJid": instance.owner_jid,
        "profileName": instance.profile_name,
        "profilePicUrl": None,
        "integration": instance.integration,
        "number": instance.number,
        "businessId": None,
        "token": instance.token,
        "clientName": CLIENT_NAME,
        "disconnectionReasonCode": instance.disconnection_code,
        "disconnectionObject": instance.disconnection_object,
        "disconnectionAt": instance.disconnection_at,
        "createdAt": instance.created_at,
        "updatedAt": instance.updated_at,
        **dict.fromkeys(("Chatwoot", "Proxy", "Rabbitmq", "Nats", "Sqs", "Websocket")),
        "Setting": _setting_row(instance),
        "_count": {
            "Message": instance.message_count,
            "Contact": len(instance.contacts),
            "Chat": len({message.jid for message in instance.messages}),
        },
    }


def check_settings(body: Mapping[str, Any]) -> None:
    """Raises ApiError 400 unless all six are there."""
    missing = [f'instance requires property "{name}"' for name in REQUIRED_SETTINGS if name not in body]
    if missing:
        raise errors.invalid(*missing)
    wrong = [name for name in REQUIRED_SETTINGS if not isinstance(body[name], bool)]
    if wrong:
        raise errors.invalid(*(f"{name} is not of a type(s) boolean" for name in wrong))


def _settings(body: Mapping[str, Any]) -> dict[str, Any]:
    """Flags given at create count only as strict booleans."""
    texts = {name: body.get(name) or "" for name in ("msgCall", "wavoipToken")}
    return {name: texts[name] if name in texts else body.get(name) is True for name in SETTINGS}


def _setting_row(instance: Instance) -> dict[str, Any]:
    times = {"createdAt": instance.created_at, "updatedAt": instance.settings_updated_at}
    return {"id": instance.settings_id, **instance.settings, **times, "instanceId": instance.id}
