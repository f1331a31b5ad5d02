"""Ports that are free, for those who bind them later or find nobody there."""

import contextlib
import random
import socket

# Not the kernel's choice: from the same ports, 32,768 and more, it gives to whoever binds port 0 or connects meanwhile.
FIRST, BEYOND = 10_000, 32_000
_dice = random.SystemRandom()  # pytest-randomly seeds the others alike in all workers


def free_ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        port = _dice.randrange(FIRST, BEYOND)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return list(found)
