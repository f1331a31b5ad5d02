"""What every HTTP answer has in common: who asked, errors as JSON, security headers, CORS.

`bootstrap` installs it on the application; blueprints use `Guard`.
"""

import json
from collections.abc import Callable
from math import ceil
from typing import Any
from uuid import uuid4

import structlog
from flask import Flask, Response, current_app, g, jsonify, make_response, request, session
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import HTTPException

from core.access import Access, Principal
from core.errors import AppError, Forbidden, Malformed, Unauthenticated, Unsupported
from core.sessions import Session

log = structlog.get_logger()
CSP = (
    "default-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none';"
    " form-action 'self'; object-src 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # our own pages' POSTs must show it on https: Flask-WTF compares it
    "Cache-Control": "no-store",
}
SAFE = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Says who is calling: a bearer token first, else the dashboard's session with its CSRF token."""

    def __init__(self, access: Access, csrf: CSRFProtect) -> None:
        self._access, self._csrf = access, csrf

    def user(self) -> Principal:
        """Raises Unauthenticated, or Forbidden where a session's request lacks the CSRF token."""
        if "principal" not in g:
            g.principal = self._authenticate()
        return g.principal  # type: ignore[no-any-return]  # flask.g is untyped

    def admin(self) -> Principal:
        principal = self.user()
        if not principal.is_admin:
            raise Forbidden("Only an administrator may do this")
        return principal

    def counted_user(self) -> str | None:
        """Whose request this is where it is only counted: a session's user without asking who they are by now.

        None where nobody proves to be somebody.
        """
        try:
            if _scheme() == "bearer":
                return str(self.user().user_id)
        except AppError:
            return None
        is_known = current_app.config["SESSION_COOKIE_NAME"] in request.cookies and "uid" in session
        return str(session["uid"]) if is_known else None

    def _authenticate(self) -> Principal:
        if _scheme() == "bearer":
            return self._access.by_bearer(request.headers["Authorization"].partition(" ")[2].strip())
        if (theirs := Session.of(session)) is None:
            raise Unauthenticated("Log in, or send a bearer token")
        if request.method not in SAFE:
            self._csrf.protect()
        return self._access.by_session(theirs)


def _scheme() -> str:
    return request.headers.get("Authorization", "").partition(" ")[0].lower()


def install(app: Flask, *, secret_key: str, origins: frozenset[str], secure: bool) -> CSRFProtect:
    """Prepare the application; returns its CSRF protection, which only `Guard` and form pages call."""
    app.config.update(
        SECRET_KEY=secret_key,
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_HEADERS=["X-CSRFToken", "X-CSRF-Token"],
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=secure,
        MAX_CONTENT_LENGTH=1024 * 1024,
    )
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # Flask's default provider has it
    app.url_map.strict_slashes = False
    app.before_request(_begin)
    app.after_request(_add_headers)
    app.after_request(_allow(origins))
    app.register_error_handler(AppError, _app_error)
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    return CSRFProtect(app)


def failure(error: AppError, *, status: int | None = None) -> ResponseReturnValue:
    """Every error of the API in its one shape (X14): S1's keys, S0's code, and ours together."""
    status = status or error.http_status
    body = {
        "success": False,
        "message": error.message,
        "status_code": status,
        "code": error.code,
        "error": {"code": error.code, "message": error.message, "details": error.details},
    }
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    headers |= {"Retry-After": str(ceil(error.details.get("retry_after_s", 5)))} if status in (429, 503) else {}
    return jsonify(body), status, headers


def json_body() -> dict[str, Any]:
    """The request's JSON object, of whole characters; {} when there is no body. Raises Malformed, Unsupported where it
    says to be something else; where it says nothing it is taken for JSON."""
    if not request.get_data(cache=True):
        return {}
    if request.mimetype and not request.is_json:
        raise Unsupported("The body must be application/json")
    try:
        body = request.get_json(silent=True, force=True)
        json.dumps(body, ensure_ascii=False).encode()
    except (RecursionError, UnicodeEncodeError):  # "\\ud800" is half a character: nobody can keep or show it
        body = None
    if not isinstance(body, dict):
        raise Malformed("The body must be a JSON object")
    return body


def _begin() -> None:
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=uuid4().hex[:12])


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _allow(origins: frozenset[str]) -> Callable[[Response], Response]:
    def allow(response: Response) -> Response:
        origin = request.headers.get("Origin")
        if origin in origins and request.path.startswith("/api/"):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PATCH, DELETE"
            response.headers["Access-Control-Expose-Headers"] = "Retry-After"
            response.vary.add("Origin")
        return response

    return allow


def _app_error(error: AppError) -> ResponseReturnValue:
    if error.http_status >= 500:
        log.warning("request_failed", error_code=error.code, route=str(request.url_rule), error=error.message)
    return failure(error)


def _csrf_error(_: CSRFError) -> ResponseReturnValue:
    return failure(Forbidden("The CSRF token is missing or wrong", code="CSRF"))


def _http_error(error: HTTPException) -> ResponseReturnValue:
    code = (error.name or "error").upper().replace(" ", "_")
    response = make_response(failure(AppError(error.description or error.name, code=code), status=error.code or 500))
    response.headers.extend(pair for pair in error.get_headers() if pair[0] in ("Allow", "Retry-After", "Location"))
    return response


def _unexpected(error: Exception) -> ResponseReturnValue:
    log.error("request_crashed", route=str(request.url_rule), exc_info=error)
    return failure(AppError("Internal server error"))
