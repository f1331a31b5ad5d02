"""Evolution's rules for a webhook that was not taken: which answers end it, and when the next attempt is
due. Pure.

Source: real ten-attempt runs against evolution-api 2.3.6 with its defaults.
"""

ATTEMPTS = 10
DELAYS_S = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0)
FIRST_AT_LEAST_S = 5.0
NEVER_AGAIN = frozenset({400, 401, 403, 404, 422})


def is_over(status: int | None, attempt: int) -> bool:
    """Whether the event is done with after this attempt (counted from 1); status None: no answer came."""
    if status is not None and (200 <= status < 300 or status in NEVER_AGAIN):
        return True
    return attempt >= ATTEMPTS


def delay_s(attempt: int, jitter: float) -> float:
    """Seconds from a failed attempt (1 to 9) to the next; `jitter` from -0.2 to 0.2."""
    return max(FIRST_AT_LEAST_S, DELAYS_S[attempt - 1] * (1 + jitter))
