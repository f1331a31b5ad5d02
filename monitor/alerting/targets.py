"""Where alerts go: targets that administrators keep, and those of ALERT_URLS. Their URLs are sealed and never shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Final, Protocol
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select, text, update

from core import audit
from core.crypto import Vault
from core.db import Transaction
from core.errors import AppError, Conflict, NotFound
from core.target_rules import Place, read
from monitor.alerting.letter import trial
from monitor.tables import AlertTarget

# `undelivered`: what still waits or was given up within a day; `error`: why the last of it
LIST = text("""
SELECT target.id, organization_id, name, scheme, language, least, kinds, quiet_from, quiet_until, timezone,
    digest_minutes, enabled, from_env, created_by, created_at, undelivered, error
FROM alert_targets AS target CROSS JOIN LATERAL (
    SELECT count(*) AS undelivered, (array_agg(error ORDER BY id DESC) FILTER (WHERE error IS NOT NULL))[1] AS error
    FROM alert_deliveries
    WHERE target_id = target.id
      AND (state = 'pending' AND attempts > 0 OR state = 'failed' AND next_at > now() - interval '1 day')
) AS trouble
WHERE CAST(:id AS uuid) IS NULL OR target.id = :id
ORDER BY created_at, target.id
""")
# what changed may be why it did not work, or when it should
AT_ONCE = text("UPDATE alert_deliveries SET next_at = now() WHERE target_id = :id AND state = 'pending'")
GIVE_UP = text("""
UPDATE alert_deliveries SET state = 'failed', error = 'TARGET_DISABLED'
WHERE state = 'pending' AND target_id IN (SELECT id FROM alert_targets WHERE NOT enabled)
""")
ALONE = text("LOCK TABLE alert_targets IN SHARE ROW EXCLUSIVE MODE")
FIELDS: Final = (
    "url", "organization_id", "name", "language", "least", "kinds", "quiet_from", "quiet_until", "timezone",
    "digest_minutes", "enabled",
)  # fmt: skip
ENVIRONMENT: Final = "ALERT_URLS"


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetRecord:
    """A target without its URL (monitor.tables.AlertTarget). `undelivered`: alerts it has not taken, `error`: the code
    of why."""

    id: UUID
    organization_id: str | None
    name: str
    scheme: str
    language: str
    least: str
    kinds: Sequence[str] | None
    quiet_from: time | None
    quiet_until: time | None
    timezone: str
    digest_minutes: int | None
    enabled: bool
    from_env: bool
    created_by: str
    created_at: datetime
    undelivered: int
    error: str | None


class Channel(Protocol):
    """monitor.alerting.channels.Channels"""

    def check(self, url: str) -> Place: ...
    def send(self, url: str, title: str, body: str, severity: str = "info") -> None: ...


class Targets:
    """Every change leaves an audit row, without the URL."""

    def __init__(self, transaction: Transaction, vault: Vault, channel: Channel) -> None:
        self._transaction, self._vault, self._channel = transaction, vault, channel

    def list(self) -> list[TargetRecord]:
        with self._transaction() as connection:
            return _listed(connection)

    def add(self, given: Mapping[str, Any], by: str) -> TargetRecord:
        """`given`: FIELDS, of which `url` must be there. Raises Malformed where alerts may not go there."""
        place = self._channel.check(given["url"])
        with self._transaction() as connection:
            values = {"name": place.shown, **given, **self._sealed(given["url"], place), "created_by": by}
            target_id = _inserted(connection, values)
            _note(connection, by, "alert_target.added", target_id, given)
            return _shown(connection, target_id)

    def change(self, target_id: UUID, given: Mapping[str, Any], by: str) -> TargetRecord:
        """Raises NotFound, Malformed, and Conflict for the URL of one from the environment."""
        place = self._channel.check(given["url"]) if "url" in given else None
        values = {name: value for name, value in given.items() if name != "url"}
        with self._transaction() as connection:
            before = _found(connection, target_id)
            if place and before.from_env:
                raise Conflict("This target's URL comes from ALERT_URLS", code="FROM_ENVIRONMENT")
            values |= self._sealed(given["url"], place) if place else {}
            if values:
                connection.execute(update(AlertTarget).where(AlertTarget.id == target_id).values(values))
            connection.execute(AT_ONCE, {"id": target_id})
            connection.execute(GIVE_UP)
            _note(connection, by, "alert_target.changed", target_id, given)
            return _shown(connection, target_id)

    def remove(self, target_id: UUID, by: str) -> None:
        """What it has not got yet goes with it. Raises NotFound, and Conflict for one from the environment."""
        with self._transaction() as connection:
            before = _found(connection, target_id)
            if before.from_env and before.enabled:
                raise Conflict("This target comes from ALERT_URLS", code="FROM_ENVIRONMENT")
            connection.execute(delete(AlertTarget).where(AlertTarget.id == target_id))
            _note(connection, by, "alert_target.removed", target_id, {})

    def try_out(self, target_id: UUID, by: str) -> None:
        """Send a test message now. Raises NotFound, and NotSent with the code of what went wrong."""
        with self._transaction() as connection:
            target = _found(connection, target_id)
            _note(connection, by, "alert_target.tested", target_id, {})
        said = trial(target.language)
        self._channel.send(self._vault.open(target.sealed)["url"], said.title, said.body, said.severity)

    def from_environment(self, urls: Sequence[str]) -> None:
        """Bring the rows of ALERT_URLS in line with it; what it does not name any more is switched off. Twice is safe.

        Whether hosts resolve is left to each sending: a name server's trouble must not keep the others from being told.
        """
        places = {url: read(url) for url in urls}
        with self._transaction() as connection:
            connection.execute(ALONE)  # several monitors may start at once
            query = select(AlertTarget.id, AlertTarget.sealed).where(AlertTarget.from_env)
            known = {self._opened(row.sealed): row.id for row in connection.execute(query)}
            wanted = [known[url] for url in places if url in known]
            ours = update(AlertTarget).where(AlertTarget.from_env)
            connection.execute(ours.where(AlertTarget.id.not_in(wanted)).values(enabled=False))
            connection.execute(ours.where(AlertTarget.id.in_(wanted)).values(enabled=True))
            connection.execute(GIVE_UP)
            for url, place in places.items():
                if url not in known:
                    values = {"name": place.shown, "from_env": True, "created_by": ENVIRONMENT}
                    _inserted(connection, values | self._sealed(url, place))

    def _sealed(self, url: str, place: Place) -> dict[str, Any]:
        return {"sealed": self._vault.seal({"url": url}), "scheme": place.scheme}

    def _opened(self, sealed: bytes) -> str | None:
        """None where its key is lost."""
        try:
            return self._vault.open(sealed)["url"]
        except AppError:
            return None


def _inserted(connection: Connection, values: Mapping[str, Any]) -> UUID:
    row = {name: value for name, value in values.items() if name != "url"}
    return connection.execute(insert(AlertTarget).values(row).returning(AlertTarget.id)).scalar_one()


def _listed(connection: Connection, target_id: UUID | None = None) -> list[TargetRecord]:
    return [TargetRecord(**row) for row in connection.execute(LIST, {"id": target_id}).mappings()]


def _shown(connection: Connection, target_id: UUID) -> TargetRecord:
    return _listed(connection, target_id)[0]


def _found(connection: Connection, target_id: UUID) -> Any:
    """Its row, held until the transaction ends."""
    query = select(AlertTarget.__table__).where(AlertTarget.id == target_id).with_for_update(key_share=True)
    if (row := connection.execute(query).first()) is None:
        raise NotFound("There is no such alert target", code="ALERT_TARGET_NOT_FOUND")
    return row


def _note(connection: Connection, by: str, action: str, target_id: UUID, given: Mapping[str, Any]) -> None:
    """Which fields were set, and to what; of the URL only that it was."""
    details = {name: value for name, value in given.items() if name != "url"} | (
        {"url": "set"} if "url" in given else {}
    )
    audit.note(connection, actor=by, action=action, subject=str(target_id), details=details)
