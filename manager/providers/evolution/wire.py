"""Evolution's REST in our words: what we send and what it answers. Webhooks are read by `events`.

Called by the client, `rows`, `metrics` and the readers of webhooks. Pure; unknown fields are ignored, missing ones
are None, shapes never trusted. Shapes as recorded from 2.3.6, with the variants of 1.8 to 2.4 where they differ.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from manager.providers.evolution.values import mapping, text
from manager.providers.port import Hook, Pairing, Snapshot, State

STATES = {
    "open": State.CONNECTED,
    "connecting": State.CONNECTING,
    "close": State.DISCONNECTED,
    "refused": State.REFUSED,
}
QR = re.compile(r"[!-~]{1,1000}")  # WhatsApp's have some 240 characters, and a QR code ends at 2,953
PAIRING_CODE = re.compile(r"[A-Z0-9]{6,8}")
TOKEN_HEADER = "X-Webhook-Token"  # noqa: S105 — its name
# What 2.2 can subscribe to, and every later version too
# fmt: off
EVENTS = frozenset({
    "APPLICATION_STARTUP", "QRCODE_UPDATED", "CONNECTION_UPDATE", "MESSAGES_SET", "MESSAGES_UPSERT",
    "MESSAGES_EDITED", "MESSAGES_UPDATE", "MESSAGES_DELETE", "SEND_MESSAGE", "CONTACTS_SET", "CONTACTS_UPSERT",
    "CONTACTS_UPDATE", "PRESENCE_UPDATE", "CHATS_SET", "CHATS_UPSERT", "CHATS_UPDATE", "CHATS_DELETE",
    "GROUPS_UPSERT", "GROUP_UPDATE", "GROUP_PARTICIPANTS_UPDATE", "LABELS_EDIT", "LABELS_ASSOCIATION", "CALL",
    "TYPEBOT_START", "TYPEBOT_CHANGE_STATUS", "REMOVE_INSTANCE", "LOGOUT_INSTANCE",
})
# fmt: on
NAMES_OF_EVENTS = re.compile(r"[A-Z]+(?:_[A-Z]+)*")


def hook_settings(hook: Hook, events: Iterable[str] = ()) -> dict[str, Any]:
    """The `webhook` object of create and webhook/set. `events` must be there (2.3.6 fails without); [] is all.

    Raises ValueError for an empty secret: with an empty `jwt_key` 2.3.6 sends nothing at all, says nothing, and
    cannot even delete the instance.
    """
    if not hook.token or not hook.jwt_key:
        raise ValueError("A webhook needs its token and its jwt_key")
    headers = {TOKEN_HEADER: hook.token, "jwt_key": hook.jwt_key}
    about = {"enabled": True, "url": hook.url, "headers": headers, "byEvents": False, "base64": False}
    return {**about, "events": sorted(events)}


def allowed_events(reason: str) -> frozenset[str]:
    """The events that a refusal lists, `webhook.events[0] is not one of enum values: QRCODE_UPDATED,CALL,…`; EVENTS
    where it lists none.
    """
    _, _, listed = reason.partition("enum values:")
    return frozenset(NAMES_OF_EVENTS.findall(listed)) or EVENTS


def snapshot(name: str, answer: object) -> Snapshot:
    """Any answer of create, connect, restart or connectionState.

    `{"instance":{"state":"open"}}` · `{"pairingCode":null,"code":"2@…","base64":"data:…","count":1}` ·
    `{"count":0}` (no code yet) · create's `{"instance":{"status":"connecting"},"qrcode":{…}}` ·
    200 `{"error":true}` raises ProviderError in `answers`, before it comes here.
    """
    body = mapping(answer)
    instance = mapping(body.get("instance"))
    word = text(instance.get("state") or instance.get("status"))
    found = pairing(mapping(body.get("qrcode")) or body)
    if word in STATES:
        return Snapshot(name=name, state=STATES[word], pairing=found)
    asked = found is not None or "count" in body
    return Snapshot(name=name, state=State.CONNECTING if asked else State.UNKNOWN, pairing=found)


def pairing(found: Mapping[str, Any]) -> Pairing | None:
    """`{"code":"2@…","pairingCode":"K3ZT-9QWB"}`; None where neither has a form that we know."""
    qr, code = text(found.get("code")), text(found.get("pairingCode")).replace("-", "").upper()
    codes = Pairing(qr=_matching(QR, qr), pairing_code=_matching(PAIRING_CODE, code))
    return None if codes == Pairing() else codes


def _matching(pattern: re.Pattern[str], given: str) -> str | None:
    return given if pattern.fullmatch(given) else None
