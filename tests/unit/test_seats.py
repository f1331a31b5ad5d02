"""Who is looked after: what needs no database goes on while that is away, and nobody is late who was not asked."""

import time
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from core.access import Principal
from core.errors import StorageUnavailable
from notify.dialects import Dialect
from notify.framing import CLOSE_ENDED, CLOSE_LATE, MINUTE_S
from notify.line import Line
from notify.seats import Seats
from notify.starts import STARTS, Starts
from tests.clock import FrozenClock


class Client:
    """Somebody connected."""

    def __init__(self, principal: Principal, *, answers: bool = True) -> None:
        self.principal, self._answers = principal, answers
        self.looked, self.codes = 0, list[int]()

    def is_there(self) -> bool:
        self.looked += 1
        return self._answers

    def may_stay(self) -> None:
        """Everywhere."""

    def end(self, code: int, _: str) -> None:
        self.codes.append(code)


def away(_: object) -> Any:
    raise StorageUnavailable("away")


def quiet_line(silent_s: float) -> tuple[Line, list[float]]:
    """Of a client that was heard so long ago; when it was pinged."""
    pings: list[float] = []
    sock = SimpleNamespace(heard_at=time.monotonic() - silent_s, ping=lambda: pings.append(time.monotonic()))
    server: Any = SimpleNamespace(ws=SimpleNamespace(connection=None), event=SimpleNamespace(set=None), sock=sock)
    return Line(server, Dialect(lambda data: data), 25.0), pings


def test_while_the_database_is_away_clients_are_pinged_and_tokens_end():
    clock = FrozenClock()
    seats = Seats(away, clock, most=10)
    good, silent = Client(Principal(user_id=uuid4())), Client(Principal(user_id=uuid4()), answers=False)
    ended = Client(Principal(user_id=uuid4(), until=clock.now()))
    with pytest.raises(StorageUnavailable):
        seats.look([good, silent, ended])
    assert (good.looked, good.codes) == (1, [])
    assert (silent.codes, ended.codes) == ([CLOSE_LATE], [CLOSE_ENDED])


def test_who_was_not_asked_for_long_is_asked_before_it_is_late():
    line, pings = quiet_line(silent_s=1000)
    assert [line.is_there(), line.is_there()] == [True, True]
    assert len(pings) == 1


def test_who_spoke_lately_is_not_asked():
    line, pings = quiet_line(silent_s=24)
    assert line.is_there()
    assert pings == []


def test_starts_are_counted_a_user_and_minute():
    starts, user = Starts(), uuid4()
    assert [starts.one_more(user, 100.0) for _ in range(STARTS + 1)] == [True] * STARTS + [False]
    assert starts.one_more(uuid4(), 100.0)
    assert not starts.one_more(user, 99.0 + MINUTE_S)
    assert starts.one_more(user, 100.0 + MINUTE_S)
