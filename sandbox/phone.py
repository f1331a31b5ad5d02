"""The WhatsApp side of an instance: connecting, the QR code, the scan, and what ends a connection.

Every step changes `instance.live` under the world's lock and emits the webhooks Evolution sends for it.
Waits are planned with `timers`; a planned step checks that the connection it was planned for is still the
current one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sandbox import ids, numbers, qr, reports, wire
from sandbox.errors import ControlError
from sandbox.line import Line
from sandbox.profiles import Profile
from sandbox.state import BAILEYS, Instance, Live, Mode, State, World
from sandbox.timers import Timers

# A person, or a browser under test, must be able to scan even when time is scaled to nothing.
QR_AT_LEAST_S = 0.5
QRS_PER_CONNECTION = 6
PAIRED_AFTER_S = 1.0
REOPENED_AFTER_S = 0.25
# Without WhatsApp, Evolution connects again and again, without any back-off.
AGAIN_AFTER_S, AGAIN_AT_LEAST_S = 0.4, 0.05


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How this WhatsApp behaves: seconds until the first QR code and from one to the next, codes until Evolution gives
    up, and whether it can be reached at all."""

    qr_after_s: float = 0.5
    qr_every_s: float = 45.0
    qr_limit: int = 30
    reachable: bool = True


class Phones:
    """All steps of all phones. Methods may be called from any thread."""

    def __init__(self, world: World, line: Line, timers: Timers, habits: Habits, profile: Profile) -> None:
        self._world = world
        self._line = line
        self._timers = timers
        self._profile = profile
        self.habits = habits

    def connect(self, instance: Instance, number: str | None = None) -> None:
        """Open a new connection: with a stored session it ends in `open`, else a QR code is shown.

        `number` asks for a pairing code beside the QR code.
        """
        with self._world.lock:
            live = instance.live
            socket = self._new_socket(instance, "connecting")
            live.pairing_number = number
            live.base64 = instance.webhook is not None and instance.webhook.base64
            self._line.tell(instance, "connection.update", reports.update(instance, "connecting", 200))
            if live.mode == "stuck_connecting":
                return
            if not self.habits.reachable:
                self._timers.after(AGAIN_AFTER_S, partial(self._again, instance, socket), at_least_s=AGAIN_AT_LEAST_S)
                return
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
            instance.owner_jid = numbers.jid_of(phone) if phone else reports.own_jid(instance)
            instance.profile_name = profile_name
            instance.paired = True
            socket = self._new_socket(instance, "connecting")
            self._world.saved()
            if not instance.live.never_reopens:
                self._line.tell(instance, "connection.update", reports.update(instance, "connecting", 200))
                self._timers.after(PAIRED_AFTER_S, partial(self._open, instance, socket))
            return numbers.digits_of(instance.owner_jid)

    def fill(self, names: Sequence[str]) -> None:
        """New instances that are paired and open, as if each had been scanned long ago; those that exist stay."""
        with self._world.lock:
            for name in names:
                if self._world.find(name) is None:
                    made = wire.new_instance({"instanceName": name, "integration": BAILEYS}, self._profile)
                    made.owner_jid, made.paired, made.status = reports.own_jid(made), True, "open"
                    made.live = Live(state="open", wuid=made.owner_jid)
                    self._world.put(made)
            self._world.saved()

    def drop(self, instance: Instance, reason: int, *, silent: bool) -> None:
        """The connection breaks for this reason. Silent: the state is `close` and nobody is told.

        Raises ControlError 409 when there is no open connection.
        """
        with self._world.lock:
            if instance.live.state != "open":
                raise ControlError(409, f'instance "{instance.name}" is not open')
            if silent:
                self._new_socket(instance, "close")
            elif reason in self._profile.permanent:
                self.close_for_good(instance, reason)
            else:
                self.connect(instance)

    def set_mode(self, instance: Instance, mode: Mode) -> None:
        """From now on this connection behaves like that; a new connection ends `half_open`, the limit of codes
        ends `qr_limit`. Raises ControlError 409 for half_open unless it is open."""
        with self._world.lock:
            live, before = instance.live, instance.live.mode
            if mode == "half_open" and live.state != "open":
                raise ControlError(409, f'instance "{instance.name}" is not open')
            live.mode = mode
            if mode == "qr_limit" and live.qr_shown:
                self._give_up(instance)
            elif "stuck_connecting" in (before, mode) and before != mode and live.state != "close":
                self.connect(instance, live.pairing_number)
            self._world.changed()

    def close_for_good(self, instance: Instance, code: int, *, by_api: bool = False) -> None:
        """The session is gone: status.instance, logout.instance and connection.update, in any order."""
        with self._world.lock:
            self._new_socket(instance, "close")
            instance.status, instance.paired = "close", False
            instance.disconnection_code = code
            instance.disconnection_object = reports.disconnection(code, instance.name if by_api else None)
            instance.disconnection_at = instance.updated_at = ids.now_iso()
            self._world.saved()
            if by_api and not self._profile.tells_logout:
                return
            self._line.tell(instance, "status.instance", reports.closed(instance, code))
            cleaned_up = partial(self._clean_up, instance)
            self._line.tell(instance, "logout.instance", None, done=cleaned_up)
            self._line.tell(instance, "connection.update", reports.update(instance, "close", code))

    def wait_for_qr(self, instance: Instance, within_s: float) -> None:
        """Hold the caller as long as Evolution does, and a little longer for a code that is due by then:
        with time scaled to nothing the timers may be late."""
        self._timers.pause(within_s)
        live = instance.live

        def settled() -> bool:
            gone = self._world.find(instance.name) is not instance
            return live.qr_shown or live.state != "connecting" or live.mode == "stuck_connecting" or gone

        if self.habits.reachable and self.habits.qr_after_s < within_s:
            self._world.wait_for(settled, timeout_s=30)

    def _clean_up(self, instance: Instance) -> None:
        """Evolution clears the session once logout.instance was delivered or given up: a phone that paired
        meanwhile loses its session too, and is asked to scan again after the next process start."""
        with self._world.lock:
            instance.paired, instance.status = False, "close"
            self._world.saved()

    def _show_qr(self, instance: Instance, socket: int, nth: int) -> None:
        """The nth code of this connection; after six WhatsApp ends it (408) and Evolution starts anew."""
        live = instance.live
        if nth > QRS_PER_CONNECTION:
            self._if_current(instance, socket, partial(self.connect, instance, live.pairing_number))
        elif live.qr_count >= self.habits.qr_limit or live.mode == "qr_limit":
            self._if_current(instance, socket, partial(self._give_up, instance))
        else:
            # Drawing takes milliseconds: not under the lock.
            code = qr.draw(instance.device_keys, with_pairing_code=live.pairing_number is not None)
            self._if_current(instance, socket, partial(self._present, instance, socket, nth, code))

    def _present(self, instance: Instance, socket: int, nth: int, code: qr.Qr) -> None:
        live = instance.live
        live.qr, live.qr_shown, live.qr_count = code, True, live.qr_count + 1
        instance.status = "connecting"
        self._world.changed()
        shown = {"pairingCode": code.pairing_code, "code": code.code, "base64": code.base64}
        self._line.tell(instance, "qrcode.updated", {"qrcode": {"instance": instance.name, **shown}})
        following = partial(self._show_qr, instance, socket, nth + 1)
        self._timers.after(self.habits.qr_every_s, following, at_least_s=QR_AT_LEAST_S)

    def _give_up(self, instance: Instance) -> None:
        """The limit of codes: closed in memory, while the database goes on saying `connecting`."""
        self._new_socket(instance, "close")
        instance.live.qr, instance.live.qr_count, instance.live.mode = None, 0, "normal"
        over = {"message": "QR code limit reached, please login again", "statusCode": 500}
        self._line.tell(instance, "qrcode.updated", over)
        self._line.tell(instance, "connection.update", reports.update(instance, "refused", 428))

    def _again(self, instance: Instance, socket: int) -> None:
        self._if_current(instance, socket, partial(self.connect, instance, instance.live.pairing_number))

    def _open(self, instance: Instance, socket: int) -> None:
        self._if_current(instance, socket, partial(self._opened, instance))

    def _opened(self, instance: Instance) -> None:
        instance.live.state, instance.live.wuid = "open", instance.owner_jid
        instance.status, instance.updated_at = "open", ids.now_iso()
        self._world.saved()
        self._line.tell(instance, "connection.update", reports.login(instance))

    def _if_current(self, instance: Instance, socket: int, step: partial[None]) -> None:
        with self._world.lock:
            if self._world.is_current(instance, socket):
                step()

    def _new_socket(self, instance: Instance, state: State) -> int:
        live = instance.live
        live.socket += 1
        live.state, live.qr_shown = state, False
        if live.mode == "half_open":
            live.mode = "normal"
        self._world.changed()
        return live.socket
