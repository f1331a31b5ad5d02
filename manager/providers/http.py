"""HTTP to one gateway server, for the clients of providers: a request out, an answer with a whole body back.

Every call has a total deadline and every body a limit. What has an effect goes over a new connection, so that a dead
one never leaves its outcome open; a GET may use a kept one, and is repeated once where that turns out dead. Kept
connections are young, so a changed address is noticed. Redirects are not followed (the key would go along) and the
environment's proxies are not known here. Calls `deadlines`; raises Unavailable, TimedOut, BadResponse.
"""

import contextlib
import json
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

from core.errors import BadResponse, ProviderError, TimedOut, Unavailable
from manager.providers.deadlines import Deadlines, Watch

PIECE_BYTES = 65536
KEEP = 16
KEEP_IDLE_S = 4.0  # Node closes what has been idle for 5 s
KEEP_FOR_S = 30.0  # then its name is looked up again
VANISHED_S = 15  # a peer that confirms nothing for so long is gone (Linux)
OPTIONS = [
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", VANISHED_S * 1000),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", VANISHED_S),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    )
    if hasattr(socket, name)
]
BROKEN = (OSError, HTTPException, HTTPError)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long calls may take, and how large an answer may be. A slow WhatsApp holds a call for up to 60 s; what
    starts or ends a connection takes longer (`slow_s`), a second question to understand an answer is short (`look_s`).
    """

    connect_s: float = 5.0
    usual_s: float = 60.0
    slow_s: float = 90.0
    look_s: float = 10.0
    largest_bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Request:
    """`body` goes as JSON. `within_s`: how long the whole call may take."""

    method: str
    path: str
    within_s: float
    body: object = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Any status. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


class _Plain(HTTPConnection):
    """Shows its socket to the watch as soon as there is one: before TLS, which may drip as well."""

    def __init__(self, watch: Watch, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._watch, self.made_at, self.idle_since = watch, time.monotonic(), 0.0

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        self._watch.hold(made)
        return made


class _Tls(_Plain, HTTPSConnection):
    pass


class Transport:
    """One object a server; safe for many threads."""

    def __init__(self, url: str, limits: Limits) -> None:
        parts = urlsplit(url)
        self._base, self._limits = parts.path.rstrip("/"), limits
        self._connection = _maker(parts.scheme, parts.hostname or "", parts.port, limits.connect_s)
        self._deadlines, self._kept = Deadlines(), _Kept()

    def ask(self, request: Request) -> Answer:
        """Raises Unavailable (`sent` is False where nothing can have happened), TimedOut, BadResponse."""
        with self._deadlines.within(request.within_s) as watch:
            kept = self._kept.take() if request.method == "GET" else None
            if kept and kept.sock:
                with contextlib.suppress(Unavailable, OSError):  # it had died in its sleep
                    watch.hold(kept.sock)
                    return self._exchange(kept, request, watch)
            return self._exchange(self._opened(watch), request, watch)

    def _opened(self, watch: Watch) -> _Plain:
        connection = self._connection(watch)
        try:
            connection.connect()
        except BROKEN as error:
            connection.close()
            raise Unavailable("The gateway cannot be reached", sent=False) from error
        return connection

    def _exchange(self, connection: _Plain, request: Request, watch: Watch) -> Answer:
        """The connection is kept where the answer came whole, and closed otherwise."""
        try:
            response = self._response(connection, request, watch)
            body = _read(response, self._limits.largest_bytes, watch)
        except BaseException:
            connection.close()
            raise
        if connection.sock and not watch.over:
            self._kept.put(connection)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status, headers=headers, body=body)

    def _response(self, connection: _Plain, request: Request, watch: Watch) -> HTTPResponse:
        connection.timeout = watch.left_s
        headers = {"Accept-Encoding": "gzip", "User-Agent": "Zelador", **request.headers}
        body = None
        if request.body is not None:
            body, headers["Content-Type"] = json.dumps(request.body).encode(), "application/json"
        try:
            connection.request(request.method, self._base + request.path, body, headers, preload_content=False)
            return connection.getresponse()
        except BROKEN as error:
            raise _broken(error, watch) from error


class _Kept:
    """Connections that wait for the next GET, the youngest sleep first."""

    def __init__(self) -> None:
        self._connections: list[_Plain] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._connections)

    def take(self) -> _Plain | None:
        """One that is young, and that the server has not closed."""
        while connection := self._pop():
            now = time.monotonic()
            young = now - connection.made_at < KEEP_FOR_S and now - connection.idle_since < KEEP_IDLE_S
            if young and connection.is_connected:
                return connection
            connection.close()
        return None

    def put(self, connection: _Plain) -> None:
        connection.idle_since = time.monotonic()
        with self._lock:
            self._connections.append(connection)
            surplus = self._connections.pop(0) if len(self._connections) > KEEP else None
        if surplus:
            surplus.close()

    def _pop(self) -> _Plain | None:
        with self._lock:
            return self._connections.pop() if self._connections else None


def _maker(scheme: str, host: str, port: int | None, connect_s: float) -> Callable[[Watch], _Plain]:
    options: dict[str, Any] = {"timeout": connect_s, "socket_options": OPTIONS}
    if scheme == "http":
        return lambda watch: _Plain(watch, host, port, **options)
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())  # a slim container has no authorities of its own
    return lambda watch: _Tls(watch, host, port, ssl_context=context, **options)


def _close_all(connections: list[_Plain]) -> None:
    for connection in connections:
        connection.close()


def _read(response: HTTPResponse, largest_bytes: int, watch: Watch) -> bytes:
    """The whole body, unpacked. An end that the deadline made looks like any other."""
    status, body = response.status, bytearray()
    try:
        while piece := response.read1(PIECE_BYTES, decode_content=True):
            body += piece
            if len(body) > largest_bytes:
                raise BadResponse("The gateway's answer is too large", provider_status=status)
    except BROKEN as error:
        if _is_late(error, watch):
            raise TimedOut("The gateway's answer took too long", provider_status=status) from error
        raise BadResponse("The gateway's answer broke off", provider_status=status) from error
    finally:
        response.close()  # it holds the socket, even of an empty body
    if watch.over:
        raise TimedOut("The gateway's answer took too long", provider_status=status)
    return bytes(body)


def _broken(error: Exception, watch: Watch) -> ProviderError:
    """There was no answer: too late, cut off, or something that is no HTTP."""
    if _is_late(error, watch):
        return TimedOut("The gateway did not answer in time")
    if isinstance(error, OSError):
        return Unavailable("The gateway broke the connection")
    return BadResponse("The gateway's answer is no HTTP")


def _is_late(error: BaseException | None, watch: Watch) -> bool:
    """Our timeouts have no number; the network's own (ETIMEDOUT: the peer has vanished) have one."""
    while error is not None:
        if isinstance(error, TimeoutError) and error.errno is None:
            return True
        error = error.__cause__ or error.__context__
    return watch.over
