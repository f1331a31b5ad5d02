"""Instances by id, the second route family: its own curl lines, sent as they stand; and whose is whose."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import requests
from sqlalchemy import text

from bootstrap.limits import SPECIAL
from bootstrap.web import build_app
from core.crypto import fingerprint
from manager.lifecycle import instance_name_for
from tests import curl as curl_line
from tests.factories import body_of, text_message
from tests.waiting import until
from webhooks.inbox import Delivery

OWNER, ANA = "5511999887766", "5511999990001"
CREATE = """curl -X POST {base}/api/whatsapp/instances -H "Content-Type: application/json" \
    -H "Authorization: Bearer {token}" -d '{
        "organization_id": "org_123", "instance_name": "Main WhatsApp", "phone_number": "5511999887766"
    }'"""
CONNECT_BY_CODE = """curl -X POST {base}/api/whatsapp/instances/{id}/connect -H "Content-Type: application/json" \
    -H "Authorization: Bearer {token}" -d '{"phone_number": "5511999887766", "method": "code"}'"""
CONNECT_BY_QR = """curl -X POST {base}/api/whatsapp/instances/{id}/connect -H "Content-Type: application/json" \
    -H "Authorization: Bearer {token}" -d '{"method": "qr"}'"""
STATUS = """curl {base}/api/whatsapp/instances/{id}/status -H "Authorization: Bearer {token}" """
SEND = """curl -X POST {base}/api/whatsapp/instances/{id}/send -H "Content-Type: application/json" \
    -H "Authorization: Bearer {token}" -d '{"to": "5511999990001", "message": "Olá! Como posso ajudar?"}'"""
DELETE = """curl -X DELETE {base}/api/whatsapp/instances/{id} -H "Authorization: Bearer {token}" """
PATCH = """curl -X PATCH {base}/api/whatsapp/instances/{id} -H "Content-Type: application/json" \
    -H "Authorization: Bearer {token}" -d '{"phone_number": "5511999990001"}'"""
CONTACTS = """curl -X POST {base}/api/contacts -H "Authorization: Bearer {token}" \
    -H "Content-Type: application/json" -d '{"organization_id": "org_123"}'"""


@pytest.fixture
def user():
    return uuid4()


@pytest.fixture
def curl(web, working, bearer, user):
    """Sends a curl line: status and JSON."""

    def send(line, instance_id=""):
        token = bearer(user, organization_id="org_123")["Authorization"].partition(" ")[2]
        return curl_line.send(line, base=web, id=instance_id, token=token)

    return send


@pytest.fixture
def ask(system, bearer, user):
    """Any call: method, the path's end, a body, who asks."""
    client = build_app(system).test_client()

    def call(method, path="", body=None, headers=None):
        sent = {} if body is None else {"json": body}
        answer = client.open(
            f"/api/whatsapp/instances{path}",
            method=method,
            headers=headers or bearer(user, organization_id="org_1"),
            **sent,
        )
        return answer.status_code, answer.json

    return call


def named(**more):
    return {"organization_id": "org_1", "instance_name": "Loja", **more}


def asked(box, *parts):
    seen = [f"{item['method']} {item['path']}" for item in box.log.items() if item["kind"] == "request"]
    return sum(all(part in one for part in parts) for one in seen)


def scan(box, user):
    body = {"instance": instance_name_for(user)}
    requests.post(f"{box.url}/sandbox/phones/scan", json=body, timeout=10).raise_for_status()


def connected(curl, box, user, instance_id):
    assert curl(CONNECT_BY_QR, instance_id)[1]["qr"]
    scan(box, user)
    until(lambda: curl(STATUS, instance_id)[1]["instance"]["status"], lambda status: status == "connected", 20)


# ---- the lines of the seed ---------------------------------------------------------------------------------------


def test_creating(curl, user, rows):
    """A015, A016, A046–A050, X13, X41, X45"""
    status, body = curl(CREATE)
    made = body["instance"]
    assert (status, body["success"]) == (200, True)
    assert (body["instance_id"], body["status"]) == (made["id"], "disconnected")
    assert {key: made[key] for key in made if key not in ("id", "created_at")} == {
        "organization_id": "org_123",
        "instance_name": "Main WhatsApp",
        "provider_instance_name": f"user_{user}",
        "phone_number": OWNER,
        "connected_phone": None,
        "status": "disconnected",
        "pairing_method": "code",
        "last_connected_at": None,
        "messages_sent_count": 0,
        "messages_received_count": 0,
    }
    assert datetime.fromisoformat(made["created_at"]) > datetime.now(UTC) - timedelta(minutes=1)
    assert rows("SELECT action, actor, subject, scope, details FROM audit") == [
        {
            "action": "instance.create",
            "actor": str(user),
            "subject": f"user_{user}",
            "scope": "org_123",
            "details": {"label": "Main WhatsApp"},
        }
    ]
    assert rows("SELECT instance_name, display_name, organization_id, owner_phones FROM whatsapp_instances") == [
        {
            "instance_name": f"user_{user}",
            "display_name": "Main WhatsApp",
            "organization_id": "org_123",
            "owner_phones": [OWNER],
        }
    ]


def test_connecting_by_code(curl):
    """B002–B006, B008, B016, X01, X02"""
    instance_id = curl(CREATE)[1]["instance_id"]
    status, body = curl(CONNECT_BY_CODE, instance_id)
    code = body["pairingCode"]
    assert (status, body["success"], body["method"]) == (200, True, "code")
    assert (len(code), code.isalnum(), code.upper()) == (8, True, code)
    assert body["pairingCodeFormatted"] == f"{code[:4]}-{code[4:]}"
    left = datetime.fromisoformat(body["expiresAt"]) - datetime.now(UTC)
    assert timedelta(seconds=45) < left <= timedelta(seconds=60)
    shown = curl(STATUS, instance_id)[1]
    assert (shown["pairingCode"], bool(shown["expiresAt"])) == (code, True)
    assert (shown["instance"]["status"], shown["is_running"]) == ("qr_pending", True)


def test_connecting_by_qr(curl):
    """B007, B019, B021, X03, X04"""
    instance_id = curl(CREATE)[1]["instance_id"]
    status, body = curl(CONNECT_BY_QR, instance_id)
    expected = {
        "success": True,
        "method": "qr",
        "message": "QR Code will be sent via Socket.IO when generated",
    }
    assert (status, {name: body[name] for name in expected}) == (200, expected)
    assert body["qr"]
    assert body["qrcode"] == body["qrCode"]
    assert body["qrCode"].startswith("data:image/png;base64,")
    assert curl(STATUS, instance_id)[1]["qr"] == body["qr"]


def test_a_connected_one_is_connected_already(curl, sandbox, user):
    """X43, A052–A055"""
    instance_id = curl(CREATE)[1]["instance_id"]
    connected(curl, sandbox, user, instance_id)
    before = asked(sandbox, "/instance/connect/")
    status, body = curl(CONNECT_BY_CODE, instance_id)
    assert (status, body["success"], body["alreadyConnected"]) == (200, True, True)
    assert body["message"] == "Sessão já está ativa e conectada"
    assert asked(sandbox, "/instance/connect/") == before
    status, body = curl(STATUS, instance_id)
    one = body["instance"]
    assert (status, body["is_running"], one["id"], one["status"]) == (200, True, instance_id, "connected")
    assert one["phone_number"] == OWNER
    assert one["connected_phone"].isdigit()
    assert one["last_connected_at"].endswith("Z")
    assert (one["messages_sent_count"], one["messages_received_count"]) == (0, 0)


def test_sending(curl, sandbox, user):
    """H001–H005, A060, X25"""
    instance_id = curl(CREATE)[1]["instance_id"]
    status, body = curl(SEND, instance_id)
    assert (status, body["code"]) == (409, "INSTANCE_NOT_CONNECTED")
    connected(curl, sandbox, user, instance_id)
    status, body = curl(SEND, instance_id)
    assert (status, body["success"], bool(body["messageId"])) == (200, True, True)
    assert asked(sandbox, "/message/sendText/") == 1
    until(lambda: curl(STATUS, instance_id)[1]["instance"]["messages_sent_count"], lambda count: count == 1, 20)


def test_deleting_hides_it_and_connecting_brings_it_back(curl, ask, sandbox, user, rows):
    """A018, A056, A057, B025, X46"""
    instance_id = curl(CREATE)[1]["instance_id"]
    connected(curl, sandbox, user, instance_id)
    assert curl(DELETE, instance_id) == (200, {"success": True})
    assert rows("SELECT deleted_at IS NOT NULL AS hidden FROM whatsapp_instances") == [{"hidden": True}]
    assert ask("GET")[1]["items"] == []
    for line in (STATUS, SEND, DELETE, PATCH):
        assert curl(line, instance_id)[1]["code"] == "INSTANCE_NOT_FOUND"
    status, body = curl(CONNECT_BY_QR, instance_id)
    assert (status, body["status"], bool(body["qr"])) == (200, "qr_pending", True)
    assert [one["id"] for one in ask("GET")[1]["items"]] == [instance_id]


def test_the_owners_number_is_changed_and_nothing_else(curl, ask, system, user, rows):
    """A058, H017, L006, X12: the owner's messages are notes from then on."""
    instance_id = curl(CREATE)[1]["instance_id"]
    status, body = curl(PATCH, instance_id)
    assert (status, body["instance"]["phone_number"]) == (200, ANA)
    more = {"phone_number": "+55 (11) 99999-0001", "status": "connected", "user_id": str(uuid4()), "id": str(uuid4())}
    status, body = ask("PATCH", f"/{instance_id}", more)
    assert (status, body["instance"]["phone_number"], body["instance"]["id"]) == (200, ANA, instance_id)
    assert rows("SELECT user_id, status, phone_number, owner_phones FROM whatsapp_instances") == [
        {"user_id": user, "status": "disconnected", "phone_number": None, "owner_phones": [ANA]}
    ]
    name = instance_name_for(user)
    for sender, said in ((ANA, "de mim"), (OWNER, "de outro")):
        message = text_message(name, said, sender=f"{sender}@s.whatsapp.net")
        system.inbox.record(Delivery(instance=name, event="messages.upsert", body=body_of(message)))
    until(lambda: rows("SELECT FROM messages"), lambda found: len(found) == 2)
    assert rows("SELECT phone_number FROM contacts") == [{"phone_number": OWNER}]


def test_the_contacts_of_the_organization_it_was_bound_to(curl):
    """A061, X38"""
    curl(CREATE)
    assert curl(CONTACTS) == (200, {"success": True, "items": [], "next_cursor": None})


# ---- what it takes to be created and connected --------------------------------------------------------------------


def test_there_is_one_instance_a_user(ask, sandbox):
    """X09"""
    assert ask("POST", body=named())[0] == 200
    status, body = ask("POST", body=named(instance_name="Outra"))
    assert (status, body["code"]) == (409, "INSTANCE_ALREADY_EXISTS")
    assert asked(sandbox, "POST /instance/create") == 1
    assert [one["instance_name"] for one in ask("GET")[1]["items"]] == ["Loja"]


def test_a_deleted_one_is_created_again_with_what_is_said_now(ask, curl):
    first = ask("POST", body=named(phone_number=OWNER))[1]["instance_id"]
    curl(DELETE, first)
    status, body = ask("POST", body=named(instance_name="Nova"))
    one = body["instance"]
    assert (status, one["id"], one["instance_name"], one["phone_number"]) == (200, first, "Nova", None)
    assert curl(CONNECT_BY_QR, first)[1]["qr"]


def test_a_creation_that_broke_off_can_be_repeated(ask, sandbox):
    fault = {"error_rate": 1.0, "status": 500}
    requests.post(f"{sandbox.url}/sandbox/faults", json=fault, timeout=10).raise_for_status()
    assert ask("POST", body=named())[0] in (502, 503)
    requests.post(f"{sandbox.url}/sandbox/faults", json={}, timeout=10).raise_for_status()
    assert ask("POST", body=named())[0] == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"instance_name": "x"}, "organization_id"),
        ({"organization_id": "org_1"}, "instance_name"),
        ({"organization_id": " ", "instance_name": "x"}, "organization_id"),
        ({"organization_id": 5, "instance_name": "x"}, "organization_id"),
        ({"organization_id": "o" * 129, "instance_name": "x"}, "organization_id"),
        ({"organization_id": "org\n1", "instance_name": "x"}, "organization_id"),
        ({"organization_id": "org_1", "instance_name": "x" * 81}, "instance_name"),
        ({"organization_id": "org_1", "instance_name": "a\\b"}, "instance_name"),
    ],
)
def test_what_is_missing_or_odd_is_named(ask, sandbox, body, field):
    """A051"""
    status, answer = ask("POST", body=body)
    assert (status, answer["code"], field in answer["message"]) == (400, "VALIDATION_ERROR", True)
    assert asked(sandbox, "/instance/") == 0


def test_a_number_without_its_country_makes_no_instance(ask, rows):
    """B015, X27"""
    status, body = ask("POST", body=named(phone_number="11999887766"))
    assert (status, body["code"]) == (400, "INVALID_PHONE_NUMBER")
    assert "5511999887766" in body["message"]
    assert rows("SELECT FROM whatsapp_instances") == []


@pytest.mark.parametrize(
    ("known", "asked_for", "outcome"),
    [
        (None, {"method": "code"}, "PHONE_NUMBER_REQUIRED"),
        (None, {"method": "code", "phone_number": ""}, "PHONE_NUMBER_REQUIRED"),
        (None, {}, "qr"),
        (None, {"phone_number": ANA}, "code"),
        (OWNER, {}, "code"),
        (OWNER, {"method": "code"}, "code"),
        (OWNER, {"method": "qr"}, "qr"),
        (OWNER, {"method": "sms"}, "VALIDATION_ERROR"),
        (OWNER, {"method": ["code"]}, "VALIDATION_ERROR"),
        (OWNER, {"phone_number": 5511999990001}, "INVALID_PHONE_NUMBER"),
    ],
)
def test_how_it_is_connected(ask, known, asked_for, outcome):
    """B006, B007, A059, X05"""
    instance_id = ask("POST", body=named(phone_number=known))[1]["instance_id"]
    _, body = ask("POST", f"/{instance_id}/connect", asked_for)
    assert body.get("method", body.get("code")) == outcome


@pytest.mark.parametrize(
    ("asked_for", "code"),
    [
        ({"message": "oi"}, "VALIDATION_ERROR"),
        ({"to": ANA}, "VALIDATION_ERROR"),
        ({"to": ANA, "message": " \n\0"}, "VALIDATION_ERROR"),
        ({"to": ANA, "message": 5}, "VALIDATION_ERROR"),
        ({"to": ANA, "message": "x" * 4097}, "MESSAGE_TOO_LONG"),
        ({"to": "123", "message": "oi"}, "INVALID_PHONE_NUMBER"),
    ],
)
def test_what_cannot_be_sent_is_400(ask, sandbox, engine, asked_for, code):
    """F031, L007"""
    instance_id = ask("POST", body=named())[1]["instance_id"]
    with engine.begin() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET state = 'connected', status = 'connected'"))
    status, body = ask("POST", f"/{instance_id}/send", asked_for)
    assert (status, body["code"]) == (400, code)
    assert asked(sandbox, "/message/") == 0


class TestWhereNumbersAreOfOneCountry:
    @pytest.fixture
    def variables(self):
        return {"DEFAULT_COUNTRY_CODE": "55"}

    def test_a_number_that_is_known_is_not_taken_for_one_of_it(self, ask, rows):
        """X27: with 55 in front these digits are a phone in Aracaju too."""
        instance_id = ask("POST", body=named(phone_number="+7 999 123-45-67"))[1]["instance_id"]
        assert ask("POST", f"/{instance_id}/connect", {})[1]["method"] == "code"
        assert rows("SELECT pairing_for FROM whatsapp_instances") == [{"pairing_for": fingerprint("79991234567").hex()}]


class TestForScriptsOfAnotherOrigin:
    @pytest.fixture
    def variables(self):
        return {"FRONTEND_URL": "https://app.example"}

    @pytest.mark.parametrize("method", ["PATCH", "DELETE"])
    def test_they_may_ask_for_all_of_it_and_read_when_to_ask_again(self, system, method):
        asked = {"Origin": "https://app.example", "Access-Control-Request-Headers": "authorization,content-type"}
        asked["Access-Control-Request-Method"] = method
        answer = build_app(system).test_client().options(f"/api/whatsapp/instances/{uuid4()}", headers=asked)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, asked["Origin"])
        assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
        assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"


def test_what_is_counted_apart_is_there(system):
    """Else connecting by id would be a way around the limit."""
    rules = {(verb, rule.rule) for rule in build_app(system).url_map.iter_rules() for verb in rule.methods or ()}
    assert SPECIAL.keys() <= rules


# ---- what it is called, and whose it is ---------------------------------------------------------------------------


def test_an_instance_goes_by_its_id_and_by_its_technical_name(ask, user):
    """A022"""
    instance_id = ask("POST", body=named())[1]["instance_id"]
    for called in (instance_id, instance_id.upper(), f"user_{user}"):
        assert ask("GET", f"/{called}/status")[1]["instance"]["id"] == instance_id


def test_a_name_of_other_times_is_one_too(ask, engine):
    """A021"""
    instance_id = ask("POST", body=named())[1]["instance_id"]
    with engine.begin() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET instance_name = 'Z_qdEw2Qs7vmTGwvUPIbM'"))
    assert ask("GET", "/Z_qdEw2Qs7vmTGwvUPIbM/status")[1]["instance"]["id"] == instance_id


CALLS = [("GET", "/status"), ("POST", "/connect"), ("POST", "/send"), ("PATCH", ""), ("DELETE", "")]


@pytest.mark.parametrize(("method", "end"), CALLS)
def test_what_belongs_to_others_is_as_if_it_were_not_there(ask, bearer, sandbox, rows, method, end):
    theirs = ask("POST", body=named())[1]["instance_id"]
    before, calls = rows("SELECT * FROM whatsapp_instances"), asked(sandbox)
    stranger = bearer(uuid4(), organization_id="org_1")  # one of the same organization is a stranger too
    answers = [ask(method, f"/{one}{end}", headers=stranger) for one in (theirs, uuid4(), "Z_qdEw2Qs7vmTGwvUPIbM")]
    assert answers[0] == answers[1] == answers[2]
    assert (answers[0][0], answers[0][1]["code"]) == (404, "INSTANCE_NOT_FOUND")
    assert ask("GET", headers=stranger)[1]["items"] == []
    assert (rows("SELECT * FROM whatsapp_instances"), asked(sandbox)) == (before, calls)


def test_administrators_see_all_by_name_and_what_they_do_is_written_down(ask, bearer, user, rows):
    other, admin = uuid4(), bearer(uuid4(), role="admin")
    ids = [
        ask("POST", body=named(organization_id=f"org_{one}"), headers=bearer(one, organization_id=f"org_{one}"))[1][
            "instance_id"
        ]
        for one in (user, other)
    ]
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = ask("GET", f"?limit=1&cursor={cursor}", headers=admin)[1]
        found, cursor = found + [one["id"] for one in page["items"]], page["next_cursor"]
    assert found == [instance_id for _, instance_id in sorted(zip([str(user), str(other)], ids, strict=True))]
    assert ask("GET", f"/{ids[0]}/status", headers=admin)[0] == 200
    assert ask("POST", f"/{ids[0]}/connect", {"method": "qr"})[0] == 200
    by_admin = "SELECT action, subject FROM audit WHERE action <> 'instance.create'"
    assert rows(by_admin) == []
    assert ask("POST", f"/{ids[0]}/connect", {"method": "qr"}, headers=admin)[0] == 200
    assert rows(by_admin) == [{"action": "instance.connect", "subject": f"user_{user}"}]


def test_who_has_no_organization_begins_none(ask, bearer):
    status, body = ask("POST", body=named(organization_id="org_2"), headers=bearer(uuid4()))
    assert (status, body["code"]) == (404, "ORGANIZATION_NOT_FOUND")


class TestWhereTheyAreOpen:
    @pytest.fixture
    def variables(self):
        return {"OPEN_ORGANIZATIONS": "true"}

    def test_nobody_binds_into_an_organization_of_others(self, ask, bearer, engine, rows):
        member, loner = bearer(uuid4(), organization_id="org_1"), bearer(uuid4())
        assert ask("POST", body=named(), headers=member)[0] == 200  # their own
        victim = uuid4()
        ask("GET", headers=bearer(victim))
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO contacts (scope, organization_id, phone_number) VALUES ('org_left', 'org_left', :ana)"
                ),
                {"ana": ANA},
            )
            connection.execute(text("INSERT INTO profiles (organization_id) VALUES ('org_people')"))
            connection.execute(
                text(
                    "WITH one AS (INSERT INTO profiles DEFAULT VALUES RETURNING id) INSERT INTO whatsapp_instances"
                    " (instance_name, user_id, organization_id) SELECT 'user_old', id, 'org_moved' FROM one"
                )
            )
        written = (
            str(victim),
            str(victim).upper(),
            victim.hex,
            f"{{{victim}}}",
            victim.urn,
        )  # what is the user's alone
        for theirs in ("org_1", "org_left", "org_people", "org_moved", *written):
            status, body = ask("POST", body=named(organization_id=theirs), headers=loner)
            assert (status, body["code"]) == (404, "ORGANIZATION_NOT_FOUND"), theirs
        other_one = ask("POST", body=named(organization_id="org_2"), headers=bearer(uuid4(), organization_id="org_3"))
        assert other_one[1]["code"] == "ORGANIZATION_NOT_FOUND"  # one is enough

    def test_who_has_none_begins_one_that_nobody_knows(self, ask, bearer, rows):
        assert ask("POST", body=named(organization_id="org_2"), headers=bearer(uuid4()))[0] == 200
        assert ask("POST", body=named(organization_id="org_2"), headers=bearer(uuid4()))[0] == 404
        assert len(rows("SELECT FROM profiles WHERE organization_id = 'org_2'")) == 1
