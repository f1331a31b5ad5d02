"""Phone numbers as people write them → the digits that WhatsApp pairs with. Pure.

Only for numbers that people type: what WhatsApp itself says is never corrected.
"""

import phonenumbers
from phonenumbers import NumberParseException

from core.errors import Malformed, Rejected

WRITTEN = frozenset("0123456789 +-().\t\u00a0")
SHORTEST, LONGEST = 10, 15  # digits, country code included; E.164 ends at 15
BRAZIL = "55"
HINT = "Inclua o código do país, por exemplo 5511999887766"


class PhoneRequired(Malformed):
    code = "PHONE_NUMBER_REQUIRED"


class InvalidPhone(Rejected):
    code = "INVALID_PHONE_NUMBER"


def full_number(written: object, default_country: str | None = None) -> str:
    """`+55 (11) 99988-7766`, a JID or bare digits → `5511999887766`.

    A number without its country gets `default_country` (digits), where one is configured. Raises PhoneRequired,
    InvalidPhone.
    """
    if written is None or written == "":
        raise PhoneRequired("phone_number is required to pair by code")
    digits = _digits(written)
    if is_full(digits):
        return digits
    if default_country and is_full(default_country + digits.lstrip("0")):
        return default_country + digits.lstrip("0")
    raise InvalidPhone(HINT)


def is_full(digits: str) -> bool:
    """Whether the digits begin with a country's code and can be a phone there. Brazil's old numbers of eight digits
    have WhatsApp too, whatever the numbering plan says."""
    if not SHORTEST <= len(digits) <= LONGEST:
        return False
    if digits.startswith(BRAZIL) and len(digits) in (12, 13):
        return True
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(f"+{digits}")))
    except NumberParseException:
        return False


def _digits(written: object) -> str:
    """Raises InvalidPhone for what is no number."""
    text = written.partition("@")[0].partition(":")[0] if isinstance(written, str) else ""
    digits = "".join(character for character in text if character.isascii() and character.isdigit())
    if not digits or set(text) - WRITTEN:
        raise InvalidPhone(HINT)
    return digits
