"""What Evolution's instance routes do, once the guards have let a request pass."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from sandbox import ids, subscription, wire
from sandbox.errors import ApiError
from sandbox.line import Line
from sandbox.phone import Phones
from sandbox.profiles import Profile
from sandbox.state import CHANNEL, Instance, World
from sandbox.timers import Timers

CREATE_WAITS_S = 5.0
CONNECT_WAITS_S = 2.0
# As long as it takes to write a new instance to the database; another create of its name breaks in meanwhile.
CREATE_WRITES_S = 0.04

# Restart and connect swallow their errors: 200, and this is the text.
SWALLOWED = {"error": True, "message": "[object Object]"}


class Gateway:
    """Methods may be called from any thread; some hold their caller as long as Evolution does."""

    def __init__(self, world: World, line: Line, phones: Phones, timers: Timers, profile: Profile) -> None:
        self._world = world
        self._line = line
        self._phones = phones
        self._timers = timers
        self._profile = profile

    def create_body(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body as this version understands it."""
        name = body.get("instanceName")
        return body | {"instanceName": name.strip()} if self._profile.trims_names and isinstance(name, str) else body

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Nobody makes sure that a name is made once: who comes second fails, and what it rolls back is the
        first one's instance (evolution-api 2.3.6)."""
        instance = wire.new_instance(body, self._profile)
        if not self._world.begin(instance.name, CREATE_WRITES_S * self._timers.scale):
            raise ApiError(400, [wire.BROKEN_KEY])
        with self._world.lock:
            others = self._world.made(instance.name)
            self._world.add(instance)
        named = {"instanceName": instance.name, "instanceId": instance.id}
        self._line.tell(instance, "instance.create", named)
        if others:
            self._remove(instance)
        if body.get("qrcode") is not True or instance.integration == CHANNEL:
            return wire.created(instance, body, None, self._profile)
        self._phones.connect(instance, instance.number)
        self._phones.wait_for_qr(instance, CREATE_WAITS_S)
        return wire.created(instance, body, wire.qrcode(instance), self._profile)

    def connect(self, instance: Instance, number: str | None) -> dict[str, Any]:
        """One of four shapes: the state when open, the current code when connecting, else a new code after
        2 s."""
        if instance.live.state == "open":
            return wire.state(instance)
        if instance.live.state == "close":
            self._phones.connect(instance, number)
            self._phones.wait_for_qr(instance, CONNECT_WAITS_S)
        return wire.qrcode(instance)

    def restart(self, instance: Instance) -> dict[str, Any]:
        """The answer still holds the old state. A close is an error, unless a session waits behind it."""
        with self._world.lock:
            before = instance.live.state
            if before == "close" and not instance.paired:
                return dict(SWALLOWED)
            answer = wire.qrcode(instance) if before == "connecting" else wire.state(instance)
            self._phones.connect(instance, instance.live.pairing_number)
            return answer

    def logout(self, instance: Instance) -> dict[str, Any]:
        with self._world.lock:
            if instance.live.state == "close":
                if self._profile.logout == "idempotent":
                    return _success("Instance was already disconnected")
                raise ApiError(400, [f'The "{instance.name}" instance is not connected'])
            if instance.live.mode != "half_open":
                self._log_out(instance)
            elif self._profile.logout == "awaited":
                raise ApiError(500, ["Error: Connection Closed"])
        # A dead socket cannot log out: success is told, and nothing happened.
        return _success("Instance logged out")

    def delete(self, instance: Instance) -> dict[str, Any]:
        """Answers at once; instance and name stay until remove.instance has been delivered or given up."""
        with self._world.lock:
            if instance.live.mode == "half_open" and self._profile.refuses_to_delete_dead:
                raise ApiError(400, ["[object Object]"])
            named = {"instanceName": instance.name, "instanceId": instance.id}
            self._line.tell(instance, "instance.delete", named)
            if instance.live.state != "close":
                self._log_out(instance)
            self._remove(instance)
        return _success("Instance deleted")

    def set_webhook(self, instance: Instance, body: Mapping[str, Any]) -> dict[str, Any] | None:
        with self._world.lock:
            instance.webhook = subscription.changed(instance.webhook, body, self._profile)
            self._world.saved()
            return subscription.row(instance)

    def set_settings(self, instance: Instance, body: Mapping[str, Any]) -> dict[str, Any]:
        wire.check_settings(body)
        with self._world.lock:
            given = {name: value for name, value in body.items() if name in instance.settings}
            instance.settings = instance.settings | given
            instance.settings_updated_at = ids.now_iso()
            self._world.saved()
        return {"settings": {"instanceName": instance.name, "settings": dict(body)}}

    def _remove(self, instance: Instance) -> None:
        self._line.tell(instance, "remove.instance", None, done=partial(self._world.remove, instance))

    def _log_out(self, instance: Instance) -> None:
        if instance.integration == CHANNEL:
            instance.live.state = instance.status = "close"
            return
        instance.live.inbound_dead |= self._profile.after_logout == "deaf"
        instance.live.never_reopens |= self._profile.after_logout == "stuck"
        self._phones.close_for_good(instance, 401, by_api=True)


def _success(text: str) -> dict[str, Any]:
    return {"status": "SUCCESS", "error": False, "response": {"message": text}}
