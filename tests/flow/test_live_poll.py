"""The feed over HTTP, for where websockets do not pass."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from sqlalchemy import text

from tests.factories import make_instance
from tests.live import hear, line, record, subscribed, tell
from tests.waiting import until

Ask = Callable[..., Any]


@pytest.fixture
def user(system):
    with system.transaction() as connection:
        return make_instance(connection)[0]


@pytest.fixture
def ask(web, user, bearer) -> Ask:
    """What `/api/events` answers to these parameters."""

    def asked(**parameters: int) -> Any:
        answer = requests.get(f"{web}/api/events", params=parameters, headers=bearer(user), timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return asked


def test_it_begins_with_a_snapshot_and_goes_on_with_the_same_events(ask, web, system, user, bearer):
    tell(system, user, 1)
    first = ask()
    assert (first["id"], first["reset"], first["events"]) == (1, False, [])
    assert first["snapshot"]["instanceName"] == f"user_{user}"
    record(system, user, "qrcode", {"qr": "2@abc"})
    tell(system, user, 3)
    polled = ask(since=1)
    assert polled["id"] == 3
    with line(web, bearer(user)) as client:
        subscribed(client, since=1)
        assert polled["events"] == [hear(client), hear(client)]


def test_it_waits_for_what_comes(ask, system, user):
    answers = []
    asking = threading.Thread(target=lambda: answers.append(ask(since=0, wait=25)))
    asking.start()
    until(lambda: system.hub.listening, lambda n: n == 1)
    tell(system, user, 1)
    asking.join(10)
    assert [event["id"] for event in answers[0]["events"]] == [1]
    assert system.hub.listening == system.seats.taken == 0


def test_it_does_not_wait_longer_than_asked(ask):
    assert ask(since=0, wait=0)["events"] == []


def test_the_end_of_the_process_ends_the_waiting(ask, system):
    answers = []
    asking = threading.Thread(target=lambda: answers.append(ask(since=0, wait=25)))
    asking.start()
    until(lambda: system.hub.listening, lambda n: n == 1)
    system.hub.stop()
    asking.join(10)
    assert answers[0]["events"] == []


def test_a_long_history_comes_in_parts(ask, system, user):
    tell(system, user, *range(1, 602))
    seen: list[int] = []
    while len(seen) < 601:
        seen += [event["id"] for event in ask(since=len(seen))["events"]]
    assert seen == list(range(1, 602))


@pytest.mark.parametrize("since", [1, 99])
def test_a_history_that_is_not_there_resets(ask, system, user, since):
    tell(system, user, 1, 2, 3)
    with system.transaction() as connection:
        connection.execute(text("DELETE FROM feed WHERE id <= 2"))
    answer = ask(since=since)
    assert (answer["reset"], answer["id"], answer["events"]) == (True, 3, [])
    assert answer["snapshot"]["instanceName"] == f"user_{user}"


@pytest.mark.parametrize("parameters", [{"since": "x"}, {"since": -1}, {"since": 2**63}, {"since": "٣"}, {"wait": 26}])
def test_what_is_no_number_is_refused(web, user, bearer, parameters):
    answer = requests.get(f"{web}/api/events", params=parameters, headers=bearer(user), timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")


def test_nobody_polls_without_a_credential(web):
    assert requests.get(f"{web}/api/events", timeout=10).status_code == 401
