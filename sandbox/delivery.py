"""Posts webhooks as Evolution does: every event for itself, no order between them, retries in memory only.

`emit` packs an event and returns at once; a few worker threads post, and `timers` says when the next
attempt is due.
"""

import contextlib
import queue
import random
import threading
from collections.abc import Callable
from functools import partial

import requests

from sandbox import retry, webhook
from sandbox.log import Log
from sandbox.state import Instance
from sandbox.timers import Timers

WORKERS = 16
TIMEOUT_S = 30.0
TIMEOUT_AT_LEAST_S = 5.0


class Delivery:
    """`server_url` goes into every body, and is known once the server listens."""

    def __init__(self, timers: Timers, log: Log) -> None:
        self.server_url = ""
        self._timers = timers
        self._log = log
        self._ready: queue.SimpleQueue[tuple[webhook.Parcel, int] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._epoch = 0
        self._timeout_s = max(TIMEOUT_S * timers.scale, TIMEOUT_AT_LEAST_S)

    def start(self) -> None:
        self._ready = queue.SimpleQueue()
        names = [f"sandbox-webhook-{number}" for number in range(WORKERS)]
        self._threads = [
            threading.Thread(target=self._work, args=(self._ready,), name=name, daemon=True) for name in names
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Nothing is posted any more; a worker held by a slow receiver ends with its request."""
        self.clear()
        for _ in self._threads:
            self._ready.put(None)
        for thread in self._threads:
            thread.join(timeout=0.05)
        self._threads = []

    def clear(self) -> None:
        """Forget what is still to be posted, as the death of the process does."""
        self._epoch += 1
        with contextlib.suppress(queue.Empty):
            while True:
                self._ready.get_nowait()

    def emit(self, instance: Instance, event: str, data: object, done: Callable[[], None] | None = None) -> None:
        """Send this event to the instance's webhook.

        `done` is called when the delivery has finished: taken, refused for good or given up. An event that
        is not wanted is finished at once; one whose token cannot be made never is (evolution-api 2.3.6,
        empty jwt_key).
        """
        try:
            parcel = webhook.pack(instance, event, data, server_url=self.server_url, done=done)
        except webhook.NoTokenError:
            return
        if parcel is not None:
            self._ready.put((parcel, 1))
        elif done is not None:
            done()

    def _work(self, ready: queue.SimpleQueue[tuple[webhook.Parcel, int] | None]) -> None:
        with requests.Session() as session:
            session.trust_env = False  # no proxy, and no netrc over the Authorization header
            while (work := ready.get()) is not None:
                self._attempt(session, *work)

    def _attempt(self, session: requests.Session, parcel: webhook.Parcel, attempt: int) -> None:
        epoch = self._epoch
        status = self._post(session, parcel)
        if epoch != self._epoch:
            return
        self._log.webhook(url=parcel.url, status=status, instance=parcel.instance, event=parcel.event, attempt=attempt)
        if not retry.is_over(status, attempt):
            delay_s = retry.delay_s(attempt, random.uniform(-0.2, 0.2))  # noqa: S311 - jitter, not a secret
            self._timers.after(delay_s, partial(self._ready.put, (parcel, attempt + 1)))
        elif parcel.done is not None:
            parcel.done()

    def _post(self, session: requests.Session, parcel: webhook.Parcel) -> int | None:
        """The status of the answer; a redirect is followed as axios does (302: a GET without body)."""
        try:
            with session.post(
                parcel.url, data=parcel.body, headers=parcel.headers, timeout=self._timeout_s, stream=True
            ) as answer:
                return answer.status_code
        except (requests.RequestException, ValueError):  # ValueError: a url or header nobody can send
            return None
