"""The QR picture, drawn from the raw code: what a gateway sends as a picture is never passed on."""

from functools import lru_cache

import segno

SCALE = 6  # pixels a module: 300 to 400 pixels wide for WhatsApp's codes, readable from a screen


@lru_cache(maxsize=256)
def data_url(code: str) -> str:
    """`data:image/png;base64,…`, black on white with the standard's quiet zone of 4 modules."""
    picture: str = segno.make(code, micro=False).png_data_uri(scale=SCALE, border=4)
    return picture
