"""A gateway in memory, with Evolution's manners: for tests and demonstrations without HTTP.

`scan` and `drop` play the phone. What takes Evolution a moment is at once here, but for the end of an instance: it is
gone only after `state` has been asked for it a few times.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count

from core.errors import InstanceUnknown, InvalidRecipient, NameInUse, NotConnected, ProviderError
from manager.providers.port import Found, Hook, HookSeen, Pairing, Sent, Snapshot, State

NOBODY = "00000000"  # a number that ends so has no WhatsApp


@dataclass(frozen=True, kw_only=True)
class _Instance:
    """`pairing` while it waits for a phone. `looks_left` counts down to its end, None where none was asked for."""

    hook: HookSeen | None
    state: State = State.DISCONNECTED
    pairing: Pairing | None = None
    phone: str | None = None
    looks_left: int | None = None


class MemoryProvider:
    """A Provider for one thread. `looks`: how often `state` still finds a deleted instance."""

    silent = False

    def __init__(self, *, looks: int = 2, version: str = "2.3.6") -> None:
        self._looks, self._version = looks, version
        self._instances: dict[str, _Instance] = {}
        self._numbers = count(1)
        self.sent: list[tuple[str, str, str]] = []

    def ping(self) -> None:
        pass

    def version(self) -> str | None:
        return self._version

    def instances(self) -> list[Found]:
        return [Found(name=name, stored_state=one.state, phone=one.phone) for name, one in self._instances.items()]

    def states(self) -> Mapping[str, State] | None:
        return {name: one.state for name, one in self._instances.items()}

    def state(self, name: str) -> Snapshot:
        found = self._instances.get(name)
        if found is None:
            return Snapshot(name=name, state=State.NOT_FOUND)
        if found.looks_left is not None:
            self._change(name, looks_left=found.looks_left - 1)
            if found.looks_left <= 1:
                del self._instances[name]
        return Snapshot(name=name, state=found.state)

    def create(self, name: str, hook: Hook) -> Snapshot:
        if name in self._instances:
            raise NameInUse("The name is in use", provider_status=403)
        self._instances[name] = _Instance(hook=_stored(hook))
        return Snapshot(name=name, state=State.DISCONNECTED)

    def identity(self, name: str) -> Found | None:
        return next((found for found in self.instances() if found.name == name), None)

    def connect(self, name: str, phone: str | None = None, hook: Hook | None = None) -> Snapshot:  # noqa: ARG002
        found = self._get(name)
        if found.state is State.DISCONNECTED:
            found = self._change(name, state=State.CONNECTING, pairing=self._pairing(phone))
        return Snapshot(name=name, state=found.state, pairing=found.pairing)

    def restart(self, name: str) -> Snapshot:
        found = self._get(name)
        if found.state is State.DISCONNECTED:
            raise ProviderError("The instance is closed", provider_status=200)
        return Snapshot(name=name, state=found.state, pairing=found.pairing)

    def logout(self, name: str) -> None:
        self._get(name)
        self._change(name, state=State.DISCONNECTED, pairing=None, phone=None)

    def delete(self, name: str) -> None:
        if name in self._instances:
            self.logout(name)
            self._change(name, looks_left=self._looks)

    def hook(self, name: str) -> HookSeen | None:
        return self._get(name).hook

    def set_hook(self, name: str, hook: Hook) -> None:
        self._get(name)
        self._change(name, hook=_stored(hook))

    def send_text(self, name: str, to: str, words: str) -> Sent:
        if self._get(name).state is not State.CONNECTED:
            raise NotConnected("No phone is connected to the instance", provider_status=400)
        if to.partition("@")[0].endswith(NOBODY):
            raise InvalidRecipient("The number has no WhatsApp", provider_status=400)
        self.sent.append((name, to, words))
        return Sent(message_id=f"MEMORY{next(self._numbers):06}", status="pending")

    def scan(self, name: str, phone: str = "5511999990001") -> None:
        """A phone takes the code that is shown."""
        if self._get(name).pairing is None:
            raise ValueError("No code is shown")
        self._change(name, state=State.CONNECTED, pairing=None, phone=phone)

    def drop(self, name: str) -> None:
        """The connection ends; the phone stays paired."""
        self._get(name)
        self._change(name, state=State.DISCONNECTED, pairing=None)

    def _get(self, name: str) -> _Instance:
        if name not in self._instances:
            raise InstanceUnknown("There is no such instance", provider_status=404)
        return self._instances[name]

    def _change(self, name: str, **facts: object) -> _Instance:
        self._instances[name] = replace(self._instances[name], **facts)  # type: ignore[arg-type]  # fields by name
        return self._instances[name]

    def _pairing(self, phone: str | None) -> Pairing:
        number = next(self._numbers)
        return Pairing(qr=f"2@memory-{number}", pairing_code=f"MEMO{number:04}" if phone else None)


def _stored(hook: Hook) -> HookSeen:
    if not hook.token or not hook.jwt_key:
        raise ValueError("A webhook needs its token and its jwt_key")
    return HookSeen(enabled=True, url=hook.url, token=hook.token, jwt_key=hook.jwt_key)
