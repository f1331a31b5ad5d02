"""The load: one process, non-blocking sockets, requests made before they are timed. No tool is needed.

Closed loop: each connection sends its next request when it has its answer. The generator's own CPU time is
measured and printed; it shares the machine with what it measures.
"""

import itertools
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jwt

from benchmarks import traffic
from benchmarks.traffic import NOTHING_STORED, Template

CONNECTIONS = 64
LONGEST_WAIT_S = 15.0
Requests = Iterator[bytes]


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One round. `latencies_ms` is sorted; `cpu_s` is the generator's own."""

    seconds: float
    latencies_ms: list[float]
    refused: int
    cpu_s: float

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds

    def percentile(self, share: float) -> float:
        return self.latencies_ms[min(len(self.latencies_ms) - 1, int(len(self.latencies_ms) * share))]


def requests(templates: list[Template], run: int, *, stored: bool) -> Requests:
    """Whole HTTP requests without end; `stored` is the webhook, else the route that stores nothing."""
    heads = [_head(template, stored) + template.body for template in templates]
    second = traffic.now()
    return (head % (name, second) for head, name in zip(itertools.cycle(heads), traffic.message_ids(run), strict=False))


def send(port: int, asked: Requests, seconds: float) -> Sent:
    """Keep all connections busy for so long. Raises OSError when the server closes or stops answering."""
    line = _Line(port, asked)
    try:
        return line.run(seconds)
    finally:
        line.close()


class _Line:
    def __init__(self, port: int, asked: Requests) -> None:
        self._asked = asked
        self._poll = select.epoll()
        self._sockets = {
            s.fileno(): s for s in (socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS))
        }
        self._began: dict[int, float] = {}
        self._partly: dict[int, bytes] = {}
        for number, connection in self._sockets.items():
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poll.register(number, select.EPOLLIN)

    def run(self, seconds: float) -> Sent:
        latencies: list[float] = []
        refused = 0
        clock: Callable[[], float] = time.perf_counter
        used, start = time.process_time(), clock()
        for number in self._sockets:
            self._next(number)
        while self._began:
            ready = self._poll.poll(LONGEST_WAIT_S)
            if not ready:
                raise OSError("the server stopped answering")
            at = clock()
            for number, _ in ready:
                answer = self._answer(number)
                if answer is None:
                    continue
                latencies.append((at - self._began.pop(number)) * 1000)
                refused += not answer.startswith(b"HTTP/1.1 200 ")
                if at - start < seconds:
                    self._next(number)
        took = clock() - start
        return Sent(seconds=took, latencies_ms=sorted(latencies), refused=refused, cpu_s=time.process_time() - used)

    def _next(self, number: int) -> None:
        self._began[number] = time.perf_counter()
        self._sockets[number].sendall(next(self._asked))

    def _answer(self, number: int) -> bytes | None:
        """The whole answer: head and JSON may come in two pieces, and only the second ends in a brace."""
        piece = self._sockets[number].recv(4096)
        if not piece:
            raise OSError("the server closed a connection")
        whole = self._partly.pop(number, b"") + piece
        if whole.endswith((b"}", b"}\n")):
            return whole
        self._partly[number] = whole
        return None

    def close(self) -> None:
        self._poll.close()
        for connection in self._sockets.values():
            connection.close()


def _head(template: Template, stored: bool) -> bytes:
    """The headers of Evolution 2.3.6's axios, its bearer included."""
    path = f"/api/webhook/user/{template.user_id}" if stored else NOTHING_STORED
    at = traffic.now()
    claims = {"iat": at, "exp": at + 600, "app": "evolution", "action": "webhook"}
    bearer = jwt.encode(claims, "the key that a gateway signs with, and nobody here looks at")
    lines = (
        f"POST {path} HTTP/1.1",
        "Accept: application/json, text/plain, */*",
        "Content-Type: application/json",
        f"X-Webhook-Token: {template.token}",
        f"Authorization: Bearer {bearer}",
        "User-Agent: axios/1.12.2",
        f"Content-Length: {len(template.body % (b'0' * 20, at))}",
        "Accept-Encoding: gzip, compress, deflate, br",
        "Host: 127.0.0.1:8000",
        "Connection: keep-alive",
    )
    return "\r\n".join((*lines, "", "")).replace("%", "%%").encode()
