"""WhatsAppManager on the sandbox: one instance a user, whoever clicks how often, whatever the gateway forgot."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from sqlalchemy import text

from bootstrap.system import build
from bootstrap.web import build_app
from core.access import Principal
from core.errors import Conflict, InstanceUnknown, NameInUse, NotConfigured, Unavailable
from manager.gateways import Gateways
from manager.leases import Leases
from manager.lifecycle import Lifetimes, Status, instance_name_for
from manager.providers.evolution.client import EvolutionClient
from manager.providers.port import Pairing, Snapshot, State
from manager.service import WhatsAppManager
from manager.upstream import Upstream
from sandbox.server import Sandbox
from tests.conftest import KEY
from tests.factories import hook_keys, token_for
from tests.waiting import until

ROOT = Path(__file__).parent.parent.parent
FERNET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
SECRETS = {"SECRET_KEY": "s" * 40, "AUTH_JWT_SECRET": "j" * 40, "APP_ENCRYPTION_KEY": FERNET}


@pytest.fixture
def user(system):
    """Somebody with a profile and nothing else."""
    user_id = uuid4()
    with system.transaction() as connection:
        connection.execute(text("INSERT INTO profiles (id, email) VALUES (:id, 'ana@x')"), {"id": user_id})
    return user_id


def asked(box, *parts):
    """How often the gateway was asked for a path with these parts."""
    requests_seen = [item for item in box.log.items() if item["kind"] == "request"]
    return sum(all(part in f"{item['method']} {item['path']}" for part in parts) for item in requests_seen)


def play(box, path, body):
    requests.post(f"{box.url}/sandbox/{path}", json=body, timeout=10).raise_for_status()


def scanned(system, box, user):
    """Connected on the gateway, and known here to be so."""
    name = system.manager.connect_user_whatsapp(user).record.name
    play(box, "phones/scan", {"instance": name})
    gateway = EvolutionClient(box.url, KEY)
    until(lambda: gateway.state(name).state, lambda state: state is State.CONNECTED)
    with system.transaction() as connection:
        connection.execute(
            text("UPDATE whatsapp_instances SET state = 'connected', status = 'connected', qr_code = NULL")
        )
    return name


def patient(system, provider, sleep=lambda _: None):
    """A manager on this provider whose waits take no time."""
    upstream = Upstream(
        transaction=system.transaction,
        provider=provider,
        vault=system.vault,
        webhook_base=system.settings.webhook_base,
        sleep=sleep,
    )
    return WhatsAppManager(
        system.transaction,
        Gateways.one(upstream),
        Leases(system.transaction, sleep),
        system.clock,
        lifetimes=Lifetimes(qr=timedelta(seconds=45)),
        rung=lambda _: None,
        sleep=sleep,
    )


def hook_of(box, name):
    answer = requests.get(f"{box.url}/webhook/find/{name}", headers={"apikey": KEY}, timeout=10)
    answer.raise_for_status()
    return answer.json()


def expect_our_hook(system, box, user, name):
    hook, keys = hook_of(box, name), hook_keys(system, name)
    assert hook["url"] == f"{system.settings.webhook_base}/api/webhook/user/{user}"
    assert hook["headers"] == {"X-Webhook-Token": keys.token, "jwt_key": keys.jwt_key}
    assert hook["enabled"]


def test_there_is_no_instance_before_it_is_wanted(system, user):
    assert system.manager.find_user_instance(user) is None


def test_ensuring_makes_the_instance_once(system, sandbox, user):
    made = system.manager.ensure_user_instance(user, "org_1")
    assert (made.name, made.user_id, made.organization_id) == (f"user_{user}", user, "org_1")
    assert system.manager.ensure_user_instance(user).id == made.id
    assert system.manager.create_user_instance(user).id == made.id
    assert system.manager.find_user_instance(user).hooked
    assert asked(sandbox, "POST /instance/create") == 1
    assert asked(sandbox, "/instance/connect/") == 0


def test_connecting_shows_a_qr_with_its_expiry(system, sandbox, user):
    result = system.manager.connect_user_whatsapp(user)
    standing = result.record.standing
    assert (result.record.status, result.already_connected) == (Status.QR_PENDING, False)
    assert standing.pairing.qr
    assert standing.pairing_expires_at > system.clock.now() + timedelta(seconds=30)


def test_the_gateway_gets_our_hook_with_token_and_jwt_key(system, sandbox, user):
    expect_our_hook(system, sandbox, user, system.manager.ensure_user_instance(user).name)


def test_the_keys_are_sealed_at_rest(system, sandbox, user, rows):
    name = system.manager.ensure_user_instance(user).name
    keys = hook_keys(system, name)
    stored = str([bytes(row["sealed"]) + bytes(row["token_hash"]) for row in rows("SELECT * FROM webhook_keys")])
    assert keys.token not in stored
    assert keys.jwt_key not in stored


def test_five_clicks_in_two_processes_make_one_instance_and_one_qr(system, sandbox, user, rows, database_url):
    environ = {
        "PATH": "/usr/bin:/bin",
        "ZELADOR_DATA_DIR": str(system.settings.zelador_data_dir),
        "EVOLUTION_API_URL": sandbox.url,
        "EVOLUTION_API_KEY": KEY,
        "PORT": str(system.settings.port),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.flow.clicks", database_url, str(user), clicks],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for clicks in ("2", "3")
    ]
    try:
        assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n"] * 2
        for process in processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        codes = [code for process in processes for code in json.loads(process.communicate(timeout=60)[0])]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert len(codes) == 5
    assert codes[0]
    assert set(codes) == {codes[0]}
    assert rows("SELECT count(*) AS instances FROM whatsapp_instances") == [{"instances": 1}]
    assert asked(sandbox, "POST /instance/create") == 1
    assert asked(sandbox, "GET /instance/connect/") == 1


def test_a_second_click_gets_the_code_that_is_there(system, sandbox, user):
    first, second = (system.manager.connect_user_whatsapp(user) for _ in range(2))
    assert first.record.standing.pairing == second.record.standing.pairing
    assert asked(sandbox, "/instance/connect/") == 1


def test_a_name_in_use_is_adopted_with_our_hook(system, sandbox, user):
    name = instance_name_for(user)
    body = {"instanceName": name, "integration": "WHATSAPP-BAILEYS", "webhook": {"url": "http://old/", "events": []}}
    requests.post(f"{sandbox.url}/instance/create", json=body, headers={"apikey": KEY}, timeout=10).raise_for_status()
    assert system.manager.connect_user_whatsapp(user).record.status is Status.QR_PENDING
    expect_our_hook(system, sandbox, user, name)


class Interrupted(EvolutionClient):
    """A gateway that dies right after it has made the instance."""

    def create(self, name, hook):
        super().create(name, hook)
        raise Unavailable("gone in the middle")


def test_a_create_that_broke_off_is_finished_by_the_next_click(system, sandbox, user):
    with pytest.raises(Unavailable):
        patient(system, Interrupted(sandbox.url, KEY)).connect_user_whatsapp(user)
    assert not system.manager.find_user_instance(user).hooked
    record = system.manager.connect_user_whatsapp(user).record
    assert record.status is Status.QR_PENDING
    expect_our_hook(system, sandbox, user, record.name)


def test_an_instance_the_gateway_lost_is_made_again_with_the_same_keys(system, sandbox, user):
    name = system.manager.ensure_user_instance(user).name
    keys = hook_keys(system, name)
    sandbox.reset()
    assert system.manager.connect_user_whatsapp(user).record.status is Status.QR_PENDING
    assert hook_keys(system, name) == keys
    expect_our_hook(system, sandbox, user, name)


def test_a_connected_instance_the_gateway_lost_shows_a_qr_again(system, sandbox, user):
    scanned(system, sandbox, user)
    sandbox.reset()
    result = system.manager.connect_user_whatsapp(user)
    assert (result.record.status, result.already_connected) == (Status.QR_PENDING, False)


def test_a_connect_while_open_asks_for_nothing(system, sandbox, user):
    name = scanned(system, sandbox, user)
    before = asked(sandbox, "/instance/connect/")
    result = system.manager.connect_user_whatsapp(user)
    assert (result.already_connected, result.record.status) == (True, Status.CONNECTED)
    assert asked(sandbox, "/instance/connect/") == before
    assert asked(sandbox, "/instance/connectionState/", name) >= 1


def test_reconnecting_a_closed_one_goes_to_connect(system, sandbox, user):
    made = system.manager.ensure_user_instance(user)
    record = system.manager.reconnect_user_whatsapp(user)
    assert record.status is Status.QR_PENDING  # never paired, so connecting asks for a scan
    assert asked(sandbox, "/instance/restart/") == 0
    assert asked(sandbox, f"/instance/connect/{made.name}") == 1
    assert asked(sandbox, "POST /instance/create") == 1


def test_reconnecting_an_open_one_disturbs_nothing(system, sandbox, user):
    name = scanned(system, sandbox, user)
    assert system.manager.reconnect_user_whatsapp(user).status is Status.CONNECTED
    assert asked(sandbox, f"/instance/restart/{name}") == 0


def test_an_open_one_that_is_not_believed_is_restarted(system, sandbox, user):
    name = scanned(system, sandbox, user)
    system.manager.reconnect_user_whatsapp(user, restart=True)
    assert asked(sandbox, f"/instance/restart/{name}") == 1


def test_restarting_a_closed_one_goes_to_connect(system, sandbox, user):
    made = system.manager.ensure_user_instance(user)
    assert system.manager.reconnect_user_whatsapp(user, restart=True).status is Status.QR_PENDING
    assert asked(sandbox, "/instance/restart/") == 1
    assert asked(sandbox, f"/instance/connect/{made.name}") == 1


def test_one_that_its_owner_has_parted_from_is_not_reconnected(system, sandbox, user):
    scanned(system, sandbox, user)
    system.manager.part_user_whatsapp(user)
    with pytest.raises(Conflict):
        system.manager.reconnect_user_whatsapp(user)


def test_an_open_that_nobody_reported_is_found_by_the_click(system, sandbox, user, rows):
    scanned(system, sandbox, user)
    with system.transaction() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET state = 'disconnected', status = 'disconnected'"))
    assert system.manager.connect_user_whatsapp(user).record.status is Status.CONNECTED
    assert rows("SELECT status, is_connected FROM whatsapp_instances") == [
        {"status": "connected", "is_connected": True}
    ]
    assert [row["type"] for row in rows("SELECT type FROM feed ORDER BY id")][-2:] == ["status", "connected"]


def test_without_a_code_in_time_the_answer_is_connecting(system, user):
    with Sandbox(key=KEY, time_scale=0.01, qr_after_s=100_000) as box:
        waits: list[float] = []
        result = patient(system, EvolutionClient(box.url, KEY), waits.append).connect_user_whatsapp(user)
    assert (result.record.status, result.record.standing.pairing) == (Status.CONNECTING, None)
    assert 7 < sum(waits) < 9


class TestWhileWhatsAppIsSlow:
    @pytest.fixture
    def sandbox(self):
        """Answers `{"count":0}`; the code comes 0.5 s later."""
        with Sandbox(key=KEY, time_scale=0.01, qr_after_s=50) as box:
            yield box

    def test_a_code_that_is_late_comes_by_the_webhook_within_the_call(self, web, working, sandbox, bearer):
        headers = bearer(uuid4())
        body = requests.post(f"{web}/api/whatsapp/connect", headers=headers, timeout=20).json()
        assert (body["status"], body["qr"][:1] != "") == ("qr_pending", True)
        assert body["qrCode"].startswith("data:image/png;base64,")


class Repeating:
    """A gateway that answers every connect with the same old code."""

    def __init__(self, snapshot):
        self.snapshot = snapshot

    def create(self, name, hook):
        return self.snapshot

    def connect(self, name, phone=None, hook=None):
        return self.snapshot

    def state(self, name):
        return Snapshot(name=name, state=State.CONNECTING)

    def set_hook(self, name, hook):
        """Nothing to do."""


def test_a_code_that_expired_is_not_shown_again(system, sandbox, user):
    code = system.manager.connect_user_whatsapp(user).record.standing.pairing
    with system.transaction() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET qr_expires_at = now() - interval '1 second'"))
    stale = Repeating(Snapshot(name="x", state=State.CONNECTING, pairing=code))
    record = patient(system, stale).connect_user_whatsapp(user).record
    assert (record.status, record.standing.pairing) == (Status.CONNECTING, None)


def test_a_code_that_ended_is_not_shown_again(system, sandbox, user):
    code = system.manager.connect_user_whatsapp(user).record.standing.pairing
    with system.transaction() as connection:
        connection.execute(
            text("UPDATE whatsapp_instances SET qr_code = NULL, retired_qr = :qr, status = 'connecting'"),
            {"qr": code.qr},
        )
    stale = Repeating(Snapshot(name="x", state=State.CONNECTING, pairing=code))
    assert patient(system, stale).connect_user_whatsapp(user).record.standing.pairing is None


def test_after_the_rows_are_deleted_by_hand_connecting_works(system, sandbox, user, rows):
    name = system.manager.connect_user_whatsapp(user).record.name
    old_keys = hook_keys(system, name)
    with system.transaction() as connection:
        connection.execute(text("DELETE FROM whatsapp_instances WHERE user_id = :user"), {"user": user})
    assert system.manager.connect_user_whatsapp(user).record.status is Status.QR_PENDING
    assert hook_keys(system, name) != old_keys
    expect_our_hook(system, sandbox, user, name)


def test_another_user_has_another_instance(system, sandbox, user):
    other = uuid4()
    with system.transaction() as connection:
        connection.execute(text("INSERT INTO profiles (id) VALUES (:id)"), {"id": other})
    mine, theirs = (system.manager.connect_user_whatsapp(one).record for one in (user, other))
    assert mine.name != theirs.name
    assert mine.standing.pairing != theirs.standing.pairing


def test_the_lease_is_let_go_when_the_gateway_fails(system, user, free_port, rows):
    broken = patient(system, EvolutionClient(f"http://127.0.0.1:{free_port}", KEY))
    for _ in range(2):
        with pytest.raises(Unavailable):
            broken.connect_user_whatsapp(user)
    assert rows("SELECT count(*) AS held FROM instance_leases") == [{"held": 0}]


def test_a_lease_of_the_dead_is_taken_over(system, sandbox, user):
    with system.transaction() as connection:
        connection.execute(
            text("INSERT INTO instance_leases VALUES (:name, 'dead', now() - interval '1 second')"),
            {"name": instance_name_for(user)},
        )
    assert system.manager.connect_user_whatsapp(user).record.status is Status.QR_PENDING


class Forgetful:
    """A gateway that has every instance and then none: one click makes all calls. Each takes the lease's whole time."""

    def __init__(self, system, after=lambda call: None):
        self._system, self._after = system, after
        self.calls, self.left = [], []

    def create(self, name, hook):
        self._called("create")
        raise NameInUse("it is there")

    def set_hook(self, name, hook):
        self._called("set_hook")

    def state(self, name):
        self._called("state")
        return Snapshot(name=name, state=State.DISCONNECTED)

    def connect(self, name, phone=None, hook=None):
        self._called("connect")
        if self.calls.count("connect") == 1:
            raise InstanceUnknown("it is gone")
        return Snapshot(name=name, state=State.CONNECTING, pairing=Pairing(qr="2@x"))

    def _called(self, call):
        aged = "UPDATE instance_leases SET until = now() RETURNING (SELECT until - now() FROM instance_leases)"
        with self._system.transaction() as connection:
            self.left.append(connection.execute(text(aged)).scalar_one())
        self.calls.append(call)
        self._after(call)


def test_the_lease_is_renewed_for_each_call(system, user):
    gateway = Forgetful(system)
    assert patient(system, gateway).connect_user_whatsapp(user).record.status is Status.QR_PENDING
    assert gateway.calls == ["create", "set_hook", "connect", "create", "set_hook", "connect"]
    with system.transaction() as connection:
        connection.execute(
            text("UPDATE whatsapp_instances SET qr_code = NULL, state = 'connected', status = 'connected'")
        )
    patient(system, gateway).connect_user_whatsapp(user)
    assert gateway.calls[6:] == ["state", "connect"]
    assert min(gateway.left) > timedelta(seconds=95)


def losing(system, last_call):
    """A gateway during whose call with this number somebody else takes the lease."""

    def taken_over(_):
        if len(gateway.calls) == last_call:
            with system.transaction() as connection:
                connection.execute(text("UPDATE instance_leases SET holder = 'other', until = now() + interval '1 h'"))

    gateway = Forgetful(system, taken_over)
    return gateway


@pytest.mark.parametrize(("last_call", "hooked"), [(1, False), (2, False), (3, True), (4, True), (6, True)])
def test_who_lost_the_lease_does_no_more_and_writes_nothing(system, user, rows, last_call, hooked):
    gateway = losing(system, last_call)
    with pytest.raises(Conflict) as refused:
        patient(system, gateway).connect_user_whatsapp(user)
    assert refused.value.code == "OPERATION_IN_PROGRESS"
    assert gateway.calls == ["create", "set_hook", "connect", "create", "set_hook", "connect"][:last_call]
    record = system.manager.find_user_instance(user)
    assert (record.hooked, record.standing.pairing) == (hooked, None)
    assert rows("SELECT holder FROM instance_leases") == [{"holder": "other"}]


def test_who_lost_the_lease_while_looking_keeps_what_is_known(system, sandbox, user):
    scanned(system, sandbox, user)
    with pytest.raises(Conflict):
        patient(system, losing(system, 1)).connect_user_whatsapp(user)
    assert system.manager.find_user_instance(user).status is Status.CONNECTED


def click(system):
    """What an application hears of a click."""
    token = token_for(system, Principal(user_id=uuid4()))
    with build_app(system).test_client() as browser:
        return browser.post("/api/whatsapp/connect", headers={"Authorization": f"Bearer {token}"})


def test_without_a_gateway_in_production_nothing_is_asked(engine, database_url, settings_of):
    unconfigured = build(settings_of(APP_ENV="production", **SECRETS), database_url)
    try:
        answer = click(unconfigured)
        with pytest.raises(NotConfigured):
            unconfigured.manager.ensure_user_instance(uuid4())
    finally:
        unconfigured.stop()
    assert (answer.status_code, answer.json["code"]) == (503, "WHATSAPP_NOT_CONFIGURED")
    assert answer.json["error"]["details"] == {"missing": ["EVOLUTION_API_URL", "EVOLUTION_API_KEY"]}


def test_while_the_gateway_is_down_the_answer_is_503(engine, database_url, settings_of, free_port):
    down = {"EVOLUTION_API_URL": f"http://127.0.0.1:{free_port}", "EVOLUTION_API_KEY": KEY}
    alone = build(settings_of(**down, RETRY_INITIAL_DELAY_MS="1"), database_url)
    try:
        answers = [click(alone) for _ in range(3)]
    finally:
        alone.stop()
    assert [answer.status_code for answer in answers] == [503] * 3
    assert answers[0].json["code"] == "PROVIDER_UNAVAILABLE"
    assert answers[2].json["code"] == "CIRCUIT_OPEN"
    assert answers[0].headers["Retry-After"]


def test_many_clicks_at_once_in_one_process_are_one(system, sandbox, user):
    with ThreadPoolExecutor(5) as pool:
        results = list(pool.map(system.manager.connect_user_whatsapp, [user] * 5))
    assert len({result.record.standing.pairing for result in results}) == 1
    assert asked(sandbox, "/instance/connect/") == 1
