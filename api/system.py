"""`/system/whatsapp/*`, the seed's fourth route family: the caller's own session, the service's configuration, a page.

With and without the trailing slash. The page works without a script: who clicked on it comes back to it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import structlog
from flask import Blueprint, flash, jsonify, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from api import system_shapes as shapes
from api.bodies import message
from core.clock import Clock
from core.errors import AppError, Malformed, ProviderError, Unauthenticated
from core.web import Guard, failure, json_body
from manager.configuration import PROVIDERS, Configurations
from manager.lifecycle import Status
from manager.service import CLOSE, LOGOUT, WhatsAppManager

log = structlog.get_logger()
Asked = ParamSpec("Asked")
TEST_WORDS = "Teste WhatsApp WPPConnect"
FORM_FIELD = "csrfmiddlewaretoken"
SETTINGS = {"enabled": "enabled", "provider": "provider", "url": "url", "instanceName": "instance_name", "key": "key"}
SWITCHES = {"true": True, "false": False}  # as forms write them
LOOK_AGAIN_S = 5


def answered_as_seed(view: Callable[Asked, dict[str, Any]]) -> Callable[Asked, ResponseReturnValue]:
    """A view's JSON; errors in the seed's words, with the gateway's status where it answered with one."""

    @wraps(view)
    def answer(*args: Asked.args, **kwargs: Asked.kwargs) -> ResponseReturnValue:
        try:
            body = view(*args, **kwargs)
        except AppError as error:
            return _failed(error)
        return _back("hint") if _is_from_page() else jsonify(body)

    return answer


def make_blueprint(
    manager: WhatsAppManager,
    configurations: Configurations,
    guard: Guard,
    clock: Clock,
    *,
    is_configured: Callable[[], bool],
) -> Blueprint:
    """`is_configured`: whether there is a gateway."""
    blueprint = Blueprint("system", __name__, url_prefix="/system/whatsapp")
    blueprint.before_request(_take_csrf_field)

    @blueprint.get("/")
    def page() -> ResponseReturnValue:
        try:
            caller = guard.user()
        except Unauthenticated:
            return redirect("/login")
        record = manager.find_user_instance(caller.user_id)
        shown = shapes.code(record, clock.now()) if record else None
        response = make_response(
            render_template(
                "system.html",
                person=caller,
                status=record.status if record else Status.DISCONNECTED,
                session=shapes.session(record),
                shown=shown,
                settings=configurations.current(),
                providers=PROVIDERS,
                is_configured=is_configured(),
            )
        )
        if record and record.status in (Status.CONNECTING, Status.QR_PENDING):
            response.headers["Refresh"] = str(LOOK_AGAIN_S)
        return response

    @blueprint.post("/start/")
    @answered_as_seed
    def start() -> dict[str, Any]:
        caller = guard.user()
        result = manager.connect_user_whatsapp(caller.user_id, caller.organization_id)
        return shapes.started(result, clock.now())

    @blueprint.get("/status/")
    @answered_as_seed
    def status() -> dict[str, Any]:
        record = manager.find_user_instance(guard.user().user_id)
        return {"success": True, "session": shapes.session(record)}

    @blueprint.get("/qrcode/")
    @answered_as_seed
    def qrcode() -> dict[str, Any]:
        """The code that is on the screen; one whose time is over is asked for anew. It starts nothing."""
        caller = guard.user()
        record = manager.find_user_instance(caller.user_id)
        if record is None:
            return shapes.no_code(caller.user_id)
        until = record.standing.pairing_expires_at
        if record.status is Status.QR_PENDING and (until is None or until <= clock.now()):
            record = manager.connect_user_whatsapp(caller.user_id, caller.organization_id).record
        return shapes.code(record, clock.now())

    _add_partings(blueprint, manager, guard)
    _add_settings(blueprint, configurations, guard)
    return blueprint


def _add_partings(blueprint: Blueprint, manager: WhatsAppManager, guard: Guard) -> None:
    @blueprint.post("/logout/")
    @answered_as_seed
    def logout() -> dict[str, Any]:
        return shapes.parted(manager.part_user_whatsapp(guard.user().user_id, LOGOUT), LOGOUT)

    @blueprint.post("/close/")
    @answered_as_seed
    def close() -> dict[str, Any]:
        return shapes.parted(manager.part_user_whatsapp(guard.user().user_id, CLOSE), CLOSE)

    @blueprint.post("/send-test/")
    @answered_as_seed
    def send_test() -> dict[str, Any]:
        caller, asked = guard.user(), _asked()
        phone, words = asked.get("phone"), message(asked.get("message", TEST_WORDS))
        if not shapes.is_phone(phone):
            raise Malformed(shapes.NO_PHONE, code="INVALID_PHONE_NUMBER")
        sent = manager.send_text(caller.user_id, phone, words)
        facts = {"messageId": sent.message_id, "status": sent.status}
        return {"success": True, "messageId": sent.message_id, "response": facts}


def _add_settings(blueprint: Blueprint, configurations: Configurations, guard: Guard) -> None:
    """Of the whole service: administrators alone."""

    @blueprint.get("/config/")
    @answered_as_seed
    def show() -> dict[str, Any]:
        guard.admin()
        return shapes.configuration(configurations.current())

    @blueprint.post("/config/")
    @answered_as_seed
    def change() -> dict[str, Any]:
        actor, asked = str(guard.admin().user_id), _asked()
        given = {ours: asked[theirs] for theirs, ours in SETTINGS.items() if theirs in asked}
        if not given:
            raise Malformed(f"The body must name at least one of {', '.join(SETTINGS)}")
        return shapes.configuration(configurations.change(actor, **given))

    @blueprint.post("/toggle/")
    @answered_as_seed
    def toggle() -> dict[str, Any]:
        """To the other side, or to what is said."""
        actor, asked = str(guard.admin().user_id), _asked()
        enabled = asked.get("enabled", not configurations.current().enabled)
        return shapes.configuration(configurations.change(actor, enabled=enabled))


def _take_csrf_field() -> None:
    """The token as forms of the seed name it, where the header would say it. It proves as much."""
    token = request.form.get(FORM_FIELD)
    if token and "X-CSRFToken" not in request.headers:
        request.environ["HTTP_X_CSRFTOKEN"] = token


def _asked() -> dict[str, Any]:
    """The JSON object, or the form, whose empty key was left as it is. Raises Malformed."""
    if not request.form:
        return json_body()
    asked: dict[str, Any] = {name: value for name, value in request.form.items() if value or name != "key"}
    if asked.get("enabled") in SWITCHES:
        asked["enabled"] = SWITCHES[asked["enabled"]]
    return asked


def _failed(error: AppError) -> ResponseReturnValue:
    status, message = shapes.trouble(error)
    if isinstance(error, ProviderError) or status >= 500:
        log.warning("request_failed", error_code=error.code, route=str(request.url_rule), error=error.message)
    if _is_from_page():
        return redirect("/login", 303) if isinstance(error, Unauthenticated) else _back("problem", error.code, message)
    told = make_response(failure(AppError(message, code=error.code, **error.details), status=status))
    if isinstance(error, ProviderError):
        told.headers.pop("WWW-Authenticate", None)  # of a gateway's 401: the caller's own credential is good
    return told


def _is_from_page() -> bool:
    """A form that a browser sent, not a program."""
    shown = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return request.method == "POST" and shown == "text/html"


def _back(kind: str, code: str = "", message: str = "") -> ResponseReturnValue:
    flash((code, message), kind)  # type: ignore[arg-type]  # whatever a session can hold
    return redirect(url_for("system.page"), 303)
