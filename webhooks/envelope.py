"""What the outside of a delivery says: its secrets cut out, its event, its instance. Pure.

`{"event":"messages.upsert","instance":"user_…","data":…,"destination":"…","date_time":"…","apikey":"…"}`
(evolution-api 2.3.6 src/api/integrations/event/webhook/webhook.controller.ts:emit)
Other gateways name the instance in `session` (WPPConnect) or `instanceId` (the Baileys broker).
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, NoReturn

from core.errors import Malformed

PARSED_BELOW = 1024 * 1024  # bytes; larger bodies are judged by the worker, not while the sender waits
PEEKED_BELOW = 64 * 1024  # bytes; Evolution names the instance before the data
_PEEKED = re.compile(rb'"instance(?:Id)?"\s*+:\s*+"([A-Za-z0-9_-]{1,64})"')
NAMED_BY = ("instance", "session", "instanceId")
INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,64}")
EVENT = re.compile(r"[A-Za-z0-9._-]{1,64}")
HYPHENATED = {  # the wire names whose hyphen is part of the name
    "group.participants.update": "group-participants.update",
    "typebot.change.status": "typebot.change-status",
    "messaging.history.set": "messaging-history.set",
}
# A value is a string (closed or cut off), a list or object, or a bare word, with whatever broken JSON glues to it.
# Nesting has a limit: a value deeper than that takes the rest of the body along. Possessive: no backtracking.
_STRING = rb'"(?:[^"\\]++|\\.?)*+"?'
_NESTED = rb'[\[{](?:[^][{}"]++|%s)*+(?:[\]}]|\Z)' % _STRING
for _ in range(7):
    _NESTED = rb'[\[{](?:[^][{}"]++|%s|%s)*+(?:[\]}]|\Z)' % (_STRING, _NESTED)
_SECRET = re.compile(
    rb'("(?:apikey|api_key|destination|instanceToken|keyData)"\s*+:\s*+)'
    rb'(?:%s|%s|[^\s,}\]{["]++|[\[{].*+)++' % (_STRING, _NESTED),
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """`event` and `instance` are fit for columns, or None; `problem` says why the delivery is of no use."""

    event: str | None = None
    instance: str | None = None
    problem: str | None = None


def scrub(body: bytes) -> bytes:
    """The body without the gateway's secrets, at any size and even where the JSON is broken."""
    return _SECRET.sub(rb"\1null", body)


def event_name(spelling: str) -> str:
    """One name for every spelling: MESSAGES_UPSERT, messages-upsert and messages.upsert are `messages.upsert`."""
    dotted = spelling.lower().replace("_", ".").replace("-", ".")
    return HYPHENATED.get(dotted, dotted)


def open_envelope(body: bytes, *, suffix: str | None = None) -> Envelope:
    """Read event and instance. `suffix` is the by-events part of the path, used where the body names no event.

    Raises Malformed (with `code`) where the body is not JSON as we can keep it.
    """
    if len(body) > PARSED_BELOW:
        return Envelope(event=_event(suffix) if suffix else None)
    document = parse(body)
    instance, odd_instance = _instance(_named(document))
    named = document.get("event") if "event" in document else suffix
    if named is None:
        return Envelope(instance=instance, problem="no_event" if "event" not in document else "bad_event")
    if (event := _event(named)) is None:
        return Envelope(instance=instance, problem="bad_event")
    return Envelope(event=event, instance=instance, problem=odd_instance)


def read(body: bytes, *, event: str | None, instance: str, called: str | None = None) -> tuple[str, dict[str, Any]]:
    """The event's name and the whole document, once there is time for it; `event` is what the path's suffix said,
    `called` what the gateway calls the instance.

    Raises Malformed, also where a body that was too large to be parsed at the entrance proves to be of no use.
    """
    document = parse(body)
    name = _event(document.get("event", event))
    if name is None:
        raise Malformed("The delivery names no event", code="BAD_EVENT" if "event" in document else "NO_EVENT")
    named, odd = _instance(_named(document))
    if odd or named not in (None, instance, called):
        raise Malformed("The delivery is of another instance", code=(odd or "instance_mismatch").upper())
    return name, document


def peek_instance(body: bytes) -> str | None:
    """The first instance name in a body that is too large, or too broken, to be parsed while the sender waits."""
    found = _PEEKED.search(body, 0, PEEKED_BELOW)
    return found[1].decode() if found else None


def parse(body: bytes) -> dict[str, Any]:
    """The body's JSON object. Raises Malformed with a code that says what is wrong."""
    try:
        text = body.decode("utf-8-sig")
        if body.count(b'"event"') > 1 or body.count(b'"instance"') > 1:
            _refuse_twice_named(text)
        document = _DECODER.decode(text)
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8", code="INVALID_ENCODING") from None
    except RecursionError:
        raise Malformed("The JSON is nested too deeply", code="TOO_DEEP") from None
    except json.JSONDecodeError:
        raise Malformed("The body is not JSON", code="INVALID_JSON") from None
    except ValueError:
        raise Malformed("A number in the JSON is too long", code="NUMBER_TOO_LONG") from None
    if not isinstance(document, dict):
        raise Malformed("The body must be a JSON object", code="NOT_AN_OBJECT")
    return document


def _no_constant(_: str) -> NoReturn:
    raise Malformed("NaN and Infinity are not JSON", code="INVALID_JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _refuse_twice_named(text: str) -> None:
    """Two `event` keys in one envelope mean that somebody wants two readers to see two things."""
    outermost: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        outermost[:] = pairs  # called from the inside out: the last call is the envelope's
        return {}

    json.JSONDecoder(object_pairs_hook=keep, parse_constant=_no_constant).decode(text)
    names = Counter(name for name, _ in outermost)
    if names["event"] > 1 or names["instance"] > 1:
        raise Malformed("The envelope names a key twice", code="DUPLICATE_KEY")


def _event(named: object) -> str | None:
    return event_name(named) if isinstance(named, str) and EVENT.fullmatch(named) else None


def _named(document: dict[str, Any]) -> object:
    return next((document[key] for key in NAMED_BY if key in document), None)


def _instance(named: object) -> tuple[str | None, str | None]:
    """The instance's name and what is wrong with it; a string or `{"instanceName": …}` (X32)."""
    if isinstance(named, dict):
        named = named.get("instanceName") or named.get("name")
    if named is None or named == "":
        return None, None
    if isinstance(named, str) and INSTANCE.fullmatch(named):
        return named, None
    known_shape = isinstance(named, str) and len(named) <= 64 and not set(named) & set("/\\.%\0\r\n")
    return None, "unknown_instance" if known_shape else "bad_instance"
