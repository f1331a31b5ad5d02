"""Who may open a socket and listen where: tickets, rooms, rights that end, and how many at once."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
import requests
from sqlalchemy import Engine, text
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bootstrap.rooms import members
from bootstrap.system import System
from bootstrap.web import build_app
from core.access import Principal, create_person, make_link
from notify.commands import Commands
from notify.dialects import Dialect
from notify.hub import Hub
from notify.mailbox import Mailbox
from notify.rooms import Room
from notify.seats import MOST_EACH
from notify.tickets import Tickets
from tests.bursts import burst
from tests.factories import make_instance
from tests.live import close_code, hear, line, parts_of, record, say, served, subscribed, tell, tiny
from tests.waiting import until

ORGANIZATION = "org_123"


@pytest.fixture(scope="module")
def system(place: Path, database_url: str) -> Iterator[System]:
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


@pytest.fixture
def team(system) -> list[UUID]:
    """Three users whose instances belong to one organization."""
    with system.transaction() as connection:
        return [make_instance(connection, organization_id=ORGANIZATION)[0] for _ in range(3)]


def join(client, organization: str = ORGANIZATION):
    """The answer."""
    say(client, type="join-organization", data=organization)
    return hear(client)


def ticket_of(web: str, headers: dict[str, str]) -> str:
    answer = requests.post(f"{web}/api/ws/ticket", headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    assert answer.json()["expiresIn"] == 30
    return str(answer.json()["ticket"])


def refusal(web: str, path: str, headers: dict[str, str] | None = None, **how: str) -> int:
    with pytest.raises(InvalidStatus) as refused, line(web, headers, path=path, **how):
        pass
    return refused.value.response.status_code


# --- tickets ----------------------------------------------------------------------------------------------------


def test_a_ticket_opens_one_socket_without_any_header(web, user, bearer):
    ticket = ticket_of(web, bearer(user))
    with line(web, path=f"/ws?ticket={ticket}") as client:
        assert hear(subscribed(client))["data"]["instanceName"] == f"user_{user}"
    assert refusal(web, f"/ws?ticket={ticket}") == 401
    assert refusal(web, f"/ws?ticket={ticket}", bearer(user)) == 401


def test_a_ticket_stands_for_what_its_owner_may(web, system, team, bearer):
    own = ticket_of(web, bearer(team[0], organization_id=ORGANIZATION))
    with line(web, path=f"/ws?ticket={own}") as client:
        hear(subscribed(client))
        assert join(client) == {"type": "joined", "channel": f"org:{ORGANIZATION}"}
    foreign = ticket_of(web, bearer(uuid4()))
    assert refusal(web, f"/ws/instances/user_{team[0]}?ticket={foreign}") == 404
    admin = ticket_of(web, bearer(uuid4(), role="admin"))
    with line(web, path=f"/ws/instances/user_{team[0]}?ticket={admin}") as client:
        say(client, type="ping")
        assert hear(client) == {"type": "pong"}


def test_a_ticket_stands_for_what_its_owner_may_by_now(system):
    """Its token's word counts, as it does in a request: that one is an administrator while it is valid."""
    with system.transaction() as connection:
        person = create_person(connection, email=f"{uuid4()}@example.org", role="admin")
    tickets, until = Tickets(system.transaction), datetime(2030, 1, 1, tzinfo=UTC)
    admin = Principal(user_id=person, role="admin", until=until)
    taken = [tickets.issue(replace(admin, sworn=sworn)) for sworn in (False, True)]
    with system.transaction() as connection:
        connection.execute(text("UPDATE profiles SET role = 'user' WHERE id = :id"), {"id": person})
    found = [tickets.redeem(ticket) for ticket in taken]
    assert [(one.role, one.sworn, one.until) for one in found] == [("user", False, until), ("admin", True, until)]


def test_a_ticket_ends_after_thirty_seconds(web, system, user, bearer, rows):
    ticket = ticket_of(web, bearer(user))
    with system.transaction() as connection:
        connection.execute(text("UPDATE socket_tickets SET expires_at = expires_at - interval '31 s'"))
    assert refusal(web, f"/ws?ticket={ticket}") == 401
    assert rows("SELECT * FROM socket_tickets") == []


def test_only_a_tickets_hash_is_kept(web, user, bearer, rows):
    ticket = ticket_of(web, bearer(user))
    assert ticket not in str(rows("SELECT token_hash::text, facts::text FROM socket_tickets"))


def test_a_ticket_from_a_page_of_another_site_opens_nothing(web, user, bearer):
    ticket = ticket_of(web, bearer(user))
    assert refusal(web, f"/ws?ticket={ticket}", origin="https://evil.example") == 403
    assert refusal(web, f"/ws?ticket={ticket}", origin="null") == 403
    with line(web, path=f"/ws?ticket={ticket}", origin=web) as client:  # it was not used up by them
        assert hear(subscribed(client))["type"] == "snapshot"


def test_an_address_or_origin_that_is_none_is_refused(web, user, bearer):
    assert refusal(web, "/ws", bearer(user), origin="http://[") == 403
    assert refusal(web, "/ws/instances/a%00b", bearer(user)) == 404


def test_a_bearer_in_the_query_opens_nothing(web, user, bearer):
    token = bearer(user)["Authorization"].removeprefix("Bearer ")
    assert refusal(web, f"/ws?token={token}") == 401
    assert refusal(web, f"/ws?ticket={token}") == 401


def test_nobody_hoards_tickets(web, user, bearer):
    for _ in range(30):
        ticket_of(web, bearer(user))
    answer = requests.post(f"{web}/api/ws/ticket", headers=bearer(user), timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (429, "RATE_LIMITED")
    assert requests.post(f"{web}/api/ws/ticket", timeout=10).status_code == 401


# --- rooms ------------------------------------------------------------------------------------------------------


def test_an_organization_hears_all_its_instances_and_nobody_elses(web, system, team, user, bearer):
    with line(web, bearer(uuid4(), organization_id=ORGANIZATION)) as member:
        hear(subscribed(member))
        tell(system, team[0], 1)
        assert join(member) == {"type": "joined", "channel": f"org:{ORGANIZATION}"}
        tell(system, user, 7)
        for number, one in enumerate(team * 10, 2):
            tell(system, one, number)
        heard = [hear(member) for _ in range(30)]
    by_user = [[f["data"]["number"] for f in heard if (f["data"]["number"] - 2) % 3 == who] for who in range(3)]
    assert sorted(frame["data"]["number"] for frame in heard) == list(range(2, 32))
    assert all(numbers == sorted(numbers) for numbers in by_user)
    assert {frame.get("channel") for frame in heard} == {f"org:{ORGANIZATION}"}
    assert not any("id" in frame for frame in heard)


def test_ones_own_events_come_once_though_the_organization_has_them_too(web, system, team, bearer):
    with line(web, bearer(team[0], organization_id=ORGANIZATION)) as client:
        hear(subscribed(client))
        join(client)
        join(client)
        for number in (1, 2, 3):
            tell(system, team[0], number)
        tell(system, team[1], 4)
        heard = [hear(client) for _ in range(4)]
    assert [frame.get("id") for frame in heard if "channel" not in frame] == [1, 2, 3]
    assert [frame["data"]["number"] for frame in heard if "channel" in frame] == [4]


def test_an_instance_that_comes_to_the_organization_later_is_heard_from_its_first_event(web, system, team, bearer):
    with line(web, bearer(uuid4(), role="admin")) as admin:
        hear(subscribed(admin))
        join(admin)
        with system.transaction() as connection:
            newcomer, _ = make_instance(connection, organization_id=ORGANIZATION)
        tell(system, newcomer, 1, 2)
        assert [hear(admin)["data"]["number"] for _ in range(2)] == [1, 2]
        tell(system, newcomer, 3)
        assert hear(admin)["data"]["number"] == 3


def test_who_left_the_room_hears_it_no_more(web, system, team, bearer):
    channel = f"org:{ORGANIZATION}"
    with line(web, bearer(team[0], organization_id=ORGANIZATION)) as client:
        hear(subscribed(client))
        join(client)
        say(client, type="leave", data=channel)
        assert hear(client) == {"type": "left", "channel": channel}
        tell(system, team[1], 1)
        tell(system, team[0], 2)
        assert hear(client)["data"]["number"] == 2


@pytest.mark.parametrize(
    ("channel", "code"),
    [
        ("org:org_other", "FORBIDDEN"),
        ("org:", "BAD_CHANNEL"),
        ("org:" + "x" * 200, "BAD_CHANNEL"),
        ("org:a\0b", "BAD_CHANNEL"),
        ("instance:\ud800", "BAD_CHANNEL"),
        ("user:7b2b1c9e-0000-4000-8000-000000000001", "NOT_FOUND"),
        ("user:nobody", "NOT_FOUND"),
        ("instance:7b2b1c9e-0000-4000-8000-000000000001", "INSTANCE_NOT_FOUND"),
        ("weather:lisbon", "BAD_CHANNEL"),
        ("", "BAD_CHANNEL"),
        (7, "BAD_CHANNEL"),
        (None, "BAD_CHANNEL"),
    ],
)
def test_a_join_that_may_not_be_is_answered(web, user, bearer, channel, code):
    with line(web, bearer(user, organization_id=ORGANIZATION)) as client:
        hear(subscribed(client))
        say(client, type="join", data=channel)
        assert hear(client)["code"] == code


def test_ones_own_rooms_and_all_rooms_for_an_administrator(web, system, team, bearer):
    for who in (bearer(team[0]), bearer(uuid4(), role="admin")):
        with line(web, who) as client:
            hear(subscribed(client))
            for channel in (f"user:{team[0]}", f"instance:user_{team[0]}"):
                say(client, type="join", data=channel)
                assert hear(client) == {"type": "joined", "channel": channel}
    with line(web, bearer(uuid4(), role="admin")) as admin:
        hear(subscribed(admin))
        say(admin, type="join", data=f"instance:user_{team[0]}")
        hear(admin)
        tell(system, team[0], 1)
        heard = hear(admin)
        assert (heard["channel"], heard["data"]["number"]) == (f"instance:user_{team[0]}", 1)


def test_a_room_of_ones_own_where_there_is_no_organization(web, system, user, bearer):
    """The user's id takes the organization's place."""
    with line(web, bearer(uuid4(), role="admin")) as admin, line(web, bearer(user)) as own:
        for client in (admin, own):
            hear(subscribed(client))
            assert join(client, str(user)) == {"type": "joined", "channel": f"org:{user}"}
        tell(system, user, 1)
        assert hear(admin)["channel"] == f"org:{user}"
        assert hear(own)["id"] == 1


def test_a_burst_in_an_organization_arrives_or_is_owned_up_to(web, system, team, bearer):
    """What a room's listener could not take in time is told as a reset of the room, and the stream stays whole."""
    with line(web, bearer(team[0], organization_id=ORGANIZATION)) as client:
        hear(subscribed(client))
        join(client)
        burst(system, team[1], *range(1, 1001), filler="x" * 4000)
        tell(system, team[0], 1, 2)
        own: list[int] = []
        rooms: list[int] = []
        resets = 0
        while own != [1, 2] or (len(rooms) < 1000 and not resets):
            frame = hear(client)
            own += [frame["id"]] if "id" in frame else []
            rooms += [frame["data"]["number"]] if frame["type"] == "notice" and "channel" in frame else []
            resets += frame["type"] == "reset"
    assert rooms == sorted(set(rooms))
    assert len(rooms) == 1000 or resets


def test_events_of_everybody_reach_only_whom_they_concern(web, system, bearer):
    """Two tenants and every type that carries something: none of one's canaries with the other."""
    with system.transaction() as connection:
        mine, theirs = (make_instance(connection, organization_id=f"org_{n}")[0] for n in (1, 2))
    kinds = ["status", "qrcode", "pairing_code", "connected", "disconnected", "message", "message_status", "alert"]
    paths = ["/ws", "/ws?dialect=whatsapp", f"/ws/instances/user_{mine}"]
    for path in paths:
        with line(web, bearer(mine, organization_id="org_1"), path=path) as client:
            hear(subscribed(client))
            join(client, "org_1")
            for kind in kinds:
                record(system, theirs, kind, {"instanceName": "canary", "text": "canary", "qr": "canary"})
            record(system, mine, "disconnected", {"reason": "last", "instanceName": f"user_{mine}"})
            heard = ""
            while '"last"' not in heard:
                heard += client.recv(timeout=10)
            assert "canary" not in heard


# --- rights that end -----------------------------------------------------------------------------------------------


def test_who_is_no_member_any_more_is_closed_with_4403(web, system, team, bearer):
    with line(web, bearer(team[0], organization_id=ORGANIZATION)) as client, line(web, bearer(team[0])) as without:
        for one in (client, without):
            hear(subscribed(one))
        join(client)
        with system.transaction() as connection:
            connection.execute(text("UPDATE profiles SET organization_id = 'org_new' WHERE id = :u"), {"u": team[0]})
        system.seats.check()
        assert close_code(client) == 4403
        say(without, type="ping")
        assert hear(without) == {"type": "pong"}
        assert join(without)["code"] == "FORBIDDEN"
        assert join(without, "org_new")["type"] == "joined"


def test_who_is_judged_while_joining_does_not_stay_in_the_room(system, team):
    """The judge finds nothing to object to, as the room is not joined yet."""
    member = Principal(user_id=uuid4(), organization_id=ORGANIZATION)
    answers: list[str] = []
    talk = SimpleNamespace(principal=member, answer=answers.append)

    def judging(connection, organizations):
        talk.principal = replace(member, organization_id=None)
        commands.may_stay()
        return members(connection, organizations)

    box, witness = (Mailbox(user_id=uuid4(), dialect=Dialect(), wake=lambda: None) for _ in range(2))
    hub = Hub(system.transaction, judging)
    with tiny(system, member.user_id, hub=hub) as (_, live):
        commands = Commands(talk, live, box, None)
        live.hub.enter(witness, Room(channel=f"user:{team[0]}", user_id=team[0]))
        commands.obey({"type": "join-organization", "data": ORGANIZATION})
        assert [json.loads(answer)["code"] for answer in answers] == ["FORBIDDEN"]
        assert not commands.channels
        tell(system, team[0], 1, ring=False)
        live.hub.rang({str(team[0])})
        until(witness.take)
        assert box.take() is None


def test_an_administrator_no_more_loses_other_peoples_instances(web, system, team):
    with system.transaction() as connection:
        person = create_person(connection, email="chefe@example.org", password="a long password", role="admin")
        link = make_link(connection, person, valid_for=timedelta(hours=1))
    browser = requests.Session()
    browser.get(f"{web}/login/{link}", timeout=10).raise_for_status()
    cookie = {"Cookie": "; ".join(f"{c.name}={c.value}" for c in browser.cookies)}
    with line(web, cookie, path=f"/ws/instances/user_{team[0]}", origin=web) as client:
        say(client, type="ping")
        assert hear(client) == {"type": "pong"}
        with system.transaction() as connection:
            connection.execute(text("UPDATE profiles SET role = 'user' WHERE id = :u"), {"u": person})
        system.seats.check()
        assert close_code(client) == 4403


def test_who_logs_out_is_logged_out_in_every_tab(web, system):
    """And whoever has a copy of the cookie; the session of another browser goes on."""
    with system.transaction() as connection:
        person = create_person(connection, email="ana@example.org", password="a long password")
        links = [make_link(connection, person, valid_for=timedelta(hours=1)) for _ in range(2)]
    browsers = home, _ = requests.Session(), requests.Session()
    for browser, link in zip(browsers, links, strict=True):
        browser.get(f"{web}/login/{link}", timeout=30).raise_for_status()
    tab, elsewhere = ({"Cookie": f"session={browser.cookies['session']}"} for browser in browsers)
    token = re.search(r'name="csrf_token" value="([^"]+)"', home.get(web, timeout=30).text)
    assert token
    unused = home.post(f"{web}/api/ws/ticket", headers={"X-CSRFToken": token[1]}, timeout=30).json()["ticket"]
    with line(web, tab, origin=web) as here, line(web, elsewhere, origin=web) as there:
        for client in (here, there):
            assert hear(subscribed(client))["type"] == "snapshot"
        home.post(f"{web}/logout", data={"csrf_token": token[1]}, timeout=30).raise_for_status()
        assert close_code(here) == 4401
        say(there, type="ping")
        assert hear(there) == {"type": "pong"}
    status = f"{web}/api/whatsapp/status"
    assert [requests.get(status, headers=one, timeout=30).status_code for one in (tab, elsewhere)] == [401, 200]
    assert refusal(web, f"/ws?ticket={unused}") == 401


def test_who_is_gone_is_closed_with_4401(web, system, user, bearer):
    with line(web, bearer(user)) as client:
        hear(subscribed(client))
        with system.transaction() as connection:
            connection.execute(text("DELETE FROM profiles WHERE id = :u"), {"u": user})
        system.seats.check()
        assert close_code(client) == 4401


def test_a_token_that_ends_ends_its_socket(web, system, user):
    """An administrator's too, whose token is believed while it is valid. By itself, within seconds."""

    def headers(role: str, seconds: int) -> dict[str, str]:
        token = system.access.tokens.issue(Principal(user_id=user, role=role), valid_for=timedelta(seconds=seconds))
        return {"Authorization": f"Bearer {token}"}

    def codes(seconds: int) -> list[int | None]:
        with line(web, headers("user", seconds)) as one, line(web, headers("admin", seconds)) as admin:
            for client in (one, admin):
                hear(subscribed(client))
            return [close_code(client) for client in (one, admin)]

    for seconds in (2, 9, 30):  # a slow machine opens them too late
        with contextlib.suppress(InvalidStatus, ConnectionClosed):
            assert codes(seconds) == [4401, 4401]
            return
    pytest.fail("they never opened")


# --- how many ----------------------------------------------------------------------------------------------------


def test_one_user_has_so_many_sockets_and_no_more(web, system, user, bearer):
    with system.transaction() as connection:
        other, _ = make_instance(connection)
    with contextlib.ExitStack() as lines:
        for _ in range(MOST_EACH):
            hear(subscribed(lines.enter_context(line(web, bearer(user)))))
        with line(web, bearer(user)) as one_more:
            assert close_code(one_more) == 4409
        with line(web, bearer(other)) as client:
            assert hear(subscribed(client))["type"] == "snapshot"
        answer = requests.get(f"{web}/api/events?since=0", headers=bearer(user), timeout=10)
        assert answer.status_code == 429
    until(lambda: system.seats.taken, lambda taken: taken == 0)
    with line(web, bearer(user)) as client:
        assert hear(subscribed(client))["type"] == "snapshot"


def test_a_full_server_says_so_before_the_upgrade(system, user):
    with tiny(system, user, most=1) as (base, _), line(base) as client:
        hear(subscribed(client))
        assert refusal(base, "/ws") == 503
