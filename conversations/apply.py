"""Changes → rows, and what comes of them: who is told, what is counted and booked. The caller's transaction.

What is new, the database says: only that is told, counted and booked.
"""

from collections.abc import Sequence
from uuid import UUID, uuid5

from sqlalchemy import Connection, text

from conversations import marking, merging, messages, people, told
from conversations.changes import Changes, MessageSeen
from conversations.identity import SPACE
from conversations.lattice import UNSUPPORTED
from core.db import array
from core.events import Effects
from manager import store

BOOKINGS = text("""
INSERT INTO bookings (id, contact_id, organization_id)
SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:contacts AS uuid[]), CAST(:organizations AS text[]))
ON CONFLICT (contact_id) WHERE status = 'pending' DO NOTHING
RETURNING contact_id, id
""")


def apply(connection: Connection, changes: Changes, *, auto_booking: bool, anew: bool = False) -> Effects:
    """Write all of it. `anew`: a second reading of known deliveries, which corrects rows and sets nothing off.

    Raises LostRace where somebody else has just said who one of these people is.
    """
    merging.merge(connection, changes.merges)
    people.keep(connection, changes)
    messages.keep_conversations(connection, changes)
    news = messages.keep(connection, changes, anew=anew)
    marked = marking.mark(connection, changes)
    came = {(message.instance.name, message.report.message_id) for message in changes.messages.values()}
    if anew:
        return Effects(waiting=marked.waiting, came=came)
    bookings = _bookings(connection, news) if auto_booking else {}
    store.count_messages(connection, _counts(news))
    events = [told.message(message, bookings.get(message.id)) for message in news if message.instance.user_id]
    odd = {message.report.delivery_id: "unknown_message" for message in news if message.report.kind == UNSUPPORTED}
    return Effects(events=[*events, *marked.events], waiting=marked.waiting, came=came, odd=odd)


def _bookings(connection: Connection, news: Sequence[MessageSeen]) -> dict[UUID, UUID]:
    """A pending booking for everybody who wrote and has none; by the message that made it."""
    first: dict[UUID, MessageSeen] = {}
    for message in news:
        if message.books and message.contact_id:
            first.setdefault(message.contact_id, message)
    if not first:
        return {}
    ordered = sorted(first.items())
    columns = {
        "ids": array(uuid5(SPACE, f"booking/{message.id}") for _, message in ordered),
        "contacts": array(contact for contact, _ in ordered),
        "organizations": array(message.instance.organization_id for _, message in ordered),
    }
    return {first[row.contact_id].id: row.id for row in connection.execute(BOOKINGS, columns)}


def _counts(news: Sequence[MessageSeen]) -> dict[UUID, tuple[int, int]]:
    """Messages sent and received, by instance; notes are neither."""
    counts: dict[UUID, tuple[int, int]] = {}
    for message in news:
        sent, received = counts.get(message.instance.id, (0, 0))
        counts[message.instance.id] = (
            sent + (message.direction == "outbound"),
            received + (message.direction == "inbound"),
        )
    return counts
