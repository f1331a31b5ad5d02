"""The stand-in as a whole: the parts put together, and a threaded HTTP server on loopback around them.

with Sandbox(key="k", time_scale=0.01) as box:
    requests.get(box.url)
"""

import secrets
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flask import Flask, Response, g, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from sandbox.chats import Chats
from sandbox.control import make_control
from sandbox.delivery import Delivery
from sandbox.errors import ApiError, ControlError
from sandbox.faults import HEALTHY, Switchboard
from sandbox.gate import Gate
from sandbox.gateway import Gateway
from sandbox.guards import Guards
from sandbox.inbound import Inbound
from sandbox.line import Line
from sandbox.log import Log
from sandbox.message_routes import make_messages
from sandbox.metrics import Metrics, make_metrics
from sandbox.phone import Habits, Phones
from sandbox.profiles import get_profile
from sandbox.routes import answer, cannot, make_instance, make_instance_parts, make_service
from sandbox.saved import StateFile
from sandbox.scenes import Scenes
from sandbox.sending import Sending
from sandbox.state import CHANNEL, Live, World
from sandbox.timers import Timers
from sandbox.view import make_view

HOST = "127.0.0.1"
BACKLOG = 128
BODY_LIMIT_BYTES = 136 * 1024 * 1024


class _Quiet(WSGIRequestHandler):
    """No access log, and no 40 ms between the head and the body of an answer."""

    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: Any) -> None:
        """The log behind /sandbox/log is enough."""


class Sandbox:
    """Start and stop may be called again and again: between them the process counts as dead, and a new start
    connects instances as Evolution does. Port 0 picks a free port and keeps it. Raises ValueError for a profile
    that does not exist."""

    def __init__(
        self,
        *,
        key: str | None = None,
        port: int = 0,
        time_scale: float = 1.0,
        data_dir: str | Path | None = None,
        metrics: bool = True,
        metrics_user: str | None = None,
        metrics_password: str | None = None,
        qr_after_s: float = 0.5,
        qr_every_s: float = 45.0,
        qr_limit: int = 30,
        profile: str = "2.3.6",
        licensed: bool = False,
        cors_origin: str = "*",
        receipts: bool = True,
        reachable: bool = True,
    ) -> None:
        self.profile = get_profile(profile)
        self._file = StateFile(Path(data_dir) if data_dir else None)
        if self._file.key is None:
            self._file.key = key or secrets.token_hex(24)
        self.key = key or self._file.key
        self.port = port
        self.log = Log()
        self._timers = Timers(time_scale)
        self._faults = Switchboard()
        self._delivery = Delivery(self._timers, self.log, self.profile, self._faults)
        self._world = World(self._file.save)
        self._line = Line(self._world, self._delivery, self.profile)
        self._receipts = receipts
        habits = Habits(qr_after_s=qr_after_s, qr_every_s=qr_every_s, qr_limit=qr_limit, reachable=reachable)
        self._phones = Phones(self._world, self._line, self._timers, habits, self.profile)
        self._gate = Gate(self._faults, self.profile, licensed=licensed, cors_origin=cors_origin)
        self._app = self._make_app(Metrics(on=metrics, user=metrics_user, password=metrics_password))
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def habits(self) -> Habits:
        """Of its phones. New ones are for what begins from there on."""
        return self._phones.habits

    @habits.setter
    def habits(self, habits: Habits) -> None:
        self._phones.habits = habits

    def start(self) -> Self:
        """Listen; when this returns, requests are answered. Raises OSError when the port is taken."""
        # Our own socket: werkzeug would end the process when the port is taken.
        with socket.create_server((HOST, self.port), backlog=BACKLOG) as listening:
            self._server = make_server(
                HOST, self.port, self._app, threaded=True, request_handler=_Quiet, fd=listening.fileno()
            )
        self.port = self._server.port
        self._delivery.server_url = self.url
        self._timers.start()
        self._delivery.start()
        self._load()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and end the threads; retries under way are lost. Twice is safe."""
        if self._server is None or self._thread is None:
            return
        self._faults.switch(HEALTHY)  # lets go who hangs
        self._server.shutdown()
        self._thread.join(timeout=2)
        self._server.server_close()
        self._server = self._thread = None
        self._timers.stop()
        self._delivery.stop()

    def reset(self) -> None:
        """Forget instances, faults, what is planned, what is still to be delivered, and the log. The key stays."""
        self._faults.switch(HEALTHY)
        self._timers.clear()
        self._delivery.clear()
        self._world.replace([])
        self._world.saved()
        self.log.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _load(self) -> None:
        """A process start: the rows are there, memory is empty; up to 2.3.6 every instance connects, paired or
        not, later only those whose row says so."""
        instances = self._file.instances
        for instance in instances:
            instance.live = Live()
        self._world.replace(instances)
        self._world.saved()
        for instance in instances:
            if instance.integration == CHANNEL:
                instance.live.state = instance.status
            elif self.profile.boots_all or instance.status != "close":
                self._phones.connect(instance)

    def _make_app(self, metrics: Metrics) -> Flask:
        app = Flask("sandbox", static_folder=None)
        app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT_BYTES
        # An empty name must be an unknown route, not a redirect.
        app.url_map.merge_slashes = False
        world, line, profile = self._world, self._line, self.profile
        guards = Guards(world, self.key)
        gateway = Gateway(world, line, self._phones, self._timers, profile)
        sending = Sending(world, line, self._timers, profile, receipts=self._receipts)
        chats = Chats(world, line, self._timers)
        inbound = Inbound(world, line, Scenes(line, profile), profile)
        app.before_request(self._gate.admit)
        app.register_blueprint(make_service(guards, profile))
        app.register_blueprint(make_metrics(world, metrics, profile))
        app.register_blueprint(make_instance(guards, gateway))
        app.register_blueprint(make_instance_parts(guards, gateway))
        app.register_blueprint(make_messages(world, guards, sending, chats, line))
        app.register_blueprint(make_control(world, self._phones, inbound, self._faults, self.reset))
        app.register_blueprint(make_view(world, self.log, self._faults, profile))
        _add_error_answers(app)
        app.after_request(self._record)
        return app

    def _record(self, response: Response) -> Response:
        """Requests to Evolution's routes; those to the control routes are not part of the play."""
        if not request.path.startswith("/sandbox/"):
            name = (request.view_args or {}).get("name") or g.get("instance_name")
            self.log.request(method=request.method, path=request.path, status=response.status_code, instance=name)
        return response


def _add_error_answers(app: Flask) -> None:
    @app.errorhandler(ApiError)
    def evolution_error(error: ApiError) -> Response:
        if request.path.startswith("/sandbox/"):  # malformed JSON
            return answer({"error": str(error.message)}, error.status)
        return answer(error.body(), error.status)

    @app.errorhandler(ControlError)
    def control_error(error: ControlError) -> Response:
        return answer({"error": error.text}, error.status)

    @app.errorhandler(HTTPException)
    def unknown(error: HTTPException) -> ResponseReturnValue:
        """Evolution answers a wrong verb as an unknown route; the control routes keep their own form."""
        if request.path == "/sandbox":
            return redirect("/sandbox/")
        if request.path.startswith("/sandbox/"):
            return answer({"error": error.name.lower()}, error.code or 500)
        if error.code in (404, 405):
            return answer(cannot().body(), 404)
        return answer(ApiError(500, error.name).body(), 500)
