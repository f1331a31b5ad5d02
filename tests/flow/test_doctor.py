"""`ops.py doctor` and `ops.py selftest` against the running product, as an operator sees them. B030, H037, H038, J004,
J005, K028"""

import json

import pytest

from tests.product import Product


@pytest.fixture(scope="module")
def product():
    with Product() as running:
        yield running


def test_a_healthy_product_is_found_healthy(product):
    done = product.ops("doctor", "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {finding["verdict"] for finding in findings} <= {"ok", "note"}
    assert {"database", "gateway", "instances", "webhooks", "web", "disk"} <= {finding["about"] for finding in findings}


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


def test_without_a_running_product_the_selftest_says_so(product):
    done = product.ops("selftest", PORT="9")
    assert done.returncode == 1
    assert "is the product running?" in done.stdout
