"""The feed over HTTP, for where websockets do not pass: the same events and ids, asked for again and again."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from core.access import Principal
from core.errors import TooMany
from notify import feed, frames
from notify.dialects import Dialect
from notify.live import Live
from notify.mailbox import Mailbox
from notify.seats import Over


class LongPoll:
    def __init__(self, live: Live) -> None:
        self._live = live
        self._dialect = Dialect(live.enrich)

    def __call__(self, principal: Principal, since: int | None, wait_s: float) -> Mapping[str, Any]:
        """What came after `since`, at once or within `wait_s`; a snapshot where that is None, or gone (`reset`).

        Raises TooMany, StorageUnavailable.
        """
        user_id = principal.user_id
        with self._live.transaction() as connection:
            stream = feed.stream(connection, user_id)
        if since is None or not stream.holds(since):
            return self._snapshot(user_id, stream, reset=since is not None)
        if since == stream.head and wait_s > 0:
            self._wait(principal, since, wait_s)
        with self._live.transaction() as connection:
            events = feed.events_after(connection, {user_id: since})
            stream = feed.stream(connection, user_id)
        last = events[-1].id if events else since
        if last - since != len(events):  # some were pruned meanwhile
            return self._snapshot(user_id, stream, reset=True)
        return {"success": True, "reset": False, "snapshot": None, "id": last, "events": self._shown(events)}

    def _snapshot(self, user_id: UUID, stream: feed.Stream, *, reset: bool) -> Mapping[str, Any]:
        shown = {"reset": reset, "snapshot": self._live.status(user_id), "id": stream.head}
        return {"success": True, **shown, "events": []}

    def _wait(self, principal: Principal, since: int, wait_s: float) -> None:
        """Until something has come; a place like a socket's is taken meanwhile."""
        waiter = _Waiter(principal)
        mailbox = Mailbox(user_id=principal.user_id, dialect=self._dialect, wake=waiter.woken.set)
        try:
            with self._live.seats.seat(waiter):
                self._live.hub.join(mailbox, principal.user_id, since)
                try:
                    waiter.woken.wait(wait_s)
                finally:
                    self._live.hub.leave(mailbox, principal.user_id)
        except Over as over:
            raise TooMany(over.why) from None

    def _shown(self, events: Sequence[feed.FeedEvent]) -> list[Mapping[str, Any]]:
        return [frames.event(event, self._live.enrich(event.data)) for event in events]


class _Waiter:
    """Somebody who waits for an answer."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.woken = threading.Event()

    def is_there(self) -> bool:
        """Until it is answered."""
        return True

    def may_stay(self) -> None:
        """Everybody may hear their own."""

    def end(self, code: int, why: str) -> None:  # noqa: ARG002 — there is no socket to close
        """The answer goes out early."""
        self.woken.set()
