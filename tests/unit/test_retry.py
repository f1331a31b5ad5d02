"""What becomes of an event that failed."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import DataError, OperationalError

from core.db import storage_error
from core.errors import CircuitOpen, Conflict, Malformed, NotConfigured, NotNow, StorageUnavailable, Unavailable
from webhooks.retry import TRIES, again_in, reason

TEXT = "Oi Ana, o código é 123456"


def test_the_databases_trouble_is_never_the_events_fault():
    delays = [again_in(StorageUnavailable("x"), attempts) for attempts in (0, 1, 4, 5, 50, 5000)]
    assert delays == [timedelta(seconds=seconds) for seconds in (1, 2, 16, 30, 30, 30)]


@pytest.mark.parametrize("error", [NotNow("x"), Unavailable("x")])
def test_what_may_pass_by_itself_is_tried_again_later_and_later_and_5_times_at_most(error):
    delays = [again_in(error, attempts) for attempts in range(TRIES + 3)]
    assert delays[: TRIES - 1] == [timedelta(seconds=seconds) for seconds in (1, 2, 4, 8)]
    assert set(delays[TRIES - 1 :]) == {None}


@pytest.mark.parametrize(
    "error",
    [
        ValueError(TEXT),
        KeyError("x"),
        Malformed("x"),
        Conflict("x"),
        NotConfigured("x"),
        CircuitOpen("x"),
        RecursionError(),
        DataError("INSERT", {"content": TEXT}, Exception("x")),
    ],
)
def test_what_will_fail_again_is_not_tried_again(error):
    assert [again_in(error, attempts) for attempts in range(TRIES)] == [None] * TRIES


def test_the_databases_own_trouble_may_pass():
    assert again_in(storage_error(OperationalError("SELECT", {}, Exception("gone"))), 0)


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    "error", [ValueError(TEXT), Malformed(TEXT, code="NO_QRCODE"), DataError(TEXT, {"content": TEXT}, Exception(TEXT))]
)
def test_a_reason_says_kind_and_place_and_nothing_that_people_wrote(error):
    said = reason(_raised(error))
    assert said.startswith(type(error).__name__)
    assert "test_retry.py:" in said
    assert not set(said.split()) & set(TEXT.split())
    assert ("NO_QRCODE" in said) == isinstance(error, Malformed)


def test_a_reason_is_given_for_an_error_that_was_never_raised():
    assert reason(ValueError(TEXT)) == "ValueError"


def test_a_reason_says_what_the_database_said():
    error = StorageUnavailable("The database is not migrated to this version", dbCode="42703")
    assert reason(error) == "StorageUnavailable WHATSAPP_STORAGE_UNAVAILABLE 42703"
