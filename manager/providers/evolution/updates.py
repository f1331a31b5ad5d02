"""How far messages got, and what became of them. Readers of `events`. Pure."""

from collections.abc import Mapping
from typing import Any

from manager.providers.evolution.changes import deletion, edit, protocol, votes
from manager.providers.evolution.heard import Heard, Reports, fields_of
from manager.providers.evolution.jids import is_unheard, jid
from manager.providers.evolution.kinds import PROTOCOL, open_up
from manager.providers.evolution.messages import status_of
from manager.providers.evolution.values import mapping, moment
from manager.providers.port import StatusReported

FALLBACK = "DELETED"  # what 2.3.5 and 2.3.6 say for an update without a status: not a deletion


def updates(heard: Heard) -> Reports:
    """`{"keyId","remoteJid","fromMe","status","pollUpdates"?,"message"? (2.3.7's edits),"messageId" (a row's)}`;
    1.8: `{"id","remoteJid","fromMe","status","datetime","owner"}`.
    """
    return heard.each(_update)


def deletions(heard: Heard) -> Reports:
    """`{"remoteJid","fromMe","id"}` for one deleted by its author, or the gateway's row `{"id","key":{"id"},…}`."""
    return heard.each(_deletion)


def changes(heard: Heard) -> Reports:
    """WhatsApp's protocol messages as they are: edits, deletions, and much that must not be kept."""
    return heard.each(_change)


def _update(heard: Heard, item: object) -> Reports:
    data = fields_of(item, "keyId", "key", "id")
    key = _key(data)
    if is_unheard(jid(key.get("remoteJid"))):
        return []
    message_id = data.get("keyId") or key.get("id")
    return [
        *_status(heard, message_id, data.get("status")),
        *_edit(heard, message_id, data),
        *votes(heard, message_id, data.get("pollUpdates")),
    ]


def _status(heard: Heard, message_id: object, given: object) -> Reports:
    status = status_of(given)
    if status is None:
        if given not in (None, FALLBACK):
            heard.odd("unknown_status")
        return []
    found = heard.message_id(message_id)
    return [StatusReported(**heard.about, message_id=found, status=status)] if found else []


def _edit(heard: Heard, message_id: object, data: Mapping[str, Any]) -> Reports:
    """`{"message":{"editedMessage":{"message":{…}}}}`, with a protocol message inside or not."""
    opened = open_up(data.get("message"))
    if opened is not None and opened.name == PROTOCOL:
        return protocol(heard, mapping(opened.body))
    if opened is None or "editedMessage" not in opened.wrappers:
        return []
    return edit(heard, message_id, opened, moment(data.get("messageTimestamp")))


def _deletion(heard: Heard, item: object) -> Reports:
    key = _key(fields_of(item, "key", "remoteJid", "keyId"))
    if is_unheard(jid(key.get("remoteJid"))):
        return []
    return deletion(heard, key.get("id") or key.get("keyId"))


def _change(heard: Heard, item: object) -> Reports:
    said = fields_of(item, "type", "editedMessage")
    return [] if is_unheard(jid(mapping(said.get("key")).get("remoteJid"))) else protocol(heard, said)


def _key(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message's key: an object of its own, or its fields among the others."""
    return data["key"] if isinstance(data.get("key"), dict) else data
