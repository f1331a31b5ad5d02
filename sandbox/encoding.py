"""How a version writes what JSON has no type for: WhatsApp's 64-bit numbers and bytes. Pure."""

import base64
from dataclasses import dataclass
from typing import Any

from sandbox.profiles import Profile


@dataclass(frozen=True)
class Long:
    """A 64-bit number of a protobuf message."""

    value: int
    unsigned: bool = False


def encoded(value: Any, profile: Profile) -> Any:
    """The value with every Long and bytes in it replaced by plain JSON."""
    if isinstance(value, dict):
        return {key: encoded(inner, profile) for key, inner in value.items()}
    if isinstance(value, list):
        return [encoded(inner, profile) for inner in value]
    if isinstance(value, Long):
        return _long(value, profile)
    if isinstance(value, bytes):
        return _bytes(value, profile)
    return value


def _long(long: Long, profile: Profile) -> object:
    """`{"low": 70, "high": 0, "unsigned": true}` in 2.3.6; the low half is signed."""
    if profile.longs == "text":
        return str(long.value)
    if profile.longs == "number":
        return long.value
    low, high = long.value & 0xFFFFFFFF, long.value >> 32
    return {"low": low - (1 << 32) if low >> 31 else low, "high": high, "unsigned": long.unsigned}


def _bytes(raw: bytes, profile: Profile) -> object:
    if profile.binary == "base64":
        return base64.b64encode(raw).decode()
    return {str(index): byte for index, byte in enumerate(raw)}
