"""Many events at once: a client that cannot read while a test writes one after the other would count as slow."""

from uuid import UUID

from bootstrap.system import FEED_GREW, System
from core import events
from core.events import DomainEvent


def burst(system: System, user: UUID, *numbers: int, filler: str) -> None:
    """One event a number, all in one transaction."""
    told = [DomainEvent(user_id=user, type="notice", data={"number": number, "filler": filler}) for number in numbers]
    with system.transaction() as connection:
        events.record(connection, told)
    system.bell.ring(FEED_GREW, [str(user)])
