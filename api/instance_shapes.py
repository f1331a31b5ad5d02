"""The second route family's JSON: `/api/whatsapp/instances…`. Pure.

Its `instance_name` is our label, its `phone_number` the owner's.
"""

from datetime import datetime
from typing import Any

from api import shapes
from api.shapes import iso
from manager.catalog import Entry
from manager.lifecycle import Status
from manager.service import Connecting

BY_CHANNEL = "QR Code will be sent via Socket.IO when generated"
CODES = ("qr", "qrcode", "qrCode", "pairingCode", "pairingCodeFormatted", "expiresAt")


def instance(one: Entry) -> dict[str, Any]:
    record = one.record
    return {
        "id": str(record.id),
        "organization_id": record.organization_id,
        "instance_name": one.label,
        "provider_instance_name": record.name,
        "phone_number": one.owner_phone,
        "connected_phone": record.standing.phone,
        "status": record.status,
        "pairing_method": one.pairing_method,
        "created_at": iso(one.created_at),
        "last_connected_at": iso(record.standing.connected_at),
        "messages_sent_count": one.sent,
        "messages_received_count": one.received,
    }


def made(one: Entry) -> dict[str, Any]:
    """`POST`: what its caller needs first stands at the top as well."""
    return {**changed(one), "instance_id": str(one.record.id), "status": one.record.status}


def changed(one: Entry) -> dict[str, Any]:
    return {"success": True, "instance": instance(one)}


def status(one: Entry, now: datetime) -> dict[str, Any]:
    """`GET /:id/status`: with the code that is on the screen now. `is_running`: the gateway has a session of it."""
    code = shapes.connecting(Connecting(record=one.record), now)
    running = one.record.status is not Status.DISCONNECTED
    return {**changed(one), "is_running": running} | {name: code[name] for name in CODES}


def connecting(result: Connecting, method: str, now: datetime) -> dict[str, Any]:
    """`POST /:id/connect`. By QR, which comes by the live channel too, it always says the same."""
    body = shapes.connecting(result, now) | {"instance_id": str(result.record.id), "method": method}
    is_waiting = method == "qr" and not result.already_connected
    return body | ({"message": BY_CHANNEL} if is_waiting else {})
