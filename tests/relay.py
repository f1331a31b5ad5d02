"""Hands bytes on from a TCP port of its own to somewhere else, and may change what clients say."""

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

Connect = Callable[[], socket.socket]


class Relay:
    """A context. `connect` opens what is behind; `said` is what a client's bytes become."""

    def __init__(self, address: str, connect: Connect, said: Callable[[bytes], bytes] = lambda piece: piece) -> None:
        self._connect, self._said = connect, said
        self._listener = socket.create_server((address, 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._pump, args=(client,), daemon=True))
            self._threads[-1].start()

    def _pump(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), self._connect() as server:
            while not self._over.is_set():
                for source in select.select([client, server], [], [], 0.1)[0]:
                    if not (piece := source.recv(65536)):
                        return
                    if source is client:
                        server.sendall(self._said(piece))
                    else:
                        client.sendall(piece)
