"""The broker's webhooks in our words: every event it posts, and who reads it.

`{"event":"MESSAGE_INBOUND","instanceId":"user_…","timestamp":1760219145,"payload":{…}}`; builds of 2025 write the
timestamp as ISO text. A message that comes in is told twice, as MESSAGE_INBOUND (`structured`) and as Baileys had it
(WHATSAPP_MESSAGES_UPSERT): both end in the same reader of Baileys' messages, and so in the same message. Nothing is
ever told of connections and codes. Pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from core.errors import Malformed
from manager.providers.broker.structured import in_words_of_baileys, vote_in_words_of_baileys
from manager.providers.evolution.content import labelled
from manager.providers.evolution.heard import AHEAD, Facts, Heard, Reports, unknown_shape
from manager.providers.evolution.messages import messages
from manager.providers.evolution.updates import updates
from manager.providers.evolution.values import mapping, moment
from manager.providers.port import MessageReported, ProviderEvent, Reading

Reader = Callable[[Heard], Reports]


def inbound(heard: Heard) -> Reports:
    """A message of somebody else's."""
    return _read(heard, in_words_of_baileys(heard.one(), from_me=False))


def outbound(heard: Heard) -> Reports:
    """A message that the broker sent."""
    return _read(heard, in_words_of_baileys(heard.one(), from_me=True))


def vote(heard: Heard) -> Reports:
    """Somebody's choice in a poll, decrypted: the message that carried it, where that is named."""
    found = vote_in_words_of_baileys(heard.one())
    return _read(heard, found) if found else []


def upsert(heard: Heard) -> Reports:
    """`{"iid":"…","raw":{"type":"notify","messages":[…]},"normalized":{…},"messages":[…]}`: all in `raw`, what clients
    wrote in `messages`.
    """
    payload = heard.one()
    given = mapping(payload.get("raw")).get("messages", payload.get("messages"))
    return messages(_about(heard, _array(given)))


def receipts(heard: Heard) -> Reports:
    """`{"iid":"…","raw":{"updates":[{"key":{"id",…},"update":{"status":3}}]}}`"""
    payload = heard.one()
    given = mapping(payload.get("raw")).get("updates", payload.get("updates"))
    return updates(_about(heard, [_flat(one) for one in _array(given)]))


READERS: Mapping[str, Reader] = {
    "message.inbound": inbound,
    "message.outbound": outbound,
    "poll.choice": vote,
    "whatsapp.messages.upsert": upsert,
    "whatsapp.messages.update": receipts,
}


def read_event(event: str, document: Mapping[str, Any], facts: Facts, *, called: str | None = None) -> Reading:
    """A webhook's meaning. `event` as webhooks.envelope names it; `facts`: delivery_id, instance, received_at;
    `called` is the instance's name on the broker, where that is another one.

    Raises Malformed, with the code UNKNOWN_EVENT, NO_DATA, BAD_DATA or UNKNOWN_SHAPE; nothing else, whatever the JSON.
    """
    if (read := READERS.get(event)) is None:
        raise Malformed("We know no such event", code="UNKNOWN_EVENT")
    heard = _hear(document, facts, called)
    found = read(heard)
    return Reading(events=tuple(found), issues=tuple(sorted(heard.issues)))


def _hear(document: Mapping[str, Any], facts: Facts, called: str | None) -> Heard:
    reported_at, issue = _reported_at(document.get("timestamp"), facts["received_at"])
    heard = Heard(facts={**facts, "reported_at": reported_at}, document={"data": document.get("payload")})
    if issue:
        heard.odd(issue)
    instance = document.get("instanceId")
    if isinstance(instance, str) and instance not in (facts["instance"], called):
        heard.odd("instance_mismatch")
    return heard


def _reported_at(value: object, received_at: datetime) -> tuple[datetime | None, str | None]:
    """When the broker posted it, and what is odd about that; None for a time from the future."""
    found = moment(value)
    if found is None:
        return None, None if value is None else "bad_date_time"
    return (None, "clock_skew") if found > received_at + AHEAD else (found, None)


def _read(heard: Heard, message: Mapping[str, Any]) -> Reports:
    return [_weighed(one) for one in messages(_about(heard, message))]


def _weighed(report: ProviderEvent) -> ProviderEvent:
    """The content was put together by us: what Baileys had comes with the upsert, and says more. But a vote is
    encrypted there, and the one that the broker has read counts.
    """
    if not isinstance(report, MessageReported):
        return report
    chosen = (report.details or {}).get("selected") if report.kind == "poll_vote" else None
    return replace(report, text=labelled(report.text, *chosen)) if chosen else replace(report, original=None)


def _about(heard: Heard, data: object) -> Heard:
    return replace(heard, document={"data": data})


def _array(given: object) -> list[Any]:
    if not isinstance(given, list):
        raise unknown_shape()
    return given


def _flat(update: object) -> object:
    """As the reader of receipts knows it: the message's key among the fields that changed."""
    found = mapping(update)
    return {**mapping(found.get("update")), "key": found.get("key")} if "key" in found else update
