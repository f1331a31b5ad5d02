"""Identifiers and times in the looks Evolution, its database and WhatsApp give them. Stateless."""

import base64
import hashlib
import secrets
import string
import uuid
from datetime import UTC, datetime

_BASE36 = string.digits + string.ascii_lowercase
_PAIRING = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"


def instance_id() -> str:
    return str(uuid.uuid4())


def token() -> str:
    """What Evolution generates when create brings no token: an upper-case UUID."""
    return str(uuid.uuid4()).upper()


def row_id() -> str:
    """A Prisma cuid, such as `cmwr8r3ui0005n37dkt8bitfn`."""
    return "c" + "".join(secrets.choice(_BASE36) for _ in range(24))


def row_id_for(text: str) -> str:
    """A cuid that stays with what it is for."""
    number = int(hashlib.sha256(text.encode()).hexdigest(), 16)
    digits = []
    for _ in range(24):
        number, rest = divmod(number, 36)
        digits.append(_BASE36[rest])
    return "c" + "".join(digits)


def base64_text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def sent_message_id() -> str:
    """The id of a message sent through Baileys; its length makes the source "web"."""
    return "3EB0" + secrets.token_hex(9).upper()


def received_message_id() -> str:
    """The id an Android phone gives; its length makes the source "android"."""
    return secrets.token_hex(16).upper()


def pairing_code() -> str:
    return "".join(secrets.choice(_PAIRING) for _ in range(8))


def now_iso() -> str:
    """UTC with milliseconds, as rows and the log carry it."""
    return _with_z(datetime.now(UTC))


def local_iso() -> str:
    """Local wall-clock time with a false Z: what `date_time` holds in a webhook (evolution-api 2.3.6)."""
    return _with_z(datetime.now(UTC).astimezone())


def epoch_s() -> int:
    return int(datetime.now(UTC).timestamp())


def _with_z(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
