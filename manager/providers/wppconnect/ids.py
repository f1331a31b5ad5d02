"""Names and ids as WPPConnect writes them: a text in one place, an object in the next. Pure.

`5511…@c.us` or `{"user","server","_serialized":"5511…@c.us"}`; `false_5511…@c.us_3EB0…`, in a group with
`_5511…@c.us` behind it, or `{"fromMe","remote","id":"3EB0…","participant"?,"_serialized"}`.
"""

import re

from manager.providers.evolution.values import identifier, mapping, text

SERIALIZED = re.compile(r"(true|false)_[^_]+@[^_]+_([^_]+)(?:_.+)?")


def address(value: object) -> str:
    """The JID as a text, "" where there is none."""
    return text(mapping(value).get("_serialized")) or text(value)


def message_id(value: object) -> str:
    """WhatsApp's own id, as receipts and other gateways name it; "" where there is none."""
    given = text(mapping(value).get("id")) or address(value)
    found = SERIALIZED.fullmatch(given)
    return identifier(found[2] if found else given)


def is_ours(value: object) -> bool | None:
    """Whether the connected account wrote what has this id; None where the id does not say."""
    said = mapping(value).get("fromMe")
    if isinstance(said, bool):
        return said
    found = SERIALIZED.fullmatch(address(value))
    return found[1] == "true" if found else None
