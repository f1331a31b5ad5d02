"""The keys that webhooks come with, wired: the gate asks, the manager's cabinet has them."""

from dataclasses import dataclass

from manager.keys import Holder, KeyCabinet
from webhooks.gate import KeyOwner


@dataclass(frozen=True)
class Keys:
    """The gate's KeyRing over the manager's cabinet."""

    cabinet: KeyCabinet

    def by_token(self, token_hash: bytes) -> KeyOwner | None:
        return _owner(self.cabinet.token_owner(token_hash))

    def by_instance(self, instance: str) -> list[str]:
        return self.cabinet.jwt_keys(instance)

    def gateway_of(self, instance: str) -> str | None:
        return self.cabinet.provider_of(instance)

    def by_user(self, user_id: str) -> KeyOwner | None:
        return _owner(self.cabinet.user_instance(user_id))


def _owner(found: Holder | None) -> KeyOwner | None:
    if found is None:
        return None
    user_id = str(found.user_id) if found.user_id else None
    return KeyOwner(instance=found.instance, user_id=user_id, gateway_name=found.gateway_name)
