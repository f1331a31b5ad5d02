"""Faults on demand: what requests get, and what happens to webhooks."""

import threading

import pytest
import requests

from sandbox.server import Sandbox
from tests.sandbox.receiver import GUARD_S, KEY, Client, Receiver


def switch(client: Client, **faults: object) -> requests.Response:
    return client.call("POST", "/sandbox/faults", faults)


def ask(client: Client) -> requests.Response:
    return client.call("GET", "/instance/fetchInstances")


def test_a_status_without_a_rate_meets_every_request_but_those_of_the_control(client: Client) -> None:
    assert switch(client, status=503).json()["error_rate"] == 1.0
    answer = ask(client)
    assert (answer.status_code, answer.json()["error"]) == (503, "Service Unavailable")
    assert client.call("GET", "/").status_code == 503
    assert client.call("GET", "/sandbox/state").status_code == 200


def test_the_same_requests_fail_in_every_run(client: Client) -> None:
    runs = []
    for _ in range(2):
        switch(client, error_rate=0.5, status=502)
        runs.append([ask(client).status_code for _ in range(20)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 502}
    switch(client, error_rate=0.5, status=502, seed=7)
    assert [ask(client).status_code for _ in range(20)] != runs[0]


@pytest.mark.parametrize("heal", [("POST", {}), ("DELETE", None)])
def test_faults_go_as_they_came(client: Client, heal: tuple[str, object]) -> None:
    before = client.call("GET", "/sandbox/faults").json()
    switch(client, status=500, latency_ms=1, drop_events=["messages.upsert"])
    client.call(heal[0], "/sandbox/faults", heal[1])
    assert ask(client).status_code == 200
    assert client.call("GET", "/sandbox/faults").json() == before


def test_a_reset_heals_too(client: Client) -> None:
    switch(client, status=500)
    client.call("POST", "/sandbox/reset")
    assert ask(client).status_code == 200


@pytest.mark.parametrize(("garbage", "kind"), [(True, "application/json"), ("html", "text/html")])
def test_garbage_is_no_json(client: Client, garbage: object, kind: str) -> None:
    switch(client, garbage=garbage)
    answer = ask(client)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, kind)
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_latency_holds_every_answer(client: Client) -> None:
    switch(client, latency_ms=30)
    assert ask(client).elapsed.total_seconds() >= 0.03


def test_who_hangs_is_let_go_when_the_faults_change(client: Client) -> None:
    switch(client, hang=True)
    got: list[int] = []
    waiting = threading.Thread(target=lambda: got.append(ask(client).status_code), daemon=True)
    with pytest.raises(requests.ReadTimeout):
        requests.get(client.box.url, timeout=0.05)
    waiting.start()
    switch(client)
    waiting.join(GUARD_S)
    assert got == [200]


def test_a_stop_lets_go_who_hangs(receiver: Receiver) -> None:
    with Sandbox(key=KEY) as box:
        client = Client(box, receiver, "/ok/hang/")
        switch(client, hang=True)
        with pytest.raises(requests.ReadTimeout):
            requests.get(box.url, timeout=0.05)


def test_any_version_may_want_a_licence(client: Client) -> None:
    switch(client, license_required=True)
    answer = ask(client)
    assert (answer.status_code, answer.json()["code"]) == (503, "LICENSE_REQUIRED")
    assert set(answer.json()) == {"error", "code", "register_url", "instance_id", "docs_url", "message"}
    assert client.call("GET", "/").status_code == 200


def test_duplicates_are_the_same_bytes_again(client: Client) -> None:
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT"]})
    switch(client, duplicate=True)
    client.message("shop1")
    first, second = client.take(2)
    assert first.raw == second.raw


def test_reordered_events_overtake_each_other_in_pairs(client: Client) -> None:
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT"]})
    switch(client, reorder=True)
    sent = client.message("shop1", count=2)["ids"]
    assert [one.data["key"]["id"] for one in client.take(2)] == sent[::-1]
    client.message("shop1", "alone")
    assert client.take(1)[0].data["message"] == {"conversation": "alone"}


@pytest.mark.parametrize("dropped", [["messages.upsert"], ["MESSAGES_UPSERT"]])
def test_dropped_events_never_come_and_others_do(client: Client, dropped: list[str]) -> None:
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT", "CHATS_UPDATE"]})
    switch(client, drop_events=dropped)
    client.message("shop1")
    assert client.take(1)[0].event == "chats.update"
    switch(client)
    client.message("shop1", "after")
    assert {one.event for one in client.take(2)} == {"chats.update", "messages.upsert"}


def test_a_delete_ends_although_every_event_is_dropped(client: Client) -> None:
    client.create("shop1")
    switch(client, drop_events=True)
    client.call("DELETE", "/instance/delete/shop1")
    client.reaches("shop1", None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency": 5},
        {"latency_ms": "5"},
        {"latency_ms": -1},
        {"error_rate": 2},
        {"error_rate": True},
        {"status": 200},
        {"hang": 1},
        {"garbage": "xml"},
        {"license_required": "yes"},
        {"drop_events": "messages.upsert"},
    ],
)
def test_what_is_no_fault_is_refused_and_changes_nothing(client: Client, wrong: dict[str, object]) -> None:
    before = client.call("GET", "/sandbox/faults").json()
    answer = switch(client, **wrong)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert client.call("GET", "/sandbox/faults").json() == before
