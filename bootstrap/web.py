"""The web application on the system's parts, the webhooks' entrance in front of it."""

from typing import Any
from uuid import UUID

from flask import Flask
from flask_wtf.csrf import CSRFProtect
from sqlalchemy import text

import api.admin
import api.audit
import api.contacts
import api.messages
import api.repair
import api.shapes
import api.whatsapp
import dashboard.pages
import monitor.routes
import notify.sockets
from api.paging import Cursors
from bootstrap.system import System, secret
from conversations.service import Conversations
from core import web
from core.web import Guard
from webhooks.routes import Entrance


def build_app(system: System) -> Flask:
    """The web application on these parts."""
    settings = system.settings
    app = Flask("zelador", static_folder=None)
    secret_key = secret(settings.secret_key)
    csrf = web.install(app, secret_key=secret_key, origins=settings.origins, secure=settings.is_production)
    _add_routes(app, system, Guard(system.access, csrf), csrf)
    entrance = Entrance(app.wsgi_app, system.gate, system.inbox, settings.max_body_bytes)
    app.wsgi_app = entrance  # type: ignore[method-assign]  # Flask's documented way to put something in front
    return app


def _add_routes(app: Flask, system: System, guard: Guard, csrf: CSRFProtect) -> None:
    settings, clock, manager, transaction = system.settings, system.clock, system.manager, system.transaction

    def user_status(user_id: UUID) -> dict[str, Any]:
        return api.shapes.snapshot(user_id, manager.find_user_instance(user_id), clock.now())

    def ask_database() -> None:
        with transaction() as connection:
            connection.execute(text("SELECT FROM whatsapp_instances LIMIT 1"))  # also: is its structure there?

    lines = notify.sockets.Lines(
        user=guard.user, status=user_status, transaction=transaction, hub=system.hub, origins=settings.origins
    )
    notify.sockets.install(app, lines)
    app.register_blueprint(api.whatsapp.make_blueprint(manager, guard, clock))
    cursors = Cursors(secret(settings.secret_key))
    conversations = Conversations(transaction)
    app.register_blueprint(api.messages.make_blueprint(conversations, guard, cursors))
    app.register_blueprint(api.repair.make_blueprint(system.repair, guard, cursors))
    app.register_blueprint(api.audit.make_blueprint(transaction, conversations, guard, cursors))
    app.register_blueprint(api.contacts.make_blueprint(conversations, guard, cursors, clock))
    app.register_blueprint(api.admin.make_blueprint(system.queue_stats, guard, production=settings.is_production))
    app.register_blueprint(
        monitor.routes.make_blueprint(clock, guard, ask_database, lambda: system.breaker.state, system.queue_stats)
    )
    gateway = settings.gateway
    sandbox_url = f"{gateway.url}/sandbox/" if gateway and gateway.is_sandbox else None
    app.register_blueprint(dashboard.pages.make_blueprint(system.access, guard, csrf, sandbox_url=sandbox_url))
