"""One step of a gateway's watch, decided: what its rows and a look at it lead to. Pure; `watch` does the rest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from manager.providers.port import State
from manager.sightings import Sighting
from monitor.history import Verdict
from monitor.policy.gateway import judge_server, take_token
from monitor.policy.health import Attempted, Fleet, Observation, Policy, Rules
from monitor.policy.rhythm import Rhythm, listened
from monitor.policy.servers import Round, Server, ServerJudgement, ServerRules, ServerState
from monitor.watching.inputs import Outcome, is_quiet, judged, observations, round_of, verdict
from monitor.watching.probe import Look
from monitor.watching.quiet import settled_until
from monitor.watching.watched import Answer, Attempt, Counted, Kept, Touched, Watched

JITTER = 0.1  # of the interval, and never later than it
AWAY = (ServerState.SUSPECT, ServerState.DOWN, ServerState.AUTH)  # the server itself is asked, and nobody on it


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """`found`: what our look said, None where nobody looked, or it brought nothing."""

    one: Watched
    outcome: Outcome
    found: State | None
    answer: Answer | None
    rhythm: Rhythm
    due_at: datetime
    settled_until: datetime | None

    @property
    def is_quiet(self) -> bool:
        """Nothing is new but that somebody looked, or that a message came."""
        return is_quiet(self.one.health, self.outcome) and self.answer is None and self.sighting is None

    @property
    def is_news(self) -> bool:
        """Whether somebody has looked, or the row has changed."""
        return self.found is not None or self.one.noticed_at != self.one.updated_at

    @property
    def touched(self) -> Touched:
        return Touched(
            id=self.one.id,
            checked_at=self.outcome.health.checked_at if self.found else self.one.checked_at,
            due_at=self.due_at,
            noticed_at=self.one.updated_at,
            settled_until=self.settled_until,
            rhythm=self.rhythm if self.rhythm != self.one.rhythm else None,
        )

    def verdict(self, at: datetime, gap: timedelta) -> Verdict | None:
        """For the history, where nobody looking for longer than `gap` is a hole; None where nobody has looked, or the
        history says the same already."""
        if self.found is None:
            return None
        word, before = verdict(self.found, self.outcome.health), self.one.checked_at
        is_gap = before is not None and at - before > gap
        if word == self.one.verdict and not is_gap:
            return None
        return Verdict(instance_id=self.one.id, verdict=word, at=at, seen_until=before if is_gap else None)

    @property
    def sighting(self) -> Sighting | None:
        """What our row has to learn: it says otherwise. A single "not found" is not believed."""
        found, seen_at = self.found, self.outcome.health.checked_at
        is_doubtful = found is State.NOT_FOUND and self.outcome.health.policy is not Policy.GONE
        if found is None or seen_at is None or found in (State.CONNECTING, self.one.told_state) or is_doubtful:
            return None
        return Sighting(instance_id=self.one.id, state=found, at=seen_at, updated_at=self.one.updated_at)

    def attempt(self, incident_id: int | None, term: int) -> Attempt | None:
        action, health = self.outcome.action, self.outcome.health
        if action is None:
            return None
        return Attempt(
            instance_id=self.one.id,
            user_id=self.one.user_id,
            name=self.one.name,
            action=action,
            number=health.attempts,
            reason=self.one.reason,
            incident_id=incident_id,
            asked_at=self.one.asked_at,
            term=term,
        )

    def kept(self, incident_id: int | None, *, sighted: bool) -> Kept:
        return Kept(
            id=self.one.id,
            health=self.outcome.health,
            rhythm=self.rhythm,
            due_at=self.due_at,
            noticed_at=self.one.updated_at,
            incident_id=incident_id,
            sighted=sighted,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    seen: Round
    server: ServerJudgement
    decisions: Sequence[Decision]


def server_is_due(server: Server, at: datetime) -> bool:
    return server.probe_at is not None and at >= server.probe_at


def decide(
    *,
    at: datetime,
    server: Server,
    rows: Sequence[Watched],
    look: Look,
    answers: Mapping[UUID, Answer],
    counted: Counted,
    rules: Rules,
    server_rules: ServerRules,
    luck: Callable[[], float],
    room: int,
) -> Decided:
    """`answers`: instance → what an attempt of ours was answered. `room`: for so many attempts more: none waits."""
    seen_of_all = round_of(at, look, rows, counted)
    judgement = judge_server(server, seen_of_all, server_rules)
    tokens, decisions = judgement.server, []
    spent = take_token(tokens, at, server_rules, counted.enabled)
    for one in rows:
        found = look.states.get(one.gateway_name) if one.due else None
        answer = answers.get(one.id)
        seen: list[Observation] = [Attempted(at=at, shows_code=answer.shows_code)] if answer else []
        seen += observations(one, found, at)
        fleet = Fleet(frozen=judgement.frozen, token=spent is not None and room > 0, busy=one.busy)
        outcome = judged(one, seen, rules, fleet, luck())
        if outcome.action and spent:
            tokens, spent, room = spent, take_token(spent, at, server_rules, counted.enabled), room - 1
        rhythm = listened(one.rhythm, one.heard_at, at) if found is State.CONNECTED else one.rhythm
        due_at = _due_at(one, look, outcome, at, rules.interval, luck())
        decisions.append(
            Decision(
                one=one,
                outcome=outcome,
                found=found,
                answer=answer,
                rhythm=rhythm,
                due_at=due_at,
                settled_until=settled_until(outcome.health, at, luck()) if found is State.CONNECTED else None,
            )
        )
    return Decided(seen=seen_of_all, server=replace(judgement, server=tokens), decisions=decisions)


def _due_at(one: Watched, look: Look, outcome: Outcome, at: datetime, interval: timedelta, luck: float) -> datetime:
    """With the others where one answer serves all; spread where each is asked for itself; still due where nobody has
    looked."""
    soon = at + outcome.again_within if outcome.again_within else None
    was_asked = one.gateway_name in look.states or one.gateway_name in look.troubles
    if not (one.due and was_asked):
        return min(one_due for one_due in (soon, one.due_at) if one_due)
    usual = at + interval if look.probe else at + interval * (1 - JITTER * luck)
    return min(soon, usual) if soon else usual
