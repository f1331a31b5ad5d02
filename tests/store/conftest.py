"""The worker with the toy owner of tests.store.toys, and deliveries for it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.db import Transaction, transactions
from tests.factories import make_instance
from tests.store.toys import Register, owners_of
from webhooks.inbox import Delivery, Inbox
from webhooks.stats import QueueStats, queue_stats
from webhooks.worker import Worker

Send = Callable[..., list[int]]
Do = Callable[..., int]


@pytest.fixture
def transaction(engine: Engine) -> Transaction:
    return transactions(engine)


@pytest.fixture
def register() -> Register:
    return Register()


@pytest.fixture
def toy_worker(transaction: Transaction, register: Register) -> Worker:
    return Worker(transaction, owners_of(register), lambda _: None, name="toy")


@pytest.fixture
def inbox(engine: Engine) -> Iterator[Inbox]:
    made = Inbox(engine, lambda: None)
    yield made
    made.stop()


@pytest.fixture
def send(inbox: Inbox, transaction: Transaction) -> Send:
    """Deliveries of an instance into the inbox: `send("a", ("put", ["M1", "x"]), …)`; their ids."""
    made: set[str] = set()

    def put(name: str, *said: tuple[str, Any], known: bool = True) -> list[int]:
        if known and name not in made:
            made.add(name)
            with transaction() as connection:
                make_instance(connection, name)
        bodies = [
            (event, json.dumps({"event": event, "instance": name, "data": data}).encode()) for event, data in said
        ]
        return [inbox.record(Delivery(instance=name, event=event, body=body)).id for event, body in bodies]

    return put


@pytest.fixture
def flood(send: Send, do: Do) -> Callable[[str, str, int], None]:
    """Thousands of one event without as many commits; `%s` in the template is the number."""

    def pour(name: str, event: str, count: int) -> None:
        send(name)
        body = json.dumps({"event": event, "instance": name, "data": ["K", "%s"]})
        do(
            """
            WITH made AS (
                INSERT INTO webhook_events (id, key, instance, event, body)
                SELECT nextval('inbox_batches') * 1000, sha256(convert_to(:name || n, 'UTF8')), :name, :event,
                       convert_to(format(:body, n), 'UTF8')
                FROM generate_series(1, :count) AS n RETURNING id, instance
            ) INSERT INTO inbox (id, lane) SELECT id, instance FROM made
            """,
            name=name,
            event=event,
            body=body,
            count=count,
        )

    return pour


@pytest.fixture
def do(transaction: Transaction) -> Do:
    """Run a statement: this is how tests age rows."""

    def run(statement: str, **values: Any) -> int:
        with transaction() as connection:
            changed: int = connection.execute(text(statement), values).rowcount
            return changed

    return run


@pytest.fixture
def stats(transaction: Transaction) -> Callable[[], QueueStats]:
    def look() -> QueueStats:
        with transaction() as connection:
            return queue_stats(connection)

    return look


@pytest.fixture
def values(rows: Any) -> Callable[[], dict[str, str]]:
    """What the toy owner has written: key → value."""

    def look() -> dict[str, str]:
        return {row["email"]: row["name"] for row in rows("SELECT email, name FROM profiles WHERE name IS NOT NULL")}

    return look
