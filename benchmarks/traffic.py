"""Deliveries as Evolution 2.3.6 posts them: text messages of 0.7 to 3.6 KB, none like another.

A template is a whole body with two places left open: the message's id and its time.
"""

import itertools
import json
import random
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

NOTHING_STORED = "/benchmark/nothing-stored"  # the path of benchmarks.app
SEED = 5511
PEOPLE = 40  # who write to one instance
GROUPS = 4
SPEECH = "bom dia tudo bem quero agendar um horário amanhã de manhã pode ser às nove obrigada até lá você não"
WORDS = SPEECH.split()
ID, TIME = "ZZIDZZ", 9_999_999_999


@dataclass(frozen=True, kw_only=True)
class Template:
    """A body of `instance`, for `%` with the message's id (20 bytes) and time (10 digits)."""

    instance: str
    user_id: str
    token: str
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Sender:
    """An instance and the credentials that its gateway sends."""

    instance: str
    user_id: str
    token: str = ""


def templates(senders: Sequence[Sender], count: int) -> list[Template]:
    """`count` bodies, spread evenly over the instances; the same ones each time."""
    dice = random.Random(SEED)
    spread = itertools.islice(itertools.cycle(senders), count)
    return [
        Template(instance=sender.instance, user_id=sender.user_id, token=sender.token, body=_body(dice, sender))
        for sender in spread
    ]


def message_ids(run: int) -> Iterator[bytes]:
    """Ids that no other `run` gives."""
    return (b"3EB0%04X%012X" % (run, number) for number in itertools.count())


def now() -> int:
    return int(time.time())


def _body(dice: random.Random, sender: Sender) -> bytes:
    kind = dice.choices(("short", "reply", "link", "long"), (50, 30, 15, 5))[0]
    plain = kind == "short" and dice.random() < 0.6  # as web and older phones write
    document = {
        "event": "messages.upsert",
        "instance": sender.instance,
        "data": {
            "key": _key(dice),
            "pushName": f"Ana {dice.randrange(PEOPLE)}",
            "status": "DELIVERY_ACK",
            "message": _message(dice, kind) | ({} if plain else {"messageContextInfo": _context(dice)}),
            "messageType": "conversation" if kind in ("short", "long") else "extendedTextMessage",
            "messageTimestamp": TIME,
            "instanceId": "86610271-fa71-465e-914c-dab665b5c8a4",
            "source": dice.choice(("android", "ios", "web")),
        },
        "destination": "http://127.0.0.1:8000/api/webhook/user/00000000-0000-4000-8000-000000000000",
        "date_time": "2026-11-22T03:16:13.000Z",
        "sender": "5511988887777@s.whatsapp.net",
        "server_url": "http://localhost:8080",
        "apikey": "49AFB3C8-D004-4238-994D-8339281A6DB4",
    }
    written = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode().replace(b"%", b"%%")
    return written.replace(ID.encode(), b"%b").replace(str(TIME).encode(), b"%d")


def _key(dice: random.Random) -> dict[str, Any]:
    person = f"55119999{dice.randrange(PEOPLE):05d}@s.whatsapp.net"
    if dice.random() < 0.2:
        group = f"12036300000000{dice.randrange(GROUPS):04d}@g.us"
        return {"remoteJid": group, "fromMe": False, "id": ID, "participant": person, "addressingMode": "pn"}
    return {"remoteJid": person, "fromMe": dice.random() < 0.25, "id": ID, "participant": "", "addressingMode": "pn"}


def _message(dice: random.Random, kind: str) -> dict[str, Any]:
    if kind in ("short", "long"):
        return {"conversation": _text(dice, 3, 25) if kind == "short" else _text(dice, 200, 450)}
    if kind == "reply":
        quoted: dict[str, Any] = {"stanzaId": "3EB0C767D26A8D26A1B2", "participant": "5511988887777@s.whatsapp.net"}
        quoted |= {"quotedMessage": {"conversation": _text(dice, 10, 80)}}
        return {"extendedTextMessage": {"text": _text(dice, 5, 40), "contextInfo": quoted}}
    preview = {"matchedText": "https://example.com/agenda?b=1", "title": _text(dice, 4, 9), "previewType": "NONE"}
    picture = b64encode(dice.randbytes(dice.randrange(600, 1800))).decode()
    return {"extendedTextMessage": {"text": _text(dice, 5, 20), **preview, "jpegThumbnail": picture}}


def _context(dice: random.Random) -> dict[str, Any]:
    devices = {"senderKeyHash": b64encode(dice.randbytes(10)).decode(), "senderTimestamp": "1795310000"}
    devices |= {"recipientKeyHash": b64encode(dice.randbytes(10)).decode(), "recipientTimestamp": "1795310001"}
    secret = b64encode(dice.randbytes(32)).decode()
    return {"deviceListMetadata": devices, "deviceListMetadataVersion": 2, "messageSecret": secret}


def _text(dice: random.Random, fewest: int, most: int) -> str:
    return " ".join(dice.choices(WORDS, k=dice.randint(fewest, most)))
