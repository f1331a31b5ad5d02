"""Posts webhooks as Evolution does: every event for itself, no order between them, retries in memory only.

`emit` packs an event and returns at once; a few worker threads post, and `timers` says when the next
attempt is due. What was not delivered is lost when the process ends, as it is with Evolution.
"""

import contextlib
import queue
import random
import threading
from collections.abc import Callable
from functools import partial

import requests

from sandbox import webhook
from sandbox.faults import Switchboard
from sandbox.log import Log
from sandbox.profiles import Profile
from sandbox.state import Instance
from sandbox.timers import Timers
from sandbox.webhook import Parcel

WORKERS = 16
TIMEOUT_AT_LEAST_S = 5.0
# With `reorder` an event waits for the next one to overtake it, but not for ever.
OVERTAKEN_WITHIN_S, OVERTAKEN_AT_LEAST_S = 2.0, 0.2

# Posted one after the other by one worker, and which attempt this is.
Work = tuple[tuple[Parcel, ...], int]


class Delivery:
    """`server_url` goes into every body, and is known once the server listens."""

    def __init__(self, timers: Timers, log: Log, profile: Profile, faults: Switchboard) -> None:
        self.server_url = ""
        self._timers = timers
        self._log = log
        self._profile = profile
        self._faults = faults
        self._ready: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._epoch = 0
        self._held: dict[str, Parcel] = {}
        self._holding = threading.Lock()
        timeout_s = profile.retry.timeout_s
        self._timeout_s = None if timeout_s is None else max(timeout_s * timers.scale, TIMEOUT_AT_LEAST_S)

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
        with self._holding:
            self._held.clear()
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
            parcel = webhook.pack(instance, event, data, server_url=self.server_url, done=done, profile=self._profile)
        except webhook.NoTokenError:
            return
        if parcel is not None and not self._faults.drops(event):
            self._hand_over(parcel)
        elif done is not None:
            done()

    def _hand_over(self, parcel: Parcel) -> None:
        if self._faults.now.duplicate:
            self._ready.put(((parcel.again(),), 1))
        if not self._faults.now.reorder:
            self._ready.put(((parcel,), 1))
            return
        with self._holding:
            overtaken = self._held.pop(parcel.instance, None)
            if overtaken is None:
                self._held[parcel.instance] = parcel
                self._timers.after(OVERTAKEN_WITHIN_S, partial(self._let_go, parcel), at_least_s=OVERTAKEN_AT_LEAST_S)
            else:
                self._ready.put(((parcel, overtaken), 1))

    def _let_go(self, parcel: Parcel) -> None:
        """Nothing came that could overtake it."""
        with self._holding:
            if self._held.get(parcel.instance) is parcel:
                del self._held[parcel.instance]
                self._ready.put(((parcel,), 1))

    def _work(self, ready: queue.SimpleQueue[Work | None]) -> None:
        with requests.Session() as session:
            session.trust_env = False  # no proxy, and no netrc over the Authorization header
            while (work := ready.get()) is not None:
                parcels, attempt = work
                for parcel in parcels:
                    self._attempt(session, parcel, attempt)

    def _attempt(self, session: requests.Session, parcel: Parcel, attempt: int) -> None:
        epoch, policy = self._epoch, self._profile.retry
        status = self._post(session, parcel)
        if epoch != self._epoch:
            return
        self._log.webhook(url=parcel.url, status=status, instance=parcel.instance, event=parcel.event, attempt=attempt)
        if not policy.is_over(status, attempt):
            delay_s = policy.delay_s(attempt, random.uniform(-1, 1))  # noqa: S311 - jitter, not a secret
            self._timers.after(delay_s, partial(self._ready.put, ((parcel,), attempt + 1)))
        elif parcel.done is not None:
            parcel.done()

    def _post(self, session: requests.Session, parcel: Parcel) -> int | None:
        """The status of the answer; a redirect is followed as axios does (302: a GET without body)."""
        try:
            with session.post(
                parcel.url, data=parcel.body, headers=parcel.headers, timeout=self._timeout_s, stream=True
            ) as answer:
                return answer.status_code
        except (requests.RequestException, ValueError):  # ValueError: a url or header nobody can send
            return None
