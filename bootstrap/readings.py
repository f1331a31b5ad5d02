"""What a delivery means, and which package answers for it: the worker's table of owners."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

import manager.providers.broker.events as broker
import manager.providers.evolution.events as evolution
import manager.providers.wppconnect.events as wppconnect
from conversations.changes import Rules
from conversations.owner import ConversationOwner
from core.settings import Settings
from manager import store
from manager.lifecycle import Lifetimes
from manager.owner import InstanceOwner
from manager.providers.port import (
    ChatReported,
    ConnectionReported,
    ContactReported,
    DeleteReported,
    EditReported,
    MessageReported,
    PairingReported,
    ReactionReported,
    Reading,
    StatusReported,
    VotesReported,
)
from webhooks.envelope import read
from webhooks.lanes import Stored
from webhooks.owners import Owner, Owners

ABOUT_CHATS = (
    MessageReported,
    StatusReported,
    EditReported,
    DeleteReported,
    VotesReported,
    ReactionReported,
    ContactReported,
    ChatReported,
)
KNOWLEDGE = (
    "whatsapp_instances",
    "contacts",
    "contact_aliases",
    "conversations",
    "messages",
    "reactions",
    "bookings",
)


class Read(Protocol):
    def __call__(
        self, event: str, document: Mapping[str, Any], facts: dict[str, Any], *, called: str | None = None
    ) -> Reading: ...


# no two gateways have an event of the same name, so its name says who reads it, also in a log of years
READERS: Mapping[str, Read] = {
    **dict.fromkeys(evolution.READERS, evolution.read_event),
    **dict.fromkeys(wppconnect.READERS, wppconnect.read_event),
    **dict.fromkeys(broker.READERS, broker.read_event),
}


def translate(stored: Stored, gateway_name: str) -> Reading:
    """What a delivery means, in the words of the gateway that sends such events. Raises Malformed."""
    event, document = read(stored.body, event=stored.event, instance=stored.lane, called=gateway_name)
    facts = {
        "delivery_id": stored.id,
        "instance": stored.lane,
        "received_at": stored.received_at + timedelta(microseconds=stored.id % 1000),
    }
    return READERS.get(event, evolution.read_event)(event, document, facts, called=gateway_name)


def owners(settings: Settings, *, anew: bool = False) -> Owners:
    """Who knows what provider events mean. `anew`: for a second reading, which corrects what is known of chats and
    sets nothing off; how an instance stands is not in the log alone."""
    instances = InstanceOwner(lifetimes(settings))
    rules = Rules(
        owner_messages=settings.owner_message_policy,
        auto_booking=settings.auto_booking,
        status_broadcasts=settings.keep_status_broadcasts,
    )
    conversations = ConversationOwner(rules=rules, anew=anew)
    by_kind: dict[type, Owner] = {} if anew else {ConnectionReported: instances, PairingReported: instances}
    return Owners(
        resolve=store.gateway_names,
        translate=translate,
        by_kind=by_kind | dict.fromkeys(ABOUT_CHATS, conversations),
        known_events=READERS,
        chatter=(ConnectionReported,),
    )


def lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(
        qr=timedelta(seconds=settings.qr_ttl_seconds), code=timedelta(seconds=settings.pairing_code_ttl_seconds)
    )
