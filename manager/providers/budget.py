"""How many retries a server can bear. Called by `guarded`."""

import threading

SHARE = 0.1  # retries may add a tenth to the calls, so that a failing server is not buried
CREDIT = 10.0


class Budget:
    """Every call earns a tenth of a retry; ten are given at the start and kept at most."""

    def __init__(self) -> None:
        self._credit = CREDIT
        self._lock = threading.Lock()

    def earn(self) -> None:
        with self._lock:
            self._credit = min(CREDIT, self._credit + SHARE)

    def spend(self) -> bool:
        with self._lock:
            affordable = self._credit >= 1
            self._credit -= 1 if affordable else 0
        return affordable
