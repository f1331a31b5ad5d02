"""A server that misbehaves, and Evolution's client of it."""

import pytest

from manager.providers.evolution.client import EvolutionClient
from tests.conftest import KEY
from tests.provider.rude import Rude


@pytest.fixture(scope="module")
def one_rude():
    with Rude().serving() as server:
        yield server


@pytest.fixture
def rude(one_rude):
    one_rude.forget()
    return one_rude


@pytest.fixture
def rudely(rude):
    return EvolutionClient(rude.url, KEY)
