"""One socket's talk, from the first frame to the close: what was missed or a snapshot, then the stream.

This loop over its mailbox writes to the socket, and while it rests over an empty one the hub does. Commands are obeyed
by `notify.commands`.
"""

import random
import time
from collections.abc import Callable
from functools import partial
from uuid import UUID

import structlog
from simple_websocket import ConnectionClosed

from core.access import Principal
from core.errors import StorageUnavailable
from notify import feed, frames
from notify.commands import Again, Commands, is_position
from notify.dialects import Dialect
from notify.framing import CLOSE_LATE, CLOSE_RESTART, CLOSE_SLOW, CLOSE_TRY_LATER
from notify.hub import encoded
from notify.line import Line
from notify.live import Live
from notify.mailbox import Mailbox
from notify.rooms import Instance
from notify.seats import Over

log = structlog.get_logger()
LOOK_S = 1.0  # how soon a socket that waits for its first frame notices that the process ends
COME_BACK_MS = 5  # a socket: about what accepting one costs …
LATEST_MS = 10_000  # … so that not all knock at once


class Conversation:
    """`instance`: a socket of one instance, whose stream begins by itself; else the caller's own, who subscribes."""

    def __init__(
        self, line: Line, live: Live, principal: Principal, dialect: Dialect, instance: Instance | None
    ) -> None:
        self._line, self._live, self._dialect = line, live, dialect
        self.principal, self._instance = principal, instance
        self._user_id: UUID = instance.user_id if instance else principal.user_id
        self._mailbox = Mailbox(user_id=self._user_id, dialect=dialect, wake=line.wake, hand=line.hand)
        self._commands = Commands(self, live, self._mailbox, instance)
        self._answers: list[str] = []  # an empty deque has 600 bytes, and there are many sockets
        self._ended: Over | None = None

    def hold(self) -> None:
        """Until either side closes."""
        try:
            with self._live.seats.seat(self):
                self._talk()
        except TimeoutError:
            self._close(CLOSE_SLOW, "too slow")  # the socket has said it
        except (ConnectionClosed, OSError):
            return  # the client has gone; what it missed it will ask for
        except Over as over:
            self._close(over.code, over.why)
        except StorageUnavailable:
            self._close(CLOSE_TRY_LATER, "storage unavailable")
        finally:
            self._live.hub.leave(self._mailbox, self._user_id)
            self._commands.leave()
            self._line.let_go()

    def is_there(self) -> bool:
        return self._line.is_there()

    def may_stay(self) -> None:
        if self._instance:
            self._live.rooms.instance(self.principal, self._instance.name)
        self._commands.may_stay()

    def end(self, code: int, why: str) -> None:
        self._ended, self._mailbox.resting = Over(code, why), False
        self._line.wake()

    def answer(self, *texts: str) -> None:
        """Have them sent; from any thread."""
        self._answers.extend(texts)
        self._line.wake()

    def _close(self, code: int, why: str) -> None:
        log.info("socket_closed", close_code=code, why=why, user_id=str(self.principal.user_id))
        self._line.close(code, why)

    def _talk(self) -> None:
        begin: Callable[[], int] = self._head if self._instance else lambda: self._begin(self._subscription())
        while True:
            try:
                self._stream(begin())
            except Again as again:
                self._live.hub.leave(self._mailbox, self._user_id)
                self._mailbox.empty(self._commands.channels)
                begin = partial(self._begin, again.since)

    def _subscription(self) -> int | None:
        """The first frame's `since`; None asks for a snapshot."""
        until = time.monotonic() + self._live.first_frame_s
        while (left := until - time.monotonic()) > 0:
            for asked in self._line.heard():
                since = asked.get("since")
                if asked["type"] == "subscribe" and is_position(since):
                    return since
                self._line.say(self._dialect.error("SUBSCRIBE_FIRST", "Send subscribe first"))
            self._check()
            self._line.wait(min(left, LOOK_S))
        raise Over(CLOSE_LATE, "no subscribe in time")

    def _head(self) -> int:
        with self._live.readers, self._live.transaction() as connection:
            return feed.stream(connection, self._user_id).head

    def _begin(self, since: int | None) -> int:
        """Send what was missed, or the snapshot; the id after which the stream goes on."""
        with self._live.readers, self._live.transaction() as connection:
            stream = feed.stream(connection, self._user_id)
        if since is not None and stream.holds(since):
            return self._catch_up(since) if since < stream.head else since
        return self._show(stream.head, reset=since is not None)

    def _show(self, head: int, *, reset: bool) -> int:
        """Send the snapshot; `reset` where the client waits for events that are gone."""
        if reset:
            self._line.say(frames.bare("reset"))
        with self._live.readers:
            # read after the head: what comes in between is in both, and says the same twice
            status = self._live.status(self._user_id)
        self._line.say(frames.snapshot(status, head))
        return head

    def _catch_up(self, cursor: int) -> int:
        """Send the feed from here to its end, at the client's own pace; the id after which the stream goes on."""
        while True:
            with self._live.readers, self._live.transaction() as connection:
                events = feed.events_after(connection, {self._user_id: cursor})
            for event in events:
                if event.id != cursor + 1:  # what is in between was pruned since
                    return self._show(self._head(), reset=True)
                for frame in encoded(self._dialect, event):
                    self._send(frame)
                cursor = event.id
            self._attend()
            if len(events) < feed.MOST:
                return cursor

    def _stream(self, cursor: int) -> None:
        """Follow the hub; whenever that was too fast, catch up and follow again."""
        while True:
            self._live.hub.join(self._mailbox, self._user_id, cursor)
            self._follow()
            self._live.hub.leave(self._mailbox, self._user_id)
            cursor = self._catch_up(self._mailbox.cursor)

    def _follow(self) -> None:
        """Until the socket has fallen behind. The reader of the socket and the hub set the same event."""
        while True:
            self._attend()  # clears the event, so it comes first
            behind = self._mailbox.behind  # before the mailbox is emptied: then nothing comes after it
            while (frame := self._mailbox.take()) is not None:
                self._send(frame)
            while self._mailbox.missed:
                self._line.say(frames.bare("reset", self._mailbox.missed.pop()))
            if behind:
                return
            self._mailbox.resting = True
            self._line.wait()
            self._mailbox.resting = False

    def _send(self, frame: bytes) -> None:
        """One of many: a client may take seconds for each, and whoever has to go gets no more of them."""
        self._check()
        self._line.send(frame)

    def _attend(self) -> None:
        """Answer what the client said meanwhile, and see whether this has to end."""
        for asked in self._line.heard():
            self._commands.obey(asked)
        while self._answers:
            self._line.say(self._answers.pop(0))
        self._check()

    def _check(self) -> None:
        if self._ended:
            raise self._ended
        if self._live.hub.stopping:
            latest = min(LATEST_MS, COME_BACK_MS * self._live.seats.taken)
            raise Over(CLOSE_RESTART, f"restart, retry_after_ms={random.randint(0, latest)}")  # noqa: S311 — no secret
