"""One listener's frames, between the hub that puts and the one thread that takes."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from notify.dialects import Dialect

MOST = 256  # frames
MOST_BYTES = 900_000  # a mailbox holds at most this and one frame: 1 MB


def _keep_it(frame: bytes) -> bytes | None:
    return frame


@dataclass(eq=False, kw_only=True, slots=True)
class Mailbox:
    """`wake` is called when something was put in. A full one gets nothing more, so nobody waits for its owner.

    `hand` writes a frame at once where that takes no waiting, and gives what its owner has to write: None, nothing. It
    is only called while the owner is `resting`: to wake it costs as much as writing.
    `cursor`: the last event of the user's own stream that is in it. `behind`: something did not fit after it, and
    nothing of the stream will come until the owner has read the feed and joined again. `missed`: channels of which
    a frame did not fit.
    """

    user_id: UUID | None
    dialect: Dialect
    wake: Callable[[], None]
    hand: Callable[[bytes], bytes | None] = _keep_it
    resting: bool = False
    cursor: int = 0
    behind: bool = True
    missed: set[str] = field(default_factory=set)
    _frames: list[bytes] = field(default_factory=list)  # an empty deque has 600 bytes, and there are many
    _put: int = 0
    _taken: int = 0

    def put(self, event_id: int, frames: Sequence[bytes]) -> None:
        """Ids have no gaps: where one is missing, the owner reads the feed for itself."""
        if self.behind or event_id <= self.cursor:
            return
        if event_id == self.cursor + 1 and self._keep(frames):
            self.cursor = event_id
        else:
            self.behind = True
            self.wake()

    def shout(self, channel: str, frames: Sequence[bytes]) -> None:
        """An event of a room."""
        if not self._keep(frames):
            self.missed.add(channel)
            self.wake()

    def take(self) -> bytes | None:
        """The oldest frame; None when there is none."""
        if not self._frames:
            return None
        frame = self._frames.pop(0)
        self._taken += len(frame)
        return frame

    def empty(self, channels: Collection[str]) -> None:
        """Forget what is in it: the stream begins anew, and of these channels something may be missed."""
        while self.take() is not None:
            pass
        self.missed |= set(channels)

    def _keep(self, frames: Sequence[bytes]) -> bool:
        if len(self._frames) >= MOST or self._put - self._taken >= MOST_BYTES:
            return False
        for frame in frames:
            # in this order: its owner rests no more before it takes a frame, so nothing overtakes what it took
            left = self.hand(frame) if not self._frames and self.resting else frame
            if left is not None:
                self._frames.append(left)
                self._put += len(left)
                self.wake()
        return True
