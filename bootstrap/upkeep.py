"""What the monitor's schedule runs beside the health checks: webhooks set right, deletions finished, the gateway's list
held against ours, old rows dropped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import core.api_tokens
import core.rights
import core.sessions
import manager.keys
import notify.feed
import notify.tickets
import webhooks.stats
from bootstrap.alerting import Alerting
from bootstrap.gateways import Servers
from bootstrap.monitoring import Monitor
from core.clock import Clock
from core.db import Transaction
from core.settings import Settings
from manager.adoption.takeover import TakeOver
from manager.census import Census
from manager.gateways import EVOLUTION, Gateways
from manager.hooks import Hooks, Removals
from manager.leases import Leases
from manager.lifecycle import Lifetimes
from manager.lookout import EVERY as LOOK_EVERY
from manager.lookout import Lookout
from manager.service import WhatsAppManager
from monitor import heartbeat, history, incidents
from monitor.housekeeping import tidy
from monitor.schedule import Schedule

TIDY_EVERY, UPKEEP_EVERY = timedelta(minutes=5), timedelta(minutes=1)
CENSUS_EVERY = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """Of the instances on the gateways. Webhooks and the list are looked at where they can be: on Evolution."""

    gateways: Gateways
    hooks: Hooks
    census: Census
    removals: Mapping[str, Removals]
    lookouts: Mapping[str, Lookout]

    @classmethod
    def of(
        cls,
        *,
        servers: Servers,
        transaction: Transaction,
        leases: Leases,
        clock: Clock,
        lifetimes: Lifetimes,
        rung: Callable[[list[str]], None],
    ) -> "Upkeep":
        gateways = servers.gateways
        evolution = gateways.upstreams[EVOLUTION]
        takeover = TakeOver(transaction=transaction, upstream=evolution, leases=leases, clock=clock, rung=rung)
        return cls(
            gateways=gateways,
            hooks=Hooks(upstream=evolution, leases=leases, clock=clock),
            census=Census(takeover=takeover),
            removals={
                name: Removals(upstream=one, leases=leases, clock=clock) for name, one in gateways.upstreams.items()
            },
            lookouts={
                name: Lookout(
                    name=name, provider=one, transaction=transaction, clock=clock, lifetimes=lifetimes, rung=rung
                )
                for name, one in servers.watchers.items()
            },
        )

    def check_hooks(self) -> None:
        if self._is_ready(EVOLUTION):
            self.hooks.check()

    def take_census(self) -> None:
        if self._is_ready(EVOLUTION):
            self.census.take()

    def finish_removals(self, name: str) -> None:
        if self._is_ready(name):
            self.removals[name].finish()

    def look_out(self, name: str, *, late: bool = False) -> None:
        """For phones that pair and part where the gateway does not tell."""
        if self._is_ready(name) and self.lookouts[name].provider.silent:
            self.lookouts[name].look(late=late)

    def _is_ready(self, name: str) -> bool:
        return name in [upstream.name for upstream in self.gateways.ready()]


def schedule(
    settings: Settings,
    transaction: Transaction,
    whatsapp: WhatsAppManager,
    upkeep: Upkeep,
    monitor: Monitor,
    alerting: Alerting,
) -> Schedule:
    """The jobs by name."""
    kept = (
        (webhooks.stats.prune_aside, webhooks.stats.ASIDE_KEPT),
        (webhooks.stats.prune, timedelta(days=settings.event_retention_days)),
        (notify.feed.prune, timedelta(days=settings.feed_retention_days)),
        (notify.tickets.prune, timedelta(hours=1)),
        (manager.keys.prune, timedelta(days=1)),
        (core.api_tokens.prune, core.api_tokens.KEPT),
        (core.rights.prune, core.rights.KEPT),
        (core.sessions.prune, core.sessions.KEPT),
        (incidents.prune, incidents.KEPT),
        (history.prune, history.KEPT),
    )
    jobs: dict[str, tuple[timedelta, Callable[[], object]]] = {
        "tidy": (TIDY_EVERY, lambda: tidy(transaction, kept)),
        "orphans": (TIDY_EVERY, lambda: _end_orphaned(transaction)),
        **alerting.jobs,
    }
    jobs |= {
        "settle": (UPKEEP_EVERY, whatsapp.settle_interrupted),
        "hooks": (UPKEEP_EVERY, upkeep.check_hooks),
        "census": (CENSUS_EVERY, upkeep.take_census),
        "watch": (monitor.every, monitor.step),
    }
    for name in upkeep.lookouts:  # each its own: a gateway that hangs holds up no other one's
        jobs[f"removals_{name}"] = (UPKEEP_EVERY, partial(upkeep.finish_removals, name))
        jobs[f"lookout_{name}"] = (LOOK_EVERY, partial(upkeep.look_out, name))
        jobs[f"late_lookout_{name}"] = (UPKEEP_EVERY, partial(upkeep.look_out, name, late=True))
    if monitor.heartbeat:
        jobs["heartbeat"] = (heartbeat.EVERY, monitor.heartbeat.beat)
    return Schedule(jobs, monitor.leads)


def _end_orphaned(transaction: Transaction) -> None:
    with transaction() as connection:
        incidents.end_orphaned(connection)
