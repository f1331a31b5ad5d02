"""What Evolution's instance routes do, once the guards have let a request pass."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from sandbox import ids, subscription, wire
from sandbox.delivery import Delivery
from sandbox.errors import ApiError
from sandbox.phone import Phones
from sandbox.state import Instance, World

CREATE_WAITS_S = 5.0
CONNECT_WAITS_S = 2.0

# Restart and connect swallow their errors: 200, and this is the text.
SWALLOWED = {"error": True, "message": "[object Object]"}


class Gateway:
    """Methods may be called from any thread; some hold their caller as long as Evolution does."""

    def __init__(self, world: World, delivery: Delivery, phones: Phones) -> None:
        self._world = world
        self._delivery = delivery
        self._phones = phones

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        instance = wire.new_instance(body)
        self._world.add(instance)
        named = {"instanceName": instance.name, "instanceId": instance.id}
        self._delivery.emit(instance, "instance.create", named)
        if body.get("qrcode") is not True:
            return wire.created(instance, body, None)
        self._phones.connect(instance, instance.number)
        self._phones.wait_for_qr(instance, CREATE_WAITS_S)
        return wire.created(instance, body, wire.qrcode(instance))

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
                raise ApiError(400, [f'The "{instance.name}" instance is not connected'])
            self._log_out(instance)
        return _success("Instance logged out")

    def delete(self, instance: Instance) -> dict[str, Any]:
        """Answers at once; instance and name stay until remove.instance has been delivered or given up."""
        with self._world.lock:
            named = {"instanceName": instance.name, "instanceId": instance.id}
            self._delivery.emit(instance, "instance.delete", named)
            if instance.live.state != "close":
                self._log_out(instance)
            gone = partial(self._world.remove, instance)
            self._delivery.emit(instance, "remove.instance", None, done=gone)
        return _success("Instance deleted")

    def set_webhook(self, instance: Instance, body: Mapping[str, Any]) -> dict[str, Any] | None:
        with self._world.lock:
            instance.webhook = subscription.changed(instance.webhook, body)
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

    def _log_out(self, instance: Instance) -> None:
        instance.live.inbound_dead = True
        self._phones.close_for_good(instance, 401, f"Log out instance: {instance.name}", None)


def _success(text: str) -> dict[str, Any]:
    return {"status": "SUCCESS", "error": False, "response": {"message": text}}
