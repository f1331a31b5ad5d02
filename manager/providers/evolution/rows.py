"""Evolution's stored rows in our words: instances, webhook settings, and a message that was taken. Pure.

Called by the client. Unknown fields are ignored, missing ones are None, shapes never trusted.
"""

from collections.abc import Mapping
from typing import Any

from core.errors import BadResponse
from manager.providers.evolution.jids import user_of
from manager.providers.evolution.messages import status_of
from manager.providers.evolution.values import called, identifier, items, mapping, text
from manager.providers.evolution.wire import EVENTS, STATES, TOKEN_HEADER
from manager.providers.port import Found, HookSeen, Sent, State


def instances(document: object) -> list[Found]:
    """`[{"name","connectionStatus","ownerJid","profileName",…}]`; to 1.8 `[{"instance":{"instanceName","status",…}}]`.

    Rows without a name are left out. Raises BadResponse for anything but a list.
    """
    if not isinstance(document, list):
        raise BadResponse("The gateway answered with something else than a list", provider_status=200)
    return [found for row in document if (found := _instance(mapping(row)))]


def hook(document: object) -> HookSeen | None:
    """`{"enabled","url","headers":{…}|null,"events":[…],"webhookByEvents"}`; null where none was ever set.

    1.8 says `{"enabled":false,"url":"",…}` for none.
    """
    row = mapping(document)
    if not text(row.get("url")):
        return None
    headers = {name.lower(): value for name, value in mapping(row.get("headers")).items() if isinstance(value, str)}
    return HookSeen(
        enabled=row.get("enabled") is True,
        url=text(row["url"]),
        token=headers.get(TOKEN_HEADER.lower()),
        jwt_key=headers.get("jwt_key"),
        events=_events(row),
        by_events=(row.get("webhookByEvents") or row.get("webhook_by_events")) is True,
    )


def sent(document: Mapping[str, Any]) -> Sent:
    """`{"key":{"remoteJid","fromMe":true,"id":"3EB0…"},"status":"PENDING",…}`; some channels give no status."""
    message_id = identifier(mapping(document.get("key")).get("id"))
    return Sent(message_id=message_id or None, status=status_of(document.get("status")) or "pending")


def has_no_whatsapp(found: object) -> bool:
    """`[{"jid":"…@s.whatsapp.net","exists":false,"number":"…"}]`: a 400's message that is a fact and no text."""
    return any(mapping(one).get("exists") is False for one in items(found))


def _instance(row: Mapping[str, Any]) -> Found | None:
    row = mapping(row.get("instance")) or row
    name = text(row.get("name")) or text(row.get("instanceName"))
    if not name:
        return None
    word = text(row.get("connectionStatus") or row.get("status"))
    return Found(
        name=name,
        stored_state=STATES.get(word, State.UNKNOWN),
        phone=user_of(row.get("ownerJid") or row.get("owner")),
        profile_name=called(row.get("profileName")),
    )


def _events(row: Mapping[str, Any]) -> frozenset[str]:
    """Empty for all: it stores the list of its version, and every version's holds `EVENTS`."""
    names = frozenset(name for name in items(row.get("events")) if isinstance(name, str))
    return frozenset() if names >= EVENTS else names
