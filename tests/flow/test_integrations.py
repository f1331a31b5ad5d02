"""The list of instances and a new one in it, as S0's screens ask for them, while everything is well."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from flask.testing import FlaskClient
from sqlalchemy import text
from structlog.testing import capture_logs

from bootstrap.system import System, build
from bootstrap.web import build_app
from core.access import Principal
from sandbox.server import Sandbox
from tests.factories import make_instance

PATH = "/api/integrations/whatsapp/instances"
ITEM_KEYS = {
    "id", "name", "instanceName", "status", "connected", "phoneNumber", "profileName", "provider", "userId",
    "agreementId", "createdAt", "lastConnectedAt", "lastUpdate",
}  # fmt: skip
NO_QR = (
    "Não foi possível gerar o QR Code no momento devido a uma indisponibilidade externa. Usaremos os dados recentes"
    " e você pode tentar novamente em instantes."
)
Bearer = Callable[..., dict[str, str]]
Rows = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def client(system: System) -> FlaskClient:
    return build_app(system).test_client()


def connected(system: System, *, organization_id: str | None = None) -> tuple[UUID, str]:
    """Somebody whose instance is connected, by what we know; the gateway has never heard of it."""
    with system.transaction() as connection:
        user_id, name = make_instance(connection, organization_id=organization_id)
        open_ = "state = 'connected', status = 'connected', phone_number = '5511999990001', hooked_at = now()"
        connection.execute(text(f"UPDATE whatsapp_instances SET {open_} WHERE user_id = :id"), {"id": user_id})
    return user_id, name


class TestTheList:
    def test_users_see_their_own_with_all_there_is_to_show(self, system, client, bearer):
        user, name = connected(system)
        connected(system)
        answer = client.get(PATH, headers=bearer(user))
        [item] = answer.json["instances"]
        assert (answer.status_code, answer.json["success"], item.keys()) == (200, True, ITEM_KEYS)
        assert (item["instanceName"], item["name"], item["userId"]) == (name, name, str(user))
        assert (item["status"], item["connected"], item["phoneNumber"]) == ("connected", True, "5511999990001")
        assert item["provider"] == "evolution"
        assert item["lastUpdate"].endswith("Z")

    def test_it_says_that_nothing_is_wrong(self, client, bearer):
        answer = client.get(PATH, headers=bearer(uuid4())).json
        assert answer["instances"] == []
        read_at = answer["meta"].pop("readAt")
        assert read_at.endswith("Z")
        assert answer["meta"] == {
            "storageFallback": False,
            "warnings": [],
            "source": "storage",
            "refresh": {"requested": False, "live": 0},
            "next_cursor": None,
        }

    def test_administrators_see_all_of_them_a_page_at_a_time(self, system, client, bearer):
        made = {connected(system)[1] for _ in range(5)}
        admin, seen = bearer(uuid4(), role="admin"), []
        cursor: str | None = ""
        while cursor is not None:
            page = client.get(f"{PATH}?limit=2&cursor={cursor}", headers=admin).json
            seen.append([item["instanceName"] for item in page["instances"]])
            cursor = page["meta"]["next_cursor"]
        all_ = sorted(made)
        assert seen == [all_[:2], all_[2:4], all_[4:]]

    def test_an_agreement_narrows_it(self, system, client, bearer):
        (user, name), _ = connected(system, organization_id="org_1"), connected(system, organization_id="org_2")
        admin = bearer(uuid4(), role="admin")
        found = client.get(f"{PATH}?agreementId=org_1", headers=admin).json["instances"]
        assert [(item["instanceName"], item["agreementId"]) for item in found] == [(name, "org_1")]
        assert client.get(f"{PATH}?agreementId=org_2", headers=bearer(user)).json["instances"] == []

    def test_one_that_was_deleted_is_not_in_it(self, system, client, bearer):
        user, _ = connected(system)
        with system.transaction() as connection:
            connection.execute(text("UPDATE whatsapp_instances SET deleted_at = now()"))
        assert client.get(PATH, headers=bearer(user)).json["instances"] == []

    @pytest.mark.parametrize("asked", ["limit=0", "limit=x", "cursor=x"])
    def test_what_makes_no_sense_is_refused(self, client, bearer, asked):
        answer = client.get(f"{PATH}?{asked}", headers=bearer(uuid4()))
        assert (answer.status_code, answer.json["code"]) == (400, "VALIDATION_ERROR")

    @pytest.mark.parametrize(("query", "forced"), [("", False), ("&refresh=1", True), ("&refresh=0", False)])
    def test_who_asked_for_what_is_logged(self, client, bearer, query, forced):
        with capture_logs() as logs:
            client.get(f"{PATH}?agreementId=org_2{query}", headers=bearer(uuid4(), organization_id="org_1"))
        [said] = [one for one in logs if one["event"] == "instances_listed"]
        assert (said["tenant"], said["agreement"], said["refresh_forced"]) == ("org_1", "org_2", forced)


class TestARefresh:
    def test_shows_what_the_gateway_says_and_writes_nothing(self, system, client, bearer, rows):
        user, _ = connected(system)
        answer = client.get(f"{PATH}?refresh=1", headers=bearer(user)).json
        assert [item["status"] for item in answer["instances"]] == ["disconnected"]  # the gateway has no such instance
        assert (answer["meta"]["refresh"], answer["meta"]["warnings"]) == ({"requested": True, "live": 1}, [])
        assert rows("SELECT status FROM whatsapp_instances") == [{"status": "connected"}]

    def test_a_code_that_is_shown_stays_shown(self, client, bearer):
        user = uuid4()
        assert client.post("/api/whatsapp/connect", headers=bearer(user)).json["status"] == "qr_pending"
        answer = client.get(f"{PATH}?refresh=1", headers=bearer(user)).json
        assert [item["status"] for item in answer["instances"]] == ["qr_pending"]
        assert answer["meta"]["refresh"]["live"] == 1

    def test_many_are_asked_for_in_one_question(self, system, client, bearer, sandbox):
        for _ in range(4):
            connected(system)
        client.post(PATH, json={"name": "x"}, headers=bearer(uuid4()))
        before = len(asked(sandbox))
        answer = client.get(f"{PATH}?refresh=1", headers=bearer(uuid4(), role="admin")).json
        assert answer["meta"]["refresh"] == {"requested": True, "live": 1}  # what the gateway does not name stays
        assert asked(sandbox)[before:] == ["/metrics"]

    def test_a_gateway_that_is_silent_costs_a_warning(self, system, client, bearer, sandbox):
        user, _ = connected(system)
        switch(sandbox, error_rate=1, status=503)
        answer = client.get(f"{PATH}?refresh=1", headers=bearer(user))
        assert (answer.status_code, [item["status"] for item in answer.json["instances"]]) == (200, ["connected"])
        [warning] = answer.json["meta"]["warnings"]
        assert "gateway" in warning
        assert answer.json["meta"]["storageFallback"] is False


class TestANewOne:
    def test_is_made_named_and_written_into_the_history(self, client, bearer, rows, sandbox):
        user = uuid4()
        answer = client.post(PATH, json={"name": "São João – Loja 2"}, headers=bearer(user, organization_id="org_1"))
        item = answer.json["instance"]
        assert (answer.status_code, answer.json["success"], item.keys()) == (201, True, ITEM_KEYS)
        assert (item["name"], item["instanceName"]) == ("sao-joao-loja-2", f"user_{user}")
        assert (item["status"], item["agreementId"]) == ("disconnected", "org_1")
        query = "SELECT actor, subject, scope, details FROM audit WHERE action = 'instance.create'"
        told = {"actor": str(user), "subject": f"user_{user}", "scope": "org_1", "details": {"label": item["name"]}}
        assert rows(query) == [told]
        assert rows("SELECT display_name, hooked_at IS NOT NULL AS hooked FROM whatsapp_instances") == [
            {"display_name": "sao-joao-loja-2", "hooked": True}
        ]
        assert client.get(PATH, headers=bearer(user)).json["instances"] == [item]

    def test_is_409_where_there_is_one(self, client, bearer, rows):
        user = uuid4()
        assert client.post(PATH, json={"name": "a"}, headers=bearer(user)).status_code == 201
        answer = client.post(PATH, json={"name": "b"}, headers=bearer(user))
        assert (answer.status_code, answer.json["code"]) == (409, "INSTANCE_ALREADY_EXISTS")
        assert rows("SELECT display_name FROM whatsapp_instances") == [{"display_name": "a"}]

    def test_of_two_at_the_same_time_one_is_made(self, system, bearer, rows):
        user = uuid4()
        system.access.by_bearer(bearer(user)["Authorization"].partition(" ")[2])
        app = build_app(system)

        def create(name: str) -> int:
            return app.test_client().post(PATH, json={"name": name}, headers=bearer(user)).status_code

        with ThreadPoolExecutor() as pool:
            assert sorted(pool.map(create, ("a", "b"))) == [201, 409]

    @pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "–"}, {"name": 5}, {"name": "x" * 101},
                                      {"name": "x", "agreementId": 5}])  # fmt: skip
    def test_is_400_where_it_makes_no_sense(self, client, bearer, rows, body):
        answer = client.post(PATH, json=body, headers=bearer(uuid4()))
        assert (answer.status_code, answer.json["code"]) == (400, "INVALID_INSTANCE_PAYLOAD")
        assert rows("SELECT 1 FROM whatsapp_instances") == []

    def test_is_400_where_it_is_no_object(self, client, bearer):
        answer = client.post(PATH, data="[", content_type="application/json", headers=bearer(uuid4()))
        assert (answer.status_code, answer.json["code"]) == (400, "VALIDATION_ERROR")

    def test_goes_where_an_administrator_says(self, client, bearer):
        body = {"name": "x", "agreementId": "org_9"}
        theirs = client.post(PATH, json=body, headers=bearer(uuid4(), role="admin")).json["instance"]
        own = client.post(PATH, json=body, headers=bearer(uuid4(), organization_id="org_1")).json["instance"]
        assert (theirs["agreementId"], own["agreementId"]) == ("org_9", "org_1")

    def test_where_the_gateway_is_away_people_are_told_and_may_ask_again(self, client, bearer, sandbox, rows):
        user = uuid4()
        switch(sandbox, error_rate=1, status=400)
        refused = client.post(PATH, json={"name": "x"}, headers=bearer(user))
        assert (refused.json["message"], refused.json["error"]["message"]) == (NO_QR, NO_QR)
        assert refused.json["error"]["details"]["reason"]
        assert refused.json["code"].startswith("PROVIDER")
        assert [item["name"] for item in client.get(PATH, headers=bearer(user)).json["instances"]] == ["x"]
        switch(sandbox)
        assert client.post(PATH, json={"name": "y"}, headers=bearer(user)).status_code == 201

    def test_is_500_only_where_there_is_a_bug(self, system, client, bearer):
        with system.transaction() as connection:
            user, _ = make_instance(connection)
            connection.execute(text("UPDATE whatsapp_instances SET state = 'a word that nobody knows'"))
        answer = client.post(PATH, json={"name": "x"}, headers=bearer(user))
        assert (answer.status_code, answer.json["code"]) == (500, "INTERNAL_ERROR")
        assert answer.json["message"] == "Internal server error"

    def test_without_a_gateway_nothing_is_asked_of_anybody(self, settings_of, free_port, bearer):
        """There is no database at this address: had it been asked, that would be the answer."""
        variables = {"APP_ENV": "production", "SECRET_KEY": "s" * 32, "AUTH_JWT_SECRET": "j" * 32}
        variables["APP_ENCRYPTION_KEY"] = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
        system = build(settings_of(**variables), f"postgresql://nobody@127.0.0.1:{free_port}/none")
        token = system.access.tokens.issue(Principal(user_id=uuid4()), valid_for=timedelta(hours=1))
        client, headers = build_app(system).test_client(), {"Authorization": f"Bearer {token}"}
        answer = client.post(PATH, json={"name": "x"}, headers=headers)
        system.stop()
        assert answer.status_code == 503
        assert answer.json
        assert answer.json["code"] == "WHATSAPP_NOT_CONFIGURED"
        assert answer.json["error"]["details"] == {"missing": ["EVOLUTION_API_URL", "EVOLUTION_API_KEY"]}


class TestADatabaseThatIsNotMigrated:
    @pytest.fixture
    def behind(self, engine):
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE whatsapp_instances RENAME TO not_there_yet"))
        yield
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE not_there_yet RENAME TO whatsapp_instances"))

    @pytest.mark.usefixtures("behind")
    def test_says_so_by_its_code(self, client, bearer):
        with capture_logs() as logs:
            answer = client.post(PATH, json={"name": "x"}, headers=bearer(uuid4()))
        assert (answer.status_code, answer.json["code"]) == (503, "WHATSAPP_STORAGE_UNAVAILABLE")
        assert answer.json["error"]["details"] == {"dbCode": "42P01"}
        assert "migrated" in answer.json["message"]
        [said] = [one for one in logs if one["event"] == "instance_creation_failed"]
        assert (said["db_code"], said["error"]) == ("42P01", "UndefinedTable")


def switch(sandbox: Sandbox, **faults: float) -> None:
    requests.post(f"{sandbox.url}/sandbox/faults", json=faults, timeout=30).raise_for_status()


def asked(sandbox: Sandbox) -> list[str]:
    return [entry["path"] for entry in sandbox.log.items() if entry["kind"] == "request"]
