"""What Socket.IO clients send, looked at before the libraries do: those answer nonsense with tracebacks in the log.

Engine.IO's packets come as websocket messages or in the body of a POST. What is none becomes `NONSENSE`, a message that
is no packet of Socket.IO either, so that there is one place (`notify.socket_io`) that counts both.
"""

import contextlib
import logging
import re
from collections.abc import Callable
from typing import Any, Protocol

from engineio.async_drivers._websocket_wsgi import SimpleWebSocketWSGI  # type: ignore[import-untyped]  # has no types
from simple_websocket import ConnectionClosed
from wsproto.utilities import ProtocolError

from notify.framing import LARGEST_FRAME
from notify.locked import LINGER_S

SAYS_NOTHING = logging.Logger("socket.io", logging.CRITICAL + 1)  # the libraries' own would print plain text
NONSENSE = "4"
FROM_CLIENTS = re.compile(r"1|2probe|3|5|4[0-6].*", re.DOTALL)  # close, ping and pong, upgrade, Socket.IO's
BETWEEN = "\x1e"
CONNECT, DISCONNECT, EVENT = 0, 1, 2
RESERVED = ("connect", "disconnect", "*")  # python-socketio would call our handlers for these


def packet(said: object) -> str:
    """What came, if a client may say it."""
    return said if isinstance(said, str) and FROM_CLIENTS.fullmatch(said) else NONSENSE


def is_sound(decode: Callable[..., Any], said: object) -> bool:
    """Whether it is a packet as clients of ours send them: they connect, disconnect, or name an event."""
    try:
        found = decode(encoded_packet=said)
    except (ValueError, TypeError, RecursionError):
        return False
    if found.packet_type != EVENT:
        return found.packet_type in (CONNECT, DISCONNECT)
    return isinstance(found.data, list) and _is_name(next(iter(found.data), None))


def _is_name(event: object) -> bool:
    return isinstance(event, str) and event not in RESERVED


class Wire(SimpleWebSocketWSGI):  # type: ignore[misc]  # Any, as it has no types
    """A websocket of Engine.IO's; closed where its handler ends, which forgets it where a session does not change
    over to it."""

    def __init__(self, handler: Callable[..., Any], server: object) -> None:
        def handled(wire: object) -> Any:
            try:
                return handler(wire)
            finally:
                self.close()
                self.ws.thread.join(timeout=LINGER_S)  # it takes the client's goodbye

        super().__init__(handled, server, max_message_size=LARGEST_FRAME)

    def wait(self) -> str | None:
        """The next message; None once it is closed."""
        said = super().wait()
        return None if said is None else packet(said)

    def close(self) -> None:
        """It may be closed by now, by either side."""
        with contextlib.suppress(ConnectionClosed, OSError, ProtocolError):
            super().close()


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Body:
    """The body of a POST, as `wsgi.input`."""

    def __init__(self, inner: Readable) -> None:
        self._inner = inner

    def read(self, size: int) -> bytes:
        packets = self._inner.read(size).decode(errors="replace").split(BETWEEN)
        return BETWEEN.join(map(packet, packets)).encode()
