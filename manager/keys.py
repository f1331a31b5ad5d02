"""The webhook keys of instances: made here, sealed at rest, read by the gate through bootstrap."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, Select, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from core.access import user_uuid
from core.crypto import Vault, fingerprint
from core.db import Transaction
from core.errors import Malformed
from manager.tables import Instance, WebhookKey

OVERLAP = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class HookKeys:
    """What a gateway sends us with each event of one instance."""

    token: str
    jwt_key: str


def keys_of(connection: Connection, vault: Vault, instance_id: UUID) -> HookKeys:
    """The newest keys of an instance; made when it has none. The caller's transaction."""
    query = select(WebhookKey.sealed).where(WebhookKey.instance_id == instance_id)
    sealed = connection.execute(query.order_by(WebhookKey.created_at.desc()).limit(1)).scalar()
    return HookKeys(**vault.open(sealed)) if sealed is not None else _make(connection, vault, instance_id)


def rotate(connection: Connection, vault: Vault, instance_id: UUID) -> HookKeys:
    """New keys; the ones before stay good for a day: the gateway's retries carry them for up to 25 minutes."""
    ending = update(WebhookKey).where(WebhookKey.instance_id == instance_id, WebhookKey.expires_at.is_(None))
    connection.execute(ending.values(expires_at=func.now() + OVERLAP))
    return _make(connection, vault, instance_id)


def prune(connection: Connection, age: timedelta) -> int:
    """Drop keys that ended longer ago than `age`. Rows dropped."""
    return connection.execute(delete(WebhookKey).where(WebhookKey.expires_at < func.now() - age)).rowcount


def _make(connection: Connection, vault: Vault, instance_id: UUID) -> HookKeys:
    made = HookKeys(token=f"whk_{secrets.token_urlsafe(32)}", jwt_key=secrets.token_urlsafe(32))
    values = {
        "instance_id": instance_id,
        "token_hash": fingerprint(made.token),
        "sealed": vault.seal(vars(made)),
        "created_at": func.clock_timestamp(),  # later than the one before, also in one transaction
    }
    connection.execute(insert(WebhookKey).values(values))
    return made


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Whose key it is. `gateway_name`: what the gateway calls the instance."""

    instance: str
    gateway_name: str
    user_id: UUID | None


@dataclass(frozen=True)
class KeyCabinet:
    """Answers the gate's questions; each in a short transaction of its own. All raise StorageUnavailable."""

    transaction: Transaction
    vault: Vault

    def token_owner(self, token_hash: bytes) -> Holder | None:
        """Whose the key with this hash is, while it is good."""
        query = _HOLDER.join(WebhookKey).where(WebhookKey.token_hash == token_hash, _GOOD)
        return self._holder(query)

    def jwt_keys(self, instance: str) -> list[str]:
        query = select(WebhookKey.sealed).join(Instance).where(Instance.instance_name == instance, _GOOD)
        with self.transaction() as connection:
            return [self.vault.open(sealed)["jwt_key"] for sealed in connection.execute(query).scalars()]

    def provider_of(self, instance: str) -> str | None:
        """Which kind of gateway an instance is on; None where there is none of this name."""
        query = select(Instance.provider).where(Instance.instance_name == instance)
        with self.transaction() as connection:
            provider: str | None = connection.execute(query).scalar()
        return provider

    def user_instance(self, user_id: str) -> Holder | None:
        """A user's instance; None also for what is no user id."""
        try:
            return self._holder(_HOLDER.where(Instance.user_id == user_uuid(user_id)))
        except Malformed:
            return None

    def _holder(self, query: Select[str, str | None, UUID | None]) -> Holder | None:
        with self.transaction() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        name = row.instance_name
        return Holder(instance=name, gateway_name=row.gateway_name or name, user_id=row.user_id)


_HOLDER = select(Instance.instance_name, Instance.gateway_name, Instance.user_id)
_GOOD = or_(WebhookKey.expires_at.is_(None), WebhookKey.expires_at > func.now())
