"""kill -9 of the whole product, database included, five times in the middle of 2,000 webhooks.

Whatever was answered with 2xx is in the log and takes effect exactly once. The data folder is a real one: fsync
is on. Like Evolution, the senders come again with what got no answer, and with some that did.
"""

import itertools
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
import requests

from core.postgres import EmbeddedPostgres
from tests.factories import text_message
from tests.product import Product
from tests.waiting import until

ROUNDS, WEBHOOKS, SENDERS, INSTANCES = 5, 400, 6, 4  # 2,000 in all
SECRET = "a-shared-secret-of-the-crash-test-0123456789"
HEADERS = {"X-Webhook-Token": SECRET, "Content-Type": "application/json"}
OPEN = "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM set_aside)"
IN_LOG = (
    "SELECT convert_from(body, 'UTF8')::json #>> '{data,key,id}' FROM webhook_events WHERE event = 'messages.upsert'"
)
MESSAGES = "SELECT whatsapp_message_id FROM messages"
TOLD = "SELECT data->>'messageId' FROM feed WHERE type = 'message'"


@pytest.fixture
def product() -> Iterator[Product]:
    with Product(WEBHOOK_SECRET=SECRET, LOG_LEVEL="ERROR") as running:
        yield running


class Senders:
    """Several gateways' connections; each posts its share until all is sent or the server is gone."""

    def __init__(self, url: str, bodies: dict[str, bytes]) -> None:
        self._url, self._bodies = url, bodies
        self._left = itertools.chain(bodies)
        self._lock = threading.Lock()
        self.answered: set[str] = set()
        self._threads = [threading.Thread(target=self._send) for _ in range(SENDERS)]

    def start(self) -> "Senders":
        for thread in self._threads:
            thread.start()
        return self

    def join(self) -> set[str]:
        for thread in self._threads:
            thread.join()
        return self.answered

    def _send(self) -> None:
        with requests.Session() as session:
            while (name := self._next()) is not None:
                try:
                    while (answer := self._post(session, name)).status_code == 503:
                        pass  # not now, so it comes again
                except requests.RequestException:
                    return
                if answer.ok:
                    self.answered.add(name)

    def _post(self, session: requests.Session, name: str) -> requests.Response:
        return session.post(self._url, data=self._bodies[name], headers=HEADERS, timeout=60)

    def _next(self) -> str | None:
        with self._lock:
            return next(self._left, None)


def a_round_of(instances: list[str]) -> dict[str, bytes]:
    """Message id → webhook."""
    names = [uuid4().hex.upper() for _ in range(WEBHOOKS)]
    pairs = zip(names, itertools.cycle(instances), strict=False)
    return {
        name: json.dumps(text_message(instance, f"mensagem {name}", message_id=name)).encode()
        for name, instance in pairs
    }


@pytest.mark.timeout(400)
def test_nothing_that_was_acknowledged_is_lost_or_done_twice(product):
    users = [str(uuid4()) for _ in range(INSTANCES)]
    for user in users:
        product.connect(user, product.bearer(user))
    sent: set[str] = set()
    for _ in range(ROUNDS):
        bodies = a_round_of([f"user_{user}" for user in users])
        sent |= bodies.keys()
        crash_within(product, bodies)
    # the lanes of the workers that were killed are taken over when their leases end
    with psycopg.connect(database_url(product), autocommit=True) as connection:
        until(lambda: connection.execute(OPEN).fetchone(), lambda left: left == (0, 0))
        for query in (IN_LOG, MESSAGES, TOLD):
            assert column(connection, query) == dict.fromkeys(sent, 1)
    assert product.stop() == 0


def crash_within(product: Product, bodies: dict[str, bytes]) -> None:
    """One round: some are answered, the kill, a new start; what was answered is there, the rest comes again."""
    url = f"{product.base}/api/webhook/whatsapp"
    senders = Senders(url, bodies).start()
    moment = random.randrange(WEBHOOKS // 10, WEBHOOKS * 9 // 10)
    until(lambda: len(senders.answered), lambda n: n >= moment)
    product.kill()
    acknowledged = senders.join()
    assert moment <= len(acknowledged) <= WEBHOOKS  # all of them, where this thread was late
    product.start()
    with psycopg.connect(database_url(product), autocommit=True) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert acknowledged <= column(connection, IN_LOG).keys()
    again = set(random.sample(sorted(acknowledged), 20)) | (bodies.keys() - acknowledged)
    assert Senders(url, {name: bodies[name] for name in again}).start().join() == again


def column(connection: psycopg.Connection, query: LiteralString) -> Counter[str]:
    """The values of a query's one column, and how often each comes."""
    return Counter(value for (value,) in connection.execute(query))


def database_url(product: Product) -> str:
    server = EmbeddedPostgres(product.data)
    url = server.attach()
    server.detach()
    return url
