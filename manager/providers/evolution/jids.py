"""WhatsApp's addresses: what a JID names, and which of them name one person.

`5511999990001:12@s.whatsapp.net` is the twelfth device of a phone, `123@lid` a person without a number (2.2.3 and
later), `…@g.us` a group. A person may come under several names in one object: `remoteJid`, `remoteJidAlt` … Pure.
"""

import re
from collections.abc import Mapping
from typing import Any

from manager.providers.evolution.values import identifier, text
from manager.providers.port import PERSONAL

PHONES = ("s.whatsapp.net", "c.us", "hosted", "")  # 2.4 leaves bare digits of a phone
LIDS = ("lid", "hosted.lid")
LID_USER = re.compile(r"[0-9A-Za-z.-]+")
STATUS = "status@broadcast"
UNHEARD = ("@broadcast", "@newsletter")  # lists and channels: nobody answers there


def jid(value: object) -> str:
    """A JID without its device and under its present server; "" for what is none. Digits are never corrected."""
    user, _, server = identifier(value).partition("@")
    device_free = re.split("[:_]", user)[0]
    if server in PHONES:
        return f"{device_free}@s.whatsapp.net" if device_free.isascii() and device_free.isdigit() else ""
    if server in LIDS:
        return f"{device_free}@lid" if LID_USER.fullmatch(device_free) else ""
    return f"{user}@{server}" if user else ""


def user_of(value: object) -> str | None:
    """The digits of a phone's JID: `5511999990001:12@s.whatsapp.net` → `5511999990001`; None for other kinds."""
    user, _, server = jid(value).partition("@")
    return user if server == "s.whatsapp.net" else None


def is_personal(name: str) -> bool:
    return name.endswith(PERSONAL)


def is_unheard(name: str) -> bool:
    """Whether what is said there is not for us: a broadcast list or a channel. The status list is told apart."""
    return name.endswith(UNHEARD) and name != STATUS


def persons(fields: Mapping[str, Any], *keys: str) -> tuple[str, ...]:
    """The names of one person under these keys, each once, in their order; () where there is none.

    2.3.5 gives the digits of a LID as `phoneNumber` where it does not know the phone.
    """
    given = [value for key in keys if (value := fields.get(key))]
    found = dict.fromkeys(name for value in given if is_personal(name := jid(value)))
    lids = {name.removesuffix("@lid") for name in found if name.endswith("@lid")}
    mistaken = {jid(value) for value in given if text(value) in lids}
    return tuple(name for name in found if name not in mistaken)
