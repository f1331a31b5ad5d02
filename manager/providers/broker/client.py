"""The plain Baileys broker's REST: one method a call of the port. `http` sends, `answers` says what came back, `wire`
what it means.

An instance connects by itself from the moment it is made, and again whenever the connection breaks; it tells nobody
about it. Its webhook is the server's, the operator sets it.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote

from core.errors import InstanceUnknown, NotConnected, NotOffered, ProviderError
from manager.providers.broker import answers, wire
from manager.providers.broker.answers import NO_QR, NotYet, Reply, WrongAddress
from manager.providers.http import Answer, Limits, Request, Transport
from manager.providers.port import Found, Hook, HookSeen, Pairing, Sent, Snapshot, State

USUAL = Limits()
AGAIN_AFTER_S = 1.0


class BrokerClient:
    """A Provider. One object a server; safe for many threads. `url` may end in `/instances`."""

    silent = True

    def __init__(self, url: str, key: str, limits: Limits = USUAL) -> None:
        self._http, self._limits = Transport(wire.base_of(url), limits), limits
        self._headers = {"x-api-key": key}

    def ping(self) -> None:
        self._rows()

    def version(self) -> str | None:
        """It has a version, and no route for it."""
        return None

    def instances(self) -> list[Found]:
        return wire.instances(self._rows())

    def states(self) -> Mapping[str, State] | None:
        """Its list is live: it stands in the broker's memory."""
        return wire.states(self._rows())

    def state(self, name: str) -> Snapshot:
        """With the QR, where one is shown: asking for one that is not there would start a socket that was stopped."""
        try:
            row = self._known(name)
            seen = wire.snapshot(name, row)
            return self._with_qr(seen) if wire.may_show_qr(row) else seen
        except InstanceUnknown:
            return Snapshot(name=name, state=State.NOT_FOUND)

    def create(self, name: str, hook: Hook) -> Snapshot:  # noqa: ARG002
        """Raises NotOffered for a name that the broker would change."""
        body = {"name": wire.kept_name(name)}
        self._ask("POST", wire.ROUTE, body, within_s=self._limits.slow_s).an_object()
        return Snapshot(name=name, state=State.CONNECTING)

    def identity(self, name: str) -> Found | None:
        row = self._row(name)
        return None if row is None else wire.found(name, row)

    def connect(self, name: str, phone: str | None = None, hook: Hook | None = None) -> Snapshot:  # noqa: ARG002
        """A pairing code comes alone, and takes the place of the one before. Raises NotYet where it takes some seconds
        more, as right after `create`; a QR that does is None. What the phone has parted from begins anew.
        """
        seen = wire.snapshot(name, self._known(name))
        if seen.state is State.CONNECTED:
            return seen
        if seen.ended:
            self._ask("POST", f"{_path(name)}/session/wipe", within_s=self._limits.slow_s).an_object()
        if phone is None:
            return self._with_qr(seen)
        code = self._pairing_code(name, phone)
        return replace(seen, state=State.CONNECTING, pairing=Pairing(pairing_code=code))

    def restart(self, name: str) -> Snapshot:
        """Nothing is done: it opens its connections anew by itself, and has no way to be told so that keeps the
        pairing."""
        seen = wire.snapshot(name, self._known(name))
        if seen.state is not State.CONNECTED:
            raise ProviderError("The instance is closed")
        return seen

    def logout(self, name: str) -> None:
        """An instance that is away at the moment loses its session without telling the phone. Builds of 2025 say
        `connected` for ever once they were, and show no new QR: there the instance goes.
        """
        row = self._known(name)
        if wire.waits_for_phone(row):
            return
        if not wire.is_told(row):
            self.delete(name)
            return
        route = "logout" if wire.snapshot(name, row).state is State.CONNECTED else "session/wipe"
        self._ask("POST", f"{_path(name)}/{route}", within_s=self._limits.slow_s).an_object()

    def delete(self, name: str) -> None:
        with contextlib.suppress(InstanceUnknown):
            self._ask("DELETE", _path(name), within_s=self._limits.slow_s).an_object()

    def hook(self, name: str) -> HookSeen | None:  # noqa: ARG002
        raise NotOffered("The broker has one webhook for all, and does not say which")

    def set_hook(self, name: str, hook: Hook) -> None:
        """Its operator sets it."""

    def send_text(self, name: str, to: str, words: str) -> Sent:
        body = {"to": wire.recipient(to), "message": words}
        reply = self._ask("POST", f"{_path(name)}/send-text", body)
        if reply.status in (500, 503):
            raise self._not_sent(name, reply)
        return wire.sent(reply.an_object())

    def _not_sent(self, name: str, reply: Reply) -> ProviderError:
        """A socket that nobody is paired with fails in Baileys' words; to builds of 2025 an instance that they do not
        have is one without a socket."""
        failure = reply.failure()
        found = self._looked(name) if type(failure) in (ProviderError, NotConnected) else None
        if found in (None, State.CONNECTED):
            return failure
        kind = InstanceUnknown if found is State.NOT_FOUND else NotConnected
        return kind("No phone is connected to the instance", provider_status=reply.status)

    def _looked(self, name: str) -> State | None:
        """The state, to understand an answer; None where that fails too."""
        try:
            row = self._row(name, self._limits.look_s)
        except ProviderError:
            return None
        return State.NOT_FOUND if row is None else wire.snapshot(name, row).state

    def _with_qr(self, seen: Snapshot) -> Snapshot:
        """To ask for a QR starts a socket that has stopped; one that has lost its way connects by itself."""
        qr = self._qr(seen.name)
        return replace(seen, state=State.CONNECTING, pairing=Pairing(qr=qr) if qr else None, ended=False)

    def _qr(self, name: str) -> str | None:
        """None where none is shown."""
        answer = self._send("GET", f"{_path(name)}/qr.png")
        reply = _reply(answer)
        if answer.status == 204 or reply.word == NO_QR:
            return None
        if answer.status != 200:
            raise reply.failure()
        return wire.picture(answer.body)

    def _pairing_code(self, name: str, phone: str) -> str:
        """A socket that is not there yet is a 503, one that is not open yet a 500 in Baileys' words."""
        reply = self._ask("POST", f"{_path(name)}/pair", {"phoneNumber": phone}, within_s=self._limits.slow_s)
        try:
            return wire.pairing_code(reply.an_object())
        except ProviderError as error:
            if isinstance(error, NotConnected) or (type(error) is ProviderError and reply.status == 500):
                raise NotYet(
                    "The instance takes no number yet", provider_status=reply.status, retry_after_s=AGAIN_AFTER_S
                ) from error
            raise

    def _known(self, name: str) -> wire.Row:
        row = self._row(name)
        if row is None:
            raise InstanceUnknown("There is no such instance", provider_status=404)
        return row

    def _row(self, name: str, within_s: float | None = None) -> wire.Row | None:
        """What the broker says of one instance; some builds say it in the list only."""
        reply = self._ask("GET", _path(name), within_s=within_s)
        if reply.is_astray:
            return wire.row_of(name, self._rows(within_s))
        try:
            return reply.an_object()
        except InstanceUnknown:
            return None

    def _rows(self, within_s: float | None = None) -> list[object]:
        reply = self._ask("GET", wire.ROUTE, within_s=within_s)
        if reply.is_astray and self._is_well():
            raise WrongAddress(
                "The broker serves no /instances: it runs with BROKER_MODE=true", provider_status=reply.status
            )
        return reply.a_list()

    def _is_well(self) -> bool:
        try:
            return wire.is_well(self._ask("GET", "/health", within_s=self._limits.look_s).document)
        except ProviderError:
            return False

    def _ask(self, method: str, path: str, body: object = None, *, within_s: float | None = None) -> Reply:
        return _reply(self._send(method, path, body, within_s=within_s))

    def _send(self, method: str, path: str, body: object = None, *, within_s: float | None = None) -> Answer:
        wait_s = within_s or self._limits.usual_s
        return self._http.ask(Request(method=method, path=path, body=body, headers=self._headers, within_s=wait_s))


def _reply(answer: Answer) -> Reply:
    return answers.reply(answer.status, answer.headers, answer.body, datetime.now(UTC))


def _path(name: str) -> str:
    return f"{wire.ROUTE}/{quote(name, safe='')}"
