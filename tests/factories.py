"""Things tests need again and again."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from bootstrap.system import System
from core.access import Principal
from manager.keys import HookKeys, keys_of

BODY = Mapping[str, Any]


def token_for(system: System, principal: Principal) -> str:
    return system.access.tokens.issue(principal, valid_for=timedelta(hours=1))


def make_instance(
    connection: Connection, name: str | None = None, *, organization_id: str | None = None
) -> tuple[UUID, str]:
    """A profile with an instance that the gateway knows nothing of: user id, instance name."""
    user_id = uuid4()
    name = name or f"user_{user_id}"
    connection.execute(
        text("INSERT INTO profiles (id, email) VALUES (:id, :mail)"), {"id": user_id, "mail": f"{name}@x"}
    )
    connection.execute(
        text("INSERT INTO whatsapp_instances (instance_name, user_id, organization_id) VALUES (:name, :user, :org)"),
        {"name": name, "user": user_id, "org": organization_id},
    )
    return user_id, name


def hook_keys(system: System, name: str) -> HookKeys:
    """The webhook credentials of an instance, made when it has none."""
    with system.transaction() as connection:
        instance_id = connection.execute(
            text("SELECT id FROM whatsapp_instances WHERE instance_name = :name"), {"name": name}
        ).scalar_one()
        return keys_of(connection, system.vault, instance_id)


def text_message(
    instance: str,
    text: str,
    *,
    sender: str = "5511999990001@s.whatsapp.net",
    message_id: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A `messages.upsert` as Evolution 2.3.6 posts it."""
    key = {"remoteJid": sender, "fromMe": False, "id": message_id or uuid4().hex.upper(), **more.pop("key", {})}
    return {
        "event": "messages.upsert",
        "instance": instance,
        "data": {
            "key": key,
            "pushName": "Ana",
            "message": {"conversation": text},
            "messageType": "conversation",
            "messageTimestamp": 1795317373,
            "source": "android",
            **more,
        },
        "destination": "http://127.0.0.1:9/api/webhook",
        "date_time": "2026-11-22T03:16:13.000Z",
        "server_url": "http://localhost:8080",
        "apikey": "SECRET-INSTANCE-TOKEN",
    }


def connection_update(instance: str, state: str, at: str, **data: Any) -> dict[str, Any]:
    """A `connection.update`; `at` is the gateway's local time, `2026-11-22T03:16:13.000Z`."""
    return {
        "event": "connection.update",
        "instance": instance,
        "data": {"instance": instance, "state": state, "statusReason": 200, **data},
        "date_time": at,
    }


def qrcode_updated(instance: str, code: str, at: str) -> dict[str, Any]:
    return {
        "event": "qrcode.updated",
        "instance": instance,
        "data": {
            "qrcode": {"instance": instance, "pairingCode": None, "code": code, "base64": "data:image/png;base64,AA"}
        },
        "date_time": at,
    }


def body_of(document: BODY) -> bytes:
    return json.dumps(document).encode()
