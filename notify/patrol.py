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
from notify.rooms import Members, users_of
from notify.rounds import Rounds

POLL_S = 1.0
MEMBERS_S = 2.5  # of all rooms; who comes to one meanwhile is heard there after two of them at most …
FEW = 100  # rooms a question
YOUNG = timedelta(minutes=1)  # … from their first event on, where they were made within the last minute


class Patrol:
    """`rang` is told whose cursor stands behind, by user id."""

    def __init__(self, audience: Audience, members: Members, rang: Callable[[set[str]], None]) -> None:
        self._audience, self._members, self._rang = audience, members, rang

    def walk(self, connection: Connection, stopping: threading.Event) -> None:
        """Until then."""
        heads = Reader("feed_heads", "user_id, last_id")
        readers = Rounds(lambda: [heads], POLL_S, size=1)
        halls = Rounds(self._audience.organizations, MEMBERS_S, size=FEW)
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
        found = users_of(connection, [hall.room for hall in halls], self._members)
        for hall in halls:
            users = found[hall.room.channel]
            new = {user: made_at for user, made_at in users.items() if user not in hall.cursors}
            beginnings = feed.beginnings(connection, new, YOUNG) if new else {}
            self._rang(set(map(str, self._audience.refresh(hall, users.keys(), beginnings))))
