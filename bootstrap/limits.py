"""How often one caller may ask (L002): Flask-Limiter, counted in the memory of this process.

What nobody may be kept from stays free: webhooks (an event that is refused is lost; they stand in front of the
application anyway), probes, metrics, static files, and the sockets' handshakes, which have caps of their own.
"""

import logging
import time
from collections.abc import Callable
from functools import partial

from flask import Flask, Response, make_response, request
from flask_limiter import ApplicationLimit, Limiter, RateLimitExceeded
from prometheus_client import Counter

from bootstrap.proxies import home_of
from core.errors import TooMany
from core.settings import Settings
from core.web import Guard, failure

READ, WRITE, LOGIN, CONNECT, SEND, TOKEN = "read", "write", "login", "connect", "send", "token"
SPECIAL = {
    ("GET", "/login/<token>"): LOGIN,
    ("POST", "/login"): LOGIN,
    ("POST", "/api/whatsapp/connect"): CONNECT,
    ("POST", "/api/whatsapp/send"): SEND,
    ("POST", "/api/whatsapp/instances/<path:instance_id>/connect"): CONNECT,
    ("POST", "/api/whatsapp/instances/<path:instance_id>/send"): SEND,
    ("POST", "/system/whatsapp/start/"): CONNECT,
    ("POST", "/system/whatsapp/send-test/"): SEND,
    ("POST", "/api/tokens"): TOKEN,
}
READS = ("GET", "HEAD")
FREE = ("/livez", "/readyz", "/health", "/metrics", "/ws", "/ws/instances/<instance_id>", "/static/<path:filename>")
WEBHOOKS = "/api/webhook/"
OF_USERS = ("/api/", "/system/")
LIMITED = Counter("zelador_limited", "Requests refused because there were too many", ["kind"])


def kind_of(method: str, rule: str) -> str | None:
    """What a request is counted as; None: it is free."""
    if method == "OPTIONS" or rule in FREE or rule.startswith(WEBHOOKS):
        return None
    return SPECIAL.get(("GET" if method in READS else method, rule)) or (READ if method in READS else WRITE)


def install(app: Flask, guard: Guard, settings: Settings) -> None:
    """Count each request before it is looked at. A user is counted as one with all their sessions and tokens."""
    logging.getLogger("flask-limiter").setLevel(logging.WARNING)  # its line has the caller's address
    limiter = Limiter(
        partial(_caller, guard),
        app=app,
        storage_uri="memory://",
        swallow_errors=True,  # trouble with the counting is logged, and refuses nobody
        application_limits=[_limit(kind, most) for kind, most in _mosts(settings).items() if most],
    )

    def refuse(_: RateLimitExceeded) -> Response:
        hit = limiter.current_limit
        LIMITED.labels(_kind()).inc()
        answer = make_response(failure(TooMany("Too many requests. Try again later")))
        answer.headers["Retry-After"] = str(max(1, hit.reset_at - int(time.time()))) if hit else "60"
        return answer

    app.register_error_handler(RateLimitExceeded, refuse)


def _mosts(settings: Settings) -> dict[str, int]:
    """A minute; 0: no limit."""
    return {
        READ: settings.rate_limit_reads,
        WRITE: settings.rate_limit_writes,
        LOGIN: settings.rate_limit_logins,
        CONNECT: settings.rate_limit_connects,
        SEND: settings.rate_limit_sends,
        TOKEN: settings.rate_limit_tokens,
    }


def _limit(kind: str, most: int) -> ApplicationLimit:
    is_another: Callable[[], bool] = lambda: _kind() != kind  # noqa: E731 — named for what it says
    return ApplicationLimit(f"{most} per minute", scope=kind, exempt_when=is_another)


def _kind() -> str | None:
    return kind_of(request.method, request.url_rule.rule) if request.url_rule else None


def _caller(guard: Guard) -> str:
    """A user where they prove it; else, and before anybody has logged in, an address."""
    is_api = request.url_rule is not None and request.url_rule.rule.startswith(OF_USERS)
    user = guard.counted_user() if is_api else None
    return f"user {user}" if user else f"address {home_of(request.remote_addr or '')}"
