"""What happens to messages later, and what is told beside them: receipts, deletions, reactions, votes, calls. Pure.

Readers of `events`.
"""

from collections.abc import Mapping
from typing import Any

from manager.providers.evolution.cards import call, poll_vote
from manager.providers.evolution.content import Content
from manager.providers.evolution.heard import Heard, Reports, fields_of
from manager.providers.evolution.jids import is_personal, is_unheard, jid, persons
from manager.providers.evolution.values import clean, items, mapping, text
from manager.providers.port import DeleteReported, MessageReported, ReactionReported, StatusReported
from manager.providers.wppconnect.ids import address, is_ours, message_id
from manager.providers.wppconnect.wire import status_of

NO_NEWS = (-7, -6, 5)  # of encryption, and of our own other devices


def ack(heard: Heard) -> Reports:
    """`{"id":{"fromMe":true,"remote":"5511…@c.us","id":"3EB0…","_serialized"},"ack":3,"from","to","t"}`"""
    data = fields_of(heard.document, "ack")
    status = status_of(data["ack"])
    if status is None and data["ack"] not in NO_NEWS:
        heard.odd("unknown_status")
    if status is None or is_unheard(jid(address(mapping(data.get("id")).get("remote")))):
        return []
    found = heard.message_id(message_id(data.get("id")))
    return [StatusReported(**heard.about, message_id=found, status=status)] if found else []


def revoked(heard: Heard) -> Reports:
    """`{"id" of the deletion,"refId" of the message,"from","to","author"?}`"""
    found = heard.message_id(message_id(fields_of(heard.document, "refId")["refId"]))
    return [DeleteReported(**heard.about, message_id=found)] if found else []


def reaction(heard: Heard) -> Reports:
    """`{"id":{"fromMe","remote","id","participant"?},"msgId":{…},"reactionText":"👍","timestamp":1761400001000}`; no
    text: taken back."""
    data = fields_of(heard.document, "msgId")
    found, ours = heard.message_id(message_id(data["msgId"])), is_ours(data.get("id")) is True
    if not found:
        return []
    return [
        ReactionReported(
            **heard.about,
            message_id=found,
            author=() if ours else _reactor(mapping(data.get("id"))),
            from_me=ours,
            emoji=clean(text(data.get("reactionText"))),
            reacted_at=heard.time(data.get("timestamp")),
        )
    ]


def vote(heard: Heard) -> Reports:
    """`{"msgId" of the poll,"chatId","selectedOptions":[{"name":"A","localId":0}],"timestamp","sender"}`: a message, as
    with other gateways. It has no id of its own: what it says makes one."""
    data = fields_of(heard.document, "selectedOptions")
    poll, voter = heard.message_id(message_id(data.get("msgId"))), address(data.get("sender"))
    chosen = [name for one in items(data["selectedOptions"]) if isinstance(name := mapping(one).get("name"), str)]
    content = poll_vote({"pollCreationMessageKey": {"id": poll}, "vote": {"selectedOptions": chosen}})
    chat = heard.chat({"chat": address(data.get("chatId")) or voter}, "chat") if poll else ()
    if not chat:
        return []
    found = heard.message_id(f"{poll}.{jid(voter).partition('@')[0]}.{data.get('timestamp')}")
    ours = heard.own is not None and jid(voter) == heard.own
    return [_told(heard, content, found, chat, voter, data.get("timestamp"), ours=ours)] if found else []


def incoming_call(heard: Heard) -> Reports:
    """`{"id":"A1","peerJid":"5511…@c.us","offerTime":1761400001,"isVideo":false,"isGroup":false}`"""
    data = fields_of(heard.document, "peerJid")
    group, caller = jid(address(data.get("groupJid"))), address(data["peerJid"])
    chat = heard.chat({"chat": group or caller}, "chat")
    found = heard.message_id(message_id(data.get("id"))) if chat else ""
    content = call(video=data.get("isVideo") is True)
    return [_told(heard, content, found, chat, caller, data.get("offerTime"))] if found else []


def _reactor(key: Mapping[str, Any]) -> tuple[str, ...]:
    """Who reacted: in a group the participant, else the other person."""
    named = {name: address(key.get(name)) for name in ("participant", "remote")}
    return persons(named, "participant") or persons(named, "remote")


def _told(
    heard: Heard, content: Content, found: str, chat: tuple[str, ...], who: str, at: object, *, ours: bool = False
) -> MessageReported:
    author = chat if is_personal(chat[0]) else persons({"who": who}, "who")
    return MessageReported(
        **heard.about,
        message_id=found,
        chat=chat,
        author=() if ours else author,
        from_me=ours,
        kind=content.kind,
        text=content.text,
        status="delivered",
        push_name=None,
        sent_at=heard.time(at),
        details=content.details or None,
    )
