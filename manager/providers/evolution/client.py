"""Evolution's REST: one method a call of the port. `http` sends, `answers` says what came back, `wire`, `rows` and
`metrics` say what it means.

Never branches on texts: where an answer leaves it open, the instance's state decides.
"""

import contextlib
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from core.errors import InstanceUnknown, InvalidRecipient, NotConnected, ProviderError
from manager.providers.evolution import answers, metrics, rows, wire
from manager.providers.evolution.answers import Reply
from manager.providers.http import Answer, Limits, Request, Transport
from manager.providers.port import Found, Hook, HookSeen, Sent, Snapshot, State

USUAL = Limits()
NOBODY = "nobody-has-this-name"
NO_METRICS = (401, 403, 404)


class EvolutionClient:
    """A Provider. One object a server; safe for many threads. `metrics_user`: of HTTP basic, for `/metrics` only."""

    silent = False

    def __init__(
        self,
        url: str,
        key: str,
        limits: Limits = USUAL,
        *,
        metrics_user: str | None = None,
        metrics_password: str | None = None,
    ) -> None:
        self._http, self._limits = Transport(url, limits), limits
        self._headers = {"apikey": key, "Accept": "application/json"}
        self._metrics_headers = _basic(metrics_user, metrics_password)

    def ping(self) -> None:
        """`/verify-creds` is cheap; versions before it are asked for an instance that nobody has."""
        reply = self._ask("POST", "/verify-creds", {})
        if reply.status != 404:
            reply.an_object()
            return
        with contextlib.suppress(InstanceUnknown):  # here the key was looked at before the name
            self._ask("GET", f"/instance/fetchInstances?instanceName={NOBODY}").result()

    def version(self) -> str | None:
        """`{"version":"2.3.6","clientName":…}`; the server asks WhatsApp's website first, every time."""
        found = self._ask("GET", "/").an_object().get("version")
        return found if isinstance(found, str) else None

    def instances(self) -> list[Found]:
        return rows.instances(self._ask("GET", "/instance/fetchInstances").result())

    def states(self) -> Mapping[str, State] | None:
        """None where `/metrics` is off, or not for us."""
        answer = self._send("GET", "/metrics", headers=self._metrics_headers)
        if answer.status in NO_METRICS:
            return None
        if answer.status != 200:
            raise _reply(answer).failure()
        return metrics.states(answer.body.decode(errors="replace"))

    def state(self, name: str) -> Snapshot:
        return self._state(name, self._limits.usual_s)

    def create(self, name: str, hook: Hook) -> Snapshot:
        """Without `qrcode`: the QR is asked for by connect, which does not hold the call for five seconds.

        Raises ValueError for a hook without its secrets.
        """
        settings = wire.hook_settings(hook)
        body = {"instanceName": name, "integration": "WHATSAPP-BAILEYS", "qrcode": False, "webhook": settings}
        reply = self._ask("POST", "/instance/create", body, within_s=self._limits.slow_s)
        return wire.snapshot(name, reply.an_object(creating=True))

    def identity(self, name: str) -> Found | None:
        return next((found for found in self.instances() if found.name == name), None)

    def connect(self, name: str, phone: str | None = None, hook: Hook | None = None) -> Snapshot:  # noqa: ARG002
        """`phone` counts only where the connection is closed; QR and pairing code come together."""
        asked = f"?number={quote(phone, safe='')}" if phone else ""
        reply = self._ask("GET", _path("/instance/connect", name) + asked, within_s=self._limits.slow_s)
        return wire.snapshot(name, reply.an_object())

    def restart(self, name: str) -> Snapshot:
        """The answer still shows the state before. On a closed one, 200 `{"error":true}`: ProviderError."""
        reply = self._ask("POST", _path("/instance/restart", name), within_s=self._limits.slow_s)
        return wire.snapshot(name, reply.an_object())

    def logout(self, name: str) -> None:
        """400 also means that there is nobody to log out."""
        reply = self._ask("DELETE", _path("/instance/logout", name), within_s=self._limits.slow_s)
        if reply.status == 400 and self._looked(name) is State.DISCONNECTED:
            return
        reply.an_object()

    def delete(self, name: str) -> None:
        with contextlib.suppress(InstanceUnknown):
            self._ask("DELETE", _path("/instance/delete", name), within_s=self._limits.slow_s).an_object()

    def hook(self, name: str) -> HookSeen | None:
        reply = self._ask("GET", _path("/webhook/find", name))
        return rows.hook(reply.result() if reply.document is None else reply.an_object())

    def set_hook(self, name: str, hook: Hook) -> None:
        """No list of events is all of them; a version that refuses this is given the names that it knows.

        Raises ValueError for a hook without its secrets.
        """
        path = _path("/webhook/set", name)
        reply = self._ask("POST", path, {"webhook": wire.hook_settings(hook)})
        if reply.status == 400:
            allowed = wire.allowed_events(answers.reason_text(reply.document))
            body = {"webhook": wire.hook_settings(hook, allowed)}
            reply = self._ask("POST", path, body, within_s=self._limits.look_s)
        reply.an_object()

    def send_text(self, name: str, to: str, words: str) -> Sent:
        reply = self._ask("POST", _path("/message/sendText", name), {"number": to, "text": words})
        if reply.status in answers.ABOUT_THE_REQUEST:
            raise self._not_sent(name, reply)
        return rows.sent(reply.an_object())

    def _not_sent(self, name: str, reply: Reply) -> ProviderError:
        """Every state but "open" has its own words for a failure, and they change from version to version."""
        failure = reply.failure()
        if type(failure) is not ProviderError:
            return failure
        if rows.has_no_whatsapp(answers.message(reply.document)):
            return InvalidRecipient("The number has no WhatsApp", provider_status=reply.status)
        found = self._looked(name)
        if found in (None, State.CONNECTED):
            return failure
        kind = InstanceUnknown if found is State.NOT_FOUND else NotConnected
        return kind("No phone is connected to the instance", provider_status=reply.status)

    def _looked(self, name: str) -> State | None:
        """The state, to understand an answer; None where that fails too."""
        try:
            return self._state(name, self._limits.look_s).state
        except ProviderError:
            return None

    def _state(self, name: str, within_s: float) -> Snapshot:
        reply = self._ask("GET", _path("/instance/connectionState", name), within_s=within_s)
        try:
            return wire.snapshot(name, reply.an_object())
        except InstanceUnknown:
            return Snapshot(name=name, state=State.NOT_FOUND)

    def _ask(self, method: str, path: str, body: object = None, *, within_s: float | None = None) -> Reply:
        return _reply(self._send(method, path, body, within_s=within_s))

    def _send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        within_s: float | None = None,
    ) -> Answer:
        request = Request(
            method=method,
            path=path,
            body=body,
            headers=self._headers if headers is None else headers,
            within_s=within_s or self._limits.usual_s,
        )
        return self._http.ask(request)


def _reply(answer: Answer) -> Reply:
    return answers.reply(answer.status, answer.headers, answer.body, datetime.now(UTC))


def _path(route: str, name: str) -> str:
    return f"{route}/{quote(name, safe='')}"


def _basic(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    pair = b64encode(f"{user}:{password or ''}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}
