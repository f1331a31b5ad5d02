"""Evolution's REST in our words: what we send and what it answers. Webhooks are read by `events`.

Called by the client. Pure; unknown fields are ignored, missing ones are None, shapes never trusted. Shapes as recorded
from 2.3.6, with the variants of 1.8 to 2.4 where they differ.
"""

import re
from collections.abc import Mapping
from typing import Any

from manager.providers.evolution.values import mapping, text
from manager.providers.port import Pairing, Snapshot, State

STATES = {
    "open": State.CONNECTED,
    "connecting": State.CONNECTING,
    "close": State.DISCONNECTED,
    "refused": State.REFUSED,
}
QR = re.compile(r"[!-~]{1,1000}")  # WhatsApp's have some 240 characters, and a QR code ends at 2,953
PAIRING_CODE = re.compile(r"[A-Z0-9]{6,8}")


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
    body = mapping(answer)
    instance = mapping(body.get("instance"))
    word = text(instance.get("state") or instance.get("status"))
    found = pairing(mapping(body.get("qrcode")) or body)
    if word in STATES:
        return Snapshot(name=name, state=STATES[word], pairing=found)
    asked = found is not None or "count" in body
    return Snapshot(name=name, state=State.CONNECTING if asked else State.UNKNOWN, pairing=found)


def reason_text(answer: object) -> str:
    """The first text in an error body: string, list, list of lists, list of objects. For people; never branch on it."""
    body = mapping(answer)
    found: Any = mapping(body.get("response")).get("message", body.get("message"))
    while isinstance(found, list) and found:
        found = found[0]
    return found if isinstance(found, str) else ""


def pairing(found: Mapping[str, Any]) -> Pairing | None:
    """`{"code":"2@…","pairingCode":"K3ZT-9QWB"}`; None where neither has a form that we know."""
    qr, code = text(found.get("code")), text(found.get("pairingCode")).replace("-", "").upper()
    codes = Pairing(qr=_matching(QR, qr), pairing_code=_matching(PAIRING_CODE, code))
    return None if codes == Pairing() else codes


def _matching(pattern: re.Pattern[str], given: str) -> str | None:
    return given if pattern.fullmatch(given) else None
