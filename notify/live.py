"""What the live channel needs of others, in one value. Made by `bootstrap`; the times are tests' seams."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from core.access import Principal
from core.db import Transaction
from notify.dialects import Enrich, as_recorded
from notify.hub import Hub
from notify.rooms import Rooms
from notify.seats import Seats
from notify.starts import Starts
from notify.tickets import Tickets

SEND_S = 10.0  # seconds a client has to take one frame
PING_S = 25.0
FIRST_FRAME_S = 10.0
READERS = 4  # who open a stream at the same time: after a restart everybody comes, and others need the database too


@dataclass(frozen=True, kw_only=True)
class Live:
    """`status`: the snapshot of a user's instance. `start`: connect the WhatsApp of a user of an organization, with
    the answer of `POST /api/whatsapp/connect`; raises AppError. `enrich`: an event's data as recorded → as shown.
    """

    user: Callable[[], Principal]
    status: Callable[[UUID], Mapping[str, Any]]
    start: Callable[[UUID, str | None], Mapping[str, Any]]
    enrich: Enrich = as_recorded
    transaction: Transaction
    hub: Hub
    seats: Seats
    rooms: Rooms
    tickets: Tickets
    origins: frozenset[str]
    send_s: float = SEND_S
    ping_s: float = PING_S
    first_frame_s: float = FIRST_FRAME_S
    readers: threading.Semaphore = field(default_factory=lambda: threading.BoundedSemaphore(READERS))
    starts: Starts = field(default_factory=Starts)
