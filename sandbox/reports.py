"""What Evolution tells about a connection: the bodies of its connection events, and why one ended. Pure."""

import hashlib
import json
from typing import Any

from sandbox import ids, numbers
from sandbox.errors import TITLES
from sandbox.state import Instance

# Baileys's text and data for a close that may end a session for good.
_CLOSES: dict[int, tuple[str, dict[str, Any]]] = {
    401: ("Stream Errored (conflict)", {"tag": "conflict", "attrs": {"type": "device_removed"}}),
    403: ("Connection Failure", {"reason": "403"}),
    408: ("Connection was lost", {}),
}
REASONS = frozenset({401, 403, 408, 428, 440, 500, 515})


def update(instance: Instance, state: str, reason: int) -> dict[str, Any]:
    return {"instance": instance.name, "state": state, "statusReason": reason}


def login(instance: Instance) -> dict[str, Any]:
    """`{instance, wuid, profileName?, profilePictureUrl, state: "open", statusReason: 200}`."""
    body: dict[str, Any] = {"instance": instance.name, "wuid": instance.owner_jid}
    if instance.profile_name:
        body["profileName"] = instance.profile_name
    return body | {"profilePictureUrl": None, "state": "open", "statusReason": 200}


def closed(instance: Instance, code: int) -> dict[str, Any]:
    return {
        "instance": instance.name,
        "status": "closed",
        "disconnectionAt": instance.disconnection_at,
        "disconnectionReasonCode": code,
        "disconnectionObject": instance.disconnection_object,
    }


def own_jid(instance: Instance) -> str:
    """The phone that paired before, the number given at create, or a made-up one that stays with the name."""
    if instance.owner_jid:
        return instance.owner_jid
    made_up = int(hashlib.sha256(instance.name.encode()).hexdigest(), 16) % 10_000_000
    return numbers.jid_of(instance.number or f"55119{80_000_000 + made_up}")


def disconnection(code: int, logged_out: str | None = None) -> str:
    """The Boom dump that Evolution stores as a string; `logged_out` is the instance an API call logged out."""
    text, data = _CLOSES[code]
    if logged_out is not None:
        text, data = f"Log out instance: {logged_out}", {}
    payload = {"statusCode": code, "error": TITLES[code], "message": text}
    output = {"statusCode": code, "payload": payload, "headers": {}}
    error = {"data": data or None, "isBoom": True, "isServer": False, "output": output}
    return json.dumps({"error": error, "date": ids.now_iso()}, separators=(",", ":"))
