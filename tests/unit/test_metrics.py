"""Who may read /metrics, and how often a scrape asks the database."""

import pytest
from flask import Flask

from core.errors import StorageUnavailable, Unauthenticated
from core.web import Guard
from monitor.gauges import QUEUE_GAUGES, Gauges, of_inbox
from monitor.pulse import Beat
from monitor.routes import make_blueprint
from tests.clock import FrozenClock

UNAUTHENTICATED = 401


class Nobody(Guard):
    def __init__(self) -> None: ...

    def admin(self):
        raise Unauthenticated("Log in")


class Inbox:
    """Its numbers, and how often it was asked for them."""

    def __init__(self) -> None:
        self.asked, self.away = 0, False

    def stats(self):
        self.asked += 1
        if self.away:
            raise StorageUnavailable("The database is not available")
        return dict.fromkeys(QUEUE_GAUGES, self.asked)


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def client(inbox, clock):
    app, gauges = Flask("metrics"), [Gauges(of_inbox(inbox.stats), clock)]
    app.register_blueprint(make_blueprint(clock, Nobody(), lambda: None, lambda: "closed", lambda: Beat.OK, gauges))
    app.register_error_handler(Unauthenticated, lambda _: ("", UNAUTHENTICATED))
    return app.test_client()


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
def test_this_host_needs_no_token(client, host):
    assert client.get("/metrics", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["zelador.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil@localhost", "[::1", "10.0.0.1"],
)
def test_another_name_means_a_proxy_and_needs_one(client, host):
    assert client.get("/metrics", headers={"Host": host}).status_code == UNAUTHENTICATED


def test_the_database_is_asked_every_five_seconds_at_most(client, clock, inbox):
    shown = []
    for _ in range(4):
        shown.append(b"zelador_inbox_pending 1.0" in client.get("/metrics").data)
        clock.advance(seconds=2)
    assert (shown, inbox.asked) == ([True, True, True, False], 2)


def test_no_number_is_better_than_an_old_one(client, clock, inbox):
    client.get("/metrics")
    inbox.away = True
    clock.advance(seconds=5)
    assert b"zelador_inbox" not in client.get("/metrics").data
