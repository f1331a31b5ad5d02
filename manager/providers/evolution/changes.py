"""What happens to a message later: it is edited, deleted, voted on. Called by `messages` and `updates`. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from manager.providers.evolution.heard import Heard, Reports
from manager.providers.evolution.jids import jid
from manager.providers.evolution.kinds import Opened, open_up, read_content
from manager.providers.evolution.values import clean, items, mapping
from manager.providers.port import DeleteReported, EditReported, VotesReported

EDITS = ("MESSAGE_EDIT", 14, None)
REVOKES = ("REVOKE", 0)


def protocol(heard: Heard, said: Mapping[str, Any]) -> Reports:
    """`{"key":{"id" of the original},"type":"MESSAGE_EDIT"|14,"editedMessage":{…},"timestampMs":"1761400100123"}`,
    or type REVOKE|0. Other types carry settings and keys of encryption: nothing of them is looked at.
    """
    kind = None if isinstance(said.get("type"), bool) else said.get("type")
    key = mapping(said.get("key"))
    if kind in REVOKES:
        return deletion(heard, key.get("id"))
    if kind not in EDITS or said.get("editedMessage") is None:
        return []
    at = heard.time(said["timestampMs"]) if said.get("timestampMs") is not None else None
    return edit(heard, key.get("id"), open_up(said["editedMessage"]), at)


def edit(heard: Heard, message_id: object, opened: Opened | None, at: datetime | None) -> Reports:
    """A new text, or a new caption."""
    content = read_content(opened) if opened else None
    if content is None:
        heard.odd("unknown_message")
    if not (found := heard.message_id(message_id)) or content is None:
        return []
    return [EditReported(**heard.about, message_id=found, text=content.text, edited_at=at)]


def deletion(heard: Heard, message_id: object) -> Reports:
    found = heard.message_id(message_id)
    return [DeleteReported(**heard.about, message_id=found)] if found else []


def votes(heard: Heard, message_id: object, polled: object) -> Reports:
    """`[{"name":"A","voters":["5511…@s.whatsapp.net"]}]`; single votes, which are encrypted, mean nothing here."""
    options = [mapping(one) for one in items(polled)]
    options = [one for one in options if isinstance(one.get("name"), str) and isinstance(one.get("voters"), list)]
    if not options or not (found := heard.message_id(message_id)):
        return []
    stand = {clean(one["name"]): [name for voter in one["voters"] if (name := jid(voter))] for one in options}
    return [VotesReported(**heard.about, message_id=found, votes=stand)]
