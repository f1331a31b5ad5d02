"""The house, held: who may import whom, read from the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "core": set(),
    "webhooks": {"core"},
    "notify": {"core"},
    "manager": {"core"},
    "conversations": {"core", "manager"},
    "monitor": {"core", "manager"},
    "api": {"core", "manager", "conversations", "monitor"},
    "dashboard": {"core", "manager", "conversations", "monitor"},
    "sandbox": set(),
    "bootstrap": {"core", "webhooks", "notify", "manager", "conversations", "monitor", "api", "dashboard"},
    "scripts": {"core", "bootstrap"},
    "wsgi": {"core", "bootstrap"},
    "gunicorn.conf": {"wsgi"},
}
OURS = set(MAY_IMPORT)
PUBLIC = {  # what the edges may know of the packages they serve
    "manager": {
        "manager.catalog",
        "manager.configuration",
        "manager.fold",
        "manager.lifecycle",
        "manager.listing",
        "manager.pictures",
        "manager.service",
    },
    "conversations": {"conversations.service"},
    "monitor": {
        "monitor.alerting.alert_log",
        "monitor.alerting.alerts",
        "monitor.pausing",
        "monitor.service",
        "monitor.alerting.silences",
        "monitor.alerting.targets",
        "monitor.views",
    },
}
PURE = {
    "alert_fields", "badge", "dialects", "drift", "envelope", "fold", "frames", "framing", "identity",
    "instance_shapes", "lattice", "letter", "lifecycle", "pacing", "postmortem", "retry", "selection", "shapes",
    "system_shapes", "target_rules", "texts", "told", "veil", "views",
}  # fmt: skip
UNCLEAN = {"flask", "requests", "sqlalchemy", "psycopg", "time", "threading", "socket", "core.db", "core.clock"}
ONLY_IN = {
    "requests": {
        "manager/providers/exchange.py",
        "sandbox/delivery.py",
        "sandbox/webhook.py",
        "scripts/doctor.py",
        "scripts/selftest.py",
    },
    "bcrypt": {"manager/providers/wppconnect/tokens.py"},
    "pybreaker": {"manager/providers/guarded.py"},
    "tenacity": {"manager/providers/guarded.py"},
    "apscheduler": {"monitor/schedule.py"},
    "apprise": {"monitor/alerting/channels.py"},
    "gevent": {"gunicorn.conf.py"},
    "flask_sock": {"notify/sockets.py"},
    "flask_limiter": {"bootstrap/limits.py"},
    "jwt": {"core/bearers.py", "core/key_set.py", "webhooks/gate.py"},
    "socketio": {"notify/socket_io.py"},
}


def sources() -> list[Path]:
    tops = [ROOT / name for name in sorted(OURS)]
    files = [path for top in tops if top.is_dir() for path in top.rglob("*.py")]
    files += [path for top in tops if (path := top.with_suffix(".py")).is_file()]
    return [path for path in [*files, ROOT / "gunicorn.conf.py"] if "versions" not in path.parts]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", sources(), ids=named)
def test_imports_point_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    allowed = MAY_IMPORT.get(package, set()) | {package}
    wrong = {name for name in imports_of(path) if name.split(".")[0] in OURS - allowed}
    assert not wrong, f"{named(path)} must not import {sorted(wrong)}"


def is_pure(path: Path) -> bool:
    """Rules, the monitor's policy, and what a gateway's JSON means: all of its folder but its HTTP client."""
    return (
        path.stem in PURE
        or named(path).startswith("monitor/policy/")
        or (path.parent.parent.name == "providers" and path.stem != "client")
    )


@pytest.mark.parametrize("path", [p for p in sources() if is_pure(p)], ids=named)
def test_rules_know_nothing_of_the_outside(path: Path) -> None:
    wrong = {name for name in imports_of(path) if name in UNCLEAN or name.split(".")[0] in UNCLEAN}
    assert not wrong, f"{named(path)} is pure and imports {sorted(wrong)}"


@pytest.mark.parametrize("path", [p for p in sources() if named(p).startswith(("api/", "dashboard/"))], ids=named)
def test_edges_call_public_services_only(path: Path) -> None:
    found = {name for name in imports_of(path) if name.split(".")[0] in PUBLIC}
    wrong = {
        name
        for name in found
        if not any(name == public or name.startswith(f"{public}.") for public in PUBLIC[name.split(".")[0]])
    }
    assert not wrong, f"{named(path)} reaches past a service: {sorted(wrong)}"


@pytest.mark.parametrize(("library", "homes"), ONLY_IN.items())
def test_a_library_lives_in_one_place(library: str, homes: set[str]) -> None:
    users = {named(path) for path in sources() if any(i.split(".")[0] == library for i in imports_of(path))}
    assert users <= homes


def test_the_house_has_its_prescribed_rooms() -> None:
    rooms = ("webhooks", "manager", "monitor", "notify", "tests")
    assert all((ROOT / room).is_dir() for room in rooms)
    assert all((ROOT / name).is_file() for name in ("wsgi.py", "requirements.txt"))
