"""Phone numbers as people write them → the digits that WhatsApp pairs with. Pure.

Only for numbers that people type: what WhatsApp itself says is never corrected.
"""

import phonenumbers
from phonenumbers import NumberParseException

from core.errors import Malformed, Rejected

WRITTEN = frozenset("0123456789 +-().\t\u00a0")
SHORTEST, LONGEST = 10, 15  # digits, country code included; E.164 ends at 15
BRAZIL = "55"
OLD_BRAZILIAN = 12  # digits: country, area, eight
SERVERS = ("", "s.whatsapp.net", "c.us")
HINT = "Inclua o código do país, por exemplo 5511999887766"


class PhoneRequired(Malformed):
    code = "PHONE_NUMBER_REQUIRED"


class InvalidPhone(Rejected):
    code = "INVALID_PHONE_NUMBER"


def full_number(written: object, default_country: str | None = None) -> str:
    """`+55 (11) 99988-7766`, a phone's JID or bare digits → `5511999887766`.

    Without a `+`, what is a full number with `default_country` (digits) in front is taken for one of that country: with
    a default, foreign numbers need their `+`. Raises PhoneRequired, InvalidPhone.
    """
    if written is None or written == "":
        raise PhoneRequired("phone_number is required")
    text = _text(written)
    digits = "".join(character for character in text if character.isdigit())
    local = f"{default_country}{digits.lstrip('0')}" if default_country and not text.lstrip().startswith("+") else ""
    for candidate in (local, digits):
        if is_full(candidate):
            return candidate
    raise InvalidPhone(HINT)


def is_full(digits: str) -> bool:
    """Whether the digits begin with a country's code and can be a phone there. Brazil's mobiles have WhatsApp under
    their old numbers of eight digits too, whatever the numbering plan says."""
    if not SHORTEST <= len(digits) <= LONGEST:
        return False
    nine = f"{digits[:4]}9{digits[4:]}" if digits.startswith(BRAZIL) and len(digits) == OLD_BRAZILIAN else None
    return _is_valid(digits) or (nine is not None and _is_valid(nine))


def _is_valid(digits: str) -> bool:
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(f"+{digits}")))
    except NumberParseException:
        return False


def _text(written: object) -> str:
    """What was written, a phone's JID without its server. Raises InvalidPhone for what is no phone, a `@lid` too."""
    user, _, server = written.partition("@") if isinstance(written, str) else ("", "", "")
    text = user.partition(":")[0] if server else user
    if not text.strip() or server not in SERVERS or set(text) - WRITTEN:
        raise InvalidPhone(HINT)
    return text
