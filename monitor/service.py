"""What others may ask of the monitor: health, history, incidents, a public status. Each method opens a transaction."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, func, select

from core import audit
from core.clock import Clock
from core.db import Transaction
from core.errors import NotFound
from monitor import casebook, history, incidents, overview
from monitor.casebook import IncidentRecord, Wanted
from monitor.history import Window
from monitor.incidents import Step
from monitor.overview import Freshness, Place
from monitor.postmortem import Report, report, told
from monitor.texts import severity, words
from monitor.views import HealthView, Interval, Reconnection, Uptime

DAYS, MONTH = 90, timedelta(days=30)
MOST_INTERVALS, MOST_RECONNECTIONS = 2_000, 100
TOKEN_BYTES = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """An incident and what it is called. `severity`: info, warning or critical."""

    incident: IncidentRecord
    title: str
    severity: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Day:
    since: datetime
    uptime: Uptime


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """Of one instance. `intervals`: of the last 90 days, the oldest first; `days`: the same in days of UTC;
    `reconnections`: the newest first; `incident`: the open one."""

    health: HealthView
    intervals: Sequence[Interval]
    days: Sequence[Day]
    month: Uptime
    quarter: Uptime
    reconnections: Sequence[Reconnection]
    incident: Headline | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """`uptimes`: of the last 30 days; `last`: where the next page begins, None where this was the last one."""

    items: Sequence[HealthView]
    uptimes: Sequence[Uptime]
    last: Place | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """An incident with all that belongs to it; `lines`: its steps, in words where there are any."""

    headline: Headline
    lines: Sequence[tuple[Step, str | None]]
    report: Report


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicStatus:
    """`verdict`: up, down or unknown, `since` then. No names, no numbers of people."""

    verdict: str
    since: datetime | None
    checked_at: datetime | None
    uptime: Uptime


@dataclass(frozen=True)
class Monitoring:
    """`interval`: how often instances are looked at; a check older than three of them says nothing any more."""

    transaction: Transaction
    clock: Clock
    interval: timedelta = field(default=timedelta(seconds=60), kw_only=True)

    def health_of(self, user_id: UUID) -> HealthView | None:
        """The user's instance; None where there is none."""
        with self.transaction() as connection:
            return overview.by_user(connection, user_id, self._fresh(connection))

    def find_instances(self, *, organization_id: str | None, limit: int, after: Place | None) -> Listed:
        """Instances by name, `limit` of them beyond `after`."""
        now = self.clock.now()
        with self.transaction() as connection:
            found = overview.listed(
                connection, self._fresh(connection), organization_id=organization_id, limit=limit + 1, after=after
            )
            items = found[:limit]
            month = history.uptime(connection, [one.id for one in items], [Window(since=now - MONTH, until=now)])
        last = (items[-1].instance_name, items[-1].id) if len(found) > limit else None
        return Listed(items=items, uptimes=[month[one.id][0] for one in items], last=last)

    def instance_history(self, name: str, *, language: str = "pt") -> History:
        """Raises NotFound."""
        with self.transaction() as connection:
            return self._history(connection, overview.by_name(connection, name, self._fresh(connection)), language)

    def history_of(self, user_id: UUID, *, language: str = "pt") -> History:
        """The user's own. Raises NotFound."""
        with self.transaction() as connection:
            return self._history(connection, overview.by_user(connection, user_id, self._fresh(connection)), language)

    def find_incidents(
        self,
        *,
        open: bool | None = None,
        kind: str | None = None,
        instance_name: str | None = None,
        organization_id: str | None = None,
        user_id: UUID | None = None,
        limit: int,
        before: int | None,
        language: str = "pt",
    ) -> list[Headline]:
        """Incidents that meet all of it, newest first, older than the one numbered `before`."""
        wanted = Wanted(
            open=open, kind=kind, instance_name=instance_name, organization_id=organization_id, user_id=user_id
        )
        with self.transaction() as connection:
            found = casebook.newest(connection, wanted, before=before, limit=limit)
        return [_headline(one, language) for one in found]

    def incident(self, incident_id: int, *, user_id: UUID | None = None, language: str = "pt") -> Story:
        """One with its timeline and report. Raises NotFound; with `user_id` also for what is not theirs."""
        with self.transaction() as connection:
            found = casebook.find(connection, incident_id, user_id=user_id)
            steps = casebook.timeline(connection, incident_id)
        return Story(
            headline=_headline(found, language),
            lines=[(step, told(step, language)) for step in steps],
            report=report(found, steps, language),
        )

    def acknowledge(self, incident_id: int, by: str, *, language: str = "pt") -> Headline:
        """Somebody knows of it: no more reminders. Twice is safe. Raises NotFound."""
        with self.transaction() as connection:
            casebook.find(connection, incident_id)
            incidents.acknowledge(connection, incident_id, by, self.clock.now())
            return _headline(casebook.find(connection, incident_id), language)

    def make_public(self, user_id: UUID) -> str:
        """Show the status of the user's instance to everybody who has its token; the token. Twice is safe.
        Raises NotFound."""
        with self.transaction() as connection:
            token = overview.publish(connection, user_id, secrets.token_urlsafe(TOKEN_BYTES))
            if token is None:
                raise NotFound("This user has no WhatsApp instance", code="INSTANCE_NOT_FOUND")
            audit.note(connection, actor=str(user_id), action="public_status.on", subject=f"user_{user_id}")
            return token

    def make_private(self, user_id: UUID) -> None:
        """The token ends; another one is made the next time."""
        with self.transaction() as connection:
            overview.hide(connection, user_id)
            audit.note(connection, actor=str(user_id), action="public_status.off", subject=f"user_{user_id}")

    def public_status(self, token: str) -> PublicStatus:
        """Raises NotFound."""
        now = self.clock.now()
        with self.transaction() as connection:
            fresh = self._fresh(connection)
            one = overview.by_token(connection, token, fresh)
            if one is None:
                raise NotFound("There is no such status", code="STATUS_NOT_FOUND")
            running = history.intervals(connection, one.id, now - MONTH, most=1)
            month = history.uptime(connection, [one.id], [Window(since=now - MONTH, until=now)])[one.id][0]
        if not running or fresh.is_stale(one.checked_at):
            return PublicStatus(verdict="unknown", since=one.checked_at, checked_at=one.checked_at, uptime=month)
        (last,) = running
        return PublicStatus(verdict=last.verdict, since=last.since, checked_at=one.checked_at, uptime=month)

    def _fresh(self, connection: Connection) -> Freshness:
        """By the database's clock, as the monitor's own time is: this host's may be another."""
        now = connection.execute(select(func.now())).scalar_one()
        return Freshness(now=now, interval=self.interval)

    def _history(self, connection: Connection, one: HealthView | None, language: str) -> History:
        if one is None:
            raise NotFound("There is no such instance", code="INSTANCE_NOT_FOUND")
        now = self.clock.now()
        days = history.days(DAYS, now)
        spans = [Window(since=now - MONTH, until=now), Window(since=days[0].since, until=now)]
        each = history.uptime(connection, [one.id], [*days, *spans])[one.id]
        incident = casebook.find(connection, one.incident_id) if one.incident_id else None
        return History(
            health=one,
            intervals=history.intervals(connection, one.id, days[0].since, most=MOST_INTERVALS),
            days=[Day(since=day.since, uptime=up) for day, up in zip(days, each[:DAYS], strict=True)],
            month=each[-2],
            quarter=each[-1],
            reconnections=history.reconnections(connection, one.id, limit=MOST_RECONNECTIONS),
            incident=_headline(incident, language) if incident else None,
        )


def _headline(incident: IncidentRecord, language: str) -> Headline:
    title = words(incident.kind, {}, language).title
    return Headline(incident=incident, title=title, severity=severity(incident.kind))
