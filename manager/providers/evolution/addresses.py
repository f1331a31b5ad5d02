"""Where a message stands and who wrote it: the `key` that Evolution gives it. Called by `messages`. Pure.

Which fields there are depends on the version: `senderPn`, `senderLid` (2.3.0), `previousRemoteJid` (2.3.1, 2.3.2),
`remoteJidAlt`, `participantAlt` (2.3.3 and later).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manager.providers.evolution.heard import Heard
from manager.providers.evolution.jids import is_personal, persons

CHAT = ("remoteJid", "remoteJidAlt", "senderPn", "senderLid", "previousRemoteJid")
CHAT_OF_OURS = ("remoteJid", "remoteJidAlt", "previousRemoteJid")  # there the sender is us
AUTHOR = ("participant", "participantAlt", "participantPn", "participantLid")


@dataclass(frozen=True, kw_only=True)
class Address:
    """`author` is empty where the connected account wrote it, or where nobody is named."""

    message_id: str
    chat: tuple[str, ...]
    author: tuple[str, ...]
    from_me: bool


def address_of(heard: Heard, key: Mapping[str, Any]) -> Address | None:
    """None where nobody can answer there, and where the key names no chat or message: that is odd."""
    from_me = key.get("fromMe") is True
    chat = heard.chat(key, *(CHAT_OF_OURS if from_me else CHAT))
    message_id = heard.message_id(key.get("id")) if chat else ""
    if not message_id:
        return None
    author = chat if is_personal(chat[0]) else persons(key, *AUTHOR)
    return Address(message_id=message_id, chat=chat, author=() if from_me else author, from_me=from_me)
