"""Another host: a network namespace with an address of its own, where this machine lets us have one."""

import contextlib
import os
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.relay import Connect
from tests.web_process import SOCKET


class OtherHost:
    """A context. `within`: the command that runs others there; `address` is its own, `here` is ours as it sees us.

    Where namespaces are not to be had, it is this host under its loopback address.
    """

    def __init__(self) -> None:
        number = os.getpid() % 250
        self._name, self._ours, self._theirs = f"zt{os.getpid()}", f"zta{number}", f"ztb{number}"
        self.within: tuple[str, ...] = ("ip", "netns", "exec", self._name)
        self.here, self.address = f"10.213.{number}.1", f"10.213.{number}.2"

    def __enter__(self) -> Self:
        try:
            self._make()
        except (OSError, subprocess.CalledProcessError):
            self._remove()
            self.here = self.address = "127.0.0.1"
            self.within = ()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._remove()

    def _make(self) -> None:
        ip("netns", "add", self._name)
        ip("link", "add", self._ours, "type", "veth", "peer", "name", self._theirs, "netns", self._name)
        ip("address", "add", f"{self.here}/30", "dev", self._ours)
        ip("link", "set", self._ours, "up")
        for words in (
            ("address", "add", f"{self.address}/30", "dev", self._theirs),
            ("link", "set", self._theirs, "up"),
        ):
            ip("-n", self._name, *words)
        ip("-n", self._name, "link", "set", "lo", "up")

    def _remove(self) -> None:
        if self.within:
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                ip("netns", "delete", self._name)  # the pair of links goes with it


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)


def database_behind(url: str) -> Connect:
    """A way to the suite's database, which has only a Unix socket."""
    behind = str(Path(parse_qs(urlsplit(url).query)["host"][0]) / SOCKET)

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(behind)
        return connection

    return connect


def url_through(url: str, address: str, port: int) -> str:
    """The same database over TCP."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.username}@{address}:{port}{parts.path}"
