"""What a client may ask for on its socket: ping, subscribe anew, start, join and leave rooms."""

import threading
import time
from typing import Any, Protocol
from uuid import UUID

import structlog

from core.access import Principal, storable
from core.errors import AppError, Malformed, TooMany
from notify import frames
from notify.dialects import Data, Dialect
from notify.live import Live
from notify.mailbox import Mailbox
from notify.rooms import LONGEST_NAME, Instance

log = structlog.get_logger()
MOST_CHANNELS = 20
CROWDED = f"One socket joins at most {MOST_CHANNELS} channels"
UNKNOWN = ("UNKNOWN_TYPE", "This command is not known")


class Again(Exception):
    """The client subscribes anew."""

    def __init__(self, since: int | None) -> None:
        super().__init__()
        self.since = since


class Talk(Protocol):
    principal: Principal

    def answer(self, *texts: str) -> None:
        """Have them sent; from any thread."""


class Commands:
    """Of one socket. `instance`: whose WhatsApp `start` connects, where it is not the caller's own."""

    def __init__(self, talk: Talk, live: Live, mailbox: Mailbox, instance: Instance | None) -> None:
        self._talk, self._live, self._mailbox, self._instance = talk, live, mailbox, instance
        self._dialect: Dialect = mailbox.dialect
        self.channels: set[str] = set()
        self._starting = False

    def obey(self, asked: Data) -> None:
        """Answers go by `talk`. Raises Again."""
        do = {
            "ping": self._ping,
            "subscribe": self._subscribe,
            "start": self._start,
            "join": self._join,
            "join-organization": self._join_organization,
            "leave": self._leave,
        }.get(asked["type"])
        if do is None:
            self._error(*UNKNOWN)
            return
        try:
            do(asked.get("since") if asked["type"] == "subscribe" else asked.get("data"))
        except AppError as error:
            self._error(error.code, error.message, **place_of(asked["type"], asked.get("data")))

    def may_stay(self) -> None:
        """Raises Forbidden or NotFound where a room is not the caller's any more."""
        for channel in self.channels.copy():
            self._live.rooms.open(self._talk.principal, channel)

    def leave(self) -> None:
        for channel in self.channels:
            self._live.hub.exit(self._mailbox, channel)

    def _ping(self, _: object) -> None:
        self._talk.answer(frames.bare("pong"))

    def _subscribe(self, since: Any) -> None:
        if not is_position(since):
            self._error("BAD_FRAME", "since is an id or null")
            return
        raise Again(since)

    def _join_organization(self, data: object) -> None:
        self._join(organization_channel(data))

    def _join(self, data: object) -> None:
        if len(self.channels) >= MOST_CHANNELS:
            raise TooMany(CROWDED)
        with self._live.readers:
            principal = self._talk.principal
            room = self._live.rooms.open(principal, data if isinstance(data, str) else "")
            if room.channel not in self.channels:
                self._live.hub.enter(self._mailbox, room)
                self.channels.add(room.channel)
            if self._talk.principal is not principal:  # judged meanwhile, perhaps without this room
                self._stay(room.channel)
        self._talk.answer(frames.bare("joined", room.channel))

    def _stay(self, channel: str) -> None:
        try:
            self._live.rooms.open(self._talk.principal, channel)
        except AppError:
            self._exit(channel)
            raise

    def _leave(self, data: object) -> None:
        if isinstance(data, str) and data in self.channels:
            self._exit(data)
        self._talk.answer(frames.bare("left", data if isinstance(data, str) else None))

    def _exit(self, channel: str) -> None:
        self._live.hub.exit(self._mailbox, channel)
        self.channels.discard(channel)

    def _start(self, _: object) -> None:
        """It takes seconds and the stream goes on meanwhile, so it has a thread; one at a time."""
        caller = self._talk.principal
        user_id = self._instance.user_id if self._instance else caller.user_id
        if self._starting or not self._live.starts.one_more(user_id, time.monotonic()):
            raise TooMany("One start at a time, and not so often")
        self._starting = True
        organization = caller.organization_id if user_id == caller.user_id else None
        threading.Thread(target=self._connect, args=(user_id, organization), name="start", daemon=True).start()

    def _connect(self, user_id: UUID, organization: str | None) -> None:
        log.info("socket_start", user_id=str(user_id), by=str(self._talk.principal.user_id))
        try:
            shown = self._live.status(user_id).get("qr")
            result = self._live.start(user_id, organization)
            log.info("socket_started", user_id=str(user_id), status=result.get("status"))
            again = shown is not None and shown == result.get("qr")
            self._talk.answer(*self._dialect.started(result, again=again))
        except AppError as error:
            log.info("socket_start_failed", user_id=str(user_id), code=error.code)
            self._error(error.code, error.message)
        except Exception as error:
            log.error("socket_start_crashed", user_id=str(user_id), exc_info=error)
            self._error("INTERNAL_ERROR", "Internal server error")
        finally:
            self._starting = False

    def _error(self, code: str, message: str, **place: str) -> None:
        self._talk.answer(frames.about(self._dialect.error(code, message), **place))


def is_position(value: object) -> bool:
    """An id of the stream, or null."""
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63)


def organization_channel(organization: object) -> str:
    """`org:<id>`. Raises Malformed for what is no id."""
    is_id = isinstance(organization, str) and len(organization) <= LONGEST_NAME
    if not is_id or not organization or storable(organization) != organization:
        raise Malformed("join-organization takes the id of an organization", code="BAD_CHANNEL")
    return f"org:{organization}"


def place_of(kind: str, data: object) -> dict[str, str]:
    """`{"channel":"org:…"}` of a join, as it was asked for; {} where that cannot be said again: it is long, or odd."""
    begin = {"join": "", "join-organization": "org:"}.get(kind)
    if begin is None or not isinstance(data, str) or not data.isprintable():
        return {}
    return {"channel": begin + data} if len(data) <= LONGEST_NAME else {}
