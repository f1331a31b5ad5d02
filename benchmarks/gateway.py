"""A stand-in for a gateway that holds many instances: `python -m benchmarks.gateway COUNT [one-by-one]`, started by
benchmarks.watching.

It answers `/metrics` with a line an instance, unless it shall be asked one by one, and `connectionState`, both from
memory: the gateway's own time is not what is measured. (The sandbox would pair a phone with each.) It prints its port,
and for each line on stdin how often it was asked for all and for one since the last; it ends with stdin.
"""

import selectors
import socket
import sys
from collections import Counter

HEAD = "# HELP evolution_instance_state Instance state\n# TYPE evolution_instance_state gauge\n"
LINE = 'evolution_instance_state{{instance="{}",integration="WHATSAPP-BAILEYS",state="open"}} 1\n'
NOT_THERE = b'{"status":404,"error":"Not Found","response":{"message":["not there"]}}'


def name(number: int) -> str:
    """As long as a user's."""
    return f"user_{number:08x}-0000-4000-8000-000000000000"


class Gateway:
    def __init__(self, count: int, *, bulk: bool) -> None:
        everybody = HEAD + "".join(LINE.format(name(number)) for number in range(count))
        self._nothing = _answer(404, NOT_THERE)
        self._all = _answer(200, everybody.encode()) if bulk else self._nothing
        self._one = _answer(200, b'{"instance":{"instanceName":"one","state":"open"}}')
        self.asked: Counter[str] = Counter()

    def answer(self, request: bytes) -> bytes:
        path = request.split(b" ", 2)[1]
        if path == b"/metrics":
            self.asked["all"] += 1
            return self._all
        self.asked["one"] += 1
        return self._one if path.startswith(b"/instance/connectionState/user_") else self._nothing

    def told(self) -> str:
        said, self.asked = f"{self.asked['all']} {self.asked['one']}", Counter()
        return said


class Line:
    """The connections; one thread serves them all."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._partly = gateway, dict[socket.socket, bytes]()
        self._poll = selectors.DefaultSelector()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._server.getsockname()[1]
        self._poll.register(self._server, selectors.EVENT_READ)
        self._poll.register(sys.stdin, selectors.EVENT_READ)

    def serve(self) -> None:
        """Until stdin ends."""
        while True:
            for key, _ in self._poll.select():
                if key.fileobj == sys.stdin:
                    if not sys.stdin.readline():
                        return
                    print(self._gateway.told(), flush=True)
                elif key.fileobj == self._server:
                    connection, _ = self._server.accept()
                    self._poll.register(connection, selectors.EVENT_READ)
                    self._partly[connection] = b""
                elif isinstance(key.fileobj, socket.socket) and not self._served(key.fileobj):
                    self._poll.unregister(key.fileobj)
                    del self._partly[key.fileobj]
                    key.fileobj.close()

    def _served(self, connection: socket.socket) -> bool:
        """Whether it is still there."""
        try:
            piece = connection.recv(65536)
            whole = self._partly[connection] + piece
            if whole.endswith(b"\r\n\r\n"):
                connection.sendall(self._gateway.answer(whole))
                whole = b""
        except OSError:
            return False
        self._partly[connection] = whole
        return bool(piece)


def _answer(status: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} .\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def main() -> None:
    line = Line(Gateway(int(sys.argv[1]), bulk="one-by-one" not in sys.argv))
    print(line.port, flush=True)
    line.serve()


if __name__ == "__main__":
    main()
