"""The health monitor, wired: who leads, the watch over each gateway, the alerts' way out, and its schedule."""

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from bootstrap.gateways import Servers
from core.clock import Clock
from core.db import Transaction
from core.settings import Settings
from manager.gateways import Gateways
from manager.service import WhatsAppManager
from monitor.counters import CountingProbe, Ticks
from monitor.heartbeat import Heartbeat
from monitor.leader import LEASE, Leader
from monitor.policy.health import Rules
from monitor.policy.servers import ServerRules
from monitor.pulse import patience
from monitor.timeline import Timeline
from monitor.watching.actions import Actions
from monitor.watching.watch import Watch

STEP = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """`clock` is the monitor's own time. `watches` by provider. `heartbeat` is None where nobody wants to hear one."""

    clock: Clock
    transaction: Transaction
    leader: Leader
    actions: Actions
    gateways: Gateways
    watches: Mapping[str, Watch]
    every: timedelta
    ticks: Ticks
    heartbeat: Heartbeat | None

    def step(self) -> None:
        """One step of each watch, in the term that we lead in; nothing where somebody else does. Where no gateway is to
        be watched that is a step too: the monitor is well. One watch that fails keeps no other one from its step."""
        term, ready = self.leader.term, self.gateways.ready()
        if term is None:
            return
        with self.ticks.timed(), contextlib.ExitStack() as steps:
            for upstream in reversed(ready):
                steps.callback(self.watches[upstream.name].step, term)
            if not ready:
                self._rest(term)

    def _rest(self, term: int) -> None:
        with self.transaction() as connection:
            self.leader.fence(connection, term, done=True)

    def leads(self) -> bool:
        return self.leader.term is not None

    def stop(self) -> None:
        self.actions.stop()
        self.leader.stop()


def make_monitor(
    settings: Settings,
    transaction: Transaction,
    manager: WhatsAppManager,
    servers: Servers,
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
    watches = {
        name: Watch(
            transaction,
            clock,
            name,
            CountingProbe(watcher, servers.refused(name)),
            actions,
            rules=rules_of(settings),
            server_rules=ServerRules(interval=interval),
            fence=leader.fence,
            rung=rung,
        )
        for name, watcher in servers.watchers.items()
    }
    ticks = Ticks()
    heartbeat = None
    if settings.heartbeat_url:
        url = settings.heartbeat_url.get_secret_value()
        heartbeat = Heartbeat(url, lambda: ticks.went_well_within(patience(interval)))
    return Monitor(
        clock=clock,
        transaction=transaction,
        leader=leader,
        actions=actions,
        gateways=servers.gateways,
        watches=watches,
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
