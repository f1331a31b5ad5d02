"""`ops.py serve`, the real one: what it prints, what it refuses, what it survives, how it ends."""

import json
import os
import signal
import socket
from uuid import uuid4

import pytest
import requests

from tests.ports import free_ports
from tests.product import Product
from tests.waiting import until

WEAK_SECRET = "hunter2-is-not-a-secret"


@pytest.fixture(scope="module")
def product():
    with Product() as running:
        yield running


def again(product: Product, **environ: str) -> tuple[int, list[str]]:
    """Another `serve`: its exit code and the lines it wrote."""
    done = product.ops("serve", **environ)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def test_it_says_where_everything_is(product):
    lines = product.said().splitlines()
    parts = [line.split()[0] for line in lines]
    assert parts == ["postgres", "sandbox", "web", "worker", "monitor", "sandbox", "login", "login", "ready"]
    assert lines[-1] == f"ready {product.base}"
    assert lines[5].split()[1] == f"{product.sandbox}/sandbox/"
    for who in ("demo", "admin", "demo"):  # a second click works too
        browser = requests.Session()
        page = browser.get(product.link(who), timeout=10)
        assert page.ok
        assert f"{who}@zelador.example" in page.text


def test_a_second_one_on_the_same_folder_goes_away(product):
    code, lines = again(product)
    assert code != 0
    assert len(lines) == 1
    assert str(product.data) in lines[0]
    assert product.get("/health", {})["status"] == "ok"


@pytest.mark.parametrize("name", ["PORT", "SANDBOX_PORT"])
def test_a_taken_port_is_named(product, name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = dict(zip(("PORT", "SANDBOX_PORT"), map(str, free_ports(2)), strict=True))
        ports[name] = str(taken.getsockname()[1])
        elsewhere = product.home / f"taken-{name}"
        code, lines = again(product, ZELADOR_DATA_DIR=str(elsewhere), **ports)
    assert code != 0
    assert len(lines) == 1
    assert lines[0].startswith(f"{name}:")
    assert not (elsewhere / "postgres").exists()


def test_a_data_folder_that_cannot_be_written_is_one_line(product):
    (product.home / "file").touch()
    code, lines = again(product, ZELADOR_DATA_DIR=str(product.home / "file" / "data"))
    assert code != 0
    assert len(lines) == 1
    assert "ZELADOR_DATA_DIR" in lines[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "eighty"), ("DATABASE_URL", f"mysql://root:{WEAK_SECRET}@h/d"), ("HEALTH_CHECK_TIMEOUT_MS", "999999")],
)
def test_a_broken_setting_is_named_and_never_quoted(product, name, value):
    code, lines = again(product, **{name: value})
    assert code == 78
    assert lines[0].startswith(f"{name}:")
    assert value not in "\n".join(lines)


def test_production_wants_secrets(product):
    code, lines = again(product, APP_ENV="production", SECRET_KEY=WEAK_SECRET)
    assert code == 78
    assert "SECRET_KEY: weak" in lines
    assert WEAK_SECRET not in "\n".join(lines)


def test_the_commands_work_beside_it(product):
    assert_commands_work(product)


def test_a_bad_request_is_logged_without_its_path(product):
    with socket.create_connection(("127.0.0.1", product.port), timeout=10) as line:
        line.sendall(b"GET /login/N2k1bGFkb3JzZWNyZXQ\r\n\r\n")
        assert b" 400 " in line.recv(100)
    [said] = until(lambda: [one for one in product.errors().splitlines() if "Invalid" in one])
    assert json.loads(said)["logger"] == "gunicorn.error"
    assert "N2k1bGFkb3JzZWNyZXQ" not in product.errors()


@pytest.mark.parametrize("role", ["web", "worker", "monitor", "sandbox"])
def test_a_role_that_is_killed_comes_back(product, role):
    before = until(lambda: product.role(role))
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: product.role(role), lambda pid: pid not in (None, before))
    until(product.orphans, lambda left: not left)  # they answer for a second more
    until(lambda: answers(product))


def test_a_database_that_is_killed_comes_back(product):
    before = product.postmaster()
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(product.postmaster, lambda pid: pid not in (None, before))
    until(lambda: answers(product))


def test_what_is_known_survives_kills_and_stops(product):
    """Users, phones and secrets are there at the next start, however the last one ended."""
    user = str(uuid4())
    headers = product.bearer(user)
    product.connect(user, headers)
    phone = product.get("/api/whatsapp/status", headers)["phoneNumber"]
    supervisor = product.process
    assert supervisor is not None

    supervisor.kill()  # the roles end by themselves
    supervisor.wait()
    until(lambda: not product.group())  # they hold their ports to the last
    product.start()
    assert product.get("/api/whatsapp/status", headers)["phoneNumber"] == phone
    assert {os.getpgid(pid) for pid in product.group()} == {product.process.pid}

    database = product.postmaster()
    os.killpg(product.process.pid, signal.SIGKILL)  # all but the database, which is found again
    product.process.wait()
    until(lambda: not product.group())
    assert product.postmaster() == database
    product.start()
    assert product.postmaster() == database
    product.play("phones/message", instance=f"user_{user}", **{"from": "5511999990001"}, text="ainda aqui?")
    # the killed worker may have held the lane's lease
    texts = until(lambda: [item["text"] for item in product.get("/api/messages", headers)["items"]])
    assert texts == ["ainda aqui?"]

    assert product.stop() == 0  # nothing is left
    assert (product.group(), product.postmaster(), product.database_processes()) == ([], None, [])
    assert_commands_work(product)
    assert product.postmaster() is None
    product.start()
    until(lambda: product.get("/api/whatsapp/status", headers)["connected"])
    assert product.get("/api/whatsapp/status", headers)["phoneNumber"] == phone
    assert [item["text"] for item in product.get("/api/messages", headers)["items"]] == ["ainda aqui?"]


def answers(product: Product) -> bool:
    """Web, database and sandbox are there; while one of them starts, there are errors of all kinds."""
    try:
        urls = (f"{product.base}/readyz", f"{product.sandbox}/")
        return all(requests.get(url, timeout=30).ok for url in urls)
    except requests.RequestException:
        return False


def assert_commands_work(product: Product) -> None:
    assert product.ops("token", "--sub", str(uuid4())).stdout.count(".") == 2
    made = product.ops("create-user", "--email", f"{uuid4()}@example.org", "--password", "um bom segredo")
    assert made.returncode == 0, made.stderr
    assert f"{product.base}/login/" in made.stdout
    for command in ("current", "upgrade"):
        done = product.ops("db", command)
        assert done.returncode == 0, done.stderr
        assert done.stdout[:4].isdigit()
