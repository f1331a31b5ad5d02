"""Retries and the circuit breaker: what is repeated, when the gateway is left alone, and that nobody waits in line."""

import contextlib
import inspect
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import (
    BadResponse,
    Busy,
    CircuitOpen,
    InstanceUnknown,
    LicenceRequired,
    NameInUse,
    ProviderError,
    ProviderRefused,
    RateLimited,
    TimedOut,
    Unavailable,
)
from manager.providers.budget import CREDIT, SHARE
from manager.providers.guarded import Breaker, Guarded, Policy
from manager.providers.port import Hook, Provider, Snapshot, State

POLICY = Policy()
HOOK = Hook(url="http://127.0.0.1/hook", token="t", jwt_key="k")
OPEN = Snapshot(name="user_x", state=State.CONNECTED)
REFUSED = Unavailable("refused", sent=False)
RESET = Unavailable("reset", sent=True)
DOWN = Unavailable("answers 503", provider_status=503)
SLOW = TimedOut("60 s")
GARBAGE = BadResponse("<html>")
WAIT = RateLimited("429", provider_status=429, retry_after_s=7.0)
GUARD_S = 60


class Time:
    """A monotonic clock; sleeping moves it."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class Scripted:
    """A provider that plays a list of outcomes; the last one is repeated."""

    def __init__(self, *outcomes):
        self.outcomes, self.calls = list(outcomes), []

    def _play(self, call):
        self.calls.append(call)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def __getattr__(self, call):
        """Every call of the port: a name, and what else it takes."""
        return lambda *_: self._play(call)


def guarded(provider, now=None, policy=POLICY):
    now = now or Time()
    return Guarded(lambda: provider, policy, Breaker(policy, now), sleep=now.sleep, monotonic=now)


def fails(breaker, error=DOWN, times=1, subject=""):
    for _ in range(times):
        with pytest.raises(type(error)):
            breaker.call(lambda: raise_it(error), subject)


def answers(breaker, subject):
    breaker.call(lambda: OPEN, subject)


def raise_it(error):
    raise error


def opened(now, policy=POLICY):
    breaker = Breaker(policy, now)
    fails(breaker, times=policy.failures)
    assert breaker.state == "open"
    return breaker


def test_twenty_slow_calls_all_find_a_place():
    class Slow(Scripted):
        def state(self, name):
            time.sleep(0.05)
            return OPEN

    provider = guarded(Slow(OPEN), policy=Policy(place_within_s=GUARD_S))
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(provider.state, ["user_x"] * 20)) == [OPEN] * 20


def test_sixteen_calls_are_under_way_at_once():
    together = threading.Barrier(16)

    class Meeting(Scripted):
        def state(self, name):
            together.wait(GUARD_S)
            return OPEN

    provider = guarded(Meeting(OPEN))
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(provider.state, ["user_x"] * 16)) == [OPEN] * 16


def test_who_finds_no_place_is_told_so_and_not_tried_again():
    hanging, over = threading.Barrier(3), threading.Event()

    class Hanging(Scripted):
        def state(self, name):
            self.calls.append("state")
            if name == "hangs":
                hanging.wait(GUARD_S)
                assert over.wait(GUARD_S)
            return OPEN

    inner, now = Hanging(OPEN), Time()
    watched = guarded(inner, now, Policy(in_flight=2, place_within_s=0.01, failures=1))
    with ThreadPoolExecutor(2) as pool:
        hung = [pool.submit(watched.state, "hangs") for _ in range(2)]
        hanging.wait(GUARD_S)
        with pytest.raises(Busy) as caught:
            watched.state("user_x")
        assert (caught.value.code, caught.value.retryable, caught.value.sent) == ("PROVIDER_BUSY", True, False)
        over.set()
        assert [one.result(GUARD_S) for one in hung] == [OPEN] * 2
    assert watched.state("user_x") == OPEN
    assert (len(inner.calls), now.slept, watched.breaker.state) == (3, [], "closed")


REPEATABLE = {
    "ping": (),
    "version": (),
    "instances": (),
    "states": (),
    "state": ("user_x",),
    "identity": ("user_x",),
    "connect": ("user_x", "5511977770009", None),
    "hook": ("user_x",),
    "set_hook": ("user_x", HOOK),
}
ONCE = {
    "create": ("user_x", HOOK),
    "restart": ("user_x",),
    "logout": ("user_x",),
    "delete": ("user_x",),
    "send_text": ("user_x", "5511999990001", "words"),
}
EVERY = {**REPEATABLE, **ONCE}


def test_every_call_of_the_port_is_guarded():
    calls = {name for name, found in vars(Provider).items() if inspect.isfunction(found) and not name.startswith("_")}
    assert calls == set(EVERY)


@pytest.mark.parametrize(("call", "given"), EVERY.items())
def test_a_call_brings_what_the_provider_answers_to_the_same_question(call, given):
    class Echo:
        def __getattr__(self, name):
            return lambda *arguments: asked.extend([name, *arguments])

    asked: list[object] = []
    getattr(guarded(Echo()), call)(*given)
    assert asked == [call, *given]


@pytest.mark.parametrize("error", [REFUSED, RESET, DOWN, SLOW], ids=str)
@pytest.mark.parametrize(("call", "given"), REPEATABLE.items())
def test_a_call_that_may_be_repeated_is_tried_again(call, given, error):
    inner = Scripted(error, error, OPEN)
    getattr(guarded(inner), call)(*given)
    assert inner.calls == [call] * 3


@pytest.mark.parametrize("error", [RESET, DOWN, SLOW, WAIT], ids=str)
@pytest.mark.parametrize(("call", "given"), ONCE.items())
def test_what_has_an_effect_is_not_repeated_once_it_was_sent(call, given, error):
    inner = Scripted(error, OPEN)
    with pytest.raises(type(error)):
        getattr(guarded(inner), call)(*given)
    assert inner.calls == [call]


@pytest.mark.parametrize(("call", "given"), ONCE.items())
def test_what_never_left_us_is_repeated(call, given):
    inner = Scripted(REFUSED, REFUSED, OPEN)
    getattr(guarded(inner), call)(*given)
    assert inner.calls == [call] * 3


def test_a_server_that_says_how_long_to_wait_is_given_that_long():
    now, inner = Time(), Scripted(WAIT, OPEN)
    assert guarded(inner, now).state("user_x") == OPEN
    assert now.slept == [7]


def test_a_wait_of_nothing_is_our_usual_one():
    now, inner = Time(), Scripted(RateLimited("429", retry_after_s=0.0), OPEN)
    assert guarded(inner, now).state("user_x") == OPEN
    assert 1 <= now.slept[0] <= 1.25


def test_a_wait_that_is_longer_than_the_calls_time_is_for_the_caller():
    now, inner = Time(), Scripted(RateLimited("429", retry_after_s=60.0), OPEN)
    with pytest.raises(RateLimited) as caught:
        guarded(inner, now).state("user_x")
    assert caught.value.details == {"retry_after_s": 60.0}
    assert (inner.calls, now.slept) == (["state"], [])


INSTANCE_TROUBLE = [
    ProviderError("500 about one instance", provider_status=500),
    ProviderError("200 with error: true", provider_status=200),
    ProviderError("400", provider_status=400),
    ProviderRefused("401", provider_status=401),
    LicenceRequired("503", provider_status=503),
    NameInUse("403", provider_status=403),
    InstanceUnknown("404", provider_status=404),
    RateLimited("429", provider_status=429),
]


@pytest.mark.parametrize("error", [*INSTANCE_TROUBLE, GARBAGE], ids=str)
def test_an_answer_is_not_asked_for_again(error):
    inner = Scripted(error, OPEN)
    with pytest.raises(type(error)):
        guarded(inner).connect("user_x")
    assert inner.calls == ["connect"]


def test_after_three_attempts_it_is_enough():
    now, inner = Time(), Scripted(DOWN)
    with pytest.raises(Unavailable) as caught:
        guarded(inner, now).state("user_x")
    assert caught.value is DOWN
    assert len(inner.calls) == 3
    first, second = now.slept
    assert 1 <= first <= 1.25
    assert 2 <= second <= 2.25


def test_the_first_wait_is_a_setting():
    now, policy = Time(), Policy(first_delay_s=0.001)
    with pytest.raises(Unavailable):
        guarded(Scripted(DOWN), now, policy).state("user_x")
    assert sum(now.slept) < 0.01


def test_no_wait_is_longer_than_the_longest():
    now, policy = Time(), Policy(attempts=6, longest_delay_s=4, begin_within_s=1000, failures=100)
    with pytest.raises(Unavailable):
        guarded(Scripted(DOWN), now, policy).state("user_x")
    assert [int(waited) for waited in now.slept] == [1, 2, 4, 4, 4]


def test_a_call_that_took_its_time_is_not_repeated():
    now = Time()

    class Hanging(Scripted):
        def connect(self, name, phone, hook):
            now.now += 60
            return self._play("connect")

    inner = Hanging(SLOW)
    with pytest.raises(TimedOut):
        guarded(inner, now).connect("user_x")
    assert inner.calls == ["connect"]


def test_the_budget_bounds_retries():
    policy = Policy(failures=10_000)
    provider, calls = Scripted(DOWN), 200
    watched = guarded(provider, policy=policy)
    for _ in range(calls):
        with pytest.raises(Unavailable):
            watched.state("user_x")
    retries = len(provider.calls) - calls
    assert CREDIT <= retries <= CREDIT + calls * SHARE


@pytest.mark.parametrize("error", [DOWN, RESET, REFUSED, SLOW, GARBAGE], ids=str)
def test_five_failures_of_the_server_open_the_breaker(error):
    breaker = Breaker(POLICY, Time())
    fails(breaker, error, times=4)
    assert breaker.state == "closed"
    fails(breaker, error)
    assert breaker.state == "open"


@pytest.mark.parametrize("error", INSTANCE_TROUBLE, ids=str)
def test_trouble_of_one_instance_never_opens_the_breaker(error):
    breaker = Breaker(POLICY, Time())
    fails(breaker, error, times=50)
    assert breaker.state == "closed"


def test_a_sign_of_life_ends_the_streak():
    breaker = Breaker(POLICY, Time())
    for _ in range(10):
        fails(breaker, times=4)
        fails(breaker, INSTANCE_TROUBLE[0])
    assert breaker.state == "closed"


@pytest.mark.parametrize("error", [SLOW, GARBAGE], ids=str)
def test_one_instance_that_hangs_does_not_take_the_gateway_from_the_others(error):
    breaker = Breaker(POLICY, Time())
    answers(breaker, "user_b")
    answers(breaker, "user_a")
    fails(breaker, error, times=50, subject="user_a")
    assert breaker.state == "closed"


@pytest.mark.parametrize("error", [SLOW, GARBAGE], ids=str)
def test_five_that_hang_are_the_servers_trouble(error):
    breaker = Breaker(POLICY, Time())
    answers(breaker, "user_b")
    for number in range(4):
        fails(breaker, error, times=2, subject=f"user_{number}")
    assert breaker.state == "closed"
    fails(breaker, error, subject="user_4")
    assert breaker.state == "open"


def test_an_answer_of_itself_speaks_for_no_other():
    breaker = Breaker(POLICY, Time())
    answers(breaker, "user_a")
    fails(breaker, SLOW, times=5, subject="user_a")
    assert breaker.state == "open"


def test_others_that_were_answered_long_ago_speak_for_nobody():
    now = Time()
    breaker = Breaker(POLICY, now)
    answers(breaker, "user_b")
    now.now += POLICY.window_s
    fails(breaker, SLOW, times=5, subject="user_a")
    assert breaker.state == "open"


def test_out_of_reach_is_out_of_reach_for_all():
    breaker = Breaker(POLICY, Time())
    answers(breaker, "user_b")
    fails(breaker, DOWN, times=5, subject="user_a")
    assert breaker.state == "open"


def test_a_probe_counts_whoever_it_is_about():
    now = Time()
    breaker = Breaker(POLICY, now)
    fails(breaker, SLOW, subject="user_a")
    fails(breaker, DOWN, times=4, subject="user_c")
    assert breaker.state == "open"
    now.now += POLICY.open_s
    fails(breaker, SLOW, subject="user_a")
    assert breaker.state == "open"


def test_failures_outside_the_window_do_not_count():
    now = Time()
    breaker = Breaker(POLICY, now)
    for _ in range(20):
        fails(breaker)
        now.now += 16  # four of them within 60 s
    assert breaker.state == "closed"


def test_failures_at_the_windows_edge_count():
    now = Time()
    breaker = Breaker(POLICY, now)
    for _ in range(5):
        fails(breaker)
        now.now += 15
    assert breaker.state == "open"


def test_while_it_is_open_nothing_is_called_and_nothing_repeated():
    now, inner = Time(), Scripted(OPEN)
    watched = Guarded(lambda: inner, POLICY, opened(now), sleep=now.sleep, monotonic=now)
    for _ in range(3):
        with pytest.raises(CircuitOpen):
            watched.state("user_x")
    assert (inner.calls, now.slept) == ([], [])


def test_a_retry_ends_where_the_breaker_opens():
    now, inner, policy = Time(), Scripted(DOWN), Policy(failures=2)
    with pytest.raises(CircuitOpen):
        guarded(inner, now, policy).state("user_x")
    assert len(inner.calls) == 2


def test_a_good_probe_closes_it():
    now = Time()
    breaker = opened(now)
    now.now += POLICY.open_s - 0.1
    with pytest.raises(CircuitOpen):
        breaker.call(lambda: OPEN)
    now.now += 0.1
    assert breaker.call(lambda: OPEN) == OPEN
    assert breaker.state == "closed"
    fails(breaker, times=4)
    assert breaker.state == "closed"


@pytest.mark.parametrize("call", ["states", "version"])
def test_what_the_server_was_not_asked_shows_nothing_of_it(call):
    """Where a gateway offers no such thing, its client answers by itself."""
    now = Time()
    breaker = opened(now)
    now.now += POLICY.open_s
    one = Guarded(lambda: Scripted(None), POLICY, breaker, sleep=now.sleep, monotonic=now)
    assert getattr(one, call)() is None
    assert breaker.state != "closed"
    fails(breaker)
    assert breaker.state == "open"


def test_a_probe_that_shows_the_server_alive_closes_it_even_with_an_error():
    now = Time()
    breaker = opened(now)
    now.now += POLICY.open_s
    fails(breaker, INSTANCE_TROUBLE[0])
    assert breaker.state == "closed"


@pytest.mark.parametrize("policy", [POLICY, Policy(open_s=300, window_s=10)], ids=["usual", "open beyond the window"])
def test_a_bad_probe_opens_it_for_as_long_again(policy):
    now = Time()
    breaker = opened(now, policy)
    now.now += policy.open_s
    fails(breaker)
    assert breaker.state == "open"
    now.now += policy.open_s - 0.1
    fails(breaker, CircuitOpen("still"))
    now.now += 0.1
    assert breaker.call(lambda: OPEN) == OPEN


def test_half_open_exactly_one_call_probes():
    now = Time()
    breaker = opened(now)
    now.now += POLICY.open_s
    probing, answer, probes = threading.Event(), threading.Event(), []

    def probe():
        probes.append(1)
        probing.set()
        assert answer.wait(GUARD_S)
        return OPEN

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(breaker.call, probe)
        assert probing.wait(GUARD_S)
        assert breaker.state == "half-open"
        for _ in range(10):
            with pytest.raises(CircuitOpen):
                breaker.call(probe)
        answer.set()
        assert first.result(GUARD_S) == OPEN
    assert probes == [1]
    assert breaker.state == "closed"


def test_many_that_wait_for_the_open_time_make_one_probe():
    now = Time()
    breaker = opened(now)
    now.now += POLICY.open_s
    together, probes = threading.Barrier(10), []

    def probe():
        probes.append(1)
        raise DOWN

    def ask():
        together.wait(GUARD_S)
        with contextlib.suppress(Unavailable):
            breaker.call(probe)

    with ThreadPoolExecutor(10) as pool:
        for done in [pool.submit(ask) for _ in range(10)]:
            done.result(GUARD_S)
    assert probes == [1]
    assert breaker.state == "open"


def test_calls_under_way_when_it_opens_do_not_close_it():
    breaker = Breaker(POLICY, Time())

    def late():
        fails(breaker, times=5)
        return OPEN

    assert breaker.call(late) == OPEN
    assert breaker.state == "open"


def test_a_probe_that_crashes_leaves_the_way_open_for_the_next():
    now = Time()
    breaker = opened(now)
    now.now += POLICY.open_s
    with pytest.raises(ZeroDivisionError):
        breaker.call(lambda: 1 / 0)
    assert breaker.call(lambda: OPEN) == OPEN
    assert breaker.state == "closed"
