"""Histories for the monitor's laws: segments of observations as they come in life, in bursts and flaps.

A segment is a kind, a length, a pace in seconds and a die; what is drawn by a die is the same for the same segment.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from manager.providers.port import State
from monitor.policy.health import Asked, Attempted, Deaf, Fleet, Observation, Paused, Resumed
from tests.unit.monitored import CLOSE, CONNECTING, MISSING, OPEN, Step, check, report

REASONS = (401, 402, 403, 405, 406, 408, 411, 428, 440, 500, 503, 515, 999)
STATES = (OPEN, CLOSE, CLOSE, CONNECTING, MISSING, State.UNKNOWN, State.REFUSED)
REPORTED = (OPEN, CLOSE, CONNECTING, State.REFUSED)
PACES = (1, 5, 15, 15, 60, 60, 60, 60, 120, 300, 700, 3600, 3 * 3600)
Segment = tuple[str, int, int, int]
Seen = Callable[[datetime], Observation]
Moments = Iterator[tuple[float, Seen, Fleet]]
Kind = Callable[[int, int, random.Random], Moments]
ALONE, FROZEN, THROTTLED, BUSY = Fleet(), Fleet(frozen=True), Fleet(token=False), Fleet(busy=True)


def asked(at: datetime) -> Observation:
    return Asked(at=at)


def answered(at: datetime) -> Observation:
    return Attempted(at=at)


def paused(at: datetime) -> Observation:
    return Paused(at=at)


def resumed(at: datetime) -> Observation:
    return Resumed(at=at)


def all_are(*states: State, fleet: Fleet = ALONE) -> Kind:
    def seen(number: int, pace: int, die: random.Random) -> Moments:
        yield pace, check(states[number % len(states)]), fleet

    return seen


def flaps(number: int, pace: int, die: random.Random) -> Moments:
    yield min(pace, 70), check(OPEN if number % 2 else CLOSE), ALONE


def one_in_five(number: int, pace: int, die: random.Random) -> Moments:
    for state in (OPEN, CLOSE, CLOSE, CLOSE, CLOSE):
        yield 60, check(state), ALONE


def relapses(number: int, pace: int, die: random.Random) -> Moments:
    """It fails for a while, comes back for a moment, and fails again at once."""
    for _ in range(5):
        yield 60, check(CLOSE), ALONE
    yield 5, check(OPEN), ALONE
    for _ in range(4):
        yield 5, check(CLOSE), ALONE


def good_hour(number: int, pace: int, die: random.Random) -> Moments:
    for _ in range(12):
        yield 60, check(OPEN), ALONE


def reports(number: int, pace: int, die: random.Random) -> Moments:
    yield min(pace, 60), report(die.choice(REPORTED)), ALONE
    yield 15, check(die.choice(STATES)), ALONE


def reasons(number: int, pace: int, die: random.Random) -> Moments:
    yield min(pace, 60), report(die.choice((CLOSE, CLOSE, State.REFUSED)), die.choice(REASONS), number), ALONE
    yield 15, check(die.choice((CLOSE, CLOSE, die.choice(STATES)))), ALONE


def war(number: int, pace: int, die: random.Random) -> Moments:
    yield min(pace, 120), report(CLOSE, 440, die.getrandbits(20)), ALONE
    yield 15, check(die.choice((OPEN, CLOSE))), ALONE


def logged_out(number: int, pace: int, die: random.Random) -> Moments:
    yield 60, report(CLOSE, die.choice((401, 402)), die.getrandbits(20)), ALONE
    for _ in range(6):
        yield 60, check(CLOSE), ALONE


def pauses(number: int, pace: int, die: random.Random) -> Moments:
    yield pace, paused, ALONE
    for _ in range(3):
        yield 60, check(die.choice(STATES)), ALONE
        yield 1, report(die.choice(REPORTED), 401, number), ALONE
    yield pace, resumed, ALONE


def asks(number: int, pace: int, die: random.Random) -> Moments:
    yield pace, asked, ALONE
    yield 60, check(die.choice(STATES)), ALONE


def stubborn(number: int, pace: int, die: random.Random) -> Moments:
    """Somebody who asks again and again, in vain."""
    yield 1, asked, ALONE
    for _ in range(9):
        yield 240, check(CLOSE), ALONE


def frozen(number: int, pace: int, die: random.Random) -> Moments:
    yield pace, check(die.choice(STATES)), FROZEN
    yield 1, report(die.choice(REPORTED), die.choice((None, 401, 408)), number), FROZEN


def deaf(number: int, pace: int, die: random.Random) -> Moments:
    yield pace, check(OPEN, die.choice((Deaf.SENDS_FAIL, Deaf.SILENT))), ALONE


def anything(number: int, pace: int, die: random.Random) -> Moments:
    told = report(die.choice(REPORTED), die.choice((None, *REASONS)), number)
    fleet = Fleet(frozen=die.random() < 0.1, token=die.random() < 0.9, busy=die.random() < 0.1)
    yield pace, die.choice((check(die.choice(STATES)), told, asked, answered)), fleet


KINDS: dict[str, tuple[int, Kind]] = {  # with their weights
    "open": (2, all_are(OPEN)),
    "close": (4, all_are(CLOSE)),
    "connecting": (1, all_are(CONNECTING)),
    "missing": (1, all_are(MISSING)),
    "away": (1, all_are(State.UNKNOWN)),
    "throttled": (1, all_are(CLOSE, fleet=THROTTLED)),
    "frozen open": (1, all_are(OPEN, fleet=FROZEN)),
    "in hand": (1, all_are(CLOSE, fleet=BUSY)),
    "coded": (1, all_are(CLOSE)),
    "flaps": (2, flaps),
    "one in five": (1, one_in_five),
    "relapses": (1, relapses),
    "good hour": (1, good_hour),
    "reports": (1, reports),
    "reasons": (1, reasons),
    "logged out": (1, logged_out),
    "war": (1, war),
    "pauses": (1, pauses),
    "asks": (1, asks),
    "stubborn": (1, stubborn),
    "frozen": (1, frozen),
    "deaf": (1, deaf),
    "anything": (2, anything),
}
WEIGHTED = [kind for kind, (weight, _) in KINDS.items() for _ in range(weight)]


def history(segments: Sequence[Segment]) -> list[Step]:
    return [step for kind, length, pace, seed in segments for step in _steps(kind, length, pace, random.Random(seed))]


def drawn(seed: int) -> list[Step]:
    """One from a seed alone."""
    die = random.Random(seed)
    many = range(die.randint(2, 6))
    return history([(die.choice(WEIGHTED), die.randint(1, 12), die.choice(PACES), die.getrandbits(30)) for _ in many])


def _steps(kind: str, length: int, pace: int, die: random.Random) -> Iterator[Step]:
    for number in range(length):
        for seconds, seen, fleet in KINDS[kind][1](number, pace, die):
            luck = die.choice((0.0, 0.5, die.random(), 0.999))
            yield Step(after=timedelta(seconds=seconds), seen=seen, fleet=fleet, luck=luck, shows_code=kind == "coded")
