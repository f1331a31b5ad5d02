"""Connection and pairing reports → what changes, and what people hear of it. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.events import DomainEvent
from manager.lifecycle import InstanceRecord, Lifetimes, Standing, Status, connection_reported, pairing_reported
from manager.providers.port import ConnectionReported, PairingReported

Report = ConnectionReported | PairingReported
REASONS = {401: "logged_out", 402: "banned", 403: "banned", 406: "banned", 405: "outdated", 408: "timed_out",
           411: "logged_out", 428: "qr_limit", 440: "replaced", 500: "bad_session", 503: "unavailable",
           515: "restart"}  # fmt: skip
CONNECTED = "Conectado! ✅"
MOST_STEPS = 5  # of one instance in a batch: more is a storm, and nobody wants to see it
NEEDS_USER = frozenset({401, 402, 403, 406, 411, 428, 440})


@dataclass(frozen=True, kw_only=True)
class InstanceChanges:
    changed: tuple[InstanceRecord, ...]
    events: tuple[DomainEvent, ...]


def fold(state: Mapping[str, InstanceRecord], reports: Sequence[Report], lifetimes: Lifetimes) -> InstanceChanges:
    """Take the reports in, one after the other; events tell every step that people would have seen, but of an
    instance that brings many at once only what came of them."""
    records = dict(state)
    events: list[DomainEvent] = []
    many = {name for name, count in Counter(report.instance for report in reports).items() if count > MOST_STEPS}
    for report in reports:
        record = records[report.instance]
        after = _advance(record.standing, report, lifetimes)
        events += told(record, after) if record.name not in many else ()
        records[report.instance] = replace(record, standing=after, status=after.status)
    for name in sorted(many):
        events += told(state[name], records[name].standing)
    changed = [record for name, record in records.items() if record != state[name]]
    return InstanceChanges(changed=tuple(changed), events=tuple(events))


def told(record: InstanceRecord, after: Standing) -> list[DomainEvent]:
    """What the instance's user hears of a change of standing; nothing where nobody is bound to it."""
    if record.user_id is None:
        return []
    before = record.standing
    found: list[tuple[str, dict[str, Any]]] = []
    if after.pairing and after.pairing != before.pairing:
        found += _pairing_events(after)
    if after.status is not before.status:
        found.append(("status", {"status": after.status, "previous": before.status}))
        if after.status is Status.CONNECTED:
            whose = {"phoneNumber": after.phone, "profileName": after.profile_name}
            found.append(("connected", {**whose, "organizationId": record.organization_id, "text": CONNECTED}))
    if after.status is Status.DISCONNECTED and (before.status is not after.status or _explains(before, after)):
        found.append(("disconnected", reason_of(after)))
    about = {"instanceName": record.name, "instanceId": str(record.id)}
    return [DomainEvent(user_id=record.user_id, type=kind, data={**about, **data}) for kind, data in found]


def _explains(before: Standing, after: Standing) -> bool:
    """Whether people who were told that it stopped can now be told why: of a logout's three reports the first to
    come may be the one that does not say."""
    assumed = before.reason is None and before.cause != after.cause
    return before.connected_at is not None and after.cause is not None and assumed


def reason_of(standing: Standing) -> dict[str, Any]:
    """`{"reason":"logged_out","reasonCode":401,"needsUser":true}`; unknown codes are a `connection_lost`."""
    code = standing.cause
    word = REASONS.get(code, "connection_lost") if code else "connection_lost"
    return {"reason": word, "reasonCode": code, "needsUser": code in NEEDS_USER}


def _advance(before: Standing, report: Report, lifetimes: Lifetimes) -> Standing:
    if isinstance(report, ConnectionReported):
        return connection_reported(before, report)
    return pairing_reported(before, report, lifetimes)


def _pairing_events(after: Standing) -> list[tuple[str, dict[str, Any]]]:
    """The codes as text: the picture is drawn for those who look, outside of the worker's transaction."""
    pairing, expires_at = after.pairing, after.pairing_expires_at
    until = expires_at.isoformat().replace("+00:00", "Z") if expires_at else None
    found: list[tuple[str, dict[str, Any]]] = []
    if pairing and pairing.qr:
        shown = {"qr": pairing.qr, "status": "waiting_qr", "expiresAt": until}
        found.append(("qrcode", shown))
    if pairing and pairing.pairing_code:
        code = pairing.pairing_code
        shown = {"pairingCode": code, "pairingCodeFormatted": formatted(code), "expiresAt": until}
        found.append(("pairing_code", shown))
    return found


def formatted(code: str) -> str:
    """`K3ZT9QWB` → `K3ZT-9QWB`, as phones show it."""
    return f"{code[:4]}-{code[4:]}"
