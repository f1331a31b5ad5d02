"""What a browser gets, one class a dialect. Pure; the words and examples stand in docs/live.md.

`Ours` is the whole protocol; the others change what their seed's clients expect otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from notify import frames
from notify.feed import FeedEvent
from notify.framing import text_frame

Data = Mapping[str, Any]
Enrich = Callable[[Data], Data]  # an event's data as recorded → as shown


class Facts(Protocol):
    """Of a user's instance."""

    @property
    def id(self) -> UUID | None: ...

    @property
    def organization_id(self) -> str | None: ...


def as_recorded(data: Data) -> Data:
    """Nothing to add."""
    return data


class Dialect:
    """Ours: `{"id":7,"type":"status","data":{…},"timestamp":"…Z"}`; a room's event has a `channel` and no id."""

    def __init__(self, enrich: Enrich = as_recorded) -> None:
        self._enrich = enrich

    def event(self, happened: FeedEvent, channel: str | None = None) -> Sequence[bytes]:
        """The frames of one event; none where the dialect has no word for it."""
        return [text_frame(text) for text in self.texts(happened, channel)]

    def texts(self, happened: FeedEvent, channel: str | None) -> Sequence[str]:
        return [frames.compact(frames.event(happened, self._enrich(happened.data), channel))]

    def error(self, code: str, message: str) -> str:
        return frames.error(code, message)

    def started(self, result: Data, *, again: bool) -> Sequence[str]:  # noqa: ARG002 — not every dialect minds
        """The answer to `start`; `again`: the code in it has been out already, so no event brings it."""
        if result.get("alreadyConnected"):
            return [self.error("ALREADY_CONNECTED", result["message"])]
        return [frames.answer("started", result)]


class Seed(Dialect):
    """`/ws/instances/<id>`: `{"type":"qr","data":"data:image/png;base64,…"}` goes before each `qrcode`."""

    def texts(self, happened: FeedEvent, channel: str | None) -> Sequence[str]:
        shown = self._enrich(happened.data)
        picture = [frames.answer("qr", shown.get("qrCode"))] if happened.type == "qrcode" else []
        return [*picture, frames.compact(frames.event(happened, shown, channel))]

    def error(self, code: str, message: str) -> str:
        return frames.compact({"type": "error", "data": message, "code": code, "message": message})

    def started(self, result: Data, *, again: bool) -> Sequence[str]:
        if result.get("alreadyConnected"):
            return [frames.answer("error", result["message"])]
        if not (again and result.get("qrCode")):
            return []
        code = {name: result[name] for name in ("instanceName", "qrCode", "qr", "expiresAt")}
        return [frames.answer("qr", result["qrCode"]), frames.answer("qrcode", {**code, "status": "waiting_qr"})]


class WhatsApp(Dialect):
    """`?dialect=whatsapp`: the names and payloads of the `whatsapp:*` events, in our envelope."""

    def __init__(self, facts: Callable[[UUID], Facts | None]) -> None:
        super().__init__()
        self._facts = facts

    def texts(self, happened: FeedEvent, channel: str | None) -> Sequence[str]:
        found = self.named(happened)
        if found is None:
            return []
        name, data = found
        place: Data = {"channel": channel} if channel else {"id": happened.id}
        return [frames.compact({**place, "type": name, "data": data})]

    def named(self, happened: FeedEvent) -> tuple[str, dict[str, Any]] | None:
        """The event's name and payload; None where nobody of this dialect waits for it."""
        made = PAYLOADS.get(happened.type)
        if made is None:
            return None
        facts = self._facts(happened.user_id)
        data = made(happened.data, facts)
        if data is None:
            return None
        instance = str(facts.id) if facts and facts.id else happened.data.get("instanceName")
        return NAMES[happened.type], {"instanceId": instance, **data, "timestamp": frames.iso(happened.at)}


NAMES = {
    "qrcode": "whatsapp:qr",
    "pairing_code": "whatsapp:pairing-code",
    "connected": "whatsapp:connected",
    "disconnected": "whatsapp:disconnected",
    "message": "whatsapp:message",
}


def _connected(data: Data, facts: Facts | None) -> dict[str, Any]:
    """The union of the two shapes that its clients read."""
    phone = data.get("phoneNumber")
    return {"organizationId": facts.organization_id if facts else None, "phoneNumber": phone, "phone_number": phone}


def _message(data: Data, _: Facts | None) -> dict[str, Any] | None:
    """Only what others wrote: the payload cannot say who did."""
    if data.get("fromMe"):
        return None
    kept = {name: data[name] for name in ("contactId", "bookingId") if data.get(name)}
    return {**{name: data.get(name) for name in ("messageId", "from", "text")}, **kept}


PAYLOADS: Mapping[str, Callable[[Data, Facts | None], dict[str, Any] | None]] = {
    "qrcode": lambda data, _: {"qr": data.get("qr")},
    "pairing_code": lambda data, _: {name: data.get(name) for name in ("pairingCode", "expiresAt")},
    "connected": _connected,
    "disconnected": lambda data, _: {"reason": data["reason"]} if data.get("reason") else {},
    "message": _message,
}
