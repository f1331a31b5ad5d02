"""Is it the instance that is ill, or the gateway server that they all hang on? Pure.

One trouble of the server is one alert and one recovery, and changes nothing on any instance. The rules in words:
docs/monitor.md. The time is `seen.at`.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from monitor.policy.servers import Round, Server, ServerJudgement, ServerKind, ServerRules, ServerState, Trouble

FROZEN = (ServerState.DOWN, ServerState.AUTH, ServerState.MASS, ServerState.RECOVERING)
AT_WORK = (ServerState.UP, ServerState.SUSPECT)
REFUSALS = {Trouble.AUTH: ServerKind.GATEWAY_AUTH, Trouble.LICENCE: ServerKind.GATEWAY_LICENCE}
TOGETHER = (ServerKind.GATEWAY_MASS, ServerKind.GATEWAY_OUTDATED)
GRACE = 2  # intervals
A_FEW = 2  # instances that say the same: one alone may be ill itself
MINUTE = timedelta(minutes=1)


def judge_server(before: Server, seen: Round, rules: ServerRules) -> ServerJudgement:
    """Fold one round in. A round in which nobody was asked only lets time pass."""
    known = _counted(_timely(before, seen.at, rules), seen, rules)
    state, kind = _next(known, seen, rules)
    after = _moved(known, state, seen, rules)
    after, notices = _told(after, kind, seen)
    probe_within = max(after.probe_at - seen.at, timedelta(0)) if after.probe_at else None
    return ServerJudgement(server=after, notices=notices, frozen=state in FROZEN, probe_within=probe_within)


def take_token(server: Server, at: datetime, rules: ServerRules, enabled: int) -> Server | None:
    """The server with one attempt taken from the fleet's budget; None where there is none left. `enabled`: instances
    under watch."""
    a_minute, most = rules.tokens_a_minute, rules.burst
    if _is_throttled(server, at):
        a_minute = min(a_minute, max(1.0, rules.share_a_minute * enabled))
        most = min(most, a_minute)
    passed = max(at - (server.filled_at or at), timedelta(0))
    tokens = min(most, server.tokens + a_minute * (passed / MINUTE))
    return replace(server, tokens=tokens - 1, filled_at=at) if tokens >= 1 else None


def _is_throttled(server: Server, at: datetime) -> bool:
    return server.kind in TOGETHER or (server.throttled_until is not None and at < server.throttled_until)


def _timely(known: Server, at: datetime, rules: ServerRules) -> Server:
    """No wait grows where the clock was set back."""

    def by(until: datetime | None, longest: timedelta) -> datetime | None:
        return until and min(until, at + longest)

    return replace(
        known,
        since=by(known.since, timedelta(0)),
        probe_at=by(known.probe_at, rules.probe_refused_every),
        grace_until=by(known.grace_until, max(GRACE * rules.interval, rules.mass_rest)),
        throttled_until=by(known.throttled_until, rules.mass_at_most),
        filled_at=by(known.filled_at, timedelta(0)),
    )


def _counted(known: Server, seen: Round, rules: ServerRules) -> Server:
    """Faults and good rounds in a row. Where some questions were answered and others not, only a probe says more."""
    recent = tuple((at, count) for at, count in known.first_failed if seen.at - rules.mass_within <= at <= seen.at)
    if seen.first_failed and known.state in AT_WORK:
        recent = (*recent, (seen.at, seen.first_failed))
    known = replace(known, first_failed=recent)
    if _is_good(seen):
        return replace(known, faults=0, blamed=(), good=min(known.good + 1, rules.up_after))
    if not _is_fault(seen):
        return known
    blamed = tuple(sorted({*known.blamed, *seen.troubles})[:A_FEW])
    return replace(known, faults=min(known.faults + 1, rules.down_after), blamed=blamed, good=0)


def _is_good(seen: Round) -> bool:
    if _refusal(seen):
        return False
    return seen.probe is True or (seen.probe is None and seen.answered > 0 and not seen.troubles)


def _is_fault(seen: Round) -> bool:
    return seen.probe is False or (seen.probe is None and bool(seen.troubles) and not seen.answered)


def _refusal(seen: Round) -> ServerKind | None:
    """Our key, or the server's licence, is not good: the probe says so, or all that were asked, of several."""
    if seen.probe is False and seen.trouble in REFUSALS:
        return REFUSALS[seen.trouble]
    refused = sorted(why for why in seen.troubles.values() if why in REFUSALS)
    return REFUSALS[refused[-1]] if len(refused) >= A_FEW and not seen.answered else None


def _next(known: Server, seen: Round, rules: ServerRules) -> tuple[ServerState, ServerKind | None]:
    """The state, and what an incident of it is about."""
    refusal = _refusal(seen)
    if refusal:
        return ServerState.AUTH, refusal
    if _is_fault(seen) and known.faults >= rules.down_after and (seen.probe is False or len(known.blamed) >= A_FEW):
        return ServerState.DOWN, ServerKind.GATEWAY_DOWN
    if known.state is ServerState.MASS:
        return _of_many(known, seen, rules), known.kind
    together = _together(known, seen, rules)
    if together and not _is_in_grace(known, seen.at):
        return ServerState.MASS, together
    return _of_one(known, seen, rules), known.kind


def _of_one(known: Server, seen: Round, rules: ServerRules) -> ServerState:
    needed = {ServerState.DOWN: rules.up_after, ServerState.AUTH: 1}.get(known.state)
    if needed:
        return ServerState.RECOVERING if known.good >= needed else known.state
    if _is_in_grace(known, seen.at):
        return known.state
    if known.kind and _is_calm(known, seen, rules):  # what was left to its instances is over
        return ServerState.RECOVERING
    if _is_good(seen):
        return ServerState.UP
    is_doubtful = known.faults > 0 or bool(seen.troubles) or known.state is ServerState.SUSPECT
    return ServerState.SUSPECT if is_doubtful else ServerState.UP


def _of_many(known: Server, seen: Round, rules: ServerRules) -> ServerState:
    """Until nearly all are back; after half an hour each is treated by itself."""
    if _is_calm(known, seen, rules):
        return ServerState.RECOVERING
    is_over = known.since is None or seen.at - known.since >= rules.mass_at_most
    return ServerState.UP if is_over else ServerState.MASS


def _together(known: Server, seen: Round, rules: ServerRules) -> ServerKind | None:
    """What instances that fail together say of their server; once in an incident. After its grace those count that
    still fail, and did not before."""
    if known.incident or known.state not in (*AT_WORK, ServerState.RECOVERING):
        return None
    if seen.outdated >= A_FEW:
        return ServerKind.GATEWAY_OUTDATED
    many = max(rules.mass_share * seen.enabled, 1)
    failed = sum(count for _, count in known.first_failed)
    if known.state is ServerState.RECOVERING:
        failed = seen.failing - known.ill_before
    is_lost = seen.enabled >= rules.mass_least and seen.missing >= many
    return ServerKind.GATEWAY_MASS if is_lost or failed >= max(many, rules.mass_least) else None


def _is_calm(known: Server, seen: Round, rules: ServerRules) -> bool:
    if not (seen.probe or seen.answered):
        return False
    if known.kind is ServerKind.GATEWAY_OUTDATED:
        return seen.outdated < A_FEW
    few = rules.calm_share * seen.enabled
    return seen.failing - known.ill_before < few and seen.missing < few


def _is_in_grace(known: Server, at: datetime) -> bool:
    return known.state is ServerState.RECOVERING and known.grace_until is not None and at < known.grace_until


def _moved(known: Server, state: ServerState, seen: Round, rules: ServerRules) -> Server:
    """The server in its next state: when it is asked itself, and how long nothing counts."""
    is_new, at = state is not known.state, seen.at
    every = {
        ServerState.SUSPECT: rules.probe_every,
        ServerState.DOWN: rules.probe_every,
        ServerState.AUTH: rules.probe_refused_every,
    }.get(state)
    if every is None:
        known = replace(known, probe_at=None)
    elif is_new or seen.probe is not None:
        known = replace(known, probe_at=at if is_new and state is ServerState.SUSPECT else at + every)
    if not is_new:
        return known
    after = replace(known, state=state, first_failed=(), good=0, grace_until=None)
    if known.state in AT_WORK and state in FROZEN and not known.incident:
        just_failed = sum(count for _, count in known.first_failed)
        after = replace(after, ill_before=max(seen.failing - just_failed, 0))
    return _in_grace(known, after, at, rules) if state is ServerState.RECOVERING else after


def _in_grace(known: Server, after: Server, at: datetime, rules: ServerRules) -> Server:
    """Two intervals, and after many fell together not before they had a rest; their attempts stay few."""
    grace_until = at + GRACE * rules.interval
    if known.kind not in TOGETHER:
        return replace(after, grace_until=grace_until)
    rested_at = (known.since or at) + rules.mass_rest
    return replace(after, grace_until=max(grace_until, rested_at), throttled_until=at + rules.mass_at_most)


def _told(after: Server, kind: ServerKind | None, seen: Round) -> tuple[Server, tuple[ServerKind, ...]]:
    """Each kind once in an incident, from the first to the one recovery."""
    if after.state is ServerState.RECOVERING and after.incident:
        over = replace(after, incident=False, announced=(), kind=None, since=seen.at)
        return over, (ServerKind.GATEWAY_RECOVERED,)
    if after.state in AT_WORK or kind is None or kind in after.announced:
        return replace(after, kind=kind), ()
    since = after.since if after.incident else seen.at
    return replace(after, incident=True, announced=(*after.announced, kind), kind=kind, since=since), (kind,)
