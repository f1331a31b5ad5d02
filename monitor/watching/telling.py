"""Decisions as what incidents keep: what is told, and the steps of the timeline. Pure.

Codes alone: the words are made of them when somebody reads (`monitor.texts`, `monitor.postmortem`).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from manager.providers.port import State
from monitor.incidents import Happening, Step, Subject
from monitor.policy.health import Health
from monitor.policy.servers import Round, Server, ServerKind, ServerState
from monitor.watching.deciding import Decided, Decision
from monitor.watching.inputs import ENDED, steps_between

MOST_NAMES = 50


def about_instance(gateway: str, decision: Decision, at: datetime) -> Happening | None:
    """None where nobody is told anything and no incident is open."""
    one, outcome = decision.one, decision.outcome
    if not outcome.notices and one.incident_id is None:
        return None
    steps = [*_evidence(decision)] if one.incident_id is None else []
    return Happening(
        subject=Subject(
            gateway=gateway,
            instance_id=one.id,
            instance_name=one.name,
            user_id=one.user_id,
            organization_id=one.organization_id,
        ),
        incident_id=one.incident_id,
        at=at,
        notices=tuple(outcome.notices),
        steps=(*steps, *_steps(decision, at)),
        facts=_facts(one.name, one.health, outcome.health, one.reason),
        reason=one.reason,
        closes=not outcome.health.incident,
    )


def about_server(
    gateway: str, before: Server, incident_id: int | None, decided: Decided, at: datetime
) -> Happening | None:
    judgement, after = decided.server, decided.server.server
    if not judgement.notices and incident_id is None:
        return None
    since = before.since if incident_id else None
    affected = _affected(after.kind or before.kind, decided.seen)
    facts: dict[str, Any] = {"gateway": gateway, "affected": affected, "seconds": _seconds(since, at)}
    return Happening(
        subject=Subject(gateway=gateway),
        incident_id=incident_id,
        at=at,
        notices=tuple(judgement.notices),
        steps=tuple(_server_steps(before, decided, at)),
        facts=facts,
        reason=None,
        closes=not after.incident,
    )


def parted(gateway: str, left: Sequence[Any], at: datetime) -> list[Happening]:
    """Incidents of instances that nobody watches any more: their owner parted from them."""
    step = Step(at=at, kind="person", code="parted", facts={})
    return [
        Happening(
            subject=Subject(gateway=gateway, instance_id=row["id"]),
            incident_id=row["incident_id"],
            at=at,
            notices=(),
            steps=(step,),
            facts={},
            reason=None,
            closes=True,
        )
        for row in left
        if row["incident_id"]
    ]


def _affected(kind: ServerKind | None, seen: Round) -> int:
    """How many instances it is about."""
    few = {ServerKind.GATEWAY_MASS: max(seen.failing, seen.missing), ServerKind.GATEWAY_OUTDATED: seen.outdated}
    return few.get(kind, seen.enabled) if kind else seen.enabled


def _server_steps(before: Server, decided: Decided, at: datetime) -> Iterator[Step]:
    after = decided.server.server
    if after.state is before.state:
        return
    if after.state is ServerState.MASS:
        names = sorted(one.one.name for one in decided.decisions if one.found in ENDED)
        yield Step(at=at, kind="signal", code="fell", facts={"instances": names[:MOST_NAMES], "count": len(names)})
    yield Step(at=at, kind="verdict", code=f"gateway_{after.state}", facts={"faults": after.faults})


def _evidence(decision: Decision) -> Iterator[Step]:
    """What was known before anybody was told."""
    one, since = decision.one, decision.outcome.health.failing_since
    if one.told_state is not State.CONNECTED and one.updated_at:
        facts = {"state": one.told_state, "reason": one.reason}
        yield Step(at=one.updated_at, kind="signal", code="reported", facts=facts)
    if since and one.health.failures:
        yield Step(at=since, kind="verdict", code="check_failed", facts={"failures": 1})


def _steps(decision: Decision, at: datetime) -> Iterator[Step]:
    one, after = decision.one, decision.outcome.health
    if one.updated_at != one.noticed_at and one.incident_id is not None:
        yield Step(at=at, kind="signal", code="reported", facts={"state": one.told_state, "reason": one.reason})
    if decision.answer:
        yield Step(at=at, kind="action", code="answered", facts={"outcome": decision.answer.outcome})
    for code in steps_between(one.health, after):
        yield Step(at=at, kind="verdict", code=code, facts={"failures": after.failures})
    if decision.outcome.action:
        facts = {"number": after.attempts}
        yield Step(at=at, kind="action", code=f"try_{decision.outcome.action}", facts=facts)


def _facts(name: str, before: Health, after: Health, reason: int | None) -> dict[str, Any]:
    since = after.failing_since or before.failing_since
    return {
        "instanceName": name,
        "reason": reason,
        "failures": max(before.failures, after.failures),
        "attempts": max(before.attempts, after.attempts),
        "deaf": after.deaf,
        "since": since.isoformat() if since else None,
    }


def _seconds(since: datetime | None, at: datetime) -> int | None:
    return int((at - since).total_seconds()) if since else None
