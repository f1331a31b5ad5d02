"""What a browser gets, one class a dialect. Pure; the words and examples stand in docs/live.md.

`Ours` is the whole protocol; the others change what their seed's clients expect otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from notify import frames
from notify.feed import FeedEvent
from notify.framing import text_frame

Data = Mapping[str, Any]
Enrich = Callable[[Data], Data]  # an event's data as recorded → as shown


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
        data = made(happened.data)
        if data is None:
            return None
        instance = happened.data.get("instanceId") or happened.data.get("instanceName")  # the name, of an old event
        return NAMES[happened.type], {"instanceId": instance, **data, "timestamp": frames.iso(happened.at)}


NAMES = {
    "qrcode": "whatsapp:qr",
    "pairing_code": "whatsapp:pairing-code",
    "connected": "whatsapp:connected",
    "disconnected": "whatsapp:disconnected",
    "message": "whatsapp:message",
}


def _connected(data: Data) -> dict[str, Any]:
    """The union of the two shapes that its clients read."""
    phone = data.get("phoneNumber")
    return {"organizationId": data.get("organizationId"), "phoneNumber": phone, "phone_number": phone}


def _message(data: Data) -> dict[str, Any] | None:
    """Only what others wrote: the payload cannot say who did."""
    if data.get("fromMe"):
        return None
    kept = {name: data[name] for name in ("contactId", "bookingId") if data.get(name)}
    return {**{name: data.get(name) for name in ("messageId", "from", "text")}, **kept}


PAYLOADS: Mapping[str, Callable[[Data], dict[str, Any] | None]] = {
    "qrcode": lambda data: {"qr": data.get("qr")},
    "pairing_code": lambda data: {name: data.get(name) for name in ("pairingCode", "expiresAt")},
    "connected": _connected,
    "disconnected": lambda data: {"reason": data["reason"]} if data.get("reason") else {},
    "message": _message,
}
