"""How `http.Transport` asks: a request out over requests' adapter, an answer with a whole body back.

`requests` sends and keeps the connections: its adapter without a session, so there are no redirects (the key would go
along), no cookies, and none of the environment's proxies. Ours is what it lacks: every call has a total deadline and
every body a limit; what has an effect goes over a new connection, so that a dead one never leaves its outcome open; a
GET may use a kept one, and is repeated once where that turns out dead. Kept connections are young, so a changed
address is noticed. Calls `deadlines`; raises Unavailable, TimedOut, BadResponse.
"""

import contextlib
import logging
import socket
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from core.errors import BadResponse, ProviderError, TimedOut, Unavailable
from manager.providers.deadlines import Deadlines, Watch
from manager.providers.http import Answer, Limits, Request

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
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)  # it warns with whole URLs, and some hold a secret
BROKEN = (OSError, HTTPException, HTTPError)  # the first is requests' own as well


@dataclass
class _Try:
    """What the connection must know of the call it serves, and tells of itself."""

    watch: Watch
    may_reuse: bool
    connected: bool = False  # until then nothing can have been sent
    reused: bool = False


_current: ContextVar[_Try] = ContextVar("try")


class _Plain(HTTPConnection):
    """Shows its socket to the watch of the call it serves, and is young where it is used again."""

    made_at = idle_since = 0.0

    @property
    def is_connected(self) -> bool:
        """The pool asks before it hands out a kept one. Where this says no it is closed, and connects anew."""
        now = time.monotonic()
        young = now - self.made_at < KEEP_FOR_S and now - self.idle_since < KEEP_IDLE_S
        return _current.get().may_reuse and young and super().is_connected

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        _current.get().watch.hold(made)  # before TLS, whose greeting may drip as well
        self.made_at = time.monotonic()
        return made

    def connect(self) -> None:
        super().connect()
        self._serve(_current.get())

    def request(self, *args: Any, **options: Any) -> None:
        asked = _current.get()
        if self.sock and not asked.connected:
            asked.watch.hold(self.sock)
            asked.reused = True
            self._serve(asked)
        super().request(*args, **options)

    def getresponse(self) -> Any:
        response = super().getresponse()
        self.idle_since = time.monotonic()
        return response

    def _serve(self, asked: _Try) -> None:
        """A body may take all the time to send: the timeout until here was that of connecting."""
        asked.connected = True
        self.timeout = asked.watch.left_s
        self.sock.settimeout(self.timeout)


class _Tls(_Plain, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, socket_options=OPTIONS)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}


class Exchange:
    """A Transport's work, with its limits."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url, self._limits = url.rstrip("/"), limits
        self._deadlines, self._adapter = Deadlines(), _Adapter(pool_connections=1, pool_maxsize=KEEP)

    def ask(self, request: Request) -> Answer:
        """Raises Unavailable (`sent` is False where nothing can have happened), TimedOut, BadResponse."""
        with self._deadlines.within(request.within_s) as watch:
            first = _Try(watch, may_reuse=request.method == "GET")
            try:
                return self._exchange(request, first)
            except Unavailable:
                if not first.reused:
                    raise
            return self._exchange(request, _Try(watch, may_reuse=False))  # the kept one had died in its sleep

    def _exchange(self, request: Request, asked: _Try) -> Answer:
        """The connection is kept where the answer came whole, and closed otherwise."""
        with contextlib.closing(self._response(request, asked)) as response:
            body = _read(response, self._limits.largest_bytes, asked.watch)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status_code, headers=headers, body=body)

    def _response(self, request: Request, asked: _Try) -> requests.Response:
        left_s, before = asked.watch.left_s, _current.set(asked)
        timeout = (min(self._limits.connect_s, left_s), left_s)
        try:
            return self._adapter.send(self._prepared(request), stream=True, timeout=timeout)
        except BROKEN as error:
            raise _broken(error, asked) from error
        finally:
            _current.reset(before)

    def _prepared(self, request: Request) -> requests.PreparedRequest:
        headers = {"Accept-Encoding": "gzip", "User-Agent": "Zelador", **request.headers}
        prepared = requests.Request(request.method, self._url, headers, json=request.body).prepare()
        prepared.url = self._url + request.path  # as it is: an instance may be called `..`
        return prepared


def _read(response: requests.Response, largest_bytes: int, watch: Watch) -> bytes:
    """The whole body, unpacked. An end that the deadline made looks like any other."""
    status, body = response.status_code, bytearray()
    try:
        while piece := response.raw.read1(PIECE_BYTES, decode_content=True):
            body += piece
            if len(body) > largest_bytes:
                raise BadResponse("The gateway's answer is too large", provider_status=status)
    except BROKEN as error:
        if _is_late(error, watch):
            raise TimedOut("The gateway's answer took too long", provider_status=status) from error
        raise BadResponse("The gateway's answer broke off", provider_status=status) from error
    if watch.over:
        raise TimedOut("The gateway's answer took too long", provider_status=status)
    return bytes(body)


def _broken(error: Exception, asked: _Try) -> ProviderError:
    """There was no answer: nobody there, too late, cut off, or something that is no HTTP."""
    if not asked.connected:
        return Unavailable("The gateway cannot be reached", sent=False)
    if _is_late(error, asked.watch):
        return TimedOut("The gateway did not answer in time")
    if any(isinstance(cause, OSError) for cause in _causes(error)):
        return Unavailable("The gateway broke the connection")
    return BadResponse("The gateway's answer is no HTTP")


def _is_late(error: Exception, watch: Watch) -> bool:
    """Our timeouts have no number; the network's own (ETIMEDOUT: the peer has vanished) have one."""
    return watch.over or any(isinstance(cause, TimeoutError) and cause.errno is None for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """What `requests` wrapped, down to the socket's own error; not what the caller was busy with."""
    while error is not None and not isinstance(error, ProviderError):
        if not isinstance(error, requests.RequestException):  # each of them is an OSError
            yield error
        error = error.__cause__ or error.__context__
