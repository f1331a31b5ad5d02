"""WPPConnect Server's REST: one method a call of the port. `http` sends, `answers` says what came back, `wire` what it
means, `tokens` proves who is asking.

The server has no instances to make, only sessions that run or are stored: one begins with its first start, and a logout
ends it. What runs is a browser that may die unnoticed: "CONNECTED" is believed only after a second question.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from core.errors import NameInUse, NotOffered, ProviderError, TimedOut
from manager.providers.evolution.values import text
from manager.providers.http import Limits, Request, Transport
from manager.providers.port import Found, Hook, HookSeen, Sent, Snapshot, State
from manager.providers.wppconnect import answers, wire
from manager.providers.wppconnect.answers import Reply
from manager.providers.wppconnect.tokens import FIT, Tokens

USUAL = Limits()
NOBODY = "nobody-has-this-name"
A_FEW = 3
WRONG_KEY = 400
_until: ContextVar[float] = ContextVar("until", default=math.inf)  # of the call of the port that is under way


class WppConnectClient:
    """A Provider. One object a server; safe for many threads. `secret` is its SECRET_KEY.

    `silent`: the end of pairing's time is told to nobody, and webhooks are neither repeated nor proof of anything.
    """

    silent = True

    def __init__(self, url: str, secret: str, limits: Limits = USUAL) -> None:
        self._http, self._limits = Transport(url, limits), limits
        self._secret, self._tokens = quote(secret, safe=""), Tokens(secret)

    def ping(self) -> None:
        self._status(NOBODY)  # the token is looked at before the name

    def version(self) -> str | None:
        """Only a running session tells."""
        names = [found.name for found in self.instances() if FIT.fullmatch(found.name)][:A_FEW]
        said = (text(self._status(name).get("version")) for name in names)
        return next((version for version in said if version), None)

    def instances(self) -> list[Found]:
        """The stored sessions, by name alone; before 2.2.1 the running ones. The secret goes in the path, this is the
        only way there is."""
        return [Found(name=name, stored_state=State.UNKNOWN) for name in self._names()]

    def states(self) -> None:
        return None

    def state(self, name: str) -> Snapshot:
        """With the QR, where one is shown. Connected is what two answers say, and UNKNOWN where the second one does not
        come in time."""
        found = self._look(name)
        if found.state is State.CONNECTED:
            return replace(found, state=self._confirmed(name))
        if found.state is State.DISCONNECTED and name not in self._names():
            return replace(found, state=State.NOT_FOUND)
        return found

    def create(self, name: str, hook: Hook) -> Snapshot:  # noqa: ARG002
        """Nothing is made before the first `connect`, which brings the hook: until then there is none."""
        found = self.state(name)
        if found.state is not State.NOT_FOUND:
            raise NameInUse("The session exists")
        return found

    def identity(self, name: str) -> Found | None:
        for route in ("host-device", "get-phone-number"):
            reply = self._ask("GET", name, route)
            found = None if reply.nobody else wire.identity(name, reply.an_object())
            if found:
                return found
        return None

    def connect(self, name: str, phone: str | None = None, hook: Hook | None = None) -> Snapshot:
        """The code mostly comes later, by webhook or by `state`. `phone` counts only where the session is closed, and
        its code comes by webhook alone. A session whose browser has died is closed first: else nothing would happen.
        """
        with self._in_time():
            found = self._started(name, phone, hook)
            if found.state is State.CONNECTED and self._confirmed(name) is not State.CONNECTED:
                self._close(name)
                return self._started(name, phone, hook)
            return found

    def restart(self, name: str) -> Snapshot:
        with self._in_time():
            if self._look(name).state is State.DISCONNECTED:
                raise ProviderError("The session is closed")
            self._close(name)
            return self._started(name)

    def logout(self, name: str) -> None:
        """Where no browser runs that could unpair the phone, its keys are deleted: the phone goes on naming a device
        that never comes back."""
        with self._in_time():
            if not self._unpaired(name) and name in self._names():
                self._purge(name)

    def delete(self, name: str) -> None:
        with self._in_time():
            self._unpaired(name)
            self._purge(name)

    def hook(self, name: str) -> HookSeen | None:  # noqa: ARG002
        raise NotOffered("WPPConnect Server does not say where its events go")

    def set_hook(self, name: str, hook: Hook) -> None:
        """It goes along with `connect`."""

    def send_text(self, name: str, to: str, words: str) -> Sent:
        body = wire.text_body(to, words)
        return wire.sent(self._ask("POST", name, "send-message", body).an_object())

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """What takes several requests takes no longer than the slowest of them and a look: who asks holds a lease."""
        before = _until.set(time.monotonic() + self._limits.slow_s + self._limits.look_s)
        try:
            yield
        finally:
            _until.reset(before)

    def _started(self, name: str, phone: str | None = None, hook: Hook | None = None) -> Snapshot:
        """An answer that does not come is no failure: how it stands says more."""
        try:
            body = wire.start_body(phone, hook)
            return wire.started(name, self._ask("POST", name, "start-session", body, self._limits.slow_s).an_object())
        except TimedOut:
            found = self._look(name)
            if found.state is State.DISCONNECTED:
                raise
            return found

    def _close(self, name: str) -> None:
        """Stop the browser and keep the pairing. 500 means that there was none to stop: the session is closed too."""
        reply = self._ask("POST", name, "close-session", within_s=self._limits.slow_s)
        if not reply.nobody:
            reply.an_object()

    def _unpaired(self, name: str) -> bool:
        """Part from the phone; False where no browser runs that could."""
        reply = self._ask("POST", name, "logout-session", within_s=self._limits.slow_s)
        return not reply.nobody and bool(reply.an_object())

    def _purge(self, name: str) -> None:
        """Delete the files. A server that got its secret on the command line refuses it here (it looks at another
        one), and does it all the same: `state` says whether it is gone."""
        self._close(name)
        reply = self._with_secret("POST", "clear-session-data", name)
        if reply.status != WRONG_KEY:
            reply.an_object()

    def _look(self, name: str) -> Snapshot:
        return wire.snapshot(name, self._status(name))

    def _status(self, name: str) -> Mapping[str, Any]:
        return self._ask("GET", name, "status-session", within_s=self._limits.look_s).an_object()

    def _confirmed(self, name: str) -> State:
        first = self._checked(name)
        return first if first is State.CONNECTED else self._checked(name)

    def _checked(self, name: str) -> State:
        """Whether the browser answers. One that hangs never does; a single "no" may be a flap."""
        try:
            reply = self._ask("GET", name, "check-connection-session", within_s=self._limits.look_s / 2)
        except TimedOut:
            return State.UNKNOWN
        return State.CONNECTED if reply.an_object().get("status") is True else State.DISCONNECTED

    def _names(self) -> list[str]:
        return wire.names(self._with_secret("GET", "show-all-sessions").an_object())

    def _with_secret(self, method: str, route: str, name: str | None = None) -> Reply:
        """A route that has the secret in its path, beside the session. What fails must not say why: its cause names
        the path."""
        path = f"/api/{name}/{self._secret}/{route}" if name else f"/api/{self._secret}/{route}"
        try:
            return self._send(method, path, self._limits.usual_s, {})
        except ProviderError as error:
            raise error from None

    def _ask(self, method: str, name: str, route: str, body: object = None, within_s: float | None = None) -> Reply:
        headers = {"Authorization": f"Bearer {self._tokens.of(name)}"}
        return self._send(method, f"/api/{name}/{route}", within_s or self._limits.usual_s, headers, body)

    def _send(self, method: str, path: str, within_s: float, headers: dict[str, str], body: object = None) -> Reply:
        accepting = {"Accept": "application/json", **headers}
        given = {} if body is None and method == "POST" else body  # it reads fields of a body that is not there
        if (left_s := _until.get() - time.monotonic()) <= 0:
            raise TimedOut("The gateway did not answer in time")
        request = Request(method=method, path=path, within_s=min(within_s, left_s), headers=accepting, body=given)
        answer = self._http.ask(request)
        return answers.reply(answer.status, answer.headers, answer.body, datetime.now(UTC))
