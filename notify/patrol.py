"""Finds what no bell was rung for, and who belongs to the rooms now. Every second, however much is rung.

It only asks, and rings the hub where something is new: who is rung for meanwhile does not wait.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row

from core.wake import ALL
from core.written import Reader
from notify import feed
from notify.audience import Audience, Hall
from notify.rounds import Rounds

POLL_S = 1.0
MEMBERS_S = 5.0  # how soon a room hears users that have come to it …
FEW = 10  # rooms at once
YOUNG = timedelta(minutes=1)  # … from their first event on, where they were made within the last minute


class Patrol:
    """`rang` is told whose cursor stands behind, by user id."""

    def __init__(self, audience: Audience, rang: Callable[[set[str]], None]) -> None:
        self._audience, self._rang = audience, rang

    def walk(self, connection: Connection, stopping: threading.Event) -> None:
        """Until then."""
        heads = Reader("feed_heads", "user_id, last_id")
        readers = Rounds(lambda: [heads], POLL_S, size=1)
        halls = Rounds(self._audience.halls, MEMBERS_S, size=FEW)
        while not stopping.wait(min(readers.due_in(), halls.due_in())):
            for reader in readers.next():
                if self._audience.users():
                    self._find(reader.fresh(connection))
                else:
                    reader.forget()  # not all that was written overnight, for the first listener of the morning
            self._refresh(connection, halls.next())

    def _find(self, heads: Sequence[Row[Any]] | None) -> None:
        if heads is None:
            self._rang({ALL})
        else:
            cursors = self._audience.cursors(head.user_id for head in heads)
            self._rang({str(head.user_id) for head in heads if head.last_id > cursors.get(head.user_id, head.last_id)})

    def _refresh(self, connection: Connection, halls: Sequence[Hall]) -> None:
        """Ask who belongs to these rooms now."""
        for hall in halls:
            users = hall.room.users()
            new = {user: made_at for user, made_at in users.items() if user not in hall.cursors}
            beginnings = feed.beginnings(connection, new, YOUNG) if new else {}
            self._rang(set(map(str, self._audience.refresh(hall, users.keys(), beginnings))))
