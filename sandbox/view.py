"""What there is to see under /sandbox/: the log, the state, and a page that plays the phone."""

from pathlib import Path
from typing import Any

from flask import Blueprint, Response, send_from_directory

from sandbox import faults, numbers, samples
from sandbox.control import MODES, require_local
from sandbox.faults import Switchboard
from sandbox.log import Log
from sandbox.profiles import Profile
from sandbox.routes import answer
from sandbox.state import Instance, Message, World

PAGE = Path(__file__).parent / "page"
MESSAGES_SHOWN = 12
LOG_LINES_SHOWN = 12

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def make_view(world: World, log: Log, board: Switchboard, profile: Profile) -> Blueprint:
    blueprint = Blueprint("view", __name__, url_prefix="/sandbox")
    blueprint.before_request(require_local)

    @blueprint.get("/log")
    def show_log() -> Response:
        return answer({"items": log.items()})

    @blueprint.get("/state")
    def show_state() -> Response:
        with world.lock:
            instances = [_shown(instance) for instance in world.all()]
        about = {"version": profile.version, "faults": faults.shown(board.now), "instances": instances}
        return answer(about | {"samples": samples.NAMES, "modes": MODES, "log": log.latest(LOG_LINES_SHOWN)})

    @blueprint.get("/")
    def page() -> Response:
        return _file("index.html")

    @blueprint.get("/page/<name>")
    def part(name: str) -> Response:
        return _file(name)

    return blueprint


def _shown(instance: Instance) -> dict[str, Any]:
    """An instance for the page: `qr` only while a phone could scan it, newest message last, no token."""
    live = instance.live
    qr = live.qr if live.qr_shown else None
    return {
        "name": instance.name,
        "state": live.state,
        "status": instance.status,
        "mode": live.mode,
        "phone": instance.owner_jid.split("@")[0] if instance.owner_jid else None,
        "profileName": instance.profile_name,
        "paired": instance.paired,
        "qr": qr.base64 if qr else None,
        "pairingCode": qr.pairing_code if qr else None,
        "qrCount": live.qr_count,
        "messages": [_line(message) for message in list(instance.messages)[-MESSAGES_SHOWN:]],
    }


def _line(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "fromMe": message.from_me,
        "number": numbers.digits_of(message.jid),
        "name": message.name,
        "text": message.text,
        "status": message.status,
        "at": message.at,
    }


def _file(name: str) -> Response:
    response = send_from_directory(PAGE, name, max_age=0)
    response.headers["Content-Security-Policy"] = _CSP
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
