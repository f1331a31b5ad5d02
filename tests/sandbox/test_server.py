"""Start, stop and restart; the process; the page; /metrics; the log."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from sandbox.log import hidden
from sandbox.numbers import jid_of
from sandbox.server import Sandbox
from tests.sandbox.receiver import GUARD_S, KEY, Client, Receiver

ROOT = Path(__file__).parent.parent.parent


def test_key_instances_and_phones_survive_a_restart(tmp_path: Path, receiver: Receiver, hook: str) -> None:
    with Sandbox(time_scale=0.01, qr_every_s=6000, data_dir=tmp_path) as box:
        client = Client(box, receiver, hook)
        client.pair("shop1", "Barbearia", token="shop1-token")
        client.create("closed")
        before = client.call("GET", "/instance/fetchInstances").json()
        key = box.key

    with Sandbox(time_scale=0.01, qr_every_s=6000, data_dir=tmp_path) as box:
        client = Client(box, receiver, hook)
        assert box.key == key
        client.reaches("shop1", "open")
        after = client.call("GET", "/instance/fetchInstances").json()
        assert [row["id"] for row in after] == [row["id"] for row in before]
        assert after[0]["ownerJid"] == before[0]["ownerJid"]
        assert client.call("GET", "/webhook/find/shop1").json()["url"] == receiver.url + hook
        assert client.call("GET", "/instance/connectionState/shop1", key="shop1-token").status_code == 200
        # Evolution 2.3.6 connects every instance at start, paired or not.
        client.reaches("closed", "connecting")
    assert stat.S_IMODE((tmp_path / "sandbox.json").stat().st_mode) == 0o600


def test_stop_and_start_keep_the_port_and_the_phones(receiver: Receiver, hook: str) -> None:
    box = Sandbox(key=KEY, time_scale=0.01, qr_every_s=6000)
    with box:
        client = Client(box, receiver, hook)
        client.pair("shop1")
        url = box.url
    with pytest.raises(requests.ConnectionError):
        client.state("shop1")
    with box:
        assert box.url == url
        client.reaches("shop1", "open")


@contextmanager
def process(*arguments: str, **environ: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`python -m sandbox`, and the one line it prints."""
    parent_fd = environ.get("SANDBOX_PARENT_FD")
    child = subprocess.Popen(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=ROOT,
        env={**os.environ, "SANDBOX_PORT": "0", **environ},
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=(int(parent_fd),) if parent_fd else (),
    )
    with child:
        assert child.stdout is not None
        try:
            yield child, child.stdout.readline()
        finally:
            child.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_where_it_is_and_ends_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with process(SANDBOX_DATA_DIR=str(tmp_path), SANDBOX_METRICS="off") as (child, line):
        word, url = line.split()
        assert (word, requests.get(url, timeout=GUARD_S).json()["version"]) == ("sandbox", "2.3.6")
        assert requests.get(url + "/metrics", timeout=GUARD_S).status_code == 404
        child.send_signal(number)
        assert child.wait(GUARD_S) == 0
        assert child.stdout is not None
        assert child.stdout.read() == ""


def test_arguments_win_over_the_environment(tmp_path: Path) -> None:
    chosen = ("--port", "0", "--key", "chosen", "--profile", "2.4", "--time-scale", "0.01", "--data", str(tmp_path))
    with process(*chosen, "--licensed", SANDBOX_KEY="other", SANDBOX_PROFILE="2.2.3", SANDBOX_PORT="1") as (_, line):
        url = line.split()[1]
        answer = requests.post(f"{url}/verify-creds", headers={"apikey": "chosen"}, timeout=GUARD_S)
        assert answer.status_code == 200
        assert requests.get(url, timeout=GUARD_S).json()["version"] == "2.4.0-rc2"
        assert (tmp_path / "sandbox.json").exists()


def test_the_environment_sets_profile_and_metrics() -> None:
    metrics = {"SANDBOX_METRICS_USER": "u", "SANDBOX_METRICS_PASSWORD": "p"}
    with process(SANDBOX_PROFILE="2.3.7", **metrics) as (_, line):
        url = line.split()[1]
        assert requests.get(url, timeout=GUARD_S).json()["version"] == "2.3.7"
        assert requests.get(url + "/metrics", timeout=GUARD_S).status_code == 401
        assert requests.get(url + "/metrics", auth=("u", "p"), timeout=GUARD_S).status_code == 200


def test_other_programs_settings_are_not_taken_for_its_own() -> None:
    with process(PORT="1", KEY="theirs", SANDBOX_KEY="ours") as (_, line):
        url = line.split()[1]
        assert not url.endswith(":1")
        assert requests.post(f"{url}/verify-creds", headers={"apikey": "ours"}, timeout=GUARD_S).status_code == 200


def test_the_example_for_your_ci_works(free_port: int) -> None:
    """The commands of docs/sandbox.md as they stand there, on a port that is free."""
    page = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
    example = page.split("## For your CI")[1].split("```sh\n")[1].split("```")[0].replace("8081", str(free_port))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-u", "-c", example],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "open"


def test_the_process_ends_with_its_parents_pipe() -> None:
    reading, writing = os.pipe()
    with process(SANDBOX_KEY=KEY, SANDBOX_PARENT_FD=str(reading)) as (child, _):
        os.close(reading)
        os.close(writing)
        assert child.wait(GUARD_S) == 0


def test_a_port_that_is_taken_is_one_line_and_an_error(client: Client) -> None:
    with process(SANDBOX_PORT=str(client.box.port)) as (child, line):
        assert (line, child.wait(GUARD_S)) == ("", 1)
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=client.box.port).start()


@pytest.mark.parametrize("wrong", [{"SANDBOX_TIME_SCALE": "fast"}, {"SANDBOX_PROFILE": "1.8"}])
def test_a_setting_that_is_wrong_stops_the_start(wrong: dict[str, str]) -> None:
    with process(**wrong) as (child, line):
        assert (line, child.wait(GUARD_S)) == ("", 78)


def test_a_stop_does_not_wait_for_slow_receivers_or_callers(receiver: Receiver, hook: str) -> None:
    receiver.release.clear()
    before = threading.enumerate()
    box = Sandbox(key=KEY, time_scale=1.0)
    client = Client(box, receiver, "/held" + hook)
    box.start()
    client.create("shop1")
    client.take(1)

    box.stop()

    left = [thread for thread in threading.enumerate() if thread not in before and "webhook" in thread.name]
    assert len(left) == 1  # it is still being held
    receiver.release.set()
    left[0].join(GUARD_S)


def test_metrics_tell_the_live_state(client: Client) -> None:
    client.pair("shop1")
    client.drop("shop1", 408, silent=True)

    text = requests.get(client.box.url + "/metrics", timeout=GUARD_S).text

    labels = 'instance="shop1",integration="WHATSAPP-BAILEYS"'
    assert f'evolution_instance_state{{{labels},state="close"}} 1\n' in text
    assert f"evolution_instance_up{{{labels}}} 0\n" in text
    assert "evolution_instances_total 1\n" in text


def test_metrics_may_ask_for_a_password() -> None:
    with Sandbox(key=KEY, metrics_user="u", metrics_password="p") as box:
        assert requests.get(box.url + "/metrics", timeout=GUARD_S).status_code == 401
        assert requests.get(box.url + "/metrics", auth=("u", "x"), timeout=GUARD_S).status_code == 401
        assert requests.get(box.url + "/metrics", auth=("u", "p"), timeout=GUARD_S).status_code == 200


def test_the_log_shows_requests_and_webhooks_without_secrets(client: Client) -> None:
    secret = "N2k1bGFkb3JzZWNyZXR0b2tlbg"
    url = f"{client.receiver.url}{client.hook}t/{secret}?token={secret}"
    client.create("shop1", hook={"url": url, "headers": {"X-Token": secret}}, token="shop1-secret-token")
    client.take(1)
    client.state("shop1")

    answer = client.call("GET", "/sandbox/log")

    seen = {(item["kind"], item["method"], item["status"], item["instance"]) for item in answer.json()["items"]}
    assert {("request", "POST", 201, "shop1"), ("request", "GET", 200, "shop1")} <= seen
    assert secret not in answer.text
    assert "shop1-secret-token" not in answer.text
    assert "shop1-secret-token" not in client.call("GET", "/sandbox/state").text


def test_ids_of_users_are_no_secrets() -> None:
    path = "/api/webhook/user/0f9c2a6e-6f0e-4a38-9a53-3a1b7f0f8e11/messages-upsert"
    assert hidden(path) == path


def test_the_page_brings_its_own_parts_under_a_strict_policy(client: Client) -> None:
    for part in ("", "page/sandbox.css", "page/sandbox.js"):
        answer = client.call("GET", f"/sandbox/{part}")
        assert answer.status_code == 200
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "https://" not in answer.text


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_pages_from_elsewhere_cannot_play(client: Client, headers: dict[str, str]) -> None:
    answer = requests.post(client.box.url + "/sandbox/reset", headers=headers, timeout=GUARD_S)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("number", "jid"),
    [
        ("+55 (11) 99999-0001", "5511999990001@s.whatsapp.net"),
        ("5531988887777", "553188887777@s.whatsapp.net"),
        ("5531333344445", "5531333344445@s.whatsapp.net"),
        ("5215512345678", "525512345678@s.whatsapp.net"),
        ("120363000000000001", "120363000000000001@g.us"),
        ("5511999990001:12@s.whatsapp.net", "5511999990001@s.whatsapp.net"),
        ("abc", "@s.whatsapp.net"),
    ],
)
def test_numbers_become_jids_as_evolution_makes_them(number: str, jid: str) -> None:
    assert jid_of(number) == jid
