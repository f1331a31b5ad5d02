"""Every webhook URL, in front of the application: credential → bounded read → scrub → envelope → inbox → answer.

A small WSGI callable, because the framework's own dispatch costs more than the rest of the way. It answers
nothing but these paths and hands everything else on. Evolution gives an event up after a 400, 401, 403, 404 or
422 and follows redirects as GET: so there is one route for all spellings, and our own trouble is a 503.
"""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog
from prometheus_client import Counter

from core.errors import (
    AppError,
    Malformed,
    MethodNotAllowed,
    NotNow,
    TooLarge,
    TooSlow,
    Unauthenticated,
    Unsupported,
)
from webhooks.envelope import INSTANCE, PEEKED_BELOW, open_envelope, peek_instance, scrub
from webhooks.gate import REFUSED, Gate, KeyOwner, Sender
from webhooks.inbox import Delivery, Inbox, Receipt
from webhooks.reaper import Reaper

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()
ROUTE = re.compile(
    r"/+api/+webhook/+(?:whatsapp|evolution|(?P<signed>broker)|user/+(?P<user>[^/]+)"
    r"|(?:t|(?P<unrepeated>wppconnect))/+(?P<token>[^/]+))(?:/+(?P<suffix>[^/]+))?/*"
)
SIGNATURES = ("HTTP_X_SIGNATURE", "HTTP_X_SIGNATURE_256")
SIGNED_AT_MOST = 2 * 1024 * 1024  # bytes: who signs the body is known only when all of it is there
JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json", re.IGNORECASE)
CHARSETS = ("", "utf-8", "utf8", "us-ascii")
OF_NO_INSTANCE = ("error",)  # a gateway's own trouble: for the log, and nobody's lane
DISCARDED_AT_MOST = 2  # times the limit: read away, so that the sender sees our 413 and not a reset
STATUS = {
    200: "200 OK", 400: "400 Bad Request", 401: "401 Unauthorized", 405: "405 Method Not Allowed",
    408: "408 Request Timeout", 413: "413 Content Too Large", 415: "415 Unsupported Media Type",
    503: "503 Service Unavailable",
}  # fmt: skip
ANSWERS = Counter("zelador_webhooks", "Deliveries answered", ["answer"])
STORED, DUPLICATE, QUARANTINED = (ANSWERS.labels(word) for word in ("stored", "duplicate", "quarantined"))
KNOWN_BY_SIGNATURE = Sender(owner=KeyOwner(gateway="broker"))  # it speaks for all of its instances
UNPROVEN_AT_ONCE = 8  # larger bodies in memory of which nobody knows yet who signed them
COUNTED = {"stored": STORED, "duplicate": DUPLICATE, "quarantined": QUARANTINED}


class Entrance:
    """The webhook paths; `application` gets every other request. `is_signed`: whether this header signs this body, for
    the gateway that sends nothing else to prove itself by."""

    def __init__(
        self,
        application: "WSGIApplication",
        gate: Gate,
        inbox: Inbox,
        limit: int,
        reaper: Reaper | None = None,
        is_signed: Callable[[bytes, str], bool] = lambda _, __: False,
    ) -> None:
        self._application, self._gate, self._inbox, self._limit = application, gate, inbox, limit
        self._reaper, self._is_signed = reaper or Reaper(), is_signed
        self._unproven = threading.BoundedSemaphore(UNPROVEN_AT_ONCE)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        route = ROUTE.fullmatch(environ["PATH_INFO"])
        if route is None:
            return self._application(environ, start_response)
        try:
            receipt = self._receive(environ, route)
            return _answer(start_response, 200, _receipt_json(receipt))
        except AppError as error:
            return self._refuse(environ, start_response, error)
        except Exception as error:
            log.error("delivery_failed", error=type(error).__name__)
            return self._refuse(environ, start_response, NotNow("The delivery cannot be kept at this moment"))

    def _receive(self, environ: "WSGIEnvironment", route: re.Match[str]) -> Receipt:
        if environ["REQUEST_METHOD"] != "POST":
            raise MethodNotAllowed("Webhooks are posted")
        if route["signed"]:
            return self._keep(KNOWN_BY_SIGNATURE, self._read_signed(environ), route)
        sender = self._gate.admit(
            {
                "token": environ.get("HTTP_X_WEBHOOK_TOKEN"),
                "path_token": route["token"],
                "authorization": environ.get("HTTP_AUTHORIZATION"),
            },
            route["user"],
        )
        _check_type(environ)
        with self._reaper.watch(environ):
            sender, body = self._read(environ, sender)
        return self._keep(sender, body, route)

    def _read_signed(self, environ: "WSGIEnvironment") -> bytes:
        """Raises Unauthenticated."""
        signature = next((environ[name] for name in SIGNATURES if environ.get(name)), "")
        if not signature:
            raise Unauthenticated(REFUSED)
        _check_type(environ)
        with self._place_for(environ), self._reaper.watch(environ):
            body = read_at_most(environ, min(self._limit, SIGNED_AT_MOST))
            if not self._is_signed(body, signature):
                raise Unauthenticated(REFUSED)
        return body

    @contextlib.contextmanager
    def _place_for(self, environ: "WSGIEnvironment") -> Iterator[None]:
        """One of a few, for a body that is not small: strangers must not fill our memory. Raises NotNow."""
        declared = environ.get("CONTENT_LENGTH") or ""
        if declared and int(declared) <= PEEKED_BELOW:
            yield
        elif self._unproven.acquire(blocking=False):
            try:
                yield
            finally:
                self._unproven.release()
        else:
            raise NotNow("Too many large deliveries at once")

    def _keep(self, sender: Sender, body: bytes, route: re.Match[str]) -> Receipt:
        receipt = self._record(sender, scrub(body), route)
        COUNTED[receipt.status].inc()
        return receipt

    def _read(self, environ: "WSGIEnvironment", sender: Sender) -> tuple[Sender, bytes]:
        """The body. Of one whose bearer is not proven yet, no more is read than it takes to prove it."""
        declared = environ.get("CONTENT_LENGTH") or ""
        if sender.bearer is None or (declared and int(declared) <= PEEKED_BELOW):
            return sender, read_at_most(environ, self._limit)
        head = read_at_most(environ, self._limit, at_once=PEEKED_BELOW)
        sender = self._gate.prove(sender, peek_instance(head))
        return sender, head + read_at_most(environ, self._limit, already=len(head))

    def _record(self, sender: Sender, body: bytes, route: re.Match[str]) -> Receipt:
        try:
            envelope = open_envelope(body, suffix=route["suffix"])
        except Malformed as unreadable:
            self._keep_unreadable(self._prove(sender, None, body), body, unreadable)
            raise
        owner = self._prove(sender, envelope.instance, body)
        called = self._gate.our_name(owner, envelope.instance, route["user"])
        instance = called or owner.instance or _named_by(route["user"]) or peek_instance(body)
        problem = envelope.problem or (None if instance or envelope.event in OF_NO_INSTANCE else "no_instance")
        if instance and not problem and not self._gate.speaks_for(owner, instance, route["user"]):
            problem, instance = "instance_mismatch", owner.instance  # not in the name of whom it spoke of
        if problem:
            log.warning("delivery_quarantined", reason=problem, instance=instance)
        # a session that parts again says so in the same bytes, without a time; no delivery of this gateway is repeated
        apart = uuid4().bytes if route["unrepeated"] else b""
        kept = Delivery(instance=instance, event=envelope.event, body=body, problem=problem, apart=apart)
        return self._inbox.record(kept)

    def _prove(self, sender: Sender, instance: str | None, body: bytes) -> KeyOwner:
        return self._gate.prove(sender, instance or peek_instance(body)).owner if sender.bearer else sender.owner

    def _keep_unreadable(self, owner: KeyOwner, body: bytes, unreadable: Malformed) -> None:
        """An authentic body that is no JSON: kept whole, and refused, for another try would bring the same."""
        reason = unreadable.code.lower()
        self._inbox.record(Delivery(instance=owner.instance, event=None, body=body, problem=reason))
        log.warning("delivery_quarantined", reason=reason, instance=owner.instance)
        QUARANTINED.inc()

    def _refuse(self, environ: "WSGIEnvironment", start_response: "StartResponse", error: AppError) -> Iterable[bytes]:
        if error.http_status >= 500 and not isinstance(error, NotNow):  # our own trouble, whatever it is
            error = NotNow("The delivery cannot be kept at this moment")
        status = error.http_status
        ANSWERS.labels(str(status)).inc()
        extra = {401: ("WWW-Authenticate", "Bearer"), 405: ("Allow", "POST"), 503: ("Retry-After", "5")}.get(status)
        headers = [extra] if extra else []
        if status in (408, 413):
            headers.append(("Connection", "close"))
        if status == 413:
            with self._reaper.watch(environ):
                discard(environ, self._limit * DISCARDED_AT_MOST)
        return _answer(start_response, status, _error_json(error, status), headers)


def _named_by(path_user: str | None) -> str | None:
    name = f"user_{path_user}"
    return name if path_user and INSTANCE.fullmatch(name) else None


def read_at_most(environ: "WSGIEnvironment", limit: int, *, already: int = 0, at_once: int | None = None) -> bytes:
    """The body after its first `already` bytes, or the next `at_once` of it.

    Raises TooLarge where the whole has more than `limit` bytes, TooSlow where it ends too early. One byte more than
    the limit is asked for: a chunked body says its size only by being longer.
    """
    declared = environ.get("CONTENT_LENGTH") or ""
    if declared and int(declared) > limit:
        raise TooLarge("The body is too large")
    if not declared and not environ.get("wsgi.input_terminated"):
        return b""
    whole = (int(declared) if declared else limit + 1) - already
    wanted = min(whole, at_once or whole)
    try:
        body: bytes = environ["wsgi.input"].read(wanted)
    except OSError:
        raise TooSlow("The body did not arrive in time") from None
    except Exception as error:  # the server's own kinds, for chunks that are none
        raise Malformed("The body cannot be read", code="BAD_REQUEST") from error
    if already + len(body) > limit:
        raise TooLarge("The body is too large")
    if declared and len(body) < wanted:
        raise TooSlow("The body ended before its declared length")
    return body


def discard(environ: "WSGIEnvironment", at_most: int) -> None:
    """Read the rest of a refused body away, so that the sender hears the answer."""
    if int(environ.get("CONTENT_LENGTH") or 0) > at_most:
        return
    read: Callable[[int], bytes] = environ["wsgi.input"].read
    left = at_most
    try:
        while left > 0 and (piece := read(min(left, 65536))):
            left -= len(piece)
    except OSError:
        return


def _check_type(environ: "WSGIEnvironment") -> None:
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("", "identity"):
        raise Unsupported("Compressed bodies are not accepted", code="UNSUPPORTED_ENCODING")
    media_type, _, parameters = environ.get("CONTENT_TYPE", "").partition(";")
    if not JSON_TYPE.fullmatch(media_type.strip()):
        raise Unsupported("The body must be application/json", code="UNSUPPORTED_MEDIA_TYPE")
    if parameters:
        named = dict(part.strip().lower().partition("=")[::2] for part in parameters.split(";"))
        if named.get("charset", "").strip('"') not in CHARSETS:
            raise Unsupported("The body must be UTF-8", code="UNSUPPORTED_CHARSET")


def _receipt_json(receipt: Receipt) -> bytes:
    return b'{"success":true,"status":"%s","id":%d}' % (receipt.status.encode(), receipt.id)


def _error_json(error: AppError, status: int) -> bytes:
    body: dict[str, Any] = {
        "success": False,
        "message": error.message,
        "status_code": status,
        "code": error.code,
    }
    body["error"] = {"code": error.code, "message": error.message, "details": {}}
    return json.dumps(body).encode()


def _answer(
    start_response: "StartResponse", status: int, body: bytes, headers: list[tuple[str, str]] | None = None
) -> Iterable[bytes]:
    fixed = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(STATUS[status], fixed + (headers or []))
    return [body]
