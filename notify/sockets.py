"""`/ws` and `/ws/instances/<id>`. The client speaks first; `notify.guard` stands in front, `Conversation` talks."""

from flask import Flask, request
from flask_sock import Sock
from simple_websocket import Server

from core.errors import Malformed
from notify import guard
from notify.conversation import Conversation
from notify.dialects import Dialect, Seed, WhatsApp
from notify.framing import LARGEST_FRAME
from notify.line import Line
from notify.live import Live


def install(app: Flask, live: Live) -> None:
    """Add the sockets and the guard to the application."""
    app.config["SOCK_SERVER_OPTIONS"] = {"max_message_size": LARGEST_FRAME}
    guard.install(app, live)
    dialects: dict[str, Dialect] = {"": Dialect(live.enrich), "whatsapp": WhatsApp()}
    seed = Seed(live.enrich)
    sock = Sock(app)

    @app.before_request
    def known_dialect() -> None:
        if request.path == "/ws" and request.args.get("dialect", "") not in dialects:
            raise Malformed("dialect is whatsapp, or not given", code="BAD_DIALECT")

    def own(server: Server) -> None:
        _hold(server, live, dialects[request.args.get("dialect", "")])

    def of_instance(server: Server, instance_id: str) -> None:  # noqa: ARG001 — the guard has looked it up
        _hold(server, live, seed)

    sock.route("/ws")(own)
    sock.route("/ws/instances/<instance_id>")(of_instance)


def _hold(server: Server, live: Live, dialect: Dialect) -> None:
    caller = guard.caller()
    line = Line(server, dialect, live.ping_s)
    Conversation(line, live, caller.principal, dialect, caller.instance).hold()
