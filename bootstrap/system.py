"""All parts of the product, made in reading order.

`build` opens nothing; `System.start` opens threads, `System.stop` ends them. Defaulted arguments are the seams of the
tests.
"""

import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic import SecretStr
from sqlalchemy import Engine

import webhooks.stats
from bootstrap.alerting import Alerting, make_alerting
from bootstrap.callers import make_access
from bootstrap.gateways import Servers, make_servers
from bootstrap.keys import Keys
from bootstrap.monitoring import Monitor, make_monitor
from bootstrap.readings import KNOWLEDGE, lifetimes, owners
from bootstrap.rooms import members
from bootstrap.upkeep import Upkeep, schedule
from core import audit
from core.access import Access
from core.clock import Clock, SystemClock
from core.crypto import Vault
from core.db import Transaction, make_engine, questions, transactions
from core.dburl import libpq_url
from core.postgres import EmbeddedPostgres
from core.rights import Rights
from core.settings import Settings
from core.wake import Bell, Listener
from manager.configuration import Configurations
from manager.gateways import EVOLUTION
from manager.keys import KeyCabinet
from manager.leases import Leases
from manager.providers.guarded import Breaker
from manager.providers.port import Provider
from manager.service import WhatsAppManager
from manager.upstream import Upstream
from monitor.pulse import PulseReader
from monitor.schedule import Schedule
from monitor.service import Monitoring
from notify.hub import Hub
from notify.seats import Seats
from webhooks.gate import Gate
from webhooks.inbox import Inbox
from webhooks.repair import Repair
from webhooks.worker import Worker

if TYPE_CHECKING:
    from manager.adoption import Adoption

EVENTS_CAME, FEED_GREW = "zelador_events", "zelador_feed"
INBOX_POOL = 2


@dataclass(frozen=True, kw_only=True)
class System:
    """All parts of the product. Which of them run is decided by `start`."""

    settings: Settings
    clock: Clock
    engine: Engine
    inbox_engine: Engine
    rights_engine: Engine
    transaction: Transaction
    vault: Vault
    access: Access
    configurations: Configurations
    servers: Servers
    leases: Leases
    manager: WhatsAppManager
    gate: Gate
    inbox: Inbox
    worker: Worker
    repair: Repair
    hub: Hub
    seats: Seats
    bell: Bell
    upkeep: Upkeep
    monitor: Monitor
    alerting: Alerting
    monitoring: Monitoring
    pulse: PulseReader
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
            self.seats.start()
        if "monitor" in roles:
            self.schedule.start()
            self.monitor.leader.start(self._elected, self.schedule.mind_the_clock)

    def _elected(self) -> None:
        self.schedule.soon("census")

    @property
    def breaker(self) -> Breaker:
        return self.servers.breaker

    @property
    def upstream(self) -> Upstream | None:
        """The server of new instances, None where none is configured."""
        gateways = self.servers.gateways
        return gateways.upstreams[gateways.default()] if gateways.is_there(gateways.default()) else None

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
        self.seats.stop()
        self.inbox.stop()
        self.schedule.stop()
        self.alerting.outbox.stop()
        self.monitor.stop()
        for listener in self.listeners.values():
            listener.stop()
        self.bell.stop()
        for engine in (self.engine, self.inbox_engine, self.rights_engine):
            engine.dispose()


def build(
    settings: Settings,
    database_url: str,
    *,
    clock: Clock | None = None,
    provider: Provider | None = None,
    monitor_clock: Clock | None = None,
) -> System:
    """Everything, wired. `database_url` is a libpq URL. Raises nothing: what is wrong shows in the first use."""
    clock = clock or SystemClock()
    timeout = settings.db_statement_timeout_ms
    engine = make_engine(database_url, statement_timeout_ms=timeout)
    inbox_engine = make_engine(database_url, statement_timeout_ms=timeout, pool_size=INBOX_POOL)
    # of its own: whoever's rights have ended is closed in time, also where everybody waits for a connection
    rights_engine = make_engine(database_url, statement_timeout_ms=timeout, pool_size=1)
    transaction = transactions(engine)
    vault = Vault(secret(settings.app_encryption_key))
    bell = Bell(libpq_url(database_url))

    def feed_grew(users: list[str]) -> None:
        bell.ring(FEED_GREW, users)

    access = make_access(settings, transaction, clock)
    configurations = Configurations(
        transaction, vault, clock, is_named=lambda name: settings.gateway_of(name) is not None
    )
    servers = make_servers(settings, transaction, vault, configurations, provider)
    leases = Leases(transaction)
    manager = WhatsAppManager(
        transaction,
        servers.gateways,
        leases,
        clock,
        lifetimes=lifetimes(settings),
        rung=feed_grew,
        default_country=settings.default_country_code,
    )
    upkeep = Upkeep.of(
        servers=servers,
        transaction=transaction,
        leases=leases,
        clock=clock,
        lifetimes=lifetimes(settings),
        rung=feed_grew,
    )
    monitor = make_monitor(settings, transaction, manager, servers, rung=feed_grew, clock=monitor_clock)
    alerting = make_alerting(settings, transaction, vault, manager, clock, monitor.clock, rung=feed_grew)
    shared = [one.get_secret_value() for one in settings.webhook_secret]
    gate = Gate(Keys(KeyCabinet(transaction, vault)), shared, clock)
    inbox = Inbox(inbox_engine, lambda: bell.ring(EVENTS_CAME))
    name = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    known = owners(settings)
    worker = Worker(transaction, known, feed_grew, name=name)
    repair = Repair(transaction, known, owners(settings, anew=True), tables=KNOWLEDGE, note=audit.note)
    hub = Hub(questions(engine), members)
    seats = Seats(Rights(questions(rights_engine)), clock, most=settings.max_sockets)
    came = threading.Event()
    return System(
        settings=settings,
        clock=clock,
        engine=engine,
        inbox_engine=inbox_engine,
        rights_engine=rights_engine,
        transaction=transaction,
        vault=vault,
        access=access,
        configurations=configurations,
        servers=servers,
        leases=leases,
        manager=manager,
        gate=gate,
        inbox=inbox,
        worker=worker,
        repair=repair,
        hub=hub,
        seats=seats,
        bell=bell,
        upkeep=upkeep,
        monitor=monitor,
        alerting=alerting,
        pulse=PulseReader(transaction, timedelta(milliseconds=settings.health_check_interval_ms)),
        monitoring=Monitoring(transaction, clock, interval=timedelta(milliseconds=settings.health_check_interval_ms)),
        schedule=schedule(settings, transaction, manager, upkeep, monitor, alerting),
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

    gateway, gateways = system.settings.gateway, system.servers.gateways
    return Adoption(
        transaction=system.transaction,
        upstream=gateways.upstreams[EVOLUTION] if gateways.is_there(EVOLUTION) else None,
        leases=system.leases,
        clock=system.clock,
        is_stand_in=gateway is not None and gateway.is_sandbox,
        rung=lambda users: system.bell.ring(FEED_GREW, users),
    )


def secret(value: SecretStr | None) -> str:
    """A secret that `Settings.from_env` has made sure of."""
    if value is None:
        raise ValueError("settings were not made by from_env")
    return value.get_secret_value()
