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
from manager import keys as manager_keys
from manager import store
from manager.adoption.takeover import TakeOver
from manager.census import Census
from manager.hooks import Hooks, Removals
from manager.keys import Holder, KeyCabinet
from manager.leases import Leases
from manager.lifecycle import Lifetimes
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
from manager.upstream import Upstream
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
    from manager.adoption import Adoption

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
TIDY_EVERY, UPKEEP_EVERY = timedelta(minutes=5), timedelta(minutes=1)
CENSUS_EVERY = timedelta(hours=6)
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
    upstream: Upstream | None
    manager: WhatsAppManager
    breaker: Breaker
    gate: Gate
    inbox: Inbox
    worker: Worker
    repair: Repair
    hub: Hub
    bell: Bell
    hooks: Hooks | None
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
            if self.upstream:
                self.schedule.soon("census")

    @property
    def gateway(self) -> Provider | None:
        return self.upstream.provider if self.upstream else None

    def queue_stats(self) -> dict[str, Any]:
        """How the inbox stands (webhooks.stats.QueueStats)."""
        with self.transaction() as connection:
            return webhooks.stats.queue_stats(connection).as_dict()

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
    gateway = provider or make_provider(settings, breaker)
    upstream = (
        Upstream(transaction=transaction, provider=gateway, vault=vault, webhook_base=settings.webhook_base)
        if gateway
        else None
    )
    manager = WhatsAppManager(
        transaction,
        upstream,
        Leases(transaction),
        clock,
        lifetimes=lifetimes(settings),
        rung=feed_grew,
        default_country=settings.default_country_code,
    )
    leases = Leases(transaction)
    hooks = Hooks(upstream=upstream, leases=leases, clock=clock) if upstream else None
    removals = Removals(upstream=upstream, leases=leases, clock=clock) if upstream else None
    takeover = (
        TakeOver(transaction=transaction, upstream=upstream, leases=leases, clock=clock, rung=feed_grew)
        if upstream
        else None
    )
    census = Census(takeover=takeover) if takeover else None
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
        upstream=upstream,
        manager=manager,
        breaker=breaker,
        gate=gate,
        inbox=inbox,
        worker=worker,
        repair=repair,
        hub=hub,
        bell=bell,
        hooks=hooks,
        schedule=_schedule(settings, transaction, manager, hooks, removals, census),
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


def adoption(system: System) -> "Adoption":
    """What scripts/migrate_whatsapp.py does, on these parts."""
    from manager.adoption import Adoption

    gateway = system.settings.gateway
    return Adoption(
        transaction=system.transaction,
        upstream=system.upstream,
        leases=Leases(system.transaction),
        clock=system.clock,
        is_stand_in=gateway is not None and gateway.is_sandbox,
        rung=lambda users: system.bell.ring(FEED_GREW, users),
    )


@dataclass(frozen=True)
class Keys:
    """The gate's KeyRing over the manager's cabinet."""

    cabinet: KeyCabinet

    def by_token(self, token_hash: bytes) -> KeyOwner | None:
        return _key_owner(self.cabinet.token_owner(token_hash))

    def by_instance(self, instance: str) -> list[str]:
        return self.cabinet.jwt_keys(instance)

    def by_user(self, user_id: str) -> KeyOwner | None:
        return _key_owner(self.cabinet.user_instance(user_id))


def _key_owner(found: Holder | None) -> KeyOwner | None:
    if found is None:
        return None
    user_id = str(found.user_id) if found.user_id else None
    return KeyOwner(instance=found.instance, user_id=user_id, gateway_name=found.gateway_name)


def translate(stored: Stored, gateway_name: str) -> Reading:
    """What a delivery means, in the words of its instance's provider. Raises Malformed."""
    event, document = read(stored.body, event=stored.event, instance=stored.lane, called=gateway_name)
    facts = {
        "delivery_id": stored.id,
        "instance": stored.lane,
        "received_at": stored.received_at + timedelta(microseconds=stored.id % 1000),
    }
    return read_event(event, document, facts, called=gateway_name)


def owners(settings: Settings, *, anew: bool = False) -> Owners:
    """Who knows what provider events mean. `anew`: for a second reading, which corrects what is known of chats and
    sets nothing off; how an instance stands is not in the log alone."""
    instances = InstanceOwner(lifetimes(settings))
    rules = Rules(
        owner_messages=settings.owner_message_policy,
        auto_booking=settings.auto_booking,
        status_broadcasts=settings.keep_status_broadcasts,
    )
    conversations = ConversationOwner(rules=rules, anew=anew)
    by_kind: dict[type, Owner] = {} if anew else {ConnectionReported: instances, PairingReported: instances}
    return Owners(
        resolve=store.gateway_names,
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
    app.register_blueprint(api.admin.make_blueprint(system.queue_stats, guard, production=settings.is_production))
    app.register_blueprint(
        monitor.routes.make_blueprint(clock, guard, ask_database, lambda: system.breaker.state, system.queue_stats)
    )
    gateway = settings.gateway
    sandbox_url = f"{gateway.url}/sandbox/" if gateway and gateway.is_sandbox else None
    app.register_blueprint(dashboard.pages.make_blueprint(system.access, guard, csrf, sandbox_url=sandbox_url))


def _schedule(
    settings: Settings,
    transaction: Transaction,
    manager: WhatsAppManager,
    hooks: Hooks | None,
    removals: Removals | None,
    census: Census | None,
) -> Schedule:
    kept = (
        (webhooks.stats.prune_aside, webhooks.stats.ASIDE_KEPT),
        (webhooks.stats.prune, timedelta(days=settings.event_retention_days)),
        (notify.feed.prune, timedelta(days=settings.feed_retention_days)),
        (manager_keys.prune, timedelta(days=1)),
    )
    jobs: dict[str, tuple[timedelta, Callable[[], object]]] = {
        "tidy": (TIDY_EVERY, lambda: tidy(transaction, kept)),
    }
    if hooks and removals and census:
        jobs |= {
            "settle": (UPKEEP_EVERY, manager.settle_interrupted),
            "hooks": (UPKEEP_EVERY, hooks.check),
            "removals": (UPKEEP_EVERY, removals.finish),
            "census": (CENSUS_EVERY, census.take),
        }
    return Schedule(jobs)


def lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(
        qr=timedelta(seconds=settings.qr_ttl_seconds), code=timedelta(seconds=settings.pairing_code_ttl_seconds)
    )


def make_provider(settings: Settings, breaker: Breaker) -> Provider | None:
    gateway = settings.gateway
    if gateway is None:
        return None
    password = settings.evolution_metrics_password
    client = EvolutionClient(
        gateway.url,
        gateway.key,
        metrics_user=settings.evolution_metrics_user,
        metrics_password=password.get_secret_value() if password else None,
    )
    return Guarded(client, _policy(settings), breaker)


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
