"""How the inbox and the fleet stand, for /metrics, asked of the database when somebody scrapes.

Every web process says the same: take the largest of them, not the sum. What is not known is left out, for no number
beats a wrong one. Labels are words of ours, never an instance or a phone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection, TextClause, text

from core.clock import Clock
from core.db import Transaction
from core.errors import AppError
from monitor.counters import OTHER
from monitor.policy.health import HealthState
from monitor.policy.servers import ServerState
from monitor.policy.standing import STALE_AFTER
from monitor.pulse import Pulse, pulse
from monitor.texts import GRAVITY
from monitor.watching.store import WATCHED

Look = Callable[[], Sequence[GaugeMetricFamily]]
FRESH_FOR = timedelta(seconds=5)
QUEUE_GAUGES = (
    "pending",
    "oldest_age_s",
    "processing",
    "parked",
    "waiting",
    "quarantined",
    "processed_total",
    "storms",
    "coalesced_total",
)
INSTANCES = text(f"""
SELECT CASE WHEN h.checked_at < now() - CAST(:stale AS interval) THEN 'unknown' ELSE h.state END AS word, count(*) AS n
FROM whatsapp_instances wi JOIN instance_health h ON h.instance_id = wi.id WHERE {WATCHED} GROUP BY word
""")  # noqa: S608 — a constant of ours
GATEWAYS = text("SELECT state AS word, count(*) AS n FROM gateway_health GROUP BY word")
INCIDENTS = text("SELECT kind AS word, count(*) AS n FROM incidents WHERE closed_at IS NULL GROUP BY word")
# the outbox keeps a year: those of what is open are few
DELIVERIES = text("""
SELECT state AS word, count(*) AS n FROM alert_deliveries
WHERE state = 'pending' OR alert_id IN (
    SELECT alerts.id FROM alerts JOIN incidents ON incidents.id = alerts.incident_id WHERE incidents.closed_at IS NULL
) GROUP BY word
""")
LATEST = text("""
SELECT coalesce(extract(epoch FROM now() - min(delivery.next_at)), 0)
FROM alert_deliveries AS delivery JOIN alert_targets AS target ON target.id = delivery.target_id
WHERE delivery.state = 'pending' AND target.enabled AND delivery.next_at < now()
""")
DELIVERY_STATES = ("pending", "sent", "collapsed", "muted", "failed")


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A gauge whose `query` counts rows by a word, with one label of these `words` and `other`. `only_found`: without
    any row nothing is known."""

    name: str
    about: str
    label: str
    words: tuple[str, ...]
    query: TextClause
    only_found: bool = False


FLEET = (
    Counted(
        name="zelador_instances",
        about="Instances under watch; unknown: not looked at for three intervals",
        label="state",
        words=tuple(HealthState),
        query=INSTANCES,
    ),
    Counted(
        name="zelador_gateway",
        about="Gateway servers",
        label="state",
        words=tuple(ServerState),
        query=GATEWAYS,
        only_found=True,
    ),
    Counted(
        name="zelador_incidents_open",
        about="Incidents that have not ended, by the gravest of what was told",
        label="kind",
        words=tuple(map(str, GRAVITY)),
        query=INCIDENTS,
    ),
    Counted(
        name="zelador_alert_deliveries",
        about="Alerts on their way to targets: of open incidents, and all that are pending",
        label="state",
        words=DELIVERY_STATES,
        query=DELIVERIES,
    ),
)


class Gauges(Collector):
    """What `look` sees, five seconds old at most; nothing while it raises AppError."""

    def __init__(self, look: Look, clock: Clock) -> None:
        self._look, self._clock = look, clock
        self._known: tuple[datetime, Sequence[GaugeMetricFamily]] | None = None

    def collect(self) -> Iterable[GaugeMetricFamily]:
        now = self._clock.now()
        try:
            if self._known is None or now - self._known[0] >= FRESH_FOR:
                self._known = now, self._look()
        except AppError:
            return ()
        return self._known[1]


def of_inbox(queue_stats: Callable[[], dict[str, Any]]) -> Look:
    """`queue_stats`: webhooks.stats.QueueStats."""

    def look() -> list[GaugeMetricFamily]:
        stats = queue_stats()
        known = {name: stats[name] for name in QUEUE_GAUGES if stats[name] is not None}
        return [GaugeMetricFamily(f"zelador_inbox_{name}", f"Inbox: {name}", value=v) for name, v in known.items()]

    return look


def of_fleet(transaction: Transaction, interval: timedelta) -> Look:
    """`interval`: between two checks of an instance."""

    def look() -> list[GaugeMetricFamily]:
        with transaction() as connection:
            found = pulse(connection)
            if found is None:
                return []
            known = _of_monitor(found)
            return known + _counted(connection, interval) if found.silent_for is not None else known

    return look


def _of_monitor(found: Pulse) -> list[GaugeMetricFamily]:
    known = [GaugeMetricFamily("zelador_monitor_leading", "Whether a monitor leads", value=found.is_led)]
    if found.silent_for is not None:
        about = "Since the last step of the watch"
        age_s = found.silent_for.total_seconds()
        known.append(GaugeMetricFamily("zelador_monitor_last_tick_age_seconds", about, value=age_s))
    return known


def _counted(connection: Connection, interval: timedelta) -> list[GaugeMetricFamily]:
    values = {"gateway": None, "stale": STALE_AFTER * interval}
    found = [family for gauge in FLEET if (family := _family(connection, gauge, values))]
    late_s = float(connection.execute(LATEST).scalar_one())
    about = "How late the alert is that should have left longest ago"
    return [*found, GaugeMetricFamily("zelador_alert_late_seconds", about, value=late_s)]


def _family(connection: Connection, gauge: Counted, values: dict[str, Any]) -> GaugeMetricFamily | None:
    asked = {name: values[name] for name in gauge.query.compile().params}
    counts = {row.word: row.n for row in connection.execute(gauge.query, asked)}
    if gauge.only_found and not counts:
        return None
    family = GaugeMetricFamily(gauge.name, gauge.about, labels=[gauge.label])
    for word in gauge.words:
        family.add_metric([word], counts.pop(word, 0))
    if counts:
        family.add_metric([OTHER], sum(counts.values()))
    return family
