"""Who listens to whom: nothing twice, nothing to whom has left."""

from uuid import uuid4

import pytest

from notify.audience import Audience
from notify.dialects import Dialect
from notify.mailbox import Mailbox
from notify.rooms import Room

USER = uuid4()


@pytest.fixture
def mailbox():
    return Mailbox(user_id=uuid4(), dialect=Dialect(), wake=lambda: None)


@pytest.fixture
def audience(mailbox):
    made = Audience()
    made.enter(mailbox, Room(channel="org:a", organization="a"), {USER: 0})
    return made


def heard(audience, number):
    found = audience.hearers(USER, number, number - 1).rooms
    audience.went_out(USER, number)
    return list(found)


def test_who_leaves_a_room_and_comes_back_is_not_heard_twice(audience):
    assert heard(audience, 1) == ["org:a"]
    (hall,) = audience.organizations()
    audience.refresh(hall, set(), {})
    audience.refresh(hall, {USER}, {USER: 0})
    assert heard(audience, 1) == []
    assert heard(audience, 2) == ["org:a"]


def test_what_the_hub_has_in_hand_for_a_mailbox_that_left_comes_too_late(mailbox):
    audience = Audience()
    audience.join(mailbox, USER, 0)
    audience.leave(mailbox, USER)
    mailbox.put(1, [b"frame"])
    assert mailbox.take() is None
    audience.join(mailbox, USER, 1)
    mailbox.put(2, [b"frame"])
    assert mailbox.take() == b"frame"
