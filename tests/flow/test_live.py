"""The live channel on a real server: what a browser sees, and what happens to clients that misbehave."""

import base64
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from sqlalchemy import Engine, text
from websockets.exceptions import InvalidStatus

from bootstrap.system import FEED_GREW, System, build
from bootstrap.web import build_app
from core import events
from core.access import create_person, make_link
from core.events import DomainEvent
from manager.pictures import data_url
from notify.starts import STARTS
from tests.factories import make_instance
from tests.live import (
    GUARD_S,
    close_code,
    hear,
    line,
    parts_of,
    say,
    served,
    subscribed,
    tell,
    tiny,
    waiting_for_locks,
)
from tests.waiting import until


@pytest.fixture(scope="module")
def system(place: Path, database_url: str) -> Iterator[System]:
    """The web role's parts, for all tests here: ending a listener takes a second."""
    built = parts_of(place, database_url)
    yield built
    built.stop()


@pytest.fixture(scope="module")
def web(system: System) -> Iterator[str]:
    system.start("web")
    with served(build_app(system)) as base:
        yield base
        system.hub.stop()


@pytest.fixture(autouse=True)
def _emptied(engine: Engine) -> None:
    """The database is left empty."""


@pytest.fixture
def user(system):
    with system.transaction() as connection:
        return make_instance(connection)[0]


# --- the first frame ---------------------------------------------------------------------------------------


def test_a_subscriber_gets_a_snapshot_and_then_every_event_in_order(web, system, user, bearer):
    tell(system, user, 1, 2)
    with line(web, bearer(user)) as client:
        snapshot = hear(subscribed(client))
        assert (snapshot["type"], snapshot["id"]) == ("snapshot", 2)
        assert snapshot["data"]["instanceName"] == f"user_{user}"
        tell(system, user, *range(3, 43))
        heard = [hear(client) for _ in range(40)]
        assert [frame["id"] for frame in heard] == list(range(3, 43))
        assert [frame["data"]["number"] for frame in heard] == list(range(3, 43))
        assert heard[0]["type"] == "notice"
        assert heard[0]["timestamp"].endswith("Z")


def test_a_large_batch_arrives_whole(web, system, user, bearer):
    """More events in one commit than a mailbox holds: the socket catches up by itself."""
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        batch = [DomainEvent(user_id=user, type="notice", data={"n": n}) for n in range(1, 1201)]
        with system.transaction() as connection:
            events.record(connection, batch)
        system.bell.ring(FEED_GREW, [str(user)])
        assert [hear(client)["id"] for _ in batch] == list(range(1, 1201))
        tell(system, user, 1201)
        assert hear(client)["id"] == 1201


def test_who_comes_back_gets_exactly_what_they_missed(web, system, user, bearer):
    tell(system, user, *range(1, 8))
    with line(web, bearer(user)) as client:
        subscribed(client, since=4)
        assert [hear(client)["id"] for _ in range(3)] == [5, 6, 7]
        say(client, type="ping")
        assert hear(client) == {"type": "pong"}
    with line(web, bearer(user)) as client:
        subscribed(client, since=7)
        tell(system, user, 8)
        assert hear(client)["id"] == 8


@pytest.mark.parametrize("since", [99, 2**62])
def test_an_id_from_the_future_resets(web, system, user, bearer, since):
    tell(system, user, 1)
    with line(web, bearer(user)) as client:
        subscribed(client, since=since)
        assert hear(client) == {"type": "reset"}
        assert hear(client)["id"] == 1


def test_a_history_that_was_trimmed_resets(web, system, user, bearer):
    tell(system, user, 1, 2, 3)
    with system.transaction() as connection:
        connection.execute(text("DELETE FROM feed WHERE user_id = :u AND id <= 2"), {"u": user})
    with line(web, bearer(user)) as client:
        subscribed(client, since=1)
        assert hear(client) == {"type": "reset"}
        assert hear(client)["type"] == "snapshot"
    with line(web, bearer(user)) as client:
        subscribed(client, since=2)
        assert hear(client)["id"] == 3


def test_a_hole_in_the_history_is_owned_up_to(web, system, user, bearer):
    """Rows that went while they were read, or before others that are older."""
    tell(system, user, *range(1, 6))
    with system.transaction() as connection:
        connection.execute(text("DELETE FROM feed WHERE user_id = :u AND id = 3"), {"u": user})
    answer = requests.get(f"{web}/api/events?since=0", headers=bearer(user), timeout=10).json()
    assert (answer["reset"], answer["id"], answer["events"]) == (True, 5, [])
    with line(web, bearer(user)) as client:
        subscribed(client, since=0)
        assert [hear(client)["id"] for _ in range(2)] == [1, 2]
        assert hear(client) == {"type": "reset"}
        snapshot = hear(client)
        assert (snapshot["type"], snapshot["id"]) == ("snapshot", 5)
        tell(system, user, 6)
        assert hear(client)["id"] == 6


def test_a_code_is_drawn_for_those_who_look_and_recorded_as_text(web, system, user, bearer, rows):
    """Live and for one who comes back: the picture is in the frame, not in the row."""
    code = {"instanceName": f"user_{user}", "qr": "2@abc", "status": "waiting_qr", "expiresAt": "2026-11-22T03:17:05Z"}
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        with system.transaction() as connection:
            events.record(connection, [DomainEvent(user_id=user, type="qrcode", data=code)])
        system.bell.ring(FEED_GREW, [str(user)])
        live = hear(client)
    with line(web, bearer(user)) as client:
        missed = hear(subscribed(client, since=0))
    assert live == missed
    assert live["data"] == {**code, "qrCode": data_url("2@abc")}
    assert live["data"]["qrCode"].startswith("data:image/png;base64,")
    assert rows("SELECT data FROM feed WHERE user_id = :user", user=user) == [{"data": code}]


# --- clients that misbehave ----------------------------------------------------------------------------------


def test_who_does_not_subscribe_in_time_is_closed(system, user):
    with tiny(system, user, first_frame_s=0.2) as (base, _), line(base) as client:
        assert close_code(client) == 4408


@pytest.mark.parametrize(
    "first", [{"type": "ping"}, {"type": "subscribe", "since": "7"}, {"type": "subscribe", "since": -1}]
)
def test_another_first_frame_is_refused_and_the_right_one_still_counts(web, system, user, bearer, first):
    with line(web, bearer(user)) as client:
        say(client, **first)
        assert hear(client)["code"] == "SUBSCRIBE_FIRST"
        assert hear(subscribed(client))["type"] == "snapshot"


@pytest.mark.parametrize("bad", ["{", "[]", "7", '{"type":7}', '{"type":""}', '{"no":"type"}', "[" * 9000, b"\xff\x00"])
def test_a_bad_frame_is_answered_and_the_socket_stays(web, system, user, bearer, bad):
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        client.send(bad)
        assert hear(client)["code"] == "BAD_FRAME"
        say(client, type="ping")
        assert hear(client) == {"type": "pong"}


@pytest.mark.parametrize("subscribe", [True, False])
def test_too_many_bad_frames_close(web, system, user, bearer, subscribe):
    with line(web, bearer(user)) as client:
        if subscribe:
            hear(subscribed(client))
        for _ in range(10):
            client.send("{")
            assert hear(client)["code"] == "BAD_FRAME"
        client.send("{")
        assert close_code(client) == 4400


def test_an_unknown_command_is_answered(web, system, user, bearer):
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        say(client, type="make-coffee")
        assert hear(client)["code"] == "UNKNOWN_TYPE"


def test_a_flood_is_closed(web, system, user, bearer):
    with line(web, bearer(user)) as client:
        subscribed(client)
        for _ in range(80):
            say(client, type="ping")
        assert close_code(client) == 4429


def test_a_new_socket_brings_no_new_starts(system, user):
    heard = []
    with tiny(system, user) as (base, _):
        for _ in range(STARTS + 1):
            with line(base) as client:
                hear(subscribed(client))
                say(client, type="start")
                heard.append(hear(client).get("code"))
    assert [code == "RATE_LIMITED" for code in heard] == [False] * STARTS + [True]


def test_a_frame_that_is_too_large_closes(web, system, user, bearer):
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        client.send("x" * (16 * 1024 + 1))
        assert close_code(client) == 1009


# --- who may ---------------------------------------------------------------------------------------------------


def test_without_a_credential_there_is_no_socket(web):
    with pytest.raises(InvalidStatus) as refused, line(web):
        pass
    assert refused.value.response.status_code == 401


def test_a_wrong_bearer_opens_no_socket(web):
    with pytest.raises(InvalidStatus) as refused, line(web, {"Authorization": "Bearer nonsense"}):
        pass
    assert refused.value.response.status_code == 401


def test_the_dashboards_cookie_opens_a_socket_from_its_own_pages_only(web, system):
    with system.transaction() as connection:
        person = create_person(connection, email="ana@example.org", password="a long password")
        link = make_link(connection, person, valid_for=timedelta(hours=1))
    browser = requests.Session()
    browser.get(f"{web}/login/{link}", timeout=10).raise_for_status()
    cookie = {"Cookie": "; ".join(f"{c.name}={c.value}" for c in browser.cookies)}
    with line(web, cookie, origin=web) as client:
        assert hear(subscribed(client))["data"]["instanceName"] == f"user_{person}"
    for foreign in ("https://evil.example", "null", web.replace("127.0.0.1", "localhost")):
        with pytest.raises(InvalidStatus) as refused, line(web, cookie, origin=foreign):
            pass
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "changed",
    [
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Version": None},
        {"Upgrade": None},
        {"Connection": "keep-alive"},
        {"Upgrade": "h2c"},
    ],
)
def test_a_malformed_handshake_is_the_clients_fault(web, system, user, bearer, changed):
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
    }
    answer = requests.get(f"{web}/ws", headers=headers | changed | bearer(user), timeout=10)
    assert 400 <= answer.status_code < 500, answer.text


def test_two_people_never_see_each_others_events(web, system, user, bearer):
    with system.transaction() as connection:
        other, _ = make_instance(connection)
    with line(web, bearer(user)) as mine, line(web, bearer(other)) as theirs:
        hear(subscribed(mine))
        hear(subscribed(theirs))
        for number in range(1, 21):
            tell(system, user, number)
            tell(system, other, 100 + number)
        assert [hear(mine)["data"]["number"] for _ in range(20)] == list(range(1, 21))
        assert [hear(theirs)["data"]["number"] for _ in range(20)] == list(range(101, 121))


# --- where events come from ----------------------------------------------------------------------------------------


def test_events_of_another_process_arrive(web, system, user, bearer, database_url):
    """With its bell at once, and without it within the second of the polling floor."""
    other = build(system.settings, database_url)
    other.bell.start()
    try:
        with line(web, bearer(user)) as client:
            hear(subscribed(client))
            tell(other, user, 1)
            assert hear(client)["id"] == 1
            tell(other, user, 2, ring=False)
            assert hear(client)["id"] == 2
    finally:
        other.stop()


def test_polling_goes_on_while_others_ring(web, system, user, bearer):
    """Steady rings for one person must not starve another one, whose ring was lost."""
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        over = threading.Event()
        noise = threading.Thread(
            target=lambda: [system.hub.rang({str(uuid4())}) for _ in iter(lambda: over.wait(0.01), True)]
        )
        noise.start()
        try:
            tell(system, user, 1, ring=False)
            assert hear(client)["id"] == 1
        finally:
            over.set()
            noise.join()


def test_commits_in_reverse_order_leave_no_gap_and_no_reader_skips(web, system, user, bearer):
    """The one that started first waits for the other's commit before it gets its ids."""
    with system.transaction() as connection:
        others = [make_instance(connection)[0] for _ in range(2)]

    def slow_writer(started: threading.Event, go_on: threading.Event) -> None:
        with system.transaction() as connection:
            connection.execute(text("SELECT 1"))  # the older transaction …
            started.set()
            go_on.wait(GUARD_S)
            happened = [DomainEvent(user_id=who, type="notice", data={"by": "old"}) for who in (*others, user, user)]
            events.record(connection, happened)  # … records later

    started, go_on = threading.Event(), threading.Event()
    writer = threading.Thread(target=slow_writer, args=(started, go_on))
    writer.start()
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        assert started.wait(GUARD_S)
        with system.transaction() as connection:
            happened = [DomainEvent(user_id=who, type="notice", data={"by": "young"}) for who in (user, *others)]
            events.record(connection, happened)
            go_on.set()
            until(lambda: waiting_for_locks(system), lambda n: n == 1)
        writer.join(GUARD_S)
        assert not writer.is_alive()
        tell(system, user, 4)
        heard = [hear(client) for _ in range(4)]
    assert [frame["id"] for frame in heard] == [1, 2, 3, 4]
    assert [frame["data"].get("by") for frame in heard] == ["young", "old", "old", None]


def test_many_writers_and_a_reader_agree(web, system, user, bearer, rows):
    def write(first: int) -> None:
        for number in range(first, first + 50):
            tell(system, user, number)

    writers = [threading.Thread(target=write, args=(1000 * n,)) for n in range(4)]
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        for writer in writers:
            writer.start()
        heard = [hear(client) for _ in range(200)]
        for writer in writers:
            writer.join()
    assert [frame["id"] for frame in heard] == list(range(1, 201))
    kept = rows("SELECT id, (data->>'number')::int AS n FROM feed WHERE user_id = :u ORDER BY id", u=user)
    assert [(frame["id"], frame["data"]["number"]) for frame in heard] == [(row["id"], row["n"]) for row in kept]


def test_the_end_of_the_process_closes_with_1012(system, user):
    with tiny(system, user) as (base, live), line(base) as client, line(base) as silent:
        hear(subscribed(client))
        live.hub.stop()
        assert close_code(client) == 1012
        assert close_code(silent) == 1012  # one that has not even subscribed
