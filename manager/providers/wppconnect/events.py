"""WPPConnect Server's webhooks in our words: every event it knows, and who reads it.

`{"event":"onmessage","session":"user_…", …}`: flat, with the event's own fields beside the envelope's. Pure: unknown
fields are ignored, missing ones are None, shapes never trusted. What comes of each event stands in docs/events.md.
"""

from collections.abc import Mapping
from typing import Any

from core.errors import Malformed
from manager.providers.evolution.events import Reader, nothing
from manager.providers.evolution.heard import Facts, Heard
from manager.providers.evolution.jids import jid, user_of
from manager.providers.port import Reading
from manager.providers.wppconnect.ids import address, is_ours
from manager.providers.wppconnect.marks import ack, incoming_call, reaction, revoked, vote
from manager.providers.wppconnect.messages import message
from manager.providers.wppconnect.sessions import closed, logged_out, phone_code, qrcode, status_find

READERS: Mapping[str, Reader] = {
    "qrcode": qrcode,
    "phonecode": phone_code,
    "status.find": status_find,
    "closesession": closed,
    "logoutsession": logged_out,
    "onmessage": message,
    "onselfmessage": message,
    "unreadmessages": message,
    "onack": ack,
    "onrevokedmessage": revoked,
    "onreactionmessage": reaction,
    "onpollresponse": vote,
    "incomingcall": incoming_call,
    "onpresencechanged": nothing,
    "onparticipantschanged": nothing,
    "onupdatelabel": nothing,
    "location": nothing,
}


def read_event(event: str, document: Mapping[str, Any], facts: Facts, *, called: str | None = None) -> Reading:
    """A webhook's meaning. `event` as webhooks.envelope names it; `facts`: delivery_id, instance, received_at;
    `called` is the instance's name on the gateway, where that is another one.

    Raises Malformed, with the code UNKNOWN_EVENT, NO_QRCODE or UNKNOWN_SHAPE; nothing else, whatever the JSON.
    """
    if (read := READERS.get(event)) is None:
        raise Malformed("We know no such event", code="UNKNOWN_EVENT")
    heard = _hear(document, facts, called)
    found = read(heard)
    return Reading(events=tuple(found), issues=tuple(sorted(heard.issues)))


def _hear(document: Mapping[str, Any], facts: Facts, called: str | None) -> Heard:
    """Reports have no time of their own, and none comes twice: each counts from when it came."""
    heard = Heard(facts={**facts, "reported_at": facts["received_at"]}, document=document, own=_own(document))
    session = document.get("session")
    if isinstance(session, str) and session not in (facts["instance"], called):
        heard.odd("instance_mismatch")
    return heard


def _own(document: Mapping[str, Any]) -> str | None:
    """The connected phone, as a message or a receipt names it."""
    said = document.get("fromMe")
    ours = said if isinstance(said, bool) else is_ours(document.get("id"))
    if ours is None:
        return None
    name = jid(address(document.get("from" if ours else "to")))
    return name if user_of(name) else None
