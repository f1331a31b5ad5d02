"""The hub on the real feed: one user of whom nothing can be read holds up nobody else."""

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import text

from core import events
from core.db import questions
from core.events import DomainEvent
from notify.dialects import Dialect
from notify.hub import Hub
from notify.mailbox import Mailbox
from tests.waiting import until


class Poisoned:
    """A connection on which everything about this user fails."""

    def __init__(self, connection: Any, user: UUID) -> None:
        self._connection, self._user = connection, user

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @property
    def connection(self) -> Any:
        return SimpleNamespace(driver_connection=self)

    def execute(self, statement: Any, values: Any) -> Any:
        if self._user.hex in values[0]:
            raise psycopg.errors.InternalError_("as if its page were damaged")
        return self._connection.connection.driver_connection.execute(statement, values)


def test_who_cannot_be_told_anything_holds_up_nobody(engine):
    bad, good = users = uuid4(), uuid4()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO profiles (id) VALUES (:a), (:b)"), dict(zip("ab", users, strict=True)))
        events.record(connection, [DomainEvent(user_id=user, type="notice", data={}) for user in users])

    @contextmanager
    def question():
        with questions(engine)() as connection:
            yield Poisoned(connection, bad)

    boxes = {user: Mailbox(user_id=user, dialect=Dialect(), wake=lambda: None) for user in users}
    hub = Hub(question, lambda *_: {})
    for user, box in boxes.items():
        hub.join(box, user, 0)
    hub.start()
    assert until(boxes[good].take)
    hub.stop()
    assert boxes[bad].take() is None
