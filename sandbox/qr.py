"""QR codes in the look of WhatsApp's: a reference that changes and three keys that stay for the device."""

import base64
import secrets
from dataclasses import dataclass

import segno

from sandbox import ids


@dataclass(frozen=True, kw_only=True)
class Qr:
    """`code` is the raw text, `base64` a PNG data URL of it, `pairing_code` eight characters or None."""

    code: str
    base64: str
    pairing_code: str | None


def device_keys() -> str:
    """Noise key, identity key and advertisement secret, as `b64=,b64=,b64=`."""
    return ",".join(base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(3))


def draw(keys: str, *, with_pairing_code: bool) -> Qr:
    """A new code for this device; code and pairing code rotate together."""
    reference = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
    code = f"{reference},{keys}"
    image: str = segno.make(code, error="m", micro=False).png_data_uri(scale=5, border=4)
    return Qr(code=code, base64=image, pairing_code=ids.pairing_code() if with_pairing_code else None)
