"""The watch over one gateway's instances: every few seconds a step.

Load what is due → look, outside of any transaction → decide (pure) → keep, tell and write down what is to be tried, in
one transaction that carries the leader's term → let the manager try. Who calls it: the schedule, while this process
leads. A step that is done twice, or cut off anywhere, tells nothing twice and tries nothing twice.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Connection

from core import events
from core.clock import Clock
from core.db import Transaction
from core.events import DomainEvent
from manager import sightings
from monitor import history, incidents
from monitor.alerting import alerts, silences
from monitor.alerting.silences import Active
from monitor.policy.health import Rules
from monitor.policy.servers import Server, ServerRules
from monitor.watching import attempt_log, quiet, store
from monitor.watching.actions import Actions
from monitor.watching.deciding import AWAY, Decided, Decision, decide, server_is_due
from monitor.watching.probe import Look, Probe, Survey, Target
from monitor.watching.telling import about_instance, about_server, parted
from monitor.watching.watched import Answer, Attempt, Counted, Watched

log = structlog.get_logger()
INTERVALS_UNSEEN = 3


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a step begins with."""

    server: Server
    server_incident: int | None
    counted: Counted
    silent: Active


class Watch:
    """`fence` is the leader's (`Leader.fence`): the first statement of what a term writes. `rung` is told whose feed
    has grown."""

    def __init__(
        self,
        transaction: Transaction,
        clock: Clock,
        gateway: str,
        probe: Probe,
        actions: Actions,
        *,
        rules: Rules,
        server_rules: ServerRules,
        fence: Callable[..., None],
        rung: Callable[[list[str]], None],
        luck: Callable[[], float] = random.random,
    ) -> None:
        self._transaction, self._clock, self._gateway = transaction, clock, gateway
        self._probe, self._actions = probe, actions
        self._rules, self._server_rules = rules, server_rules
        self._fence, self._rung, self._luck = fence, rung, luck
        self._gap = rules.interval * INTERVALS_UNSEEN
        self._longest = max(rules.interval, timedelta(minutes=1)) * 2  # that anybody can be due ahead

    def step(self, term: int) -> None:
        """Raises Deposed where somebody else leads by now, StorageUnavailable."""
        at = self._clock.now()
        opened = self._open(term, at)
        survey = self._survey(opened, at)
        rows, answers = self._load(term, at, opened, survey)
        targets = [Target(name=one.gateway_name, heard=one.heard_lately) for one in rows if one.due]
        decided = decide(
            at=at,
            server=opened.server,
            rows=rows,
            look=self._probe.look(targets, survey),
            answers=answers,
            counted=opened.counted,
            rules=self._rules,
            server_rules=self._server_rules,
            luck=self._luck,
            room=self._actions.room,
        )
        self._actions.start(self._keep(term, at, opened, decided))

    def _open(self, term: int, at: datetime) -> Opened:
        """Who is under watch, and how its server stands."""
        with self._transaction() as connection:
            self._fence(connection, term)
            store.begin(connection, self._gateway, at)
            left = store.leave(connection, self._gateway)
            history.leave(connection, {row["id"]: row["checked_at"] for row in left})
            incidents.write(connection, parted(self._gateway, left, at))
            server, incident_id = store.server(connection, self._gateway)
            return Opened(
                server=server,
                server_incident=incident_id,
                counted=store.count(connection, self._gateway, at, self._longest),
                silent=silences.active(connection, at),
            )

    def _survey(self, opened: Opened, at: datetime) -> Survey:
        if opened.server.state in AWAY:
            return Survey(look=self._probe.ask_server() if server_is_due(opened.server, at) else Look())
        if not opened.counted.due or opened.silent.maintenance.everybody:
            return Survey(look=Look())
        return self._probe.survey(opened.counted.due)

    def _load(
        self, term: int, at: datetime, opened: Opened, survey: Survey
    ) -> tuple[list[Watched], Mapping[UUID, Answer]]:
        """Those to be judged: due and not cleared by the survey, changed, or answered; and the answers."""
        gateway, longest, looking = self._gateway, self._longest, opened.server.state not in AWAY
        with self._transaction() as connection:
            self._fence(connection, term)
            if survey.open and not opened.silent.is_maintaining:
                quiet.clear(connection, gateway, survey.open, at, self._rules.interval, longest, self._gap)
            answers = attempt_log.answers(connection, gateway)
            rows = store.load(connection, gateway, at, longest, answers, looking=looking)
            attempt_log.take_in(connection, answers.keys() - {one.id for one in rows})  # nobody watches these now
            left_alone = {one.id for one in rows if opened.silent.maintains(one.id, one.organization_id)}
            store.postpone(connection, left_alone, at + self._rules.interval)
        return [one for one in rows if one.id not in left_alone], answers

    def _keep(self, term: int, at: datetime, opened: Opened, decided: Decided) -> list[tuple[int, Attempt]]:
        """Everything in one transaction; the attempts that were written down."""
        untouched = [decision for decision in decided.decisions if decision.is_quiet]
        loud = {decision.one.id: decision for decision in decided.decisions if not decision.is_quiet}
        with self._transaction() as connection:
            self._fence(connection, term, done=True)
            held = sightings.hold(connection, list(loud))
            current = store.hold(connection, {one: decision.one.version for one, decision in loud.items()})
            fresh = [decision for one, decision in loud.items() if one in held and one in current]
            taken = sightings.take_in(connection, held, [found for d in fresh if (found := d.sighting)])
            told, ongoing = self._tell(connection, at, opened, decided, fresh)
            attempts = [tried for d in fresh if (tried := d.attempt(ongoing.get(d.one.id), term))]
            numbers = attempt_log.begin(connection, attempts, at)
            store.save(connection, [d.kept(ongoing.get(d.one.id), sighted=d.one.id in taken.ids) for d in fresh])
            attempt_log.take_in(connection, [d.one.id for d in fresh if d.answer])
            store.touch(connection, [decision.touched for decision in untouched if decision.is_news])
            history.extend(connection, [seen for d in (*untouched, *fresh) if (seen := d.verdict(at, self._gap))])
            events.record(connection, [*taken.events, *told])
        _log(opened.server, decided, fresh)
        if users := {str(event.user_id) for event in (*taken.events, *told)}:
            self._rung(sorted(users))
        return list(zip(numbers, attempts, strict=True))

    def _tell(
        self, connection: Connection, at: datetime, opened: Opened, decided: Decided, fresh: Sequence[Decision]
    ) -> tuple[list[DomainEvent], dict[UUID, int | None]]:
        """Frames for people, and the open incident of each instance; the server's is kept here."""
        before, after, incident = opened.server, decided.server, opened.server_incident
        server = about_server(self._gateway, before, incident, decided, at)
        about = [(one, found) for one in fresh if (found := about_instance(self._gateway, one, at))]
        written = incidents.write(connection, [*([server] if server else []), *(found for _, found in about)])
        told = [word for one in written for word in one.told]
        if server:
            incident = None if server.closes else written[0].incident_id
            written = written[1:]
        if after.server != before or incident != opened.server_incident:
            store.keep_server(connection, self._gateway, after.server, incident)
        ongoing = {
            decision.one.id: None if found.closes else one.incident_id
            for (decision, found), one in zip(about, written, strict=True)
        }
        return alerts.record(connection, told), ongoing


def _log(server: Server, decided: Decided, fresh: Sequence[Decision]) -> None:
    """What changed, and what was told."""
    if decided.server.server.state is not server.state:
        log.warning("gateway_changed", state=decided.server.server.state, before=server.state)
    for decision in fresh:
        before, after, told = decision.one.health, decision.outcome.health, decision.outcome.notices
        if told or (before.state, before.policy) != (after.state, after.policy):
            facts = {"failures": after.failures, "policy": after.policy, "reason": decision.one.reason}
            log.info("health_changed", instance=decision.one.name, state=after.state, told=list(told), **facts)
