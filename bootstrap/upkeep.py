"""What the monitor's schedule runs beside the health checks: webhooks set right, deletions finished, the gateway's list
held against ours, old rows dropped."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import core.api_tokens
import manager.keys
import notify.feed
import notify.tickets
import webhooks.stats
from bootstrap.alerting import Alerting
from bootstrap.monitoring import Monitor
from core.clock import Clock
from core.db import Transaction
from core.settings import Settings
from manager.adoption.takeover import TakeOver
from manager.census import Census
from manager.hooks import Hooks, Removals
from manager.leases import Leases
from manager.service import WhatsAppManager
from manager.upstream import Upstream
from monitor import heartbeat, history, incidents
from monitor.housekeeping import tidy
from monitor.schedule import Schedule

TIDY_EVERY, UPKEEP_EVERY = timedelta(minutes=5), timedelta(minutes=1)
CENSUS_EVERY = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """Of the instances on a gateway; there is none without a gateway."""

    hooks: Hooks
    removals: Removals
    census: Census

    @classmethod
    def of(
        cls,
        *,
        transaction: Transaction,
        upstream: Upstream,
        leases: Leases,
        clock: Clock,
        rung: Callable[[list[str]], None],
    ) -> "Upkeep":
        return cls(
            hooks=Hooks(upstream=upstream, leases=leases, clock=clock),
            removals=Removals(upstream=upstream, leases=leases, clock=clock),
            census=Census(
                takeover=TakeOver(transaction=transaction, upstream=upstream, leases=leases, clock=clock, rung=rung)
            ),
        )


def schedule(
    settings: Settings,
    transaction: Transaction,
    whatsapp: WhatsAppManager,
    upkeep: Upkeep | None,
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
        (incidents.prune, incidents.KEPT),
        (history.prune, history.KEPT),
    )
    jobs: dict[str, tuple[timedelta, Callable[[], object]]] = {
        "tidy": (TIDY_EVERY, lambda: tidy(transaction, kept)),
        "orphans": (TIDY_EVERY, lambda: _end_orphaned(transaction)),
        **alerting.jobs,
    }
    if upkeep:
        jobs |= {
            "settle": (UPKEEP_EVERY, whatsapp.settle_interrupted),
            "hooks": (UPKEEP_EVERY, upkeep.hooks.check),
            "removals": (UPKEEP_EVERY, upkeep.removals.finish),
            "census": (CENSUS_EVERY, upkeep.census.take),
            "watch": (monitor.every, monitor.step),
        }
    if monitor.heartbeat:
        jobs["heartbeat"] = (heartbeat.EVERY, monitor.heartbeat.beat)
    return Schedule(jobs, monitor.leads)


def _end_orphaned(transaction: Transaction) -> None:
    with transaction() as connection:
        incidents.end_orphaned(connection)
