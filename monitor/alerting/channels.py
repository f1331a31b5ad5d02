"""Sends one message to one target: by apprise, or by WhatsApp through another instance.

The one module that knows apprise, which is loaded by the first message: it costs 25 MB and a third of a second. A web
process never loads it: its test messages go out from a short-lived process of their own (`apart`). Called by
`monitor.alerting.outbox` and `monitor.alerting.targets`. Neither logs nor errors ever name a URL or what was written.

What a name resolves to can change between check and connection. So every connection of a sending is looked at when it
is made, by an audit hook of Python's, and shut when the sending's time is over (`manager.providers.deadlines`).
"""

import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core import target_rules
from core.errors import AppError, Malformed
from core.target_rules import FORBIDDEN, INVALID, WHATSAPP, Place, Resolve
from manager.providers.deadlines import Deadlines, Watch

if TYPE_CHECKING:
    from apprise import Apprise, AppriseAsset

WhatsApp = Callable[[str, str, str], object]
TIMEOUT_S: Final = 15.0
CONNECT_S: Final = 5.0
STARTING_S: Final = 10.0  # of a process apart
ROOT: Final = Path(__file__).resolve().parents[2]
STATUS: Final = re.compile(r"error=(\d{3})\b")
CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_sending: ContextVar["Line | None"] = ContextVar("sending", default=None)


class NotSent(AppError):
    """`code` says why: FORBIDDEN and the like (core.target_rules), TIMED_OUT, HTTP_<status>, CRASHED, NOT_SENT, or
    what WhatsApp answered."""

    code, http_status, retryable = "NOT_SENT", 502, True


def addresses_of(host: str) -> list[str]:
    """All addresses that the system knows of a host. Raises OSError."""
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})


class Channels:
    """`whatsapp` sends a text: instance name, number, text. Safe for many threads."""

    def __init__(
        self,
        whatsapp: WhatsApp,
        *,
        allow_private: bool = False,
        resolve: Resolve = addresses_of,
        timeout_s: float = TIMEOUT_S,
        apart: bool = False,
    ) -> None:
        self._whatsapp, self._resolve, self._allow_private = whatsapp, resolve, allow_private
        self._timeout_s, self._apart = timeout_s, apart
        self._deadlines = Deadlines()

    def check(self, url: str) -> Place:
        """Whether messages may go there. Raises Malformed."""
        return target_rules.check(url, resolve=self._resolve, allow_private=self._allow_private)

    def send(self, url: str, title: str, body: str, severity: str = "info") -> None:
        """Raises NotSent. It may have arrived even so, where time ran out."""
        try:
            place = self.check(url)
        except Malformed as error:
            raise NotSent("The target is not allowed", code=error.code) from None
        title, body = plain(title), plain(body)
        if place.scheme == WHATSAPP:
            self._by_whatsapp(place, f"{title}\n\n{body}")
        elif self._apart:
            self._by_process({"url": url, "title": title, "body": body, "severity": severity})
        else:
            self._by_apprise(url, title, body, severity)

    def _by_whatsapp(self, place: Place, words: str) -> None:
        try:
            self._whatsapp(place.instance, place.number, words)
        except AppError as error:
            raise NotSent("WhatsApp did not take it", code=error.code) from None

    def _by_apprise(self, url: str, title: str, body: str, severity: str) -> None:
        service, apprise = self._service(url), _loaded()
        kind = {"warning": apprise.NotifyType.WARNING, "critical": apprise.NotifyType.FAILURE}
        message = {
            "title": title,
            "body": body,
            "body_format": apprise.NotifyFormat.TEXT,  # it escapes what means something to the target
            "notify_type": kind.get(severity, apprise.NotifyType.INFO),
        }
        with self._deadlines.within(self._timeout_s) as watch:
            line = Line(watch, allow_private=self._allow_private)
            if not line.carries(service, message) or watch.over:  # then a whole answer may be half of one
                raise NotSent("The target did not take it", code=line.trouble)

    def _service(self, url: str) -> "Apprise":
        apprise = _loaded()
        plugin = apprise.Apprise.instantiate(url, asset=_asset())
        if plugin is None:
            raise NotSent("The target is not one", code=INVALID)
        plugin.socket_connect_timeout = min(CONNECT_S, self._timeout_s)
        plugin.socket_read_timeout = self._timeout_s
        plugin.overflow_mode = apprise.OverflowMode.SPLIT
        service: Apprise = apprise.Apprise(asset=_asset())
        service.add(plugin)
        return service

    def _by_process(self, order: dict[str, str]) -> None:
        facts = {**order, "allow_private": self._allow_private, "timeout_s": self._timeout_s}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "monitor.alerting.channels"],
                cwd=ROOT,
                input=json.dumps(facts),
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=self._timeout_s + STARTING_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NotSent("The target did not take it in time", code="TIMED_OUT") from None
        if trouble := done.stdout.strip() or ("CRASHED" if done.returncode else ""):
            raise NotSent("The target did not take it", code=trouble)


class Line:
    """One sending: looks at what it connects to, and knows why it failed."""

    def __init__(self, watch: Watch, *, allow_private: bool) -> None:
        self._watch, self._allow_private = watch, allow_private
        self._refused = self._crashed = False
        self._status: str | None = None

    def carries(self, service: "Apprise", message: dict[str, Any]) -> bool:
        mine = _sending.set(self)
        try:
            return bool(service.notify(**message))
        except Exception:  # a library's: whatever it is, nobody else waits for it, and its text may quote the URL
            self._crashed = True
            return False
        finally:
            _sending.reset(mine)

    @property
    def trouble(self) -> str:
        if self._refused:
            return FORBIDDEN
        if self._watch.over:
            return "TIMED_OUT"
        if self._status:
            return f"HTTP_{self._status}"
        return "CRASHED" if self._crashed else "NOT_SENT"

    def connecting(self, connection: socket.socket, address: Sequence[Any]) -> None:
        """Raises PermissionError where it leads inside."""
        if not (self._allow_private or target_rules.is_public(str(address[0]))):
            self._refused = True
            raise PermissionError("not a public address")
        self._watch.hold(connection)

    def said(self, words: str) -> None:
        """What apprise logs holds the answer's status; nothing else of it is kept."""
        if found := STATUS.search(words):
            self._status = found[1]


def plain(words: str) -> str:
    """Without what turns lines around or calls everybody (`@everyone`) in somebody else's program."""
    return CONTROL.sub("", words).replace("@", "@\u200b")


class _Ear(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if line := _sending.get():
            line.said(record.getMessage())


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and (line := _sending.get()) and isinstance(arguments[1], tuple):
        line.connecting(*arguments)


@cache
def _loaded() -> Any:
    """apprise, without its voice: its logs, and those of the library under it, quote URLs and texts."""
    import apprise  # noqa: PLC0415

    logger = logging.getLogger("apprise")
    logger.handlers, logger.propagate = [_Ear()], False
    logger.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    sys.addaudithook(_look)
    return apprise


@cache
def _asset() -> "AppriseAsset":
    """No redirects, nothing kept on disk, no keys made, no pictures from elsewhere; no threads of its own either: a
    sending stays in the context that `_look` knows it by."""
    apprise = _loaded()
    asset: AppriseAsset = apprise.AppriseAsset(
        app_id="Zelador",
        app_desc="Zelador",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        http_redirects=False,
        async_mode=False,
        service_timeout=0,
        pgp_autogen=False,
        pem_autogen=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    return asset


def main() -> None:
    """The process apart: an order on standard input, the code of what went wrong on standard output."""
    order = json.load(sys.stdin)
    facts = {name: order.pop(name) for name in ("allow_private", "timeout_s")}
    try:
        Channels(lambda *_: None, **facts).send(**order)
    except NotSent as error:
        sys.stdout.write(error.code)


if __name__ == "__main__":
    main()
