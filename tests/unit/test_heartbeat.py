"""The dead man's switch against a real server: who hears from us, who does not, and what nobody is told."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core.errors import BadResponse, ProviderError, TimedOut, Unavailable
from core.secrets import ConfigError
from monitor.heartbeat import Heartbeat

TOKEN = "planted-token-1234"


class Listener:
    """Hears beats; `answer` is a status, None for none at all."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.answer: int | None = 200
        self.ended = threading.Event()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.heard.append(self.path)
                if listener.answer is None:
                    listener.ended.wait(10)
                    return
                self.send_response(listener.answer)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.ended.set()
    made.server.shutdown()
    made.server.server_close()
    thread.join(5)


@pytest.mark.parametrize("path", [f"/ping/{TOKEN}", f"/api/push/{TOKEN}?status=up&msg=OK", f"/{TOKEN}/", "/"])
def test_the_url_is_asked_for_as_it_is(listener, path):
    Heartbeat(listener.base + path, lambda: True).beat()
    assert listener.heard == [path]


def test_a_url_without_a_path_is_one(listener):
    Heartbeat(listener.base, lambda: True).beat()
    assert listener.heard == ["/"]


def test_while_the_watch_does_not_go_well_nobody_hears_from_us(listener):
    well = [True, False, False, True]
    heartbeat = Heartbeat(f"{listener.base}/{TOKEN}", lambda: well.pop(0))
    for expected in (1, 1, 1, 2):
        heartbeat.beat()
        assert len(listener.heard) == expected


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_is_not_taken_is_said_and_no_redirect_followed(listener, status):
    listener.answer = status
    with pytest.raises(BadResponse) as caught:
        Heartbeat(f"{listener.base}/{TOKEN}", lambda: True).beat()
    assert (caught.value.provider_status, listener.heard) == (status, [f"/{TOKEN}"])


def test_a_server_that_never_answers_is_given_up(listener):
    listener.answer = None
    with pytest.raises(TimedOut):
        Heartbeat(f"{listener.base}/{TOKEN}", lambda: True, within_s=0.2).beat()


def test_nobody_there_is_said(free_port):
    with pytest.raises(Unavailable):
        Heartbeat(f"http://127.0.0.1:{free_port}/{TOKEN}", lambda: True).beat()


def test_the_token_is_nowhere_but_on_the_line(listener, settings_of):
    listener.answer = 500
    settings = settings_of(HEARTBEAT_URL=f"{listener.base}/{TOKEN}")
    heartbeat = Heartbeat(settings.heartbeat_url.get_secret_value(), lambda: True)
    with pytest.raises(ProviderError) as caught:
        heartbeat.beat()
    assert TOKEN not in f"{settings!r} {caught.value!r} {caught.value.details} {caught.value.message} {heartbeat!r}"


@pytest.mark.parametrize("url", ["ping.example/1", "ftp://ping.example/1", "https://u:p@ping.example/", "http://"])
def test_a_url_that_cannot_be_one_stops_the_start_and_is_not_quoted(settings_of, url):
    with pytest.raises(ConfigError) as caught:
        settings_of(HEARTBEAT_URL=url)
    assert str(caught.value).startswith("HEARTBEAT_URL: ")
    assert "ping.example" not in str(caught.value)


def test_it_may_come_from_a_file(settings_of, tmp_path):
    (tmp_path / "url").write_text(f"https://ping.example/{TOKEN}\n")
    settings = settings_of(HEARTBEAT_URL_FILE=str(tmp_path / "url"))
    assert settings.heartbeat_url.get_secret_value() == f"https://ping.example/{TOKEN}"
