"""The health monitor, wired: who leads, the watch over the gateway, the alerts' way out, and its schedule."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from core.clock import Clock
from core.db import Transaction
from core.settings import Settings
from manager.providers.port import Provider
from manager.service import WhatsAppManager
from monitor.actions import Actions
from monitor.counters import CountingProbe, Ticks
from monitor.health import Rules
from monitor.heartbeat import Heartbeat
from monitor.leader import LEASE, Leader
from monitor.pulse import patience
from monitor.servers import ServerRules
from monitor.timeline import Timeline
from monitor.watch import Watch

GATEWAY = "evolution"
STEP = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """`clock` is the monitor's own time. `watch` is None where no gateway is configured, `heartbeat` where nobody wants
    to hear one."""

    clock: Clock
    leader: Leader
    actions: Actions
    watch: Watch | None
    every: timedelta
    ticks: Ticks
    heartbeat: Heartbeat | None

    def step(self) -> None:
        """One step of the watch, in the term that we lead in; nothing where somebody else does."""
        term = self.leader.term
        if term is not None and self.watch:
            with self.ticks.timed():
                self.watch.step(term)

    def leads(self) -> bool:
        return self.leader.term is not None

    def stop(self) -> None:
        self.actions.stop()
        self.leader.stop()


def make_monitor(
    settings: Settings,
    transaction: Transaction,
    manager: WhatsAppManager,
    gateway: Provider | None,
    refused: Callable[[], bool],
    *,
    rung: Callable[[list[str]], None],
    clock: Clock | None = None,
    lease: timedelta = LEASE,
) -> Monitor:
    """`clock`: tests' time; without one it is the database's, freed of its jumps (monitor.timeline)."""
    timeline = Timeline()
    clock = clock or timeline
    leader = Leader(transaction, f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}", timeline, lease=lease)
    actions = Actions(transaction, clock, manager.reconnect_user_whatsapp, leader.fence)
    interval = timedelta(milliseconds=settings.health_check_interval_ms)
    watch = None
    if gateway:
        watch = Watch(
            transaction,
            clock,
            GATEWAY,
            CountingProbe(gateway, refused),
            actions,
            rules=rules_of(settings),
            server_rules=ServerRules(interval=interval),
            fence=leader.fence,
            rung=rung,
        )
    ticks = Ticks()
    heartbeat = None
    if settings.heartbeat_url:
        url = settings.heartbeat_url.get_secret_value()
        heartbeat = Heartbeat(url, lambda: ticks.went_well_within(patience(interval)))
    return Monitor(
        clock=clock,
        leader=leader,
        actions=actions,
        watch=watch,
        every=min(STEP, interval / 4),
        ticks=ticks,
        heartbeat=heartbeat,
    )


def rules_of(settings: Settings) -> Rules:
    return Rules(
        interval=timedelta(milliseconds=settings.health_check_interval_ms),
        alert_at=settings.health_alert_threshold,
        reconnect_at=settings.health_max_consecutive_failures,
        auto_reconnect=settings.auto_reconnect,
        attempts_an_episode=settings.reconnect_max_attempts,
    )
