"""Who is looked after: what needs no database goes on while that is away, and nobody is late who was not asked."""

import time
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from core.access import Principal
from core.errors import Forbidden, StorageUnavailable
from notify.dialects import Dialect
from notify.framing import CLOSE_ENDED, CLOSE_FORBIDDEN, CLOSE_LATE, MINUTE_S
from notify.line import Line
from notify.seats import Seats
from notify.starts import STARTS, Starts
from tests.clock import FrozenClock
from tests.waiting import until


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


class Away:
    """The database is."""

    def __init__(self) -> None:
        self.asked = 0

    def touched(self) -> set[UUID]:
        self.asked += 1
        raise StorageUnavailable("away")

    def changed(self, _: Collection[Principal]) -> dict[Principal, Principal | None]:
        raise StorageUnavailable("away")


class Known:
    """What is known of whom: `touched` since it was asked last, and what is so by now."""

    def __init__(self) -> None:
        self.touching: set[UUID] | None = set()
        self.found: dict[Principal, Principal | None] = {}
        self.asked: list[list[Principal]] = []

    def touched(self) -> set[UUID] | None:
        touching, self.touching = self.touching, set()
        return touching

    def changed(self, known: Collection[Principal]) -> dict[Principal, Principal | None]:
        self.asked.append(list(known))
        return self.found


def quiet_line(silent_s: float) -> tuple[Line, list[float]]:
    """Of a client that was heard so long ago; when it was pinged."""
    pings: list[float] = []
    sock = SimpleNamespace(heard_at=time.monotonic() - silent_s, ping=lambda: pings.append(time.monotonic()))
    server: Any = SimpleNamespace(ws=SimpleNamespace(connection=None), event=SimpleNamespace(set=None), sock=sock)
    return Line(server, Dialect(lambda data: data), 25.0), pings


def test_while_the_database_is_away_clients_are_pinged_and_tokens_end():
    clock, rights = FrozenClock(), Away()
    seats = Seats(rights, clock, most=10, look_s=0.01)
    good, silent = Client(Principal(user_id=uuid4())), Client(Principal(user_id=uuid4()), answers=False)
    ended = Client(Principal(user_id=uuid4(), until=clock.now()))
    for one in (good, silent, ended):
        seats.take(one)
    seats.start()
    until(lambda: min(good.looked, rights.asked), lambda n: n > 3)
    seats.stop()
    assert (good.codes, silent.codes[0], ended.codes[0]) == ([], CLOSE_LATE, CLOSE_ENDED)


def test_asked_about_are_those_who_have_come_and_those_whose_rights_may_be_others():
    rights = Known()
    seats = Seats(rights, FrozenClock(), most=10)
    one, two = Client(Principal(user_id=uuid4())), Client(Principal(user_id=uuid4()))
    seats.take(one)
    seats.check()
    seats.take(two)
    seats.check()
    seats.check()
    assert rights.asked == [[one.principal], [two.principal]]
    rights.touching, rights.found = {one.principal.user_id, uuid4()}, {one.principal: None}
    seats.check()
    assert rights.asked[2:] == [[one.principal]]
    assert (one.codes, two.codes) == ([CLOSE_ENDED], [])
    rights.touching = None  # anybody's
    seats.release(one)
    seats.check()
    assert rights.asked[3:] == [[two.principal]]


def test_who_came_with_a_token_is_asked_about_each_time():
    """Its end may be moved by hand, and nothing is written when it comes."""
    rights, token = Known(), Client(Principal(user_id=uuid4(), token_id=uuid4()))
    seats = Seats(rights, FrozenClock(), most=10)
    seats.take(token)
    seats.check()
    rights.found = {token.principal: None}
    seats.check()
    assert token.codes == [CLOSE_ENDED]
    seats.release(token)
    seats.check()
    assert len(rights.asked) == 2


def test_one_that_cannot_be_closed_holds_up_nobody():
    rights = Known()
    seats = Seats(rights, FrozenClock(), most=10)
    good, bad = (Client(Principal(user_id=uuid4())) for _ in range(2))

    def fail(code: int, _: str) -> None:
        raise KeyError(code)

    bad.end = fail  # type: ignore[method-assign]
    for one in (bad, good):
        rights.found[one.principal] = None
        seats.take(one)
    seats.check()
    seats.check()
    assert good.codes == [CLOSE_ENDED]
    assert rights.asked[1] == [bad.principal]


def test_one_whose_pulse_cannot_be_felt_holds_up_nobody():
    seats = Seats(Known(), FrozenClock(), most=10)
    good, bad, silent = (Client(Principal(user_id=uuid4()), answers=answers) for answers in (True, True, False))

    def fail() -> bool:
        raise KeyError

    bad.is_there = fail  # type: ignore[method-assign]
    seats.feel([bad, good, silent])
    assert (good.looked, silent.codes) == (1, [CLOSE_LATE])


def test_while_nobody_can_look_up_rooms_those_who_are_gone_are_closed_and_one_alone_waits():
    rights = Known()
    seats = Seats(rights, FrozenClock(), most=10)
    others, gone = (
        [Client(Principal(user_id=uuid4(), role="admin")) for _ in range(3)],
        Client(Principal(user_id=uuid4())),
    )
    waited: list[Client] = []

    def wait() -> None:
        waited.append(gone)
        raise StorageUnavailable("away")

    for one in others:
        one.may_stay = wait  # type: ignore[method-assign]
    rights.found = {one.principal: Principal(user_id=one.principal.user_id) for one in others} | {gone.principal: None}
    for one in (*others, gone):
        seats.take(one)
    seats.check()
    assert (gone.codes, len(waited)) == ([CLOSE_ENDED], 1)
    seats.check()
    assert {one.principal for one in others} <= set(rights.asked[1])


def test_who_could_not_be_judged_is_judged_next_time():
    rights = Known()
    seats = Seats(rights, FrozenClock(), most=10)
    one, rooms_away = Client(Principal(user_id=uuid4(), role="admin")), True

    def may_stay() -> None:
        raise StorageUnavailable("away") if rooms_away else Forbidden("not here")

    one.may_stay = may_stay  # type: ignore[method-assign]
    rights.found = {one.principal: Principal(user_id=one.principal.user_id)}
    seats.take(one)
    seats.check()
    assert one.codes == []
    rooms_away = False
    seats.check()
    assert one.codes == [CLOSE_FORBIDDEN]


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
