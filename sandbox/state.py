"""What the stand-in knows: instances as their database rows, and beside each what lives in memory only.

Everybody shares one `World`. Whoever reads two things that belong together, or changes anything, holds
`world.lock`.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from sandbox import errors, ids
from sandbox.qr import Qr, device_keys

State = Literal["close", "connecting", "open"]
Mode = Literal["normal", "half_open", "stuck_connecting", "qr_limit"]

BAILEYS, CHANNEL = "WHATSAPP-BAILEYS", "EVOLUTION"

MESSAGES_KEPT = 500
IDS_REMEMBERED = 2_000

SETTINGS: dict[str, Any] = {
    "rejectCall": False,
    "msgCall": "",
    "groupsIgnore": False,
    "alwaysOnline": False,
    "readMessages": False,
    "readStatus": False,
    "syncFullHistory": False,
    "wavoipToken": "",
}


@dataclass
class Webhook:
    """The row behind /webhook/set. `headers` is None until somebody sets them."""

    url: str
    events: list[str]
    enabled: bool = True
    headers: dict[str, Any] | None = None
    by_events: bool = False
    base64: bool = False
    id: str = field(default_factory=ids.row_id)
    created_at: str = field(default_factory=ids.now_iso)
    updated_at: str = field(default_factory=ids.now_iso)


@dataclass
class Message:
    """A message as it is stored; `text` is what the page shows of it, `name` the sender's."""

    id: str
    row_id: str
    jid: str
    from_me: bool
    name: str | None
    text: str
    status: str
    kind: str
    key: dict[str, Any]
    content: dict[str, Any]
    context: dict[str, Any] | None = None
    source: str = "android"
    at_s: int = field(default_factory=ids.epoch_s)
    at: str = field(default_factory=ids.now_iso)
    updates: list[str] = field(default_factory=list)


@dataclass
class Live:
    """What an Evolution process holds in memory about an instance, and forgets when it ends.

    `socket` counts connections: a step planned for an older one must not happen any more.
    `wuid` is set by a login and stays; `qr` stays after a login or a logout, as Evolution's does.
    """

    state: State = "close"
    socket: int = 0
    wuid: str | None = None
    qr: Qr | None = None
    qr_shown: bool = False
    qr_count: int = 0
    pairing_number: str | None = None
    mode: Mode = "normal"
    # The webhook's base64 flag is read when a connection starts.
    base64: bool = False
    # What an API logout leaves behind for the rest of the process, when the version has it.
    inbound_dead: bool = False
    never_reopens: bool = False
    # Ids seen, and what waits behind an edit that is still being told.
    seen: deque[str] = field(default_factory=lambda: deque(maxlen=IDS_REMEMBERED))
    blocked: bool = False
    waiting: deque[Callable[[], None]] = field(default_factory=deque)


@dataclass
class Instance:
    """The row (it survives a restart) and `live`, which does not. `paired` means a session is stored.

    `status` is the database's column, which is often older than `live.state`.
    """

    name: str
    token: str
    integration: str = BAILEYS
    number: str | None = None
    id: str = field(default_factory=ids.instance_id)
    status: State = "close"
    paired: bool = False
    owner_jid: str | None = None
    profile_name: str | None = None
    device_keys: str = field(default_factory=device_keys)
    disconnection_code: int | None = None
    disconnection_object: str | None = None
    disconnection_at: str | None = None
    settings: dict[str, Any] = field(default_factory=lambda: dict(SETTINGS))
    settings_id: str = field(default_factory=ids.row_id)
    settings_updated_at: str = field(default_factory=ids.now_iso)
    webhook: Webhook | None = None
    contacts: dict[str, str | None] = field(default_factory=dict)
    message_count: int = 0
    messages: deque[Message] = field(default_factory=lambda: deque(maxlen=MESSAGES_KEPT))
    created_at: str = field(default_factory=ids.now_iso)
    updated_at: str = field(default_factory=ids.now_iso)
    live: Live = field(default_factory=Live)


class World:
    """All instances by name, the lock around them, and a way to wait for a change."""

    def __init__(self, save: Callable[[list[Instance]], None] = lambda _: None) -> None:
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._instances: dict[str, Instance] = {}
        self._being_made: dict[str, int] = {}
        self._save = save

    def find(self, name: str) -> Instance | None:
        with self.lock:
            return self._instances.get(name)

    def all(self) -> list[Instance]:
        with self.lock:
            return list(self._instances.values())

    def add(self, instance: Instance) -> None:
        with self.lock:
            if instance.name in self._instances:
                raise errors.name_in_use(instance.name)
            self._instances[instance.name] = instance
            self.saved()

    def put(self, instance: Instance) -> None:
        """Without saving: the caller does that for many."""
        with self.lock:
            self._instances[instance.name] = instance

    def remove(self, instance: Instance) -> None:
        """Twice is safe; a newer instance of the same name stays."""
        with self.lock:
            if self._instances.get(instance.name) is instance:
                del self._instances[instance.name]
                instance.live.socket += 1
                self.saved()

    def begin(self, name: str, within_s: float) -> bool:
        """Whether this caller is the first that makes this name; it then waits for others that long.

        Whoever is not the first has to fail, and the first one's instance goes with it (evolution-api 2.3.6).
        Everybody who was first calls `made`.
        """
        with self._changed:
            if name in self._being_made:
                self._being_made[name] += 1
                self._changed.notify_all()
                return False
            self._being_made[name] = 0
            self._changed.wait_for(lambda: self._being_made.get(name, 1) > 0, within_s)
            return True

    def made(self, name: str) -> int:
        """How many others wanted the name meanwhile."""
        with self.lock:
            return self._being_made.pop(name, 0)

    def is_current(self, instance: Instance, socket: int) -> bool:
        """Whether this instance is still here and still on this connection."""
        return self._instances.get(instance.name) is instance and instance.live.socket == socket

    def replace(self, instances: list[Instance]) -> None:
        """What was here is forgotten; used at start and at reset."""
        with self.lock:
            for old in self._instances.values():
                old.live.socket += 1
            self._instances = {instance.name: instance for instance in instances}

    def saved(self) -> None:
        """Write the rows away (when there is a folder for them) and wake who waits for a change."""
        with self.lock:
            self._save(list(self._instances.values()))
            self._changed.notify_all()

    def changed(self) -> None:
        """Something in memory changed: wake who waits."""
        with self.lock:
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)
