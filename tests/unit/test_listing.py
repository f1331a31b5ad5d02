"""What is remembered of lists, and what gateways say of instances while somebody waits."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from api.integrations import _slug
from core.errors import Unavailable
from manager.asking import AT_ONCE, Asking
from manager.gateways import Gateways
from manager.lifecycle import Status
from manager.listing import KEPT_FOR, MEMORY, MOST_KEPT, STORAGE, Listing, Question, Snapshots, _status
from manager.providers.memory import MemoryProvider
from manager.providers.port import Found, Hook, Snapshot, State

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OWNER = UUID(int=7)
MINE = f"user_{OWNER}"
HOOK = Hook(url="http://127.0.0.1:9/x", token="t", jwt_key="k" * 32)


def listing(read_at: datetime = NOW) -> Listing:
    return Listing(items=[], source=STORAGE, read_at=read_at)


class TestSnapshots:
    def test_what_was_kept_is_found_and_says_that_it_is_from_memory(self):
        kept = Snapshots()
        kept.keep(Question(owner=OWNER), listing())
        assert kept.find(Question(owner=OWNER), NOW) == replace(listing(), source=MEMORY)

    def test_another_question_is_not_answered_by_it(self):
        kept = Snapshots()
        kept.keep(Question(owner=OWNER), listing())
        others = [Question(owner=None), Question(owner=uuid4()), Question(owner=OWNER, organization_id="org_1")]
        assert [kept.find(one, NOW) for one in others] == [None, None, None]

    def test_it_is_forgotten_after_an_hour(self):
        kept = Snapshots()
        kept.keep(Question(owner=OWNER), listing())
        assert kept.find(Question(owner=OWNER), NOW + KEPT_FOR - timedelta(seconds=1))
        assert kept.find(Question(owner=OWNER), NOW + KEPT_FOR) is None

    def test_of_too_many_the_one_read_longest_ago_goes(self):
        kept = Snapshots()
        questions = [Question(owner=UUID(int=number)) for number in range(MOST_KEPT + 1)]
        for question in [*questions[:-1], questions[0], questions[-1]]:
            kept.keep(question, listing())
        assert [kept.find(question, NOW) is None for question in questions[:3]] == [False, True, False]


class Watcher(MemoryProvider):
    """A gateway that remembers what it was asked, and may be silent. `whole`: whether it says all in one answer."""

    def __init__(self, *, whole: bool = True) -> None:
        super().__init__()
        self.whole, self.asked, self.trouble = whole, list[str](), None

    def states(self) -> dict[str, State] | None:
        self.asked.append("*")
        return dict.fromkeys([MINE], State.CONNECTED) if self.whole else None

    def state(self, name: str) -> Snapshot:
        self.asked.append(name)
        return super().state(name)


class Silent(Watcher):
    """Answers when the test ends."""

    def __init__(self, end: threading.Event) -> None:
        super().__init__()
        self._end = end

    def state(self, name: str) -> Snapshot:
        self._end.wait(10)
        raise Unavailable("The test is over")


class Away(Watcher):
    def instances(self) -> list[Found]:
        raise Unavailable("It is away")

    def state(self, name: str) -> Snapshot:
        raise Unavailable("It is away")


def asking(watcher: Watcher, **more: float) -> Asking:
    gateways = Gateways(
        upstreams={"evolution": _Named("evolution")},  # type: ignore[dict-item]  # only its name is read
        default=lambda: "evolution",
        is_there=lambda _: True,
    )
    return Asking(gateways=gateways, watchers={"evolution": watcher}, **more)


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name


def keys(*names: str) -> list[tuple[str, str]]:
    return [("evolution", name) for name in names]


@pytest.fixture
def end() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


class TestAsking:
    def test_a_few_are_asked_for_one_by_one(self):
        watcher = Watcher()
        assert asking(watcher).states(keys("a", "b", "c")) == dict.fromkeys(keys("a", "b", "c"), State.NOT_FOUND)
        assert watcher.asked == ["a", "b", "c"]

    def test_of_many_only_those_count_that_the_one_answer_names(self):
        watcher = Watcher()
        assert asking(watcher).states(keys("a", "b", "c", MINE)) == {("evolution", MINE): State.CONNECTED}
        assert watcher.asked == ["*"]

    def test_where_there_is_no_such_answer_the_first_twenty_are_asked_for(self):
        watcher = Watcher(whole=False)
        names = [f"i{number:02}" for number in range(AT_ONCE + 5)]
        assert len(asking(watcher).states(keys(*names))) == AT_ONCE
        assert watcher.asked == ["*", *names[:AT_ONCE]]

    def test_a_gateway_that_is_not_ready_is_not_asked(self):
        watcher = Watcher()
        assert asking(watcher).states([("wppconnect", "a")]) == {}
        assert watcher.asked == []

    def test_nobody_waits_for_one_that_is_silent(self, end):
        assert asking(Silent(end), within_s=0.05).states(keys("a")) == {}
        assert asking(Silent(end), within_s=0.05).instances(OWNER) is None

    def test_owners_hear_of_their_own(self):
        watcher = Watcher()
        assert asking(watcher).instances(OWNER) == []
        watcher.create(MINE, HOOK)
        assert asking(watcher).instances(OWNER) == [("evolution", Found(name=MINE, stored_state=State.DISCONNECTED))]
        assert set(watcher.asked) == {MINE}

    def test_of_all_those_are_told_that_are_named_after_a_user(self):
        watcher = Watcher()
        for name in (MINE, "of-others", f"USER_{OWNER}"):
            watcher.create(name, HOOK)
        assert [one.name for _, one in asking(watcher).instances(None) or []] == [MINE]

    def test_one_that_is_away_has_said_nothing(self):
        assert asking(Away()).instances(None) is None
        assert asking(Away()).states(keys("a")) == {}


@pytest.mark.parametrize(
    ("before", "said", "after"),
    [
        (Status.CONNECTED, State.CONNECTED, Status.CONNECTED),
        (Status.CONNECTED, State.DISCONNECTED, Status.DISCONNECTED),
        (Status.CONNECTED, State.NOT_FOUND, Status.DISCONNECTED),
        (Status.CONNECTED, State.REFUSED, Status.DISCONNECTED),
        (Status.CONNECTED, State.UNKNOWN, Status.CONNECTED),
        (Status.CONNECTED, None, Status.CONNECTED),
        (Status.DISCONNECTED, State.CONNECTING, Status.CONNECTING),
        (Status.QR_PENDING, State.CONNECTING, Status.QR_PENDING),
        (Status.QR_PENDING, State.CONNECTED, Status.CONNECTED),
    ],
)
def test_what_a_gateway_says_in_our_words(before, said, after):
    assert _status(before, said) is after


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("São João – Loja 2", "sao-joao-loja-2"),
        ("  WhatsApp__Vendas! ", "whatsapp-vendas"),
        ("日本", "日本"),
        ("../../etc\0", "etc"),
        ("\ud800", ""),
        ("–", ""),
        ("a" * 63 + " b", "a" * 63),
    ],
)
def test_a_label_is_a_slug(name, slug):
    assert _slug(name) == slug
