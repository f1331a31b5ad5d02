"""Phone numbers as Evolution understands them: what a client writes → the JID that is used. Pure."""

import re

# A test can reach a number that is not on WhatsApp: too short, or nothing but zeros at the end.
_SHORTEST = 8
_NOBODY = "00000000"

# The one group every sandbox phone is in.
KNOWN_GROUPS = frozenset({"120363000000000001@g.us"})

_JID_MARKS = ("@g.us", "@s.whatsapp.net", "@lid", "@broadcast")
_BRAZIL = re.compile(r"^55(\d{2})\d(\d{8})$")
_MEXICO_ARGENTINA = re.compile(r"^5[24]\d{11}$")


def jid_of(number: str) -> str:
    """`"+55 (11) 99999-0001"` → `"5511999990001@s.whatsapp.net"` (evolution-api 2.3.6 createJid)."""
    number = re.sub(r":\d+", "", number)
    if any(mark in number for mark in _JID_MARKS):
        return number
    bare = re.sub(r"[\s+()]", "", number).split("@")[0]
    if "-" in bare and len(bare) >= 24:
        return re.sub(r"[^\d-]", "", bare) + "@g.us"
    digits = re.sub(r"\D", "", bare)
    if len(digits) >= 18:
        return digits + "@g.us"
    return _normalised(digits) + "@s.whatsapp.net"


def digits_of(jid: str) -> str:
    return jid.split("@", maxsplit=1)[0]


def is_on_whatsapp(jid: str) -> bool:
    """Whether the sandbox's WhatsApp knows this user; JIDs by @lid are always known."""
    if jid.endswith("@lid"):
        return True
    digits = digits_of(jid)
    return len(digits) >= _SHORTEST and not digits.endswith(_NOBODY)


def _normalised(digits: str) -> str:
    """Brazilian mobiles lose the ninth digit from area code 31 on; Mexico and Argentina lose theirs."""
    if _MEXICO_ARGENTINA.match(digits):
        return digits[:2] + digits[3:]
    found = _BRAZIL.match(digits)
    if found is None or int(found[2][0]) < 7 or int(found[1]) < 31:
        return digits
    return "55" + found[1] + found[2]
