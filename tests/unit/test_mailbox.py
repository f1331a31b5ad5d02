"""A listener's mailbox: what is handed over at once, what waits for its owner, and in which order."""

from uuid import uuid4

import pytest

from notify.dialects import Dialect
from notify.mailbox import Mailbox


class Owner:
    """`room`: how many bytes it takes at once; half a frame is taken as far as it goes."""

    def __init__(self, room: int) -> None:
        self.room, self.got, self.woken = room, b"", 0
        self.mailbox = Mailbox(user_id=uuid4(), dialect=Dialect(), wake=self.wake, hand=self.hand)
        self.mailbox.behind, self.mailbox.resting = False, True

    def wake(self) -> None:
        self.woken += 1

    def hand(self, frame: bytes) -> bytes | None:
        taken, self.room = frame[: self.room], max(0, self.room - len(frame))
        self.got += taken
        if taken == frame:
            return None
        self.rest = frame[len(taken) :]
        return b"" if taken else frame

    def work(self) -> None:
        """Awake, it writes all that it has."""
        self.mailbox.resting = False
        while (frame := self.mailbox.take()) is not None:
            self.got += frame or self.rest
        self.room, self.mailbox.resting = 1000, True


@pytest.mark.parametrize(("room", "woken"), [(1000, 0), (5, 1), (3, 1), (0, 1)])
def test_all_comes_once_and_in_order_however_much_there_is_room_for(room, woken):
    owner = Owner(room)
    owner.mailbox.put(1, [b"one.", b"two."])
    owner.mailbox.shout("org:x", [b"three."])
    assert bool(owner.woken) == bool(woken)
    owner.work()
    owner.mailbox.put(2, [b"four."])
    assert owner.got == b"one.two.three.four."


def test_who_does_not_rest_is_woken_and_nothing_is_handed_over():
    owner = Owner(1000)
    owner.mailbox.resting = False
    owner.mailbox.put(1, [b"one."])
    assert (owner.got, owner.woken, owner.mailbox.take()) == (b"", 1, b"one.")


def test_a_gap_is_told_to_the_owner_and_nothing_is_handed_over():
    owner = Owner(1000)
    owner.mailbox.put(2, [b"two."])
    assert (owner.got, owner.woken, owner.mailbox.behind) == (b"", 1, True)
