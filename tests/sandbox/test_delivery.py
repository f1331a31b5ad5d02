"""Retries, the token, and what waits for a delivery to finish."""

import base64
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import retry
from sandbox.server import Sandbox
from tests.sandbox.receiver import KEY, Client, Receiver, eventually
from tests.sandbox.recordings import retry_runs


@pytest.fixture(scope="module")
def instant_box() -> Iterator[Sandbox]:
    """No waits at all: ten attempts take milliseconds."""
    with Sandbox(key=KEY, time_scale=0) as box:
        yield box


@pytest.fixture
def instant(instant_box: Sandbox, receiver: Receiver, hook: str) -> Client:
    instant_box.reset()
    return Client(instant_box, receiver, hook)


def attempts(client: Client) -> list[int]:
    items = client.call("GET", "/sandbox/log").json()["items"]
    return [item["attempt"] for item in items if item["kind"] == "webhook"]


@pytest.mark.parametrize("status", [503, 500, 429, 410, 302])
def test_ten_attempts_carry_the_same_bytes_and_token(instant: Client, status: int) -> None:
    instant.hook = f"/status/{status}{instant.hook}"
    instant.create("shop1", hook={"headers": {"jwt_key": "k3y"}})

    arrived = instant.take(10)

    assert {one.raw for one in arrived} == {arrived[0].raw}
    assert len({one.headers["Authorization"] for one in arrived}) == 1
    eventually(lambda: attempts(instant) == list(range(1, 11)))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_some_answers_end_it_at_once(instant: Client, status: int) -> None:
    instant.hook = f"/status/{status}{instant.hook}"
    instant.create("shop1")
    instant.call("DELETE", "/instance/delete/shop1")

    # The instance goes when remove.instance has been given up; by then the others had their one attempt.
    instant.reaches("shop1", None)
    eventually(lambda: attempts(instant) == [1, 1, 1])


# The other runs are about the network (a slow, resetting or recovering receiver), not about the status.
RUNS_BY_STATUS = [run for run in retry_runs() if run["answered"] in (302, 400, 401, 403, 404, 410, 422, 429, 500, 503)]


@pytest.mark.parametrize("run", RUNS_BY_STATUS, ids=lambda run: run["receiver"])
def test_the_rules_give_the_recorded_number_of_attempts(run: dict[str, Any]) -> None:
    answered, made = run["answered"], 1
    while not retry.CURRENT.is_over(answered, made):
        made += 1
    assert made == run["attempts"]


@pytest.mark.parametrize("run", RUNS_BY_STATUS, ids=lambda run: run["receiver"])
def test_recorded_gaps_lie_within_the_delays(run: dict[str, Any]) -> None:
    for attempt, gap_s in enumerate(run["gaps_s"], start=1):
        assert retry.CURRENT.delay_s(attempt, -1) - 0.5 <= gap_s <= retry.CURRENT.delay_s(attempt, 1) + 2.5


def test_the_token_is_signed_with_the_key_and_lives_ten_minutes(client: Client) -> None:
    client.create("shop1", hook={"headers": {"jwt_key": "k3y", "authorization": "Bearer abc"}})

    delivery = client.take(1)[0]

    assert "jwt_key" not in delivery.headers
    scheme, token = delivery.headers["Authorization"].split()
    head, payload, signature = token.split(".")
    expected = hmac.digest(b"k3y", f"{head}.{payload}".encode(), "sha256")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert scheme == "Bearer"
    assert base64.urlsafe_b64decode(signature + "==") == expected
    assert claims == {
        "iat": claims["iat"],
        "exp": claims["iat"] + 600,
        "app": "evolution",
        "action": "webhook",
    }


def test_an_empty_jwt_key_sends_nothing_and_cannot_be_deleted(client: Client) -> None:
    client.create("shop1", hook={"headers": {"jwt_key": ""}})
    assert client.call("DELETE", "/instance/delete/shop1").json()["status"] == "SUCCESS"
    assert client.state("shop1") == "close"
    fixed = {"enabled": True, "url": client.receiver.url + client.hook, "events": [], "headers": {}}
    client.call("POST", "/webhook/set/shop1", {"webhook": fixed})

    client.call("DELETE", "/instance/delete/shop1")

    assert sorted(one.event for one in client.take(2)) == ["instance.delete", "remove.instance"]
    client.reaches("shop1", None)


def test_delete_waits_until_remove_instance_is_delivered(client: Client) -> None:
    client.receiver.release.clear()
    client.hook = "/held" + client.hook
    client.create("shop1", hook={"events": ["REMOVE_INSTANCE"]})

    assert client.call("DELETE", "/instance/delete/shop1").status_code == 200
    client.take(1)  # it has arrived, and is not answered yet

    assert client.state("shop1") == "close"
    again = {"instanceName": "shop1", "integration": "WHATSAPP-BAILEYS"}
    assert client.call("POST", "/instance/create", again).status_code == 403
    client.receiver.release.set()
    client.reaches("shop1", None)
    assert client.call("POST", "/instance/create", again).status_code == 201


def test_a_receiver_that_is_down_is_tried_ten_times(instant: Client) -> None:
    instant.create("shop1", hook={"url": "http://127.0.0.1:1/nobody"})
    eventually(lambda: attempts(instant) == list(range(1, 11)))


def test_a_reset_forgets_what_is_still_to_be_delivered(client: Client) -> None:
    client.hook = "/status/503" + client.hook
    client.create("shop1")
    client.take(1)

    client.call("POST", "/sandbox/reset")

    assert client.call("GET", "/sandbox/log").json() == {"items": []}
    assert client.state("shop1") is None
