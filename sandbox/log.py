"""The log behind GET /sandbox/log: requests received and webhooks sent, bounded, without secrets."""

import re
import threading
from collections import deque
from typing import Any, Literal
from urllib.parse import urlsplit

from sandbox import ids

LIMIT = 20_000

_TOKEN = re.compile(r"[A-Za-z0-9_=.-]{20,}")
_UUID = re.compile(r"(user_)?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Log:
    """Items are `{at, kind, method, path, status, instance, event?, attempt?}`, oldest first.

    `status` is None for a webhook that got no answer.
    """

    def __init__(self) -> None:
        self._items: deque[dict[str, Any]] = deque(maxlen=LIMIT)
        self._lock = threading.Lock()

    def request(self, *, method: str, path: str, status: int, instance: str | None) -> None:
        self._add("request", method=method, path=path, status=status, instance=instance)

    def webhook(self, *, url: str, status: int | None, instance: str, event: str, attempt: int) -> None:
        path = hidden(urlsplit(url).path)
        self._add(
            "webhook",
            method="POST",
            path=path,
            status=status,
            instance=instance,
            event=event,
            attempt=attempt,
        )

    def items(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._items)

    def latest(self, count: int) -> list[dict[str, Any]]:
        """The last ones, newest first."""
        with self._lock:
            return [self._items[-1 - index] for index in range(min(count, len(self._items)))]

    def clear(self) -> None:
        with self._lock:
            self._items.clear()

    def _add(self, kind: Literal["request", "webhook"], **facts: Any) -> None:
        with self._lock:
            self._items.append({"at": ids.now_iso(), "kind": kind, **facts})


def hidden(path: str) -> str:
    """A webhook's path without what may be a secret in it; ids of users are none.

    `/api/webhook/t/N2k1bGFkb3JzZWNyZXQ…` → `/api/webhook/t/***`
    """
    return "/".join("***" if _TOKEN.fullmatch(part) and not _UUID.fullmatch(part) else part for part in path.split("/"))
