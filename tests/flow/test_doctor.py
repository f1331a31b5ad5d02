"""`ops.py doctor` and `ops.py selftest` against the running product, as an operator sees them. B030, H037, H038, J004,
J005, K028"""

import json

import pytest
import requests
from sqlalchemy import text

from scripts.doctor import monitor
from tests.product import Product
from tests.waiting import until


@pytest.fixture(scope="module")
def product():
    with Product() as running:
        yield running


def test_a_healthy_product_is_found_healthy(product):
    done = product.ops("doctor", "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {finding["verdict"] for finding in findings} <= {"ok", "note"}
    assert {"database", "gateway", "instances", "webhooks", "monitor", "web", "disk"} <= {
        finding["about"] for finding in findings
    }


def test_the_way_once_leaves_nothing_behind(product):
    done = product.ops("selftest")
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith(("ok", "fail"))]
    assert steps == [["ok", step] for step in ("schema", "gateway", "health", "creation", "webhook")]
    assert "selftest" not in product.ops("doctor").stdout
    assert [f["says"] for f in json.loads(product.ops("doctor", "--json").stdout) if f["about"] == "instances"] == [
        "0, of which 0 connected"
    ]


def test_a_gateway_that_is_away_is_said_so_with_the_remedy(product):
    done = product.ops("doctor", EVOLUTION_API_URL="http://127.0.0.1:9", EVOLUTION_API_KEY="k" * 32)
    assert done.returncode == 1
    assert "fail gateway" in done.stdout
    assert "EVOLUTION_API_URL" in done.stdout
    assert "k" * 32 not in done.stdout + done.stderr


def test_the_web_role_answers_for_the_monitor_s_process(product):
    """Its counters, which only it knows, and the gauges of the database."""

    def said() -> set[str]:
        lines = requests.get(f"{product.base}/metrics", timeout=30).text.splitlines()
        return {line.split()[0] for line in lines if not line.startswith("#") and float(line.split()[-1]) > 0}

    until(said, lambda names: {"zelador_tick_seconds_count", "zelador_monitor_leading"} <= names)
    assert requests.get(f"{product.base}/health", timeout=30).json()["checks"]["monitor"] == {"status": "ok"}


def test_without_a_running_product_the_selftest_says_so(product):
    done = product.ops("selftest", PORT="9")
    assert done.returncode == 1
    assert "is the product running?" in done.stdout


LED = """
INSERT INTO monitor_terms (name, holder, term, until, ticked_at)
VALUES ('monitor', 'host:1:abc', 1, now() + make_interval(secs => :left_s), now() - make_interval(secs => :silent_s))
"""


@pytest.mark.parametrize(
    ("left_s", "silent_s", "verdict", "begins", "ends"),
    [
        (10, None, "note", "none has looked", "is one running?"),
        (10, 5, "ok", "one leads, the last look was ", " s ago, 0 instances are under watch"),
        (-60, 70, "ok", "nobody leads, the last look was ", " s ago, 0 instances are under watch"),
        (-300, 310, "fail", "nobody leads, the last look was ", " s ago: is one running?"),
    ],
)
def test_a_monitor_is_asked_when_it_looked_last(system, left_s, silent_s, verdict, begins, ends):
    with system.transaction() as connection:
        connection.execute(text(LED), {"left_s": left_s, "silent_s": silent_s})
    (found,) = monitor(system)
    assert (found.verdict, found.about) == (verdict, "monitor")
    assert found.says.startswith(begins)
    assert found.says.endswith(ends)


def test_a_database_that_never_had_a_monitor_says_so(system):
    assert [found.verdict for found in monitor(system)] == ["note"]
