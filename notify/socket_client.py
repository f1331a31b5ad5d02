"""One client of Socket.IO: which rooms it listens to, what it says too often, and its end."""

import time
from collections.abc import Callable

import structlog

from core.access import Principal
from notify.framing import CLOSE_FLOOD, MINUTE_S
from notify.line import FLOOD
from notify.rooms import Rooms
from notify.seats import Over

log = structlog.get_logger()


class Client:
    """`hang_up` ends its connection."""

    def __init__(self, principal: Principal, rooms: Rooms, hang_up: Callable[[], None]) -> None:
        self.principal, self._rooms, self._hang_up = principal, rooms, hang_up
        self.channels: set[str] = set()
        self._minute, self._count = 0.0, 0

    def is_there(self) -> bool:
        """python-socketio pings."""
        return True

    def may_stay(self) -> None:
        for channel in self.channels.copy():
            self._rooms.open(self.principal, channel)

    def count_one(self) -> None:
        """A command, on whatever transport. Raises Over with the first that is too many in a minute."""
        now = time.monotonic()
        if now - self._minute > MINUTE_S:
            self._minute, self._count = now, 0
        self._count += 1
        if self._count > FLOOD:
            raise Over(CLOSE_FLOOD, "too many commands")

    def end(self, code: int, why: str) -> None:
        log.info("socket_closed", close_code=code, why=why, user_id=str(self.principal.user_id))
        self._hang_up()
