"""The live channel on the system's parts: what a snapshot is, what `start` does."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import Flask

import api.live
import api.shapes
import notify.sockets
from bootstrap.rooms import Instances
from bootstrap.system import System
from core.web import Guard
from manager.pictures import with_picture
from notify.live import Live
from notify.longpoll import LongPoll
from notify.rooms import Rooms
from notify.socket_io import SocketIO
from notify.tickets import VALID_FOR, Tickets


def install_live(app: Flask, system: System, guard: Guard) -> None:
    """Sockets, their HTTP side, and Socket.IO in front of the application."""
    live = make_live(system, guard)
    notify.sockets.install(app, live)
    valid_s = int(VALID_FOR.total_seconds())
    app.register_blueprint(api.live.make_blueprint(guard, live.tickets.issue, valid_s, LongPoll(live)))
    app.wsgi_app = SocketIO(app, live, app.wsgi_app).answer  # type: ignore[method-assign]  # Flask's documented way


def make_live(system: System, guard: Guard) -> Live:
    manager, clock = system.manager, system.clock

    def status(user_id: UUID) -> Mapping[str, Any]:
        seen = system.monitoring.health_of(user_id)
        return api.shapes.snapshot(user_id, manager.find_user_instance(user_id), clock.now(), seen)

    def start(user_id: UUID, organization: str | None) -> Mapping[str, Any]:
        return api.shapes.connecting(manager.connect_user_whatsapp(user_id, organization), clock.now())

    return Live(
        user=guard.user,
        status=status,
        start=start,
        enrich=with_picture,
        transaction=system.transaction,
        hub=system.hub,
        seats=system.seats,
        rooms=Rooms(Instances(system.transaction)),
        tickets=Tickets(system.transaction),
        origins=system.settings.origins,
    )
