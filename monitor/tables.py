"""Health, incidents, alerts. Written by `monitor` alone."""

from datetime import datetime, time
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index, Text, Time, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base

MOMENT = DateTime(timezone=True)
INSTANCE = "whatsapp_instances.id"
BIGGEST = 2**63  # no number of ours reaches it, and PostgreSQL's bigint cannot say it


class MonitorTerm(Base):
    """Who leads, by the database's clock. Each new leader has a higher term, which all that it writes carries."""

    __tablename__ = "monitor_terms"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    holder: Mapped[str] = mapped_column(Text)
    term: Mapped[int] = mapped_column(BigInteger)
    until: Mapped[datetime] = mapped_column(MOMENT)
    ticked_at: Mapped[datetime | None] = mapped_column(MOMENT)


class InstanceHealth(Base):
    """`memory` is monitor.policy.health.Health as JSON, what differs from its defaults; the columns beside it are for
    questions. `version` rises with every change but `checked_at`: who decided on an older one decided on nothing.
    `noticed_at`: reports up to this time of our row have been taken in. `settled_until`: until then another open is no
    news."""

    __tablename__ = "instance_health"
    __table_args__ = (
        CheckConstraint(
            "state IN ('unknown', 'connecting', 'healthy', 'unhealthy', 'disconnected', 'error')", name="state"
        ),
        Index("ix_instance_health_incident", "incident_id", postgresql_where=text("incident_id IS NOT NULL")),
        {"postgresql_with": {"fillfactor": 70}},
    )

    instance_id: Mapped[UUID] = mapped_column(ForeignKey(INSTANCE, ondelete="CASCADE"), primary_key=True)
    state: Mapped[str] = mapped_column(Text, server_default="unknown")
    failures: Mapped[int] = mapped_column(server_default="0")
    memory: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    rhythm: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    version: Mapped[int] = mapped_column(BigInteger, server_default="0")
    due_at: Mapped[datetime] = mapped_column(MOMENT, server_default=func.now())
    checked_at: Mapped[datetime | None] = mapped_column(MOMENT)
    noticed_at: Mapped[datetime | None] = mapped_column(MOMENT)
    settled_until: Mapped[datetime | None] = mapped_column(MOMENT)
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id", ondelete="SET NULL"))
    public_token: Mapped[str | None] = mapped_column(Text, unique=True)


class GatewayHealth(Base):
    """`memory` is monitor.policy.servers.Server as JSON."""

    __tablename__ = "gateway_health"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    state: Mapped[str] = mapped_column(Text, server_default="up")
    memory: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id", ondelete="SET NULL"))


class HealthInterval(Base):
    """For how long checks in a row said the same. The last one of an instance has no end: it lasts until the instance's
    `checked_at`."""

    __tablename__ = "health_intervals"
    __table_args__ = (
        CheckConstraint("verdict IN ('up', 'down', 'unknown')", name="verdict"),
        Index("uq_health_intervals_last", "instance_id", unique=True, postgresql_where=text("until IS NULL")),
        Index("ix_health_intervals_until", "until"),
    )

    instance_id: Mapped[UUID] = mapped_column(ForeignKey(INSTANCE, ondelete="CASCADE"), primary_key=True)
    since: Mapped[datetime] = mapped_column(MOMENT, primary_key=True)
    until: Mapped[datetime | None] = mapped_column(MOMENT)
    verdict: Mapped[str] = mapped_column(Text)


class ConnectionEvent(Base):
    """The history of reconnecting: what was tried (`action`: connect, restart or revive), the `number`th time in its
    episode, and what the gateway answered (null: nobody knows, the process died over it). `taken_in`: the judge has
    heard of the answer."""

    __tablename__ = "connection_events"
    __table_args__ = (
        Index("ix_connection_events_instance", "instance_id", "id"),
        Index("ix_connection_events_at", "at"),
        Index("ix_connection_events_incident", "incident_id", postgresql_where=text("incident_id IS NOT NULL")),
        Index("ix_connection_events_news", "instance_id", postgresql_where=text("NOT taken_in")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    instance_id: Mapped[UUID] = mapped_column(ForeignKey(INSTANCE, ondelete="CASCADE"))
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id", ondelete="SET NULL"))
    at: Mapped[datetime] = mapped_column(MOMENT)
    action: Mapped[str] = mapped_column(Text)
    number: Mapped[int]
    reason: Mapped[int | None]
    outcome: Mapped[str | None] = mapped_column(Text)
    taken_in: Mapped[bool] = mapped_column(server_default=text("false"))
    ended_at: Mapped[datetime | None] = mapped_column(MOMENT)


class Incident(Base):
    """From the first thing that people are told until all is well. `kind`: the gravest of what was told; about an
    instance, or about a gateway server (then `instance_id` is null)."""

    __tablename__ = "incidents"
    __table_args__ = (
        Index("ix_incidents_instance", "instance_id", "id"),
        Index("ix_incidents_open", "opened_at", postgresql_where=text("closed_at IS NULL")),
        Index("ix_incidents_closed", "closed_at", postgresql_where=text("closed_at IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    gateway: Mapped[str] = mapped_column(Text)
    instance_id: Mapped[UUID | None] = mapped_column(ForeignKey(INSTANCE, ondelete="SET NULL"))
    instance_name: Mapped[str | None] = mapped_column(Text)
    user_id: Mapped[UUID | None]
    organization_id: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    reason: Mapped[int | None]
    opened_at: Mapped[datetime] = mapped_column(MOMENT)
    closed_at: Mapped[datetime | None] = mapped_column(MOMENT)
    acknowledged_at: Mapped[datetime | None] = mapped_column(MOMENT)
    acknowledged_by: Mapped[str | None] = mapped_column(Text)
    reminded_at: Mapped[datetime | None] = mapped_column(MOMENT)


class IncidentStep(Base):
    """An incident's timeline. `kind`: signal (what the gateway said), verdict (what we made of it), action, notice,
    person; `code` says which, `facts` hold numbers and names of codes, never texts of people."""

    __tablename__ = "incident_steps"
    __table_args__ = (
        CheckConstraint("kind IN ('signal', 'verdict', 'action', 'notice', 'person')", name="kind"),
        Index("ix_incident_steps_incident", "incident_id", "at", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(MOMENT)
    kind: Mapped[str] = mapped_column(Text)
    code: Mapped[str] = mapped_column(Text)
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")


class Alert(Base):
    """Something that people are told, written in the transaction that decided it. `dedupe`: `<incident>:<kind>`, so
    that nothing is said twice."""

    __tablename__ = "alerts"
    __table_args__ = (Index("uq_alerts_dedupe", "dedupe", unique=True), Index("ix_alerts_incident", "incident_id"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id", ondelete="CASCADE"))
    dedupe: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(Text)
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    at: Mapped[datetime] = mapped_column(MOMENT)


class AlertTarget(Base):
    """Where alerts of an organization go (null: of all); `sealed` holds its URL. Quiet hours are of its own `timezone`;
    with `digest_minutes` what comes within that time is told at once, together. `failures`: messages in a row that it
    did not take."""

    __tablename__ = "alert_targets"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    organization_id: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    scheme: Mapped[str] = mapped_column(Text)
    sealed: Mapped[bytes]
    language: Mapped[str] = mapped_column(Text, server_default="pt")
    least: Mapped[str] = mapped_column(Text, server_default="warning")
    kinds: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    quiet_from: Mapped[time | None] = mapped_column(Time)
    quiet_until: Mapped[time | None] = mapped_column(Time)
    timezone: Mapped[str] = mapped_column(Text, server_default="America/Sao_Paulo")
    digest_minutes: Mapped[int | None]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    failures: Mapped[int] = mapped_column(server_default="0")
    from_env: Mapped[bool] = mapped_column(server_default=text("false"))
    created_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(MOMENT, server_default=func.now())


class AlertDelivery(Base):
    """The outbox: one row an alert and target. `claimed_until`: somebody is sending it; by the database's clock.
    `failing_since`: it should have arrived then, and has not yet."""

    __tablename__ = "alert_deliveries"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'sent', 'collapsed', 'muted', 'failed')", name="state"),
        Index("uq_alert_deliveries_target", "alert_id", "target_id", unique=True),
        Index("ix_alert_deliveries_target", "target_id", "state"),
        Index("ix_alert_deliveries_due", "next_at", postgresql_where=text("state = 'pending'")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alerts.id", ondelete="CASCADE"))
    target_id: Mapped[UUID] = mapped_column(ForeignKey("alert_targets.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(Text, server_default="pending")
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_at: Mapped[datetime] = mapped_column(MOMENT)
    claimed_until: Mapped[datetime | None] = mapped_column(MOMENT)
    failing_since: Mapped[datetime | None] = mapped_column(MOMENT)
    sent_at: Mapped[datetime | None] = mapped_column(MOMENT)
    error: Mapped[str | None] = mapped_column(Text)


class AlertSilence(Base):
    """`mute`: nothing is sent to targets; `maintenance`: nothing is checked, decided or sent either. Of one instance,
    of an organization, or (both null) of all."""

    __tablename__ = "alert_silences"
    __table_args__ = (
        CheckConstraint("kind IN ('mute', 'maintenance')", name="kind"),
        CheckConstraint("ends_at > starts_at", name="ends_after_start"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    instance_id: Mapped[UUID | None] = mapped_column(ForeignKey(INSTANCE, ondelete="CASCADE"))
    organization_id: Mapped[str | None] = mapped_column(Text)
    starts_at: Mapped[datetime] = mapped_column(MOMENT)
    ends_at: Mapped[datetime] = mapped_column(MOMENT)
    reason: Mapped[str | None] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(MOMENT, server_default=func.now())
