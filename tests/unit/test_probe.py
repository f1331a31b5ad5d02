"""Looking at a gateway: all in one answer where that serves, one by one where it leaves doubts, nothing that changes
anything."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from core.errors import CircuitOpen, LicenceRequired, ProviderRefused, TimedOut, Unavailable
from manager.providers.port import Found, Snapshot, State
from monitor.policy.servers import Trouble
from monitor.watching.probe import AT_ONCE, BIG, NOBODY, Look, Probe, Target


class Gateway:
    """Answers the three questions of a probe, and remembers them; everything else is missing on purpose."""

    def __init__(self, live: Mapping[str, State], *, bulk: bool = True, stored: Mapping[str, State] | None = None):
        self.live, self.bulk, self.stored = dict(live), bulk, stored or {}
        self.asked: list[str] = []
        self.fails: dict[str, Exception] = {}

    def states(self):
        self._hear("states")
        return dict(self.live) if self.bulk else None

    def instances(self):
        self._hear("instances")
        return [Found(name=name, stored_state=state) for name, state in self.stored.items()]

    def state(self, name: str) -> Snapshot:
        self._hear(name)
        return Snapshot(name=name, state=self.live.get(name, State.NOT_FOUND))

    def _hear(self, question: str) -> None:
        self.asked.append(question)
        if question in self.fails:
            raise self.fails[question]


def prober(gateway: Gateway, *refused: Any, **more: Any) -> Probe:
    return Probe(cast(Any, gateway), *refused, **more)


def looked(probe: Probe, them: list[Target]) -> Look:
    return probe.look(them, probe.survey(len(them)))


def names(count: int) -> list[str]:
    return [f"user_{number}" for number in range(count)]


def targets(*called: str, heard: bool = False) -> list[Target]:
    return [Target(name=name, heard=heard) for name in called]


def opened(count: int) -> dict[str, State]:
    return dict.fromkeys(names(count), State.CONNECTED)


def test_one_answer_serves_all():
    gateway = Gateway(opened(200) | {"user_7": State.DISCONNECTED})
    look = looked(prober(gateway), targets(*names(200)))
    assert gateway.asked == ["states"]
    assert (look.probe, look.states["user_7"], look.states["user_8"]) == (True, State.DISCONNECTED, State.CONNECTED)


def test_a_few_are_asked_for_one_by_one():
    gateway = Gateway(opened(50))
    look = looked(prober(gateway), targets("user_1", "user_2"))
    assert sorted(gateway.asked) == ["user_1", "user_2"]
    assert (look.probe, look.answered) == (None, 2)


def test_whom_the_answer_for_all_lacks_is_asked_for():
    gateway = Gateway(opened(9))
    look = looked(prober(gateway), targets(*names(10)))
    assert gateway.asked == ["states", "user_9"]
    assert (look.states["user_9"], look.missing) == (State.NOT_FOUND, 1)


def test_an_unknown_word_in_the_answer_for_all_is_looked_at_alone():
    gateway = Gateway(opened(9) | {"user_3": State.UNKNOWN})
    look = looked(prober(gateway), targets(*names(9)))
    assert gateway.asked == ["states", "user_3"]
    assert look.states["user_3"] is State.DISCONNECTED  # 200 without a state


def test_without_an_answer_for_all_each_is_asked_and_the_question_rests():
    now = [0.0]
    gateway = Gateway(opened(10), bulk=False)
    probe = prober(gateway, monotonic=lambda: now[0])
    looked(probe, targets(*names(10)))
    assert gateway.asked[0] == "states"
    gateway.asked.clear()
    looked(probe, targets(*names(10)))
    assert "states" not in gateway.asked
    now[0] = 601.0
    looked(probe, targets(*names(10)))
    assert "states" in gateway.asked


def test_no_more_than_a_hundred_are_asked_for_alone():
    gateway = Gateway(opened(300), bulk=False)
    look = looked(prober(gateway), targets(*names(300)))
    assert len(look.states) == AT_ONCE
    assert names(300)[AT_ONCE] not in look.states


def test_on_a_big_server_the_list_clears_only_whom_we_have_just_heard_of():
    gateway = Gateway(opened(BIG), bulk=False, stored=opened(BIG))
    heard, unheard = names(BIG)[:-2], names(BIG)[-2:]
    look = looked(prober(gateway), [*targets(*heard, heard=True), *targets(*unheard)])
    assert gateway.asked[:2] == ["states", "instances"]
    assert sorted(gateway.asked[2:]) == sorted(unheard)
    assert len(look.states) == BIG


def test_the_list_never_convicts():
    closed = dict.fromkeys(names(BIG), State.DISCONNECTED)
    gateway = Gateway(opened(BIG), bulk=False, stored=closed)
    look = looked(prober(gateway), targets(*names(BIG), heard=True))
    assert set(look.states.values()) == {State.CONNECTED}


def test_on_a_small_server_nobody_asks_for_the_list():
    gateway = Gateway(opened(20), bulk=False, stored=opened(20))
    looked(prober(gateway), targets(*names(20), heard=True))
    assert "instances" not in gateway.asked


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (TimedOut("slow"), Trouble.UNREACHABLE),
        (Unavailable("away"), Trouble.UNREACHABLE),
        (CircuitOpen("left alone"), Trouble.UNREACHABLE),
        (ProviderRefused("no"), Trouble.AUTH),
        (LicenceRequired("no licence"), Trouble.LICENCE),
    ],
)
def test_a_server_that_does_not_answer_says_nothing_about_its_instances(error, trouble):
    gateway = Gateway(opened(10))
    gateway.fails["states"] = error
    look = looked(prober(gateway), targets(*names(10)))
    assert (look.probe, look.trouble, look.states, look.troubles) == (False, trouble, {}, {})
    assert gateway.asked == ["states"]


def test_one_that_hangs_is_its_own_trouble():
    gateway = Gateway(opened(3))
    gateway.fails["user_1"] = TimedOut("slow")
    look = looked(prober(gateway), targets(*names(3)))
    assert look.troubles == {"user_1": Trouble.UNREACHABLE}
    assert set(look.states) == {"user_0", "user_2"}


def test_behind_an_open_breaker_nobody_counts_as_asked():
    gateway = Gateway(opened(3))
    gateway.fails |= {name: CircuitOpen("left alone") for name in names(3)}
    look = looked(prober(gateway), targets(*names(3)))
    assert (look.states, look.troubles, look.answered) == ({}, {}, 0)


def test_the_server_is_asked_by_what_needs_our_key():
    gateway = Gateway({})
    assert prober(gateway).ask_server().probe is True
    assert gateway.asked == ["states", NOBODY]
    gateway.fails[NOBODY] = ProviderRefused("no")
    assert prober(gateway).ask_server().trouble is Trouble.AUTH


def test_where_our_key_was_refused_the_answer_for_all_is_not_enough():
    gateway = Gateway(opened(10))
    gateway.fails[NOBODY] = ProviderRefused("no")
    look = looked(prober(gateway, lambda: True), targets(*names(10)))
    assert (look.probe, look.trouble, look.states) == (False, Trouble.AUTH, {})
