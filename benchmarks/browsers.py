"""Many browsers in one thread: real sockets, the handshake, frames read as bytes, pongs answered."""

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Self

AT_ONCE = 64  # handshakes under way
LONGEST_WAIT_S = 30.0
SUBSCRIBE = b'{"type":"subscribe","since":null}'
PING, CLOSE = 0x89, 0x88
Frame = tuple[int, bytes]


class Browsers:
    """A context. `heard(number, payload, at)` is called for each frame of browser `number`."""

    def __init__(self, port: int, tokens: Sequence[str]) -> None:
        self._port, self._tokens = port, tokens
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._numbers: dict[int, int] = {}
        self._descriptors: dict[int, int] = {}
        self._partly: dict[int, bytes] = {}
        self._upgraded: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._sockets.values():
            connection.close()
        self._poll.close()

    def open(self) -> float:
        """All of them, subscribed, each with its snapshot; the seconds it took. Raises OSError."""
        waiting, began = deque(enumerate(self._tokens)), time.perf_counter()
        opening: set[int] = set()

        def heard(number: int, _: bytes, __: float) -> None:
            opening.discard(number)

        while waiting or opening:
            while waiting and len(opening) < AT_ONCE:
                number, token = waiting.popleft()
                opening.add(number)
                self._connect(number, token)
            self.listen(heard, until=lambda: len(opening) < AT_ONCE if waiting else not opening)
        return time.perf_counter() - began

    def say(self, number: int, text: bytes) -> None:
        self._sockets[self._descriptors[number]].sendall(masked(0x81, text))

    def listen(self, heard: Callable[[int, bytes, float], None], until: Callable[[], bool]) -> None:
        """Until it is so. Raises OSError when nothing comes, or a socket is closed."""
        while not until():
            ready = self._poll.poll(LONGEST_WAIT_S)
            if not ready:
                raise OSError("the server says nothing")
            at = time.perf_counter()
            for descriptor, _ in ready:
                for kind, payload in self._read(descriptor):
                    if kind == PING:
                        self._sockets[descriptor].sendall(masked(0x8A, payload))
                    elif kind == CLOSE:
                        raise OSError(f"a socket was closed: {payload!r}")
                    else:
                        heard(self._numbers[descriptor], payload, at)

    def rest(self, seconds: float) -> None:
        """Only answer pings."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for descriptor, _ in self._poll.poll(max(0.0, until - time.monotonic())):
                for kind, payload in self._read(descriptor):
                    if kind == PING:
                        self._sockets[descriptor].sendall(masked(0x8A, payload))

    def _connect(self, number: int, token: str) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        descriptor = connection.fileno()
        self._sockets[descriptor] = connection
        self._numbers[descriptor], self._descriptors[number] = number, descriptor
        self._poll.register(descriptor, select.EPOLLIN)
        lines = (
            "GET /ws HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
            f"Authorization: Bearer {token}",
        )
        connection.sendall("\r\n".join((*lines, "", "")).encode())

    def _read(self, descriptor: int) -> Iterator[Frame]:
        piece = self._sockets[descriptor].recv(65536)
        if not piece:
            raise OSError("the server closed a socket")
        data = self._partly.pop(descriptor, b"") + piece
        if descriptor not in self._upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._partly[descriptor] = head
                return
            if b" 101 " not in head[:20]:
                raise OSError(head[:200].decode(errors="replace"))
            self._upgraded.add(descriptor)
            self._sockets[descriptor].sendall(masked(0x81, SUBSCRIBE))
        found, rest = frames(data)
        if rest:
            self._partly[descriptor] = rest
        yield from found


def frames(data: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames of a server, and what is left."""
    found, at = [], 0
    while len(data) - at >= 2:
        size, head = data[at + 1], 2
        wide = {126: 2, 127: 8}.get(size, 0)
        if len(data) - at < head + wide:
            break
        if wide:
            size, head = int.from_bytes(data[at + 2 : at + 2 + wide]), 2 + wide
        if len(data) - at < head + size:
            break
        found.append((data[at], data[at + head : at + head + size]))
        at += head + size
    return found, data[at:]


def masked(kind: int, payload: bytes) -> bytes:
    """A client's frame of up to 125 bytes, masked with zeros."""
    return bytes((kind, 0x80 | len(payload), 0, 0, 0, 0)) + payload
