"""The routes under /sandbox/: playing the phone, breaking connections, starting over; JSON, no key.

They are for programs and people on this machine: a browser page from elsewhere is refused.
"""

from collections.abc import Callable
from typing import Any, get_args
from urllib.parse import urlsplit

from flask import Blueprint, Response, request

from sandbox import faults, numbers, samples
from sandbox.errors import ControlError
from sandbox.faults import Switchboard
from sandbox.guards import read_body
from sandbox.inbound import Inbound
from sandbox.phone import Phones
from sandbox.reports import REASONS
from sandbox.routes import answer
from sandbox.state import Instance, Mode, World

DEFAULT_PROFILE = "Loja Teste"
MESSAGES_AT_ONCE = 1_000
MODES: tuple[Mode, ...] = get_args(Mode)

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def make_control(
    world: World, phones: Phones, inbound: Inbound, board: Switchboard, reset: Callable[[], None]
) -> Blueprint:
    """`reset` forgets all instances, planned steps, faults, deliveries and the log."""
    blueprint = Blueprint("control", __name__, url_prefix="/sandbox")
    blueprint.before_request(require_local)
    _add_phones(blueprint, world, phones, inbound)
    _add_instances(blueprint, world, phones)
    _add_faults(blueprint, board)

    @blueprint.post("/reset")
    def forget() -> Response:
        reset()
        return answer({"status": "reset"})

    return blueprint


def _add_phones(blueprint: Blueprint, world: World, phones: Phones, inbound: Inbound) -> None:
    @blueprint.post("/phones/scan")
    def scan() -> Response:
        body = read_body()
        instance = _instance(world, body)
        name = _optional_text({"profile_name": DEFAULT_PROFILE, **body}, "profile_name")
        phone = phones.scan(instance, _number(body, "phone") if body.get("phone") else None, name)
        return answer({"instance": instance.name, "phone": phone, "profile_name": name})

    @blueprint.post("/phones/fill")
    def fill() -> Response:
        """Many at once, for tests of fleets: instances with a phone each, connected, without a webhook."""
        names = read_body().get("names")
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise ControlError(400, '"names" must be a list of texts')
        phones.fill(names)
        return answer({"instances": len(names)})

    @blueprint.post("/phones/message")
    def message() -> Response:
        body = read_body()
        instance, count, sample = _instance(world, body), body.get("count", 1), body.get("sample", "text")
        # A sample needs no words of its own.
        text = _text({"text": "Oi"} | body if "sample" in body else body, "text", blank=True)
        sender, name = _number(body, "from"), _optional_text(body, "push_name")
        if sample not in samples.NAMES:
            raise ControlError(400, f"sample must be one of {', '.join(samples.NAMES)}")
        if not isinstance(count, int) or not 1 <= count <= MESSAGES_AT_ONCE:
            raise ControlError(400, f"count must be a number from 1 to {MESSAGES_AT_ONCE}")
        id_ = _optional_text(body, "id")
        sent = [inbound.receive(instance, sender, text, name, sample, id_) for _ in range(count)]
        return answer({"instance": instance.name, "ids": sent})


def _add_instances(blueprint: Blueprint, world: World, phones: Phones) -> None:
    @blueprint.post("/instances/<name>/drop")
    def drop(name: str) -> Response:
        body = read_body()
        instance, reason = _instance(world, {"instance": name}), body.get("reason")
        if not isinstance(reason, int) or reason not in REASONS:
            raise ControlError(400, f"reason must be one of {sorted(REASONS)}")
        phones.drop(instance, reason, silent=body.get("silent") is True)
        return answer({"instance": name, "state": instance.live.state})

    @blueprint.post("/instances/<name>/mode")
    def set_mode(name: str) -> Response:
        body = read_body()
        instance, mode = _instance(world, {"instance": name}), body.get("mode")
        if mode not in MODES:
            raise ControlError(400, f"mode must be one of {', '.join(MODES)}")
        phones.set_mode(instance, mode)
        return answer({"instance": name, "mode": instance.live.mode, "state": instance.live.state})


def _add_faults(blueprint: Blueprint, board: Switchboard) -> None:
    @blueprint.get("/faults")
    def show() -> Response:
        return answer(faults.shown(board.now))

    @blueprint.post("/faults")
    def switch() -> Response:
        board.switch(faults.read(read_body()))
        return answer(faults.shown(board.now))

    @blueprint.delete("/faults")
    def heal() -> Response:
        board.switch(faults.HEALTHY)
        return answer(faults.shown(board.now))


def require_local() -> None:
    """Another site's script may reach a loopback port; its Host or Origin gives it away."""
    origin = request.headers.get("Origin")
    asked = {urlsplit(f"//{request.host}").hostname, urlsplit(origin).hostname if origin else "localhost"}
    if not asked <= _LOOPBACK:
        raise ControlError(403, "the control routes answer this machine only")
    if request.method == "POST" and request.content_length and not request.is_json:
        raise ControlError(400, "the body must be application/json")


def _instance(world: World, body: dict[str, Any]) -> Instance:
    name = _text(body, "instance")
    found = world.find(name)
    if found is None:
        raise ControlError(404, f'there is no instance "{name}"')
    return found


def _text(body: dict[str, Any], field: str, *, blank: bool = False) -> str:
    value = body.get(field)
    if not isinstance(value, str) or not (value or blank):
        raise ControlError(400, f'"{field}" must be a text')
    return value


def _optional_text(body: dict[str, Any], field: str) -> str | None:
    return None if body.get(field) is None else _text(body, field, blank=True)


def _number(body: dict[str, Any], field: str) -> str:
    number = _text(body, field)
    jid = numbers.jid_of(number)
    if jid.endswith("@g.us") or not numbers.is_on_whatsapp(jid):
        raise ControlError(400, f'"{field}" is not a phone number that WhatsApp knows')
    return number
