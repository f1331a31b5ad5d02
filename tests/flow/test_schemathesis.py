"""Schemathesis against the served application: what the document promises, held against anything it can think of.

It runs in a process of its own, over a real socket, and thinks of the same things every time. Between them the two runs
ask every operation: the users' with ids of nothing, the administrators' with those of things that are there.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from tests.flow import test_tenants

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "ignored_auth",
)
SECRET = "a-shared-secret-of-a-gateway-0123456789"
GUARD_S = 250
SETTINGS = """
[parameters]
"query.wait" = 0
{parameters}

[generation]
database = "none"
deterministic = true
max-examples = 4

[phases.coverage]
unexpected-methods = []

[[operations]]
include-name = "POST /api/admin/alert-targets/{{target_id}}/test"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", 502]
"""  # that target leads inside; verbs that a path has not: test_tenants
tenants, admin, client = test_tenants.tenants, test_tenants.admin, test_tenants.client


@pytest.fixture
def variables() -> dict[str, str]:
    kinds = ("READS", "WRITES", "LOGINS", "CONNECTS", "SENDS", "TOKENS")
    return {**{f"RATE_LIMIT_{kind}": "0" for kind in kinds}, "WEBHOOK_SECRET": SECRET}


def run(folder: Path, web: str, headers: Mapping[str, str], places: Mapping[str, object], *more: str) -> None:
    """`places`: what stands in the paths. Raises AssertionError with all that was found."""
    config = folder / "schemathesis.toml"
    parameters = "\n".join(f'"path.{name}" = {json.dumps(value, default=str)}' for name, value in places.items())
    config.write_text(SETTINGS.format(parameters=parameters))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    command += [f"{web}/openapi/openapi.json", "--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing"]
    command += ["--seed", "20261122", "--continue-on-failure", "--no-shrink", "--no-color", *more]
    command += [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GUARD_S, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]


def test_what_users_and_gateways_call_is_what_the_document_says(web, bearer, tmp_path):
    headers = {**bearer(uuid4()), "X-Webhook-Token": SECRET}
    run(tmp_path, web, headers, {}, "--exclude-path-regex", "^/api/admin/")


def test_what_administrators_call_is_what_the_document_says(web, tenants, admin, tmp_path):
    run(tmp_path, web, admin, tenants[0].places, "--include-path-regex", "^/api/admin/|^/api/webhook/test")
