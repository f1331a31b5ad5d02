"""One sandbox and one receiver for the folder; every test starts from an empty sandbox and a path of its
own."""

import itertools
from collections.abc import Iterator

import pytest

from sandbox.server import Sandbox
from tests.sandbox.receiver import KEY, Client, Receiver

_paths = itertools.count()


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="session")
def shared_box() -> Iterator[Sandbox]:
    """Its codes stay for a minute: a slow machine must not meet the next one."""
    with Sandbox(key=KEY, time_scale=0.01, qr_every_s=6000) as box:
        yield box


@pytest.fixture
def hook() -> str:
    return f"/ok/{next(_paths)}/"


@pytest.fixture
def client(shared_box: Sandbox, receiver: Receiver, hook: str) -> Client:
    shared_box.reset()
    return Client(shared_box, receiver, hook)
