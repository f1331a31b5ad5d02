"""Websocket frames as bytes (RFC 6455): ours, made once for all sockets, and what clients send, counted. Pure."""

CLOSE_TOO_BIG, CLOSE_RESTART, CLOSE_TRY_LATER = 1009, 1012, 1013
CLOSE_BAD, CLOSE_ENDED, CLOSE_FORBIDDEN, CLOSE_LATE = 4400, 4401, 4403, 4408
CLOSE_CROWDED, CLOSE_SLOW, CLOSE_FLOOD = 4409, 4410, 4429
LARGEST_FRAME = 16 * 1024  # bytes a client may send at once
MOST_FRAMES = 300  # of any kind a minute, pings, pongs and pieces of messages too
MINUTE_S = 60.0
TEXT, CLOSE = 0x81, 0x88  # whole frames: FIN and the kind
PING_FRAME = b"\x89\x00"
MASKED = 0x80
LONGEST_REASON = 123  # bytes


def text_frame(text: str) -> bytes:
    """The text as one frame of a server: unmasked, uncompressed, so the same bytes serve every socket."""
    return _frame(TEXT, text.encode("utf-8", "replace"))


def close_frame(code: int, why: str = "") -> bytes:
    return _frame(CLOSE, code.to_bytes(2) + why.encode()[:LONGEST_REASON])


def _frame(kind: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((kind, size)) + payload
    if size < 65536:
        return bytes((kind, 126)) + size.to_bytes(2) + payload
    return bytes((kind, 127)) + size.to_bytes(8) + payload


class Meter:
    """Counts the frames that a client sends before anybody unpacks them."""

    __slots__ = ("_begun", "_count", "_partly", "_skip")

    def __init__(self) -> None:
        self._partly, self._skip = b"", 0
        self._begun, self._count = 0.0, 0

    def fault(self, data: bytes, now: float) -> tuple[int, str] | None:
        """What was received, in pieces of any size; the close code and reason once it is too much."""
        data, at = self._partly + data, 0
        while True:
            step = min(self._skip, len(data) - at)
            at, self._skip = at + step, self._skip - step
            found = _head(data, at) if not self._skip else None
            if found is None:
                self._partly = data[at:]
                return None
            head, payload = found
            if payload > LARGEST_FRAME:
                return CLOSE_TOO_BIG, "frame too large"
            if self._one_more(now) > MOST_FRAMES:
                return CLOSE_FLOOD, "too many frames"
            self._skip = head + payload

    def _one_more(self, now: float) -> int:
        if now - self._begun > MINUTE_S:
            self._begun, self._count = now, 0
        self._count += 1
        return self._count


def _head(data: bytes, at: int) -> tuple[int, int] | None:
    """How long the frame's head and its payload are; None while the head is not all there."""
    if len(data) - at < 2:
        return None
    size, more = data[at + 1] & 127, 2
    wide = {126: 2, 127: 8}.get(size, 0)
    if len(data) - at < more + wide:
        return None
    if wide:
        size = int.from_bytes(data[at + 2 : at + 2 + wide])
    return more + wide + (4 if data[at + 1] & MASKED else 0), size
