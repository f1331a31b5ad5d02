"""A dead man's switch: while the watch goes well, somebody elsewhere hears from us, and cries when that stops.

The one trouble that no monitor can tell of is its own end. A job of the schedule, so only who leads does it.
"""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

import structlog

from core.errors import BadResponse
from manager.providers.http import Limits, Request, Transport

log = structlog.get_logger()
EVERY = timedelta(minutes=1)
WITHIN_S = 10.0
LARGEST_BYTES = 64 * 1024


class Heartbeat:
    """`url` is a secret: who knows it can keep us alive. `is_well`: whether the watch goes well."""

    def __init__(self, url: str, is_well: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        self._path = url.removeprefix(origin) or "/"
        self._transport = Transport(origin, Limits(connect_s=min(5.0, within_s), largest_bytes=LARGEST_BYTES))
        self._is_well, self._within_s = is_well, within_s

    def beat(self) -> None:
        """GET the URL, unless the watch has stopped. Raises Unavailable, TimedOut, BadResponse (no 2xx); none of them
        says where it went. No redirect is followed, and no proxy of the environment's used."""
        if not self._is_well():
            log.warning("heartbeat_withheld")
            return
        answer = self._transport.ask(Request(method="GET", path=self._path, within_s=self._within_s))
        if answer.status // 100 != 2:
            raise BadResponse("The heartbeat was not taken", provider_status=answer.status)
