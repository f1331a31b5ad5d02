"""The monitor's own health on the running product: /readyz, /health, /metrics, and the files that are built on them."""

import json
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from bootstrap.system import build
from tests.factories import connection_update, hook_keys
from tests.flow.ward import Ward
from tests.waiting import until

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES, DASHBOARD = DEPLOY / "prometheus-rules.yml", DEPLOY / "grafana-dashboard.json"
NAMED = re.compile(r"(zelador_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|=|!=|!~)"([^"]*)"')
BY = re.compile(r"by \(([\w, ]+)\) \((?:rate\(|increase\()?(zelador_\w+)")
AGED = text("UPDATE monitor_terms SET ticked_at = now() - make_interval(secs => :s)")


@pytest.fixture
def ward(web, working, sandbox, monitor_clock, rows):
    return Ward(working, sandbox, monitor_clock, rows)


@pytest.fixture
def fallen(ward):
    """Two instances; one of them fell in silence, people were told, and it was reconnected."""
    ward.admit()
    user = ward.admit()
    ward.look()
    ward.drop(user, 408, silent=True)
    ward.check(3)
    ward.settle(15)
    assert ward.attempts() == ["connect"]
    return ward


def scraped(ward: Ward) -> dict[str, Metric]:
    """By family."""
    said = requests.get(f"{ward.system.settings.own_url}/metrics", timeout=30)
    return {family.name: family for family in text_string_to_metric_families(said.text)}


def samples(families: Iterable[Metric]) -> dict[str, list[dict[str, str]]]:
    """The labels of all samples, by the sample's name. A counter that was never raised has none, but a name."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in families:
        found.setdefault(f"{family.name}_total" if family.type == "counter" else family.name, [])
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def expressions(file: Path) -> list[str]:
    if file.suffix == ".json":
        panels = json.loads(file.read_text())["panels"]
        return [target["expr"] for panel in panels for target in panel["targets"]]
    return re.findall(r"expr: ((?:\|\n(?: {10}.*\n)+)|.*)", file.read_text())


def pending(ward: Ward, user: UUID) -> int:
    """Deliveries that wait, with one more where there is none. Nobody works."""
    token = {"X-Webhook-Token": hook_keys(ward.system, f"user_{user}").token}
    body = connection_update(f"user_{user}", "open", "2099-01-01T00:00:00.000Z", nonce=str(uuid4()))
    url = f"{ward.system.settings.own_url}/api/webhook/user/{user}"
    requests.post(url, json=body, headers=token, timeout=30).raise_for_status()
    return int(ward.system.queue_stats()["pending"])


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda file: file.name)
def test_what_the_files_name_is_there(fallen, rows, file):
    fallen.system.end()
    user = rows("SELECT user_id FROM whatsapp_instances LIMIT 1")[0]["user_id"]
    until(lambda: pending(fallen, user))
    there, asked = samples(scraped(fallen).values()), expressions(file)
    assert len(asked) >= 12
    for expression in asked:
        for name, selector in NAMED.findall(expression):
            assert name in there, expression
            for label, _, value in MATCHER.findall(selector):
                known = {labels[label] for labels in there[name]}
                assert label == "answer" or known >= set(value.split("|")), expression  # 503 is rare
        for labels, name in BY.findall(expression):
            assert there[name], expression
            assert all(set(labels.split(", ")) <= found.keys() for found in there[name]), expression


def test_no_label_names_an_instance_a_phone_or_a_person(fallen, rows):
    people = rows("SELECT instance_name, id, user_id, phone_number FROM whatsapp_instances")
    private = [str(value) for row in people for value in row.values() if value]
    said = requests.get(f"{fallen.system.settings.own_url}/metrics", timeout=30).text
    assert len(private) >= 6
    assert [value for value in private if value in said] == []


def test_what_happened_is_counted(fallen):
    there = samples(scraped(fallen).values())
    (tried,) = fallen.rows("SELECT action, outcome FROM connection_events")  # "asked", or "open" where that was quick
    assert tried["action"] == "connect"
    assert tried in there["zelador_reconnect_attempts_total"]
    assert {"kind": "down"} in there["zelador_alerts_total"]
    assert {"connected", "disconnected"} <= {labels["found"] for labels in there["zelador_checks_total"]}


def test_the_step_that_the_schedule_takes_is_the_one_that_is_timed(ward):
    ward.admit()
    assert not ward.system.monitor.ticks.went_well_within(timedelta(minutes=1))
    ward.look()
    assert ward.system.monitor.ticks.went_well_within(timedelta(minutes=1))


def told(ward: Ward, path: str) -> tuple[int, dict[str, Any]]:
    answer = requests.get(f"{ward.system.settings.own_url}{path}", timeout=30)
    return answer.status_code, answer.json()


def age(ward: Ward, seconds: float) -> None:
    """The last step was so long ago."""
    with ward.system.transaction() as connection:
        connection.execute(AGED, {"s": seconds})


def test_a_product_whose_monitor_never_ran_is_ready(ward):
    assert told(ward, "/readyz") == (200, {"status": "ok"})
    assert told(ward, "/health")[1]["checks"]["monitor"] == {"status": "unknown"}


def test_when_the_monitor_has_stopped_readiness_is_degraded_and_webhooks_are_still_taken(ward):
    user = ward.admit()
    ward.look()
    age(ward, 120)
    assert told(ward, "/readyz") == (200, {"status": "ok"})
    assert told(ward, "/health")[1]["checks"]["monitor"] == {"status": "ok"}
    age(ward, 181)
    degraded = {"status": "degraded", "checks": {"database": "ok", "monitor": "stopped"}}
    assert told(ward, "/readyz") == (200, degraded)
    assert told(ward, "/health")[1]["checks"]["monitor"] == {"status": "stopped"}
    ward.report(user, "open")
    ward.look()
    assert told(ward, "/readyz") == (200, {"status": "ok"})


def test_a_heartbeat_needs_an_address(system, database_url, settings_of):
    assert system.monitor.heartbeat is None
    settings = settings_of(HEARTBEAT_URL="https://ping.example/1")
    assert build(settings, database_url).monitor.heartbeat is not None
