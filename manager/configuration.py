"""What administrators decided over the environment: which gateway, and whether WhatsApp is on at all.

Called by the API and by whoever makes providers. One row; the key in it is sealed and never told.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from core import audit
from core.clock import Clock
from core.crypto import Vault
from core.db import Transaction
from core.errors import AppError, Malformed, StorageUnavailable
from core.setting_kinds import BaseUrl
from manager.tables import SystemConfiguration

log = structlog.get_logger()
PROVIDERS = ("evolution", "wppconnect", "broker")
REMEMBERED = timedelta(seconds=5)
URL: TypeAdapter[str] = TypeAdapter(BaseUrl)
WRITTEN_URL = re.compile(r"[!-~]{1,2000}")
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
KEY = re.compile(r"[!-~]{1,512}")  # it goes into headers
LOST = "lost"  # good for no server: the environment's in its place might go to a stranger's
COLUMNS = {
    "enabled": "whatsapp_enabled",
    "provider": "provider",
    "url": "whatsapp_evolution_api_url",
    "instance_name": "whatsapp_instance_name",
    "key": "whatsapp_evolution_api_key",
}


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """None: what the environment says. With a `url` there is always a `key`: the environment's is for the
    environment's server. It is LOST where APP_ENCRYPTION_KEY does not open it any more. `instance_name` is kept and
    shown; it names no user's instance."""

    enabled: bool = True
    provider: str | None = None
    url: str | None = None
    instance_name: str | None = None
    key: str | None = field(default=None, repr=False)


class Configurations:
    """Safe for many threads. Another process's change is seen within 5 s. `is_named`: whether the environment names a
    provider's server."""

    def __init__(
        self,
        transaction: Transaction,
        vault: Vault,
        clock: Clock,
        *,
        is_named: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._transaction, self._vault, self._clock, self._is_named = transaction, vault, clock, is_named
        self._known, self._changes = Configuration(), 0
        self._asked_at: datetime | None = None

    def current(self) -> Configuration:
        """Remembered for 5 s. While the database is away the last one that is known, or the default."""
        now, changes = self._clock.now(), self._changes
        if self._asked_at and abs(now - self._asked_at) < REMEMBERED:
            return self._known
        try:
            with self._transaction() as connection:
                found = self._read(connection)
        except (StorageUnavailable, SQLAlchemyError):
            found = self._known
        if changes == self._changes:  # else it was changed while we read what was before
            self._known, self._asked_at = found, now
        return found

    def change(self, actor: str, **values: object) -> Configuration:
        """Set these fields of Configuration; None and "" give one back to the environment. Leaves an audit row, without
        the key. A transaction of its own.

        Another URL needs its key along with it, so that nobody can send a key to a server it is not for; with the
        URL the key goes back too. With another provider it must be said what becomes of them. Raises Malformed with the
        field's name, StorageUnavailable.
        """
        given = {name: _checked(name, value) for name, value in values.items()}
        with self._transaction() as connection:
            connection.execute(insert(SystemConfiguration).values(id=1).on_conflict_do_nothing())
            before = self._read(connection, lock=True)
            given = _with_its_key(before, given)
            after = replace(before, **given)
            if (
                after.provider != before.provider
                and after.provider
                and not (after.url or self._is_named(after.provider))
            ):
                raise Malformed("the environment names no server of this provider: give url and key", field="url")
            connection.execute(update(SystemConfiguration).values(self._row(given)))
            told = given | ({"key": "set" if given["key"] else None} if "key" in given else {})
            audit.note(connection, actor=actor, action="configuration.changed", subject="whatsapp", details=told)
        self._changes += 1
        self._known, self._asked_at = after, None
        return self._known

    def _read(self, connection: Connection, *, lock: bool = False) -> Configuration:
        query = select(SystemConfiguration.__table__)
        row = connection.execute(query.with_for_update() if lock else query).mappings().first()
        if row is None:
            return Configuration()
        values = {name: row[column] for name, column in COLUMNS.items()}
        return Configuration(**values | {"key": self._opened(values["key"])})

    def _opened(self, sealed: bytes | None) -> str | None:
        try:
            return None if sealed is None else self._vault.open(sealed)["key"]
        except AppError as error:
            log.error("configuration_key_lost", error_code=error.code)
            return LOST

    def _row(self, given: Mapping[str, Any]) -> dict[str, Any]:
        row = {COLUMNS[name]: value for name, value in given.items()}
        if given.get("key"):
            row[COLUMNS["key"]] = self._vault.seal({"key": given["key"]})
        return row | {"updated_at": func.now()}


def _with_its_key(before: Configuration, given: dict[str, Any]) -> dict[str, Any]:
    by_hand = "url" if before.url else "key" if before.key else None
    if given.get("provider", before.provider) != before.provider and by_hand and by_hand not in given:
        raise Malformed(f"{by_hand} must be given along with another provider, or null", field=by_hand)
    if given.get("url", before.url) == before.url:
        needs_key = before.url is not None and "key" in given and given["key"] is None
    elif given["url"] is None:
        return {"key": None, **given}
    else:
        needs_key = given.get("key") is None
    if needs_key:
        raise Malformed("key must be given along with a url of its own", field="key")
    return given


def _checked(name: str, value: object) -> Any:
    """As it is kept. Raises Malformed."""
    if name not in CHECKS:
        raise Malformed(f"{name} is no setting; there are {', '.join(CHECKS)}", field=name)
    if isinstance(value, str):
        value = value.strip() or None
    return value if value is None and name != "enabled" else CHECKS[name](value)


def _enabled(value: object) -> bool:
    if not isinstance(value, bool):
        raise Malformed("enabled must be true or false", field="enabled")
    return value


def _provider(value: object) -> str:
    if value not in PROVIDERS:
        raise Malformed(f"provider must be one of {', '.join(PROVIDERS)}", field="provider")
    return str(value)


def _url(value: object) -> str:
    try:
        return URL.validate_python(_matching("url", WRITTEN_URL, value, "must look like http://host:port"))
    except ValidationError as error:
        raise Malformed(f"url {error.errors()[0]['msg']}", field="url") from None


def _matching(name: str, pattern: re.Pattern[str], value: object, otherwise: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Malformed(f"{name} {otherwise}", field=name)
    return value


CHECKS: Mapping[str, Callable[[object], Any]] = {
    "enabled": _enabled,
    "provider": _provider,
    "url": _url,
    "instance_name": lambda value: _matching("instance_name", NAME, value, "may have letters, digits, _ and -"),
    "key": lambda value: _matching("key", KEY, value, "must be 1 to 512 characters without spaces"),
}
