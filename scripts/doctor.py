"""`ops.py doctor`: is everything there that Zelador needs, and if not, what to do.

It only looks. Each finding is one line: `ok`, `note` (works, could be better) or `fail` (does not), with the remedy.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click
import requests
from sqlalchemy import text

from core import migrate
from core.errors import AppError, LicenceRequired, ProviderError, ProviderRefused
from scripts.opened import opened

if TYPE_CHECKING:
    from bootstrap.system import System

OK, NOTE, FAIL = "ok", "note", "fail"
LEAST_FREE = 1024**3  # bytes
OLD_S = 60
INSTANCES = text("""
SELECT count(*) AS rows, count(*) FILTER (WHERE is_connected) AS connected,
       count(*) FILTER (WHERE user_id IS NULL) AS unbound
FROM whatsapp_instances WHERE deleted_at IS NULL
""")
HOOKED = text("""
SELECT coalesce(gateway_name, instance_name) FROM whatsapp_instances
WHERE deleted_at IS NULL AND hooked_at IS NOT NULL AND provider = 'evolution'
""")
NEWEST = text("SELECT extract(epoch FROM now() - max(received_at)) FROM webhook_events")
UNDER_WATCH = text("SELECT count(*) FROM instance_health WHERE checked_at IS NOT NULL")
KEYS = text("SELECT sealed FROM webhook_keys ORDER BY created_at DESC LIMIT 1")
VERSIONS = {  # what a gateway's version means for us
    "1.": (NOTE, "version {} is old: events come in other shapes; 2.3.7 is better"),
    "2.0": (NOTE, "version {} sends each event once: what we miss is lost; use 2.3.7"),
    "2.1": (NOTE, "version {} sends each event once: what we miss is lost; use 2.3.7"),
    "2.2": (NOTE, "version {} repeats events every 30 s for 5 minutes only; use 2.3.7"),
    "2.3.7": (OK, "version {}"),
    "2.3": (NOTE, "version {} loses some messages before it sends them (2.3.7 does not)"),
    "2.4": (NOTE, "version {} asks for a licence and forgets sessions after short network cuts"),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    about: str
    verdict: str
    says: str


def ok(about: str, says: str) -> Finding:
    return Finding(about=about, verdict=OK, says=says)


def note(about: str, says: str) -> Finding:
    return Finding(about=about, verdict=NOTE, says=says)


def fail(about: str, says: str) -> Finding:
    return Finding(about=about, verdict=FAIL, says=says)


def structure(system: "System") -> Iterator[Finding]:
    """K028: is the database as this version wants it?"""
    current, wanted = migrate.current(system.engine), migrate.newest()
    if current == wanted:
        yield ok("database", f"structure {current}")
    else:
        yield fail("database", f"structure {current or 'empty'}, this version wants {wanted}: ops.py db upgrade")


def secrets(system: "System") -> Iterator[Finding]:
    """Does APP_ENCRYPTION_KEY open what was sealed?"""
    with system.transaction() as connection:
        sealed = connection.execute(KEYS).scalar()
    if sealed is None:
        return
    try:
        system.vault.open(sealed)
        yield ok("secrets", "APP_ENCRYPTION_KEY opens the webhook keys")
    except Exception:  # whatever the library calls it
        yield fail(
            "secrets", "APP_ENCRYPTION_KEY is not the one that sealed the webhook keys: put the old one behind it"
        )


def gateway(system: "System") -> Iterator[Finding]:
    """B030, B049, H038: is it there, does it take our key, which one is it? All that are configured."""
    gateways = system.servers.gateways
    if not gateways.enabled():
        yield note("gateway", "WhatsApp is switched off")
    elif system.gateway is None:
        yield fail("gateway", f"{' and '.join(gateways.needed(gateways.default()))} are not set")
    for upstream in gateways.ready():
        yield from _server(system, upstream.name)


def _server(system: "System", name: str) -> Iterator[Finding]:
    gateways = system.servers.gateways
    provider, (url, key) = gateways.upstreams[name].provider, gateways.needed(name)
    try:
        provider.ping()
    except LicenceRequired:
        yield fail("gateway", "it waits for its licence to be activated (Evolution 2.4)")
    except ProviderRefused:
        yield fail("gateway", f"{name} refuses {key}")
    except ProviderError as error:
        yield fail("gateway", f"{name}: {error.message}: is {url} right, and reachable from here?")
    else:
        yield ok("gateway", f"{name} answers, and takes our key")
        if name == "evolution":
            yield from _version(provider.version() or "unknown")
            yield _bulk(provider.states() is not None)


def _version(version: str) -> Iterator[Finding]:
    found = next((meaning for begins, meaning in VERSIONS.items() if version.startswith(begins)), None)
    verdict, says = found or (NOTE, "version {} is not one that we know")
    yield Finding(about="gateway", verdict=verdict, says=says.format(version))


def _bulk(offers: bool) -> Finding:
    if offers:
        return ok("gateway", "/metrics tells the state of all instances at once")
    return note("gateway", "no /metrics: PROMETHEUS_METRICS=true there makes checking many instances cheap")


def instances(system: "System") -> Iterator[Finding]:
    """H037: our rows, and what the gateway has of them."""
    with system.transaction() as connection:
        row = connection.execute(INSTANCES).one()
    yield ok("instances", f"{row.rows}, of which {row.connected} connected")
    for upstream in system.servers.gateways.ready():
        if upstream.name == "evolution":  # of the others' lists an instance may be missing, and be well
            yield from _missing(system, {found.name for found in upstream.provider.instances()})
    if row.unbound:
        yield note("instances", f"{row.unbound} without a user: scripts/migrate_whatsapp.py check")


def _missing(system: "System", there: set[str]) -> Iterator[Finding]:
    with system.transaction() as connection:
        ours = set(connection.execute(HOOKED).scalars())
    if lost := ours - there:
        yield note("instances", f"{len(lost)} are not on the gateway: their next connect makes them again")


def deliveries(system: "System") -> Iterator[Finding]:
    """C022, H038: do webhooks arrive, and are they worked off?"""
    with system.transaction() as connection:
        age = connection.execute(NEWEST).scalar()
    if age is None:
        yield note("webhooks", f"none has come yet: can the gateway reach {system.settings.webhook_base}?")
    else:
        yield ok("webhooks", f"the newest came {int(age)} s ago")
    yield from _queue(system.queue_stats())


def _queue(stats: dict[str, Any]) -> Iterator[Finding]:
    if (stats["oldest_age_s"] or 0) > OLD_S:
        late = int(stats["oldest_age_s"])
        yield fail("worker", f"{stats['pending']} events wait, the oldest for {late} s: is one running?")
    if stats["parked"]:
        yield note("worker", f"{stats['parked']} parked events: /api/admin/quarantine?state=parked, then ops.py replay")
    if stats["quarantined"]:
        yield note("worker", f"{stats['quarantined']} quarantined events: /api/admin/quarantine says why")


def monitor(system: "System") -> Iterator[Finding]:
    """Does somebody lead, and look at the instances?"""
    found = system.pulse.read()
    if found is None or found.silent_for is None:
        yield note("monitor", "none has looked at an instance yet: is one running?")
        return
    with system.transaction() as connection:
        count = connection.execute(UNDER_WATCH).scalar()
    leader = "one leads" if found.is_led else "nobody leads"
    says = f"{leader}, the last look was {int(found.silent_for.total_seconds())} s ago"
    if found.beat(system.pulse.interval) == "stopped":
        yield fail("monitor", f"{says}: is one running?")
    else:
        yield ok("monitor", f"{says}, {count} instances are under watch")


def web(system: "System") -> Iterator[Finding]:
    """Does the web role of this host answer?"""
    url = f"http://{system.settings.host}:{system.settings.port}/readyz"
    try:
        status = requests.get(url, timeout=5).status_code
    except requests.RequestException:
        yield note("web", f"nothing answers at {url}: fine if it runs elsewhere")
        return
    yield ok("web", "ready") if status == 200 else fail("web", f"{url} answers {status}")


def disk(system: "System") -> Iterator[Finding]:
    free = shutil.disk_usage(system.settings.zelador_data_dir).free
    verdict = ok if free >= LEAST_FREE else fail
    yield verdict("disk", f"{free / 1024**3:.1f} GB free in {system.settings.zelador_data_dir}")


CHECKS: tuple[Callable[["System"], Iterator[Finding]], ...] = (
    structure, secrets, gateway, instances, deliveries, monitor, web, disk,
)  # fmt: skip


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def doctor(as_json: bool) -> None:
    """Look at everything Zelador needs and say what is wrong, and what to do. Changes nothing."""
    with opened() as system:
        findings = [finding for check in CHECKS for finding in _looked(check, system)]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            click.echo(f"{finding.verdict:5}{finding.about:11}{finding.says}")
    sys.exit(any(finding.verdict == FAIL for finding in findings))


def _looked(check: Callable[["System"], Iterator[Finding]], system: "System") -> list[Finding]:
    """What breaks a check is a finding too."""
    try:
        return list(check(system))
    except AppError as error:
        return [fail(check.__name__, error.message)]
