"""The live channel on the system's parts: who may listen to whom, what a snapshot is, what `start` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Flask
from sqlalchemy import text

import api.live
import api.shapes
import notify.sockets
from bootstrap.system import System
from core.db import Transaction
from core.web import Guard
from manager.pictures import with_picture
from notify.live import Live
from notify.longpoll import LongPoll
from notify.rooms import Instance, Rooms
from notify.socket_io import SocketIO
from notify.tickets import VALID_FOR, Tickets

COLUMNS = (
    "SELECT id, instance_name, user_id, organization_id, created_at FROM whatsapp_instances WHERE user_id IS NOT NULL"
)
OF_USER = text(f"{COLUMNS} AND user_id = :user")
OF_ORGANIZATION = text(f"{COLUMNS} AND (organization_id = :name OR (organization_id IS NULL AND user_id = :user))")
NAMED = text(f"{COLUMNS} AND (instance_name = :name OR id = :id)")


@dataclass(frozen=True)
class Instances:
    """The sockets' directory, over the manager's table."""

    transaction: Transaction

    def of_user(self, user_id: UUID) -> Instance | None:
        return next(iter(self._found(OF_USER, user=user_id)), None)

    def of_organization(self, organization: str) -> Sequence[Instance]:
        return self._found(OF_ORGANIZATION, name=organization, user=_uuid(organization))

    def named(self, name: str) -> Instance | None:
        """A user's who has never connected too: `start` is what makes the row."""
        found = self._found(NAMED, name=name, id=_uuid(name))
        user_id = _uuid(name.removeprefix("user_")) if name.startswith("user_") else None
        made = [Instance(id=None, name=name, user_id=user_id)] if user_id else []
        return next(iter([*found, *made]), None)

    def _found(self, query: Any, **values: object) -> list[Instance]:
        with self.transaction() as connection:
            rows = connection.execute(query, values).all()
        return [
            Instance(
                id=row.id,
                name=row.instance_name,
                user_id=row.user_id,
                organization_id=row.organization_id,
                made_at=row.created_at,
            )
            for row in rows
        ]


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


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
