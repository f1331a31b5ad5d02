"""The web application on the system's parts, the webhooks' entrance in front of it."""

from flask import Flask
from flask_wtf.csrf import CSRFProtect
from sqlalchemy import text

import api.admin
import api.alerts
import api.audit
import api.contacts
import api.health
import api.incidents
import api.instances
import api.integrations
import api.messages
import api.openapi.page
import api.pausing
import api.public
import api.repair
import api.system
import api.tokens
import api.whatsapp
import dashboard.pages
import monitor.routes
from api.paging import Cursors
from bootstrap import limits
from bootstrap.live import install_live
from bootstrap.proxies import TrustedProxies
from bootstrap.system import System, secret
from conversations.service import Conversations
from core import web
from core.web import Guard
from manager.asking import Asking
from manager.catalog import Catalog
from manager.listing import Instances
from monitor.gauges import Gauges, of_fleet, of_inbox
from monitor.pausing import Pausing
from webhooks.routes import Entrance


def build_app(system: System) -> Flask:
    """The web application on these parts."""
    settings = system.settings
    app = Flask("zelador", static_folder=None)
    secret_key = secret(settings.secret_key)
    csrf = web.install(app, secret_key=secret_key, origins=settings.origins, secure=settings.is_production)
    app.wsgi_app = TrustedProxies(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]  # as below
    guard = Guard(system.access, csrf)
    limits.install(app, guard, settings)
    _add_routes(app, system, guard, csrf)
    entrance = Entrance(
        app.wsgi_app, system.gate, system.inbox, settings.max_body_bytes, is_signed=system.servers.is_brokers
    )
    app.wsgi_app = entrance  # type: ignore[method-assign]  # Flask's documented way to put something in front
    return app


def _add_routes(app: Flask, system: System, guard: Guard, csrf: CSRFProtect) -> None:
    settings, clock, manager, transaction = system.settings, system.clock, system.manager, system.transaction

    def ask_database() -> None:
        with transaction() as connection:
            connection.execute(text("SELECT FROM whatsapp_instances LIMIT 1"))  # also: is its structure there?

    install_live(app, system, guard)
    app.register_blueprint(api.whatsapp.make_blueprint(manager, system.monitoring, guard, clock))
    app.register_blueprint(
        api.system.make_blueprint(
            manager, system.configurations, guard, clock, is_configured=lambda: system.upstream is not None
        )
    )
    cursors = Cursors(secret(settings.secret_key))
    app.register_blueprint(api.integrations.make_blueprint(_instances(system), guard, cursors))
    conversations = Conversations(transaction)
    app.register_blueprint(api.openapi.page.make_blueprint())
    app.register_blueprint(api.messages.make_blueprint(conversations, guard, cursors))
    app.register_blueprint(api.repair.make_blueprint(system.repair, guard, cursors))
    app.register_blueprint(api.audit.make_blueprint(transaction, conversations, guard, cursors))
    app.register_blueprint(api.contacts.make_blueprint(conversations, guard, cursors, clock))
    catalog = _catalog(system, conversations)
    app.register_blueprint(api.instances.make_blueprint(catalog, guard, cursors, clock))
    app.register_blueprint(api.health.make_blueprint(system.monitoring, guard, cursors, clock))
    app.register_blueprint(api.incidents.make_blueprint(system.monitoring, guard, cursors))
    app.register_blueprint(api.pausing.make_blueprint(Pausing(transaction=transaction, clock=clock), guard))
    app.register_blueprint(api.public.make_blueprint(system.monitoring, guard))
    app.register_blueprint(api.tokens.make_blueprint(system.access.api_tokens, guard))
    alerts = system.alerting
    app.register_blueprint(api.alerts.make_blueprint(alerts.targets, alerts.silences, alerts.log, guard, cursors))
    app.register_blueprint(api.admin.make_blueprint(system.queue_stats, guard, production=settings.is_production))
    gauges = [
        Gauges(of_inbox(system.queue_stats), clock),
        Gauges(of_fleet(transaction, system.pulse.interval), clock),
    ]
    app.register_blueprint(
        monitor.routes.make_blueprint(
            clock, guard, ask_database, lambda: system.breaker.state, system.pulse.beat, gauges
        )
    )
    gateway = settings.gateway
    sandbox_url = f"{gateway.url}/sandbox/" if gateway and gateway.is_sandbox else None
    app.register_blueprint(dashboard.pages.make_blueprint(system.access, guard, csrf, sandbox_url=sandbox_url))


def _instances(system: System) -> Instances:
    return Instances(
        system.transaction,
        system.manager,
        Asking(gateways=system.servers.gateways, watchers=system.servers.watchers),
        system.clock,
        sparing=system.settings.whatsapp_disable_refresh_on_storage_degraded,
    )


def _catalog(system: System, conversations: Conversations) -> Catalog:
    def has_contacts(organization: str) -> bool:
        return bool(conversations.find_contacts((organization, None), words="", limit=1, after=None).items)

    return Catalog(
        transaction=system.transaction,
        manager=system.manager,
        access=system.access,
        is_known=has_contacts,
        is_open=system.settings.open_organizations,
        default_country=system.settings.default_country_code,
    )
