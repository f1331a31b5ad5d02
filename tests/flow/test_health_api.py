"""How instances are and were, incidents, and the public status, over real HTTP: shapes, paging, whose they are."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from xml.etree import ElementTree

import pytest
import requests
from sqlalchemy import text

from monitor import history, incidents
from monitor.history import Verdict
from monitor.incidents import Happening, Step, Subject
from monitor.policy.health import Action, Deaf, Health, HealthState, Policy
from monitor.policy.rhythm import Rhythm
from monitor.policy.servers import Server, ServerKind, ServerState
from monitor.watching import attempt_log, store
from monitor.watching.watched import Attempt, Kept
from tests.factories import make_instance

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HEALTH_KEYS = {
    "success", "id", "instanceName", "status", "health", "failures", "lastCheckAt", "issues", "intervals", "uptime",
    "days", "reconnections", "incident",
}  # fmt: skip


@pytest.fixture
def now():
    return datetime.now(UTC)


@pytest.fixture
def get(web):
    def ask(path, headers=None, **query):
        return requests.get(web + path, headers=headers, params=query, timeout=10)

    return ask


@pytest.fixture
def post(web):
    def ask(path, headers, body=None):
        return requests.post(web + path, headers=headers, json=body or {}, timeout=10)

    return ask


@pytest.fixture
def owner(system, now):
    """Somebody with an instance under watch: its subject, as the monitor knows it."""

    def make(organization=None, name=None, connected_ago=3 * DAY):
        with system.transaction() as connection:
            user, name = make_instance(connection, name, organization_id=organization)
            set_up = (
                "UPDATE whatsapp_instances SET hooked_at = now(), last_connected_at = :at, messages_sent_count = 4,"
                " messages_received_count = 7, state = 'connected', status = 'connected'"
                " WHERE instance_name = :name RETURNING id"
            )
            number = connection.execute(text(set_up), {"at": now - connected_ago, "name": name}).scalar_one()
            store.begin(connection, "evolution", now)
        return Subject(
            gateway="evolution", instance_id=number, instance_name=name, user_id=user, organization_id=organization
        )

    return make


@pytest.fixture
def seen(system, now):
    """What the watch keeps of an instance."""

    def keep(subject, health, *, checked_ago=MINUTE / 2, incident_id=None):
        kept = Kept(
            id=subject.instance_id,
            health=replace(health, checked_at=now - checked_ago),
            rhythm=Rhythm(),
            due_at=now,
            noticed_at=None,
            incident_id=incident_id,
        )
        with system.transaction() as connection:
            store.save(connection, [kept])

    return keep


@pytest.fixture
def said(system, now):
    """Verdicts of an instance: `(hours ago, verdict)`, the oldest first."""

    def extend(subject, *verdicts):
        with system.transaction() as connection:
            for hours, verdict in verdicts:
                at = now - hours * HOUR
                history.extend(connection, [Verdict(instance_id=subject.instance_id, verdict=verdict, at=at)])

    return extend


@pytest.fixture
def opened(system, now):
    def write(subject, kind, **facts):
        steps = (Step(at=now - HOUR, kind="signal", code="reported", facts={"state": "disconnected", "reason": 401}),)
        happening = Happening(
            subject=subject, incident_id=None, at=now - HOUR, notices=(kind,), steps=steps, reason=401, **facts
        )
        with system.transaction() as connection:
            return incidents.write(connection, [happening])[0].incident_id

    return write


@pytest.fixture
def admin(bearer):
    return bearer(uuid4(), role="admin")


def test_the_status_says_what_the_monitor_has_seen(get, bearer, owner, seen):
    """E011–E015"""
    mine = owner(connected_ago=90 * MINUTE)
    seen(mine, Health(state=HealthState.UNHEALTHY, failures=2, deaf=Deaf.SENDS_FAIL, flapping=True))
    body = get("/api/whatsapp/status", bearer(mine.user_id)).json()
    health = body["health"]
    assert health.keys() == {"status", "consecutiveFailures", "lastCheckAt", "uptime", "issues"}
    assert (health["status"], health["consecutiveFailures"], health["issues"]) == (
        "unhealthy",
        2,
        ["zombie", "flapping"],
    )
    assert health["lastCheckAt"].endswith("Z")
    assert 5_400 <= health["uptime"] < 5_500


ISSUES = [
    (Health(state=HealthState.HEALTHY), []),
    (Health(deaf=Deaf.SILENT), ["silent"]),
    (Health(policy=Policy.NEEDS_QR), ["needs_qr"]),
    (Health(policy=Policy.BANNED), ["banned"]),
    (Health(policy=Policy.CONFLICT), ["conflict"]),
    (Health(policy=Policy.GONE), ["gone"]),
    (Health(paused=True), ["paused"]),
]


def test_what_is_wrong_is_said_in_codes(get, bearer, owner, seen):
    mine = owner()
    for health, expected in ISSUES:
        seen(mine, health)
        assert get("/api/whatsapp/status", bearer(mine.user_id)).json()["health"]["issues"] == expected


def test_a_check_that_is_too_old_says_nothing_any_more(get, bearer, owner, seen):
    mine = owner()
    seen(mine, Health(state=HealthState.HEALTHY), checked_ago=2.5 * MINUTE)
    assert get("/api/whatsapp/status", bearer(mine.user_id)).json()["health"]["status"] == "healthy"
    seen(mine, Health(state=HealthState.HEALTHY), checked_ago=4 * MINUTE)
    health = get("/api/whatsapp/status", bearer(mine.user_id)).json()["health"]
    assert (health["status"], health["issues"]) == ("unknown", ["not_checked"])


def test_nobody_is_missed_who_is_not_looked_at(get, bearer, owner, seen):
    """Paused, or never looked at: that is no trouble."""
    mine = owner()
    assert get("/api/whatsapp/status", bearer(mine.user_id)).json()["health"]["issues"] == []
    seen(mine, Health(paused=True), checked_ago=HOUR)
    health = get("/api/whatsapp/status", bearer(mine.user_id)).json()["health"]
    assert (health["status"], health["issues"]) == ("unknown", ["paused"])


def test_the_gateways_trouble_is_said_of_its_instances(get, bearer, owner, seen, system):
    mine = owner()
    seen(mine, Health(state=HealthState.HEALTHY), checked_ago=HOUR)
    down = Server(state=ServerState.DOWN, kind=ServerKind.GATEWAY_LICENCE)
    with system.transaction() as connection:
        store.keep_server(connection, "evolution", down, None)
    health = get("/api/whatsapp/status", bearer(mine.user_id)).json()["health"]
    assert (health["status"], health["issues"]) == ("unknown", ["gateway_licence"])


def test_instances_are_listed_with_their_health(get, admin, owner, seen, said):
    """E020"""
    mine, other = owner("org_1", "user_a"), owner("org_2", "user_b")
    seen(mine, Health(state=HealthState.HEALTHY), checked_ago=0 * MINUTE)
    said(mine, (8, "up"), (2, "down"), (1, "unknown"))
    first, second = get("/api/admin/instances/health", admin).json()["items"]
    assert first.pop("last_connected_at") < first.pop("lastCheckAt")
    assert first == {
        "id": str(mine.instance_id),
        "instance_name": "user_a",
        "organization_id": "org_1",
        "status": "connected",
        "messages_sent_count": 4,
        "messages_received_count": 7,
        "days_since_connection": 3,
        "uptime30d": pytest.approx(6 / 7),
        "incidentId": None,
        "health": "healthy",
        "failures": 0,
        "issues": [],
    }
    assert (second["instance_name"], second["health"], second["uptime30d"]) == ("user_b", "unknown", None)
    chosen = get("/api/admin/instances/health", admin, organization_id="org_2").json()["items"]
    assert [item["id"] for item in chosen] == [str(other.instance_id)]


def test_the_list_pages_without_gap_or_duplicate(get, admin, owner):
    names = sorted(owner().instance_name for _ in range(7))
    found, cursor = [], None
    while True:
        page = get("/api/admin/instances/health", admin, limit=3, **({"cursor": cursor} if cursor else {})).json()
        found += [item["instance_name"] for item in page["items"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert found == names


def test_an_instance_that_was_deleted_is_not_listed(get, admin, owner, system):
    mine = owner()
    with system.transaction() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET deleted_at = now()"))
    assert get("/api/admin/instances/health", admin).json()["items"] == []
    assert get(f"/api/admin/instances/{mine.instance_name}/health", admin).status_code == 404


def test_an_instance_has_a_history(get, admin, bearer, owner, seen, said, opened, system, now):
    """E018, E021: the same for the owner."""
    mine = owner()
    incident_id = opened(mine, "needs_qr")
    seen(mine, Health(state=HealthState.DISCONNECTED, failures=3), checked_ago=0 * HOUR, incident_id=incident_id)
    said(mine, (10, "up"), (4, "down"))
    tried = Attempt(
        instance_id=mine.instance_id,
        user_id=mine.user_id,
        name=mine.instance_name,
        action=Action.CONNECT,
        number=1,
        reason=408,
        incident_id=incident_id,
        asked_at=None,
        term=1,
    )
    with system.transaction() as connection:
        (number,) = attempt_log.begin(connection, [tried], now - HOUR)
        attempt_log.answered(connection, number, "asked", now - HOUR + MINUTE)
    body = get(f"/api/admin/instances/{mine.instance_name}/health", admin, lang="en").json()
    assert body.keys() == HEALTH_KEYS
    assert [interval["verdict"] for interval in body["intervals"]] == ["up", "down"]
    assert body["intervals"][0]["until"] == body["intervals"][1]["since"]
    assert body["uptime"]["30d"] == {"up": 21_600, "down": 14_400, "unknown": 0, "share": pytest.approx(0.6)}
    assert len(body["days"]) == 90
    assert sum(day["up"] for day in body["days"]) == pytest.approx(21_600, abs=2)
    assert body["days"][-1]["day"] == datetime.now(UTC).date().isoformat()
    (reconnection,) = body["reconnections"]
    assert (reconnection["action"], reconnection["outcome"], reconnection["reasonCode"]) == ("connect", "asked", 408)
    assert (body["incident"]["id"], body["incident"]["title"]) == (incident_id, "⚠️ Scan the QR code again")
    own = get("/api/whatsapp/health", bearer(mine.user_id)).json()
    assert own.keys() == HEALTH_KEYS | {"publicToken"}
    assert (own["intervals"], own["publicToken"]) == (body["intervals"], None)


def test_somebody_without_an_instance_has_no_history(get, bearer, admin):
    answer = get("/api/whatsapp/health", bearer(uuid4()))
    assert (answer.status_code, answer.json()["code"]) == (404, "INSTANCE_NOT_FOUND")
    for name in ("user_x", "%00", "%ff", "..%2f"):
        assert get(f"/api/admin/instances/{name}/health", admin).status_code == 404, name


def test_an_incident_has_its_timeline_and_report(get, admin, owner, opened):
    mine = owner("org_1")
    number = opened(mine, "needs_qr")
    body = get(f"/api/admin/incidents/{number}", admin).json()
    assert {name: body[name] for name in ("kind", "severity", "instanceName", "organizationId", "reasonCode")} == {
        "kind": "needs_qr",
        "severity": "critical",
        "instanceName": mine.instance_name,
        "organizationId": "org_1",
        "reasonCode": 401,
    }
    assert [(step["kind"], step["code"]) for step in body["timeline"]] == [
        ("signal", "reported"),
        ("notice", "needs_qr"),
    ]
    assert body["timeline"][0]["text"].startswith("O servidor informou que a conexão caiu.")
    assert [section["code"] for section in body["report"]["sections"]] == ["happened", "evidence", "done", "advice"]
    english = get(f"/api/admin/incidents/{number}", admin, lang="en").json()
    assert english["report"]["sections"][0]["title"] == "What happened"


def test_incidents_are_chosen_and_paged(get, admin, owner, opened):
    one, other = owner("org_1"), owner("org_2")
    numbers = [opened(one, "down"), opened(other, "banned"), opened(one, "down", closes=True)]

    def ids(**query):
        return [item["id"] for item in get("/api/admin/incidents", admin, **query).json()["items"]]

    assert ids() == numbers[::-1]
    assert ids(state="open") == [numbers[1], numbers[0]]
    assert ids(state="closed") == [numbers[2]]
    assert ids(kind="banned") == ids(organization_id="org_2") == ids(instance=other.instance_name) == [numbers[1]]
    page = get("/api/admin/incidents", admin, limit=2).json()
    assert ids(limit=2, cursor=page["next_cursor"]) == [numbers[0]]


def test_an_incident_is_acknowledged(get, post, admin, bearer, owner, opened, rows):
    mine = owner()
    number = opened(mine, "down")
    path = f"/api/admin/incidents/{number}/acknowledge"
    assert post(path, bearer(mine.user_id)).status_code == 403
    first, again = post(path, admin).json(), post(path, admin).json()
    assert first["acknowledgedAt"] == again["acknowledgedAt"] is not None
    assert first["acknowledgedBy"]
    assert len(rows("SELECT FROM audit WHERE action = 'incident.acknowledged'")) == 1
    assert get(f"/api/admin/incidents/{number}", admin).json()["timeline"][-1]["code"] == "acknowledged"
    assert post("/api/admin/incidents/999999/acknowledge", admin).status_code == 404


def test_users_see_their_own_incidents_alone(get, bearer, owner, opened):
    mine, theirs = owner("org_1"), owner("org_1")
    own, other = opened(mine, "down"), opened(theirs, "down")
    gateway = opened(Subject(gateway="evolution"), "gateway_down")
    headers = bearer(mine.user_id)
    assert [item["id"] for item in get("/api/whatsapp/incidents", headers).json()["items"]] == [own]
    assert get(f"/api/whatsapp/incidents/{own}", headers).json()["id"] == own
    for number in (other, gateway, 999_999, 2**63, 10**25):
        answer = get(f"/api/whatsapp/incidents/{number}", headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "INCIDENT_NOT_FOUND")


def test_which_administrator_did_something_is_for_administrators(get, post, admin, bearer, owner, opened, seen):
    mine = owner()
    number = opened(mine, "down")
    seen(mine, Health(state=HealthState.DISCONNECTED, incident=True), incident_id=number)
    post(f"/api/admin/incidents/{number}/acknowledge", admin)
    acknowledged = get(f"/api/admin/instances/{mine.instance_name}/health", admin).json()["incident"]
    assert "acknowledgedBy" not in get("/api/whatsapp/health", bearer(mine.user_id)).json()["incident"]
    assert post(f"/api/admin/instances/{mine.instance_name}/pause", admin).ok
    known = get(f"/api/admin/incidents/{number}", admin).json()
    by = known["acknowledgedBy"]
    assert (acknowledged["acknowledgedBy"], known["timeline"][-1]["facts"]) == (by, {"by": by})
    for path in ("", f"/{number}"):
        answer = get(f"/api/whatsapp/incidents{path}", bearer(mine.user_id))
        assert "acknowledgedAt" in answer.text
        assert by not in answer.text
    assert get(f"/api/whatsapp/incidents/{number}", bearer(mine.user_id)).json()["timeline"][-1]["facts"] == {}


def test_a_name_that_nobody_can_have_is_not_paused(post, admin):
    for name in ("a%00b", "%00", "%ff"):
        for what in ("pause", "resume"):
            answer = post(f"/api/admin/instances/{name}/{what}", admin)
            assert (answer.status_code, answer.json()["code"]) == (404, "INSTANCE_NOT_FOUND"), name


FOR_ADMINS = (
    "/api/admin/instances/health",
    "/api/admin/instances/user_x/health",
    "/api/admin/incidents",
    "/api/admin/incidents/1",
)


def test_what_is_for_admins_is_for_nobody_else(get, bearer):
    for path in FOR_ADMINS:
        assert get(path).status_code == 401, path
        assert get(path, bearer(uuid4())).status_code == 403, path


NONSENSE = (
    ("/api/admin/incidents", {"state": "ajar"}),
    ("/api/admin/incidents", {"lang": "fr"}),
    ("/api/admin/incidents", {"limit": "0"}),
    ("/api/admin/incidents", {"cursor": "x"}),
    ("/api/admin/instances/health", {"cursor": "x"}),
    ("/api/admin/instances/user_x/health", {"lang": ""}),
)


def test_what_makes_no_sense_is_400(get, admin):
    for path, query in NONSENSE:
        answer = get(path, admin, **query)
        assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR"), (path, query)


def test_a_public_status_says_up_or_down_and_nothing_else(get, post, bearer, owner, seen, said):
    mine = owner(name="user_secret")
    headers = bearer(mine.user_id)
    switched = post("/api/whatsapp/public-status", headers, {"enabled": True}).json()
    assert post("/api/whatsapp/public-status", headers, {"enabled": True}).json() == switched
    assert len(switched["token"]) == 32
    assert get(switched["json"]).json()["status"] == "unknown"
    said(mine, (10, "down"), (6, "up"))
    seen(mine, Health(state=HealthState.HEALTHY), checked_ago=0 * MINUTE)
    answer = get(switched["json"])
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    assert answer.json().keys() == {"status", "since", "checkedAt", "uptime30d"}
    assert (answer.json()["status"], answer.json()["uptime30d"]) == ("up", pytest.approx(0.6))
    assert "secret" not in answer.text
    seen(mine, Health(state=HealthState.HEALTHY), checked_ago=4 * MINUTE)
    assert get(switched["json"]).json()["status"] == "unknown"
    assert get("/api/whatsapp/health", headers).json()["publicToken"] == switched["token"]


def test_a_badge_is_a_small_picture(get, post, bearer, owner, seen, said):
    mine = owner()
    address = post("/api/whatsapp/public-status", bearer(mine.user_id), {"enabled": True}).json()["svg"]
    assert "sem dados" in get(address).text
    said(mine, (1, "down"))
    seen(mine, Health(state=HealthState.DISCONNECTED))
    answer = get(address)
    assert answer.headers["Content-Type"] == "image/svg+xml; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    assert answer.headers["Content-Security-Policy"]
    assert len(answer.content) < 1_024
    root = ElementTree.fromstring(answer.content)
    assert root.attrib["aria-label"] == "WhatsApp: desconectado"
    assert "disconnected" in get(address, lang="en").text


def test_a_public_status_that_is_off_is_gone_for_ever(get, post, bearer, owner, rows):
    headers = bearer(owner().user_id)
    first = post("/api/whatsapp/public-status", headers, {"enabled": True}).json()
    off = post("/api/whatsapp/public-status", headers, {"enabled": False}).json()
    assert off == {"success": True, "enabled": False, "token": None, "json": None, "svg": None}
    second = post("/api/whatsapp/public-status", headers, {"enabled": True}).json()
    assert second["token"] != first["token"]
    for path in (first["json"], first["svg"], "/status/x.json", "/status/.svg", "/status/None.json", "/status/%00.svg"):
        assert get(path).status_code == 404, path
    actions = [row["action"] for row in rows("SELECT action FROM audit ORDER BY id")]
    assert actions == ["public_status.on", "public_status.off", "public_status.on"]


def test_a_public_status_needs_an_instance_and_a_clear_word(post, bearer, owner):
    assert post("/api/whatsapp/public-status", bearer(uuid4()), {"enabled": True}).status_code == 404
    for said in ({}, {"enabled": "yes"}, {"enabled": 1}, {"enabled": None}):
        assert post("/api/whatsapp/public-status", bearer(owner().user_id), said).status_code == 400
