"""The QR picture. It is drawn from the raw code; a gateway's own is passed on only where it gives nothing else.

A picture takes some 14 ms, so it is drawn where somebody looks: in the API's answer and in a live frame.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import segno

SCALE = 6  # pixels a module: 300 to 400 pixels wide for WhatsApp's codes, readable from a screen
PICTURE = "data:image/png;base64,"


def shown(code: str | None) -> tuple[str | None, str | None]:
    """A Pairing's `qr` as the raw text, where there is one, and as a picture."""
    if code and code.startswith(PICTURE):
        return None, code
    return code, data_url(code) if code else None


@lru_cache(maxsize=256)
def data_url(code: str) -> str:
    """`data:image/png;base64,…`, black on white with the standard's quiet zone of 4 modules."""
    picture: str = segno.make(code, micro=False).png_data_uri(scale=SCALE, border=4)
    return picture


def with_picture(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """An event's data, with `qrCode` where it has a `qr`."""
    if not data.get("qr"):
        return data
    raw, picture = shown(data["qr"])
    return {**data, "qr": raw, "qrCode": picture}
