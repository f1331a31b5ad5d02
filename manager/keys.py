"""The webhook keys of instances: made here, sealed at rest, read by the gate through bootstrap."""

import secrets
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from core.access import user_uuid
from core.crypto import Vault, fingerprint
from core.db import Transaction
from core.errors import Malformed
from manager.tables import Instance, WebhookKey


@dataclass(frozen=True, kw_only=True)
class HookKeys:
    """What a gateway sends us with each event of one instance."""

    token: str
    jwt_key: str


def keys_of(connection: Connection, vault: Vault, instance_id: UUID) -> HookKeys:
    """The newest keys of an instance; made when it has none. The caller's transaction."""
    query = select(WebhookKey.sealed).where(WebhookKey.instance_id == instance_id)
    sealed = connection.execute(query.order_by(WebhookKey.created_at.desc()).limit(1)).scalar()
    if sealed is not None:
        return HookKeys(**vault.open(sealed))
    made = HookKeys(token=f"whk_{secrets.token_urlsafe(32)}", jwt_key=secrets.token_urlsafe(32))
    values = {
        "instance_id": instance_id,
        "token_hash": fingerprint(made.token),
        "sealed": vault.seal(vars(made)),
    }
    connection.execute(insert(WebhookKey).values(values))
    return made


@dataclass(frozen=True)
class KeyCabinet:
    """Answers the gate's questions; each in a short transaction of its own. All raise StorageUnavailable."""

    transaction: Transaction
    vault: Vault

    def token_owner(self, token_hash: bytes) -> tuple[str, UUID | None] | None:
        """Instance name and user of the key with this hash."""
        query = select(Instance.instance_name, Instance.user_id).join(WebhookKey).where(
            WebhookKey.token_hash == token_hash
        )  # fmt: skip
        with self.transaction() as connection:
            found = connection.execute(query).first()
        return (found.instance_name, found.user_id) if found else None

    def jwt_keys(self, instance: str) -> list[str]:
        query = select(WebhookKey.sealed).join(Instance).where(Instance.instance_name == instance)
        with self.transaction() as connection:
            return [self.vault.open(sealed)["jwt_key"] for sealed in connection.execute(query).scalars()]

    def user_instance(self, user_id: str) -> str | None:
        """The name of a user's instance; None also for what is no user id."""
        try:
            query = select(Instance.instance_name).where(Instance.user_id == user_uuid(user_id))
        except Malformed:
            return None
        with self.transaction() as connection:
            return connection.execute(query).scalar()
