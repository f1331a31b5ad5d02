"""The WhatsApp side of an instance: connecting, the QR code, the scan, and what ends a connection.

Every step changes `instance.live` under the world's lock and emits the webhooks Evolution sends for it.
Waits are planned with `timers`; a planned step checks that the connection it was planned for is still the
current one.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from sandbox import ids, numbers, qr
from sandbox.delivery import Delivery
from sandbox.errors import TITLES, ControlError
from sandbox.state import Instance, State, World
from sandbox.timers import Timers

QR_EVERY_S = 45.0
# A person, or a browser under test, must be able to scan even when time is scaled to nothing.
QR_AT_LEAST_S = 0.5
QRS_PER_CONNECTION = 6
PAIRED_AFTER_S = 1.0
REOPENED_AFTER_S = 0.25

# What ends a session for good, with Baileys's text and data for it; for every other reason Evolution connects
# again by itself and says nothing.
FINAL: dict[int, tuple[str, dict[str, Any]]] = {
    401: ("Stream Errored (conflict)", {"tag": "conflict", "attrs": {"type": "device_removed"}}),
    403: ("Connection Failure", {"reason": "403"}),
}
SILENTLY_REPAIRED = frozenset({408, 428, 440, 500, 515})


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How this WhatsApp behaves: seconds until the first QR code, and codes until Evolution gives up."""

    qr_after_s: float = 0.5
    qr_limit: int = 30


class Phones:
    """All steps of all phones. Methods may be called from any thread."""

    def __init__(self, world: World, delivery: Delivery, timers: Timers, habits: Habits) -> None:
        self._world = world
        self._delivery = delivery
        self._timers = timers
        self.habits = habits

    def connect(self, instance: Instance, number: str | None = None) -> None:
        """Open a new connection: with a stored session it ends in `open`, else a QR code is shown.

        `number` asks for a pairing code beside the QR code.
        """
        with self._world.lock:
            socket = self._new_socket(instance, "connecting")
            instance.live.pairing_number = number
            self._delivery.emit(instance, "connection.update", _update(instance, "connecting", 200))
            if instance.paired:
                self._timers.after(REOPENED_AFTER_S, partial(self._open, instance, socket))
            else:
                self._timers.after(self.habits.qr_after_s, partial(self._show_qr, instance, socket, 1))

    def scan(self, instance: Instance, phone: str | None, profile_name: str | None) -> str:
        """A phone scans the code that is shown: a new connection (the 515 stays silent), then open.

        Gives the phone's number. Raises ControlError 409 when no code is shown.
        """
        with self._world.lock:
            if not instance.live.qr_shown:
                raise ControlError(409, f'instance "{instance.name}" shows no QR code')
            instance.owner_jid = numbers.jid_of(phone) if phone else _own_jid(instance)
            instance.profile_name = profile_name
            instance.paired = True
            socket = self._new_socket(instance, "connecting")
            self._world.saved()
            self._delivery.emit(instance, "connection.update", _update(instance, "connecting", 200))
            self._timers.after(PAIRED_AFTER_S, partial(self._open, instance, socket))
            return numbers.digits_of(instance.owner_jid)

    def drop(self, instance: Instance, reason: int, *, silent: bool) -> None:
        """The connection breaks for this reason. Silent: the state is `close` and nobody is told.

        Raises ControlError 409 when there is no open connection.
        """
        with self._world.lock:
            if instance.live.state != "open":
                raise ControlError(409, f'instance "{instance.name}" is not open')
            if silent:
                self._new_socket(instance, "close")
            elif reason in FINAL:
                self.close_for_good(instance, reason, *FINAL[reason])
            else:
                self.connect(instance)

    def close_for_good(self, instance: Instance, code: int, text: str, data: dict[str, Any] | None) -> None:
        """The session is gone: status.instance, logout.instance and connection.update, in any order."""
        with self._world.lock:
            self._new_socket(instance, "close")
            instance.status, instance.paired = "close", False
            instance.disconnection_code = code
            instance.disconnection_object = _disconnection(code, text, data)
            instance.disconnection_at = instance.updated_at = ids.now_iso()
            self._world.saved()
            closed = {
                "instance": instance.name,
                "status": "closed",
                "disconnectionAt": instance.disconnection_at,
                "disconnectionReasonCode": code,
                "disconnectionObject": instance.disconnection_object,
            }
            self._delivery.emit(instance, "status.instance", closed)
            self._delivery.emit(instance, "logout.instance", None)
            self._delivery.emit(instance, "connection.update", _update(instance, "close", code))

    def wait_for_qr(self, instance: Instance, within_s: float) -> None:
        """Hold the caller as long as Evolution does, and a little longer for a code that is due by then:
        with time scaled to nothing the timers may be late."""
        self._timers.pause(within_s)
        if self.habits.qr_after_s < within_s:
            live = instance.live
            self._world.wait_for(lambda: live.qr_shown or live.state != "connecting", timeout_s=2)

    def _show_qr(self, instance: Instance, socket: int, nth: int) -> None:
        """The nth code of this connection; after six WhatsApp ends it (408) and Evolution starts anew."""
        if nth > QRS_PER_CONNECTION:
            self._if_current(instance, socket, partial(self.connect, instance, instance.live.pairing_number))
        elif instance.live.qr_count >= self.habits.qr_limit:
            self._if_current(instance, socket, partial(self._give_up, instance))
        else:
            # Drawing takes milliseconds: not under the lock.
            code = qr.draw(instance.device_keys, with_pairing_code=instance.live.pairing_number is not None)
            self._if_current(instance, socket, partial(self._present, instance, socket, nth, code))

    def _present(self, instance: Instance, socket: int, nth: int, code: qr.Qr) -> None:
        live = instance.live
        live.qr, live.qr_shown, live.qr_count = code, True, live.qr_count + 1
        instance.status = "connecting"
        self._world.changed()
        shown = {"pairingCode": code.pairing_code, "code": code.code, "base64": code.base64}
        self._delivery.emit(instance, "qrcode.updated", {"qrcode": {"instance": instance.name, **shown}})
        following = partial(self._show_qr, instance, socket, nth + 1)
        self._timers.after(QR_EVERY_S, following, at_least_s=QR_AT_LEAST_S)

    def _give_up(self, instance: Instance) -> None:
        """The limit of codes: closed in memory, while the database goes on saying `connecting`."""
        self._new_socket(instance, "close")
        instance.live.qr, instance.live.qr_count = None, 0
        over = {"message": "QR code limit reached, please login again", "statusCode": 500}
        self._delivery.emit(instance, "qrcode.updated", over)
        self._delivery.emit(instance, "connection.update", _update(instance, "refused", 428))

    def _open(self, instance: Instance, socket: int) -> None:
        self._if_current(instance, socket, partial(self._opened, instance))

    def _opened(self, instance: Instance) -> None:
        instance.live.state, instance.live.wuid = "open", instance.owner_jid
        instance.status, instance.updated_at = "open", ids.now_iso()
        self._world.saved()
        self._delivery.emit(instance, "connection.update", _login(instance))

    def _if_current(self, instance: Instance, socket: int, step: partial[None]) -> None:
        with self._world.lock:
            if self._world.is_current(instance, socket):
                step()

    def _new_socket(self, instance: Instance, state: State) -> int:
        live = instance.live
        live.socket += 1
        live.state, live.qr_shown = state, False
        self._world.changed()
        return live.socket


def _update(instance: Instance, state: str, reason: int) -> dict[str, Any]:
    return {"instance": instance.name, "state": state, "statusReason": reason}


def _login(instance: Instance) -> dict[str, Any]:
    """`{instance, wuid, profileName?, profilePictureUrl, state: "open", statusReason: 200}`."""
    login: dict[str, Any] = {"instance": instance.name, "wuid": instance.owner_jid}
    if instance.profile_name:
        login["profileName"] = instance.profile_name
    return login | {"profilePictureUrl": None, "state": "open", "statusReason": 200}


def _own_jid(instance: Instance) -> str:
    """The phone that paired before, the number given at create, or a made-up one that stays with the name."""
    if instance.owner_jid:
        return instance.owner_jid
    made_up = int(hashlib.sha256(instance.name.encode()).hexdigest(), 16) % 10_000_000
    return numbers.jid_of(instance.number or f"55119{80_000_000 + made_up}")


def _disconnection(code: int, text: str, data: dict[str, Any] | None) -> str:
    """The Boom dump that Evolution stores as a string."""
    payload = {"statusCode": code, "error": TITLES[code], "message": text}
    output = {"statusCode": code, "payload": payload, "headers": {}}
    error = {"data": data, "isBoom": True, "isServer": False, "output": output}
    return json.dumps({"error": error, "date": ids.now_iso()}, separators=(",", ":"))
