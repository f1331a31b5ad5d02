"""Why a gateway says that a connection closed, and whether reconnecting by ourselves can help then. Pure.

The codes are Baileys' DisconnectReason; 402 and 406 are Evolution's own words for bans. A report alone decides nothing:
what it says is `pending` until a check sees the instance not open.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from manager.providers.port import State
from monitor.policy.health import Health, Policy, Reported

ENDED = {401: Policy.NEEDS_QR, 411: Policy.NEEDS_QR, 402: Policy.BANNED, 403: Policy.BANNED, 406: Policy.BANNED}
CLOSED, REPLACED, BAD_SESSION, RESTARTING = 428, 440, 500, 515
GRAVITY = (None, Policy.CONFLICT, Policy.NEEDS_QR, Policy.BANNED)
WAR = 3  # so often replaced within `WAR_WITHIN`, it is two that fight for one session, and reconnecting is the fight
WAR_WITHIN = timedelta(minutes=10)
HOPES = 2  # attempts on a bad session
PATIENCE = timedelta(seconds=60)  # with a restart that the gateway does itself, as after each pairing


def noted(before: Health, seen: Reported) -> Health:
    """What a report of a close says about why. The same reason once more is no news, and what an open has answered
    stays answered."""
    is_over = before.reason is None and seen.reason_at is not None and seen.reason_at == before.reason_at
    if seen.reason is None or is_over:
        return before
    after = replace(before, reason=seen.reason, reason_at=seen.reason_at)
    pending = [before.pending, _class_of(seen.reason, seen.state)]
    if seen.reason == REPLACED and is_news(before, seen):
        after = replace(after, replaced_at=(*since(before.replaced_at, seen.at - WAR_WITHIN), seen.at))
        pending.append(Policy.CONFLICT if len(after.replaced_at) >= WAR else None)
    if seen.reason == RESTARTING and before.patient_until is None:
        after = replace(after, patient_until=seen.at + PATIENCE)
    return replace(after, pending=max(pending, key=GRAVITY.index))


def is_news(before: Health, seen: Reported) -> bool:
    return seen.reason is not None and (seen.reason, seen.reason_at) != (before.reason, before.reason_at)


def confirmed(before: Health) -> Policy:
    """What a check that saw it not open makes of it; as before, where there is no such reason."""
    if before.pending is None and before.reason == BAD_SESSION and before.attempts >= HOPES:
        return Policy.NEEDS_QR
    return before.pending or before.policy


def since(times: Iterable[datetime], at: datetime) -> tuple[datetime, ...]:
    """Those of the times that are not before."""
    return tuple(time for time in times if time >= at)


def _class_of(reason: int, state: State) -> Policy | None:
    """A connection closed in the state "refused" is the gateway's limit of QR codes."""
    if reason == CLOSED and state is State.REFUSED:
        return Policy.NEEDS_QR
    return ENDED.get(reason)
