"""Media as WhatsApp describes it in a message, in both directions; and reading what a client wants to send."""

import base64
import binascii
import hashlib
import http.client
import secrets
from typing import Any
from urllib.parse import urlsplit

from sandbox import ids
from sandbox.encoding import Long
from sandbox.errors import ApiError

# A picture of one pixel: what contacts of the sandbox send.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FETCH_TIMEOUT_S = 10.0
SIZE_LIMIT_BYTES = 64 * 1024 * 1024


def not_media() -> ApiError:
    return ApiError(400, ["Owned media must be a url or base64"])


def described(kind: str, raw: bytes, mimetype: str) -> dict[str, Any]:
    """`{url, mimetype, fileSha256, fileLength, mediaKey, fileEncSha256, directPath, mediaKeyTimestamp}`."""
    path = f"/sandbox-media/{kind}/{secrets.token_hex(16)}"
    return {
        "url": f"https://mmg.whatsapp.net{path}",
        "mimetype": mimetype,
        "fileSha256": hashlib.sha256(raw).digest(),
        "fileLength": Long(len(raw), unsigned=True),
        "mediaKey": secrets.token_bytes(32),
        "fileEncSha256": secrets.token_bytes(32),
        "directPath": path,
        "mediaKeyTimestamp": Long(ids.epoch_s()),
    }


def read(given: object) -> bytes:
    """A url's or base64 text's bytes; a `data:` URI is neither. Raises ApiError."""
    if not isinstance(given, str) or not given:
        raise not_media()
    if given.startswith(("http://", "https://")):
        return _fetched(given)
    try:
        return base64.b64decode(given, validate=True)
    except binascii.Error:
        raise not_media() from None


def _fetched(url: str) -> bytes:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=FETCH_TIMEOUT_S)
        connection.request("GET", parts.path or "/")
        return connection.getresponse().read(SIZE_LIMIT_BYTES)
    except ConnectionRefusedError:
        raise ApiError(500, [f"Error: connect ECONNREFUSED {parts.hostname}:{parts.port or 80}"]) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ApiError(500, [f"Error: {error}"]) from None
