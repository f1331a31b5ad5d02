"""Evolution's rules for a webhook that was not taken: which answers end it, and when the next attempt is
due. Pure.

Source: real ten-attempt runs against evolution-api 2.3.6 with its defaults; the older rules from its source.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Policy:
    """`delays_s[n-1]` is the wait after the nth attempt; `timeout_s` None waits for an answer for ever."""

    attempts: int = 10
    delays_s: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0)
    jitter: float = 0.2
    at_least_s: float = 5.0
    never_again: frozenset[int] = frozenset({400, 401, 403, 404, 422})
    timeout_s: float | None = 30.0

    def is_over(self, status: int | None, attempt: int) -> bool:
        """Whether the event is done with after this attempt (counted from 1); status None: no answer came."""
        if status is not None and (200 <= status < 300 or status in self.never_again):
            return True
        return attempt >= self.attempts

    def delay_s(self, attempt: int, luck: float) -> float:
        """Seconds from a failed attempt (1 to 9) to the next; `luck` from -1 to 1."""
        return max(self.at_least_s, self.delays_s[attempt - 1] * (1 + self.jitter * luck))


CURRENT = Policy()
# evolution-api 2.2.1 to 2.2.3: any failure, every 30 s, and a receiver that never answers holds it for ever.
CONSTANT = Policy(delays_s=(30.0,) * 9, jitter=0.0, never_again=frozenset(), timeout_s=None)
