"""How often a WhatsApp may be started over sockets."""

import threading
from uuid import UUID

from notify.framing import MINUTE_S

STARTS = 6  # a minute and user, however many sockets they open


class Starts:
    """When the WhatsApp of each user was started from this process in the last minute."""

    def __init__(self) -> None:
        self._at: dict[UUID, list[float]] = {}
        self._lock = threading.Lock()

    def one_more(self, user_id: UUID, now: float) -> bool:
        """Count one, where the user may have it still."""
        with self._lock:
            for one in [one for one, times in self._at.items() if now - times[-1] >= MINUTE_S]:
                del self._at[one]
            times = [at for at in self._at.get(user_id, []) if now - at < MINUTE_S]
            if len(times) >= STARTS:
                return False
            self._at[user_id] = [*times, now]
            return True
