"""The composition root: the one module that knows everybody.

`build` makes all parts in reading order and opens nothing; `System.start` opens threads, `System.stop` ends
them; `build_app` puts the web on top. Defaulted arguments are the seams of the tests. What only the web role
needs is imported there: the other processes are 20 MB smaller without it.
"""

import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from pydantic import SecretStr
from sqlalchemy import Engine, text

import notify.feed
import webhooks.stats
from conversations.changes import Rules
from conversations.owner import ConversationOwner
from core import audit
from core.access import Access, Tokens
from core.clock import Clock, SystemClock
from core.crypto import Vault
from core.db import Transaction, make_engine, transactions
from core.dburl import libpq_url
from core.postgres import EmbeddedPostgres
from core.settings import Settings
from core.wake import Bell, Listener
from manager import store
from manager.keys import KeyCabinet
from manager.leases import Leases
from manager.owner import InstanceOwner
from manager.pictures import with_picture
from manager.providers.evolution.client import EvolutionClient
from manager.providers.evolution.events import READERS, read_event
from manager.providers.guarded import Breaker, Guarded, Policy
from manager.providers.port import (
    ChatReported,
    ConnectionReported,
    ContactReported,
    DeleteReported,
    EditReported,
    MessageReported,
    PairingReported,
    Provider,
    ReactionReported,
    Reading,
    StatusReported,
    VotesReported,
)
from manager.service import WhatsAppManager
from monitor.housekeeping import tidy
from monitor.schedule import Schedule
from notify.hub import Hub
from webhooks.envelope import read
from webhooks.gate import Gate, KeyOwner
from webhooks.inbox import Inbox
from webhooks.lanes import Stored
from webhooks.owners import Owner, Owners
from webhooks.repair import Repair
from webhooks.worker import Worker

if TYPE_CHECKING:
    from flask import Flask
    from flask_wtf.csrf import CSRFProtect

    from core.web import Guard

EVENTS_CAME, FEED_GREW = "zelador_events", "zelador_feed"
ABOUT_CHATS = (
    MessageReported,
    StatusReported,
    EditReported,
    DeleteReported,
    VotesReported,
    ReactionReported,
    ContactReported,
    ChatReported,
)
INBOX_POOL = 2
TIDY_EVERY = timedelta(minutes=5)
KNOWLEDGE = (
    "whatsapp_instances",
    "contacts",
    "contact_aliases",
    "conversations",
    "messages",
    "reactions",
    "bookings",
)


@dataclass(frozen=True, kw_only=True)
class System:
    """All parts of the product. Which of them run is decided by `start`."""

    settings: Settings
    clock: Clock
    engine: Engine
    inbox_engine: Engine
    transaction: Transaction
    vault: Vault
    access: Access
    manager: WhatsAppManager
    breaker: Breaker
    gate: Gate
    inbox: Inbox
    worker: Worker
    repair: Repair
    hub: Hub
    bell: Bell
    schedule: Schedule
    listeners: Mapping[str, Listener]
    came: threading.Event
    stopping: threading.Event

    def start(self, *roles: str) -> None:
        """Open the threads of these roles: web, worker, monitor. A worker's own loop is `work_until_stopped`."""
        self.bell.start()
        for role in roles:
            if role in self.listeners:
                self.listeners[role].start()
        if "web" in roles:
            self.hub.start()
        if "monitor" in roles:
            self.schedule.start()

    def work_until_stopped(self) -> None:
        self.worker.run(self.stopping, self.came)

    def end(self) -> None:
        """Ask the loops to end. May be called by a signal handler."""
        self.stopping.set()
        self.came.set()

    def stop(self) -> None:
        """End what `start` opened, unfinished batches too."""
        self.end()
        self.hub.stop()
        self.inbox.stop()
        self.schedule.stop()
        for listener in self.listeners.values():
            listener.stop()
        self.bell.stop()
        self.engine.dispose()
        self.inbox_engine.dispose()


def build(
    settings: Settings, database_url: str, *, clock: Clock | None = None, provider: Provider | None = None
) -> System:
    """Everything, wired. `database_url` is a libpq URL. Raises nothing: what is wrong shows in the first use."""
    clock = clock or SystemClock()
    timeout = settings.db_statement_timeout_ms
    engine = make_engine(database_url, statement_timeout_ms=timeout)
    inbox_engine = make_engine(database_url, statement_timeout_ms=timeout, pool_size=INBOX_POOL)
    transaction = transactions(engine)
    vault = Vault(_secret(settings.app_encryption_key))
    bell = Bell(libpq_url(database_url))

    def feed_grew(users: list[str]) -> None:
        bell.ring(FEED_GREW, users)

    access = Access(transaction, _tokens(settings, clock), clock)
    breaker = Breaker(_policy(settings))
    manager = WhatsAppManager(
        transaction,
        provider or _provider(settings, breaker),
        vault,
        Leases(transaction),
        clock,
        webhook_base=settings.webhook_base,
        qr_ttl=timedelta(seconds=settings.qr_ttl_seconds),
        rung=feed_grew,
    )
    shared = [secret.get_secret_value() for secret in settings.webhook_secret]
    gate = Gate(Keys(KeyCabinet(transaction, vault)), shared, clock)
    inbox = Inbox(inbox_engine, lambda: bell.ring(EVENTS_CAME))
    name = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    worker = Worker(transaction, owners(settings), feed_grew, name=name)
    again = owners(settings, anew=True)
    repair = Repair(transaction, owners(settings), again, tables=KNOWLEDGE, note=audit.note)
    hub = Hub(transaction, with_picture)
    came = threading.Event()
    return System(
        settings=settings,
        clock=clock,
        engine=engine,
        inbox_engine=inbox_engine,
        transaction=transaction,
        vault=vault,
        access=access,
        manager=manager,
        breaker=breaker,
        gate=gate,
        inbox=inbox,
        worker=worker,
        repair=repair,
        hub=hub,
        bell=bell,
        schedule=_schedule(settings, transaction),
        listeners={
            "web": Listener(libpq_url(database_url), FEED_GREW, hub.rang),
            "worker": Listener(libpq_url(database_url), EVENTS_CAME, lambda _: came.set()),
        },
        came=came,
        stopping=threading.Event(),
    )


def database(settings: Settings) -> tuple[str, Callable[[bool], None]]:
    """The database's URL and how to let go of it (True: stop an embedded server for everybody).

    Raises core.postgres.PostgresUnusable.
    """
    if settings.database_url:
        return settings.database_url.get_secret_value(), lambda _: None
    server = EmbeddedPostgres(Path(settings.zelador_data_dir).resolve())
    return server.attach(), lambda stop: server.detach(stop=stop)


@dataclass(frozen=True)
class Keys:
    """The gate's KeyRing over the manager's cabinet."""

    cabinet: KeyCabinet

    def by_token(self, token_hash: bytes) -> KeyOwner | None:
        found = self.cabinet.token_owner(token_hash)
        return KeyOwner(instance=found[0], user_id=str(found[1]) if found[1] else None) if found else None

    def by_instance(self, instance: str) -> list[str]:
        return self.cabinet.jwt_keys(instance)

    def by_user(self, user_id: str) -> KeyOwner | None:
        name = self.cabinet.user_instance(user_id)
        return KeyOwner(instance=name, user_id=user_id) if name else None


def translate(stored: Stored, _: str) -> Reading:
    """What a delivery means, in the words of its instance's provider. Raises Malformed."""
    event, document = read(stored.body, event=stored.event, instance=stored.lane)
    facts = {
        "delivery_id": stored.id,
        "instance": stored.lane,
        "received_at": stored.received_at + timedelta(microseconds=stored.id % 1000),
    }
    return read_event(event, document, facts)


def owners(settings: Settings, *, anew: bool = False) -> Owners:
    """Who knows what provider events mean. `anew`: for a second reading that corrects rows and sets nothing off."""
    instances = InstanceOwner(timedelta(seconds=settings.qr_ttl_seconds))
    rules = Rules(
        owner_messages=settings.owner_message_policy,
        auto_booking=settings.auto_booking,
        status_broadcasts=settings.keep_status_broadcasts,
    )
    conversations = ConversationOwner(rules=rules, anew=anew)
    by_kind: dict[type, Owner] = {ConnectionReported: instances, PairingReported: instances}
    return Owners(
        resolve=store.providers,
        translate=translate,
        by_kind=by_kind | dict.fromkeys(ABOUT_CHATS, conversations),
        known_events=READERS,
        chatter=(ConnectionReported,),
    )


def build_app(system: System) -> "Flask":
    """The web application on these parts, the webhooks' entrance in front of it."""
    from flask import Flask

    from core import web
    from core.web import Guard
    from webhooks.routes import Entrance

    settings = system.settings
    app = Flask("zelador", static_folder=None)
    secret_key = _secret(settings.secret_key)
    csrf = web.install(app, secret_key=secret_key, origins=settings.origins, secure=settings.is_production)
    _add_routes(app, system, Guard(system.access, csrf), csrf)
    entrance = Entrance(app.wsgi_app, system.gate, system.inbox, settings.max_body_bytes)
    app.wsgi_app = entrance  # type: ignore[method-assign]  # Flask's documented way to put something in front
    return app


def _add_routes(app: "Flask", system: System, guard: "Guard", csrf: "CSRFProtect") -> None:
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
    from conversations.service import Conversations

    settings, clock, manager, transaction = system.settings, system.clock, system.manager, system.transaction

    def user_status(user_id: UUID) -> dict[str, Any]:
        return api.shapes.snapshot(user_id, manager.find_user_instance(user_id), clock.now())

    def queue_stats() -> dict[str, Any]:
        with transaction() as connection:
            return webhooks.stats.queue_stats(connection).as_dict()

    def ask_database() -> None:
        with transaction() as connection:
            connection.execute(text("SELECT FROM whatsapp_instances LIMIT 1"))  # also: is its structure there?

    lines = notify.sockets.Lines(
        user=guard.user, status=user_status, transaction=transaction, hub=system.hub, origins=settings.origins
    )
    notify.sockets.install(app, lines)
    app.register_blueprint(api.whatsapp.make_blueprint(manager, guard, clock))
    cursors = Cursors(_secret(settings.secret_key))
    conversations = Conversations(transaction)
    app.register_blueprint(api.messages.make_blueprint(conversations, guard, cursors))
    app.register_blueprint(api.repair.make_blueprint(system.repair, guard, cursors))
    app.register_blueprint(api.audit.make_blueprint(transaction, conversations, guard, cursors))
    app.register_blueprint(api.contacts.make_blueprint(conversations, guard, cursors, clock))
    app.register_blueprint(api.admin.make_blueprint(queue_stats, guard, production=settings.is_production))
    app.register_blueprint(
        monitor.routes.make_blueprint(clock, guard, ask_database, lambda: system.breaker.state, queue_stats)
    )
    gateway = settings.gateway
    sandbox_url = f"{gateway.url}/sandbox/" if gateway and gateway.is_sandbox else None
    app.register_blueprint(dashboard.pages.make_blueprint(system.access, guard, csrf, sandbox_url=sandbox_url))


def _schedule(settings: Settings, transaction: Transaction) -> Schedule:
    kept = (
        (webhooks.stats.prune_aside, webhooks.stats.ASIDE_KEPT),
        (webhooks.stats.prune, timedelta(days=settings.event_retention_days)),
        (notify.feed.prune, timedelta(days=settings.feed_retention_days)),
    )
    return Schedule({"tidy": (TIDY_EVERY, lambda: tidy(transaction, kept))})


def _provider(settings: Settings, breaker: Breaker) -> Provider | None:
    gateway = settings.gateway
    if gateway is None:
        return None
    return Guarded(EvolutionClient(gateway.url, gateway.key), _policy(settings), breaker)


def _policy(settings: Settings) -> Policy:
    return Policy(
        attempts=settings.retry_max_attempts,
        first_delay_s=settings.retry_initial_delay_ms / 1000,
        longest_delay_s=settings.retry_max_delay_ms / 1000,
        failures=settings.breaker_failure_threshold,
        window_s=settings.breaker_window_ms / 1000,
        open_s=settings.breaker_open_ms / 1000,
    )


def _tokens(settings: Settings, clock: Clock) -> Tokens:
    return Tokens(_secret(settings.auth_jwt_secret), settings.auth_jwt_audience, clock)


def _secret(value: SecretStr | None) -> str:
    """A secret that `Settings.from_env` has made sure of."""
    if value is None:
        raise ValueError("settings were not made by from_env")
    return value.get_secret_value()
