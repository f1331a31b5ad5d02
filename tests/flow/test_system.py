"""The seed's fourth route family, `/system/whatsapp/*`: its curl lines as they stand, its words, errors and page."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
import requests
from cryptography.fernet import Fernet
from sqlalchemy import text

from bootstrap.system import build
from bootstrap.web import build_app
from core.access import Principal, make_link
from sandbox.phone import Habits
from tests import curl
from tests.conftest import KEY
from tests.factories import token_for
from tests.waiting import until

ANA = "5511999990001"
CURL = {
    "start": """curl -X POST {base}/system/whatsapp/start/ -H "Content-Type: application/json" """
    """-H "X-CSRFToken: {csrf}" -b "session={session}" -d '{}'""",
    "status": """curl {base}/system/whatsapp/status/ -b "session={session}" """,
    "qrcode": """curl {base}/system/whatsapp/qrcode/ -b "session={session}" """,
    "logout": """curl -X POST {base}/system/whatsapp/logout/ -H "Content-Type: application/json" """
    """-H "X-CSRFToken: {csrf}" -b "session={session}" -d '{}'""",
    "close": """curl -X POST {base}/system/whatsapp/close/ -H "Content-Type: application/json" """
    """-H "X-CSRFToken: {csrf}" -b "session={session}" -d '{}'""",
    "send-test": """curl -X POST {base}/system/whatsapp/send-test/ -H "Content-Type: application/json" """
    """-H "X-CSRFToken: {csrf}" -b "session={session}" """
    """-d '{"phone": "5511999990001", "message": "Teste WhatsApp WPPConnect"}'""",
}
NOT_STARTED = {"connected": False, "status": "notLogged", "message": "Session not initialized"}
WAITING = {"connected": False, "status": "notLogged", "message": "Waiting for QRCode Scan"}


class Operator:
    """Somebody who is logged in, with a cookie and the page's CSRF token; speaks curl."""

    def __init__(self, system, base, role="user"):
        self.base, self._session = base, requests.Session()
        with system.transaction() as connection:
            self.user = uuid4()
            made = text("INSERT INTO profiles (id, role) VALUES (:id, :role)")
            connection.execute(made, {"id": self.user, "role": role})
            link = make_link(connection, self.user, valid_for=timedelta(hours=1))
        self._session.get(f"{base}/login/{link}", timeout=10).raise_for_status()
        self.name = f"user_{self.user}"
        [self.csrf] = set(re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.page()))

    def page(self, **headers):
        answer = self._session.get(f"{self.base}/system/whatsapp/", headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.text

    def curl(self, line):
        """Status and JSON."""
        return curl.send(line, base=self.base, csrf=self.csrf, session=self._session.cookies["session"])

    def post(self, path, body, **headers):
        with_token = {"X-CSRFToken": self.csrf, **headers}
        answer = self._session.post(f"{self.base}/system/whatsapp/{path}", json=body, headers=with_token, timeout=60)
        return answer.status_code, answer.json()

    def click(self, path, language="pt", **fields):
        """A browser's form: the field of the page, no header; where it leads."""
        form = {"csrfmiddlewaretoken": self.csrf, **fields}
        accept = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
        accept["Accept-Language"] = language
        return self._session.post(f"{self.base}/system/whatsapp/{path}/", data=form, headers=accept, timeout=60)


@pytest.fixture
def operator(system, web, working):
    return Operator(system, web)


@pytest.fixture
def admin(system, web, working):
    return Operator(system, web, role="admin")


def play(box, path, **body):
    requests.post(f"{box.url}/sandbox/{path}", json=body, timeout=10).raise_for_status()


def connected(operator, box):
    assert operator.curl(CURL["start"])[0] == 200
    until(lambda: operator.curl(CURL["qrcode"])[1]["qrcode"])
    play(box, "phones/scan", instance=operator.name)
    return until(lambda: operator.curl(CURL["status"])[1], lambda found: found["session"]["connected"])


def gateway(box, name):
    answer = requests.get(f"{box.url}/instance/connectionState/{name}", headers={"apikey": KEY}, timeout=10)
    return answer.json()["instance"]["state"] if answer.status_code == 200 else answer.status_code


def test_curl_start(operator, sandbox):
    """A065, B032, B033, B035, C025, X03, X04"""
    status, body = operator.curl(CURL["start"])
    assert (status, body["success"], body["pairingCode"], body["status"]) == (200, True, None, WAITING)
    assert body["qrcode"] == body["qrCode"]
    assert body["qrcode"].startswith("data:image/png;base64,")
    assert body["raw"].items() >= {"instanceName": operator.name, "status": "qr_pending", "qr": body["qr"]}.items()
    hook = requests.get(f"{sandbox.url}/webhook/find/{operator.name}", headers={"apikey": KEY}, timeout=10).json()
    assert hook["url"].endswith(f"/api/webhook/user/{operator.user}")


def test_curl_status(operator, sandbox):
    """A066, B039–B041, X18, X19"""
    assert operator.curl(CURL["status"]) == (200, {"success": True, "session": NOT_STARTED})
    operator.curl(CURL["start"])
    assert operator.curl(CURL["status"]) == (200, {"success": True, "session": WAITING})
    body = connected(operator, sandbox)
    phone = body["session"]["phone"]
    assert phone.isdigit()
    assert body == {
        "success": True,
        "session": {
            "connected": True,
            "status": "isLogged",
            "message": "Connected",
            "phone": phone,
            "device": {"manufacturer": None, "model": None, "os": None},
            "battery": None,
        },
    }
    assert operator.curl(CURL["start"])[1]["status"] == body["session"]


def test_curl_qrcode(operator, sandbox, engine, rows):
    """A067, B036, B037: it shows what is there, refreshes what is over, and starts nothing."""
    status, nothing = operator.curl(CURL["qrcode"])
    assert (status, nothing["success"], nothing["qrcode"], nothing["pairingCode"]) == (200, True, None, None)
    assert nothing["raw"]["status"] == "disconnected"
    assert nothing["message"]
    assert rows("SELECT 1 FROM whatsapp_instances") == []
    _, begun = operator.curl(CURL["start"])
    status, shown = operator.curl(CURL["qrcode"])
    assert (status, shown.keys()) == (200, nothing.keys())
    assert shown["qrcode"].startswith("data:image/png;base64,")
    assert begun.keys() - shown.keys() == {"status"}


@pytest.fixture
def restless(sandbox):
    """Its phones show the next code every half second."""
    before, sandbox.habits = sandbox.habits, Habits()
    yield sandbox
    sandbox.habits = before


def test_an_old_code_is_asked_for_anew(operator, restless, engine):
    """B037"""
    operator.curl(CURL["start"])
    before = calls(restless, "/instance/connect/")

    def look_at_an_old_one():
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE whatsapp_instances SET qr_expires_at = now() - interval '1 second'")
        assert operator.curl(CURL["qrcode"])[1]["qrcode"]
        return calls(restless, "/instance/connect/") - before

    assert until(look_at_an_old_one) == 1  # again, where the gateway itself has just brought a new one


def calls(box, path):
    return sum(item["kind"] == "request" and path in item["path"] for item in box.log.items())


def test_curl_logout(operator, sandbox, rows):
    """A068, B052, B053, X21, X22: the phone is unpaired, what is known here stays."""
    connected(operator, sandbox)
    status, body = operator.curl(CURL["logout"])
    assert (status, body["success"], body["response"]["message"]) == (200, True, "Successfully logged out")
    assert body["response"]["raw"] == {"instanceName": operator.name, "status": "disconnected"}
    assert gateway(sandbox, operator.name) == "close"
    assert operator.curl(CURL["status"])[1]["session"] == NOT_STARTED
    assert rows("SELECT instance_name FROM whatsapp_instances") == [{"instance_name": operator.name}]
    assert operator.curl(CURL["start"])[1]["qrcode"]


def test_curl_close(operator, sandbox, rows):
    """A069, B054, B055, X21, X22: the gateway has nothing of it any more, and connecting makes it anew."""
    connected(operator, sandbox)
    status, body = operator.curl(CURL["close"])
    assert (status, body["success"], body["response"]["message"]) == (200, True, "Session closed")
    assert gateway(sandbox, operator.name) == 404
    assert operator.curl(CURL["status"])[1]["session"] == NOT_STARTED
    assert operator.curl(CURL["start"])[1]["status"] == WAITING


def test_curl_send_test(operator, sandbox):
    """A070, H006–H008"""
    operator.curl(CURL["start"])
    status, body = operator.curl(CURL["send-test"])
    assert (status, body["code"]) == (409, "INSTANCE_NOT_CONNECTED")
    connected(operator, sandbox)
    status, body = operator.curl(CURL["send-test"])
    assert (status, body["success"], body["response"]["messageId"]) == (200, True, body["messageId"])
    assert body["messageId"]
    assert operator.post("send-test/", {"phone": "+55 (11) 99999-0001"})[0] == 200  # the message has a default
    assert operator.post("send-test/", {"phone": ANA, "message": " "})[1]["code"] == "VALIDATION_ERROR"


def test_a_number_that_is_none_is_told_so(operator, sandbox):
    """F027, H008, H009"""
    told = {"success": False, "message": "Número de telefone inválido", "status_code": 400}
    for phone in ("123", "", None, "abc", 5511999990001, "5" * 16, {"a": 1}):
        status, body = operator.post("send-test/", {"phone": phone, "message": "x"})
        assert (status, body | told, body["code"]) == (400, body, "INVALID_PHONE_NUMBER"), phone
    connected(operator, sandbox)
    status, body = operator.post("send-test/", {"phone": "1234567890@lid", "message": "x"})  # long enough, and no phone
    assert (status, body | told, body["code"]) == (400, body, "INVALID_PHONE_NUMBER")


def test_a_pairing_code_is_shown_with_a_hyphen(operator, sandbox, system):
    """X01, B017"""
    code = system.manager.connect_user_whatsapp(operator.user, by_code=True, phone=ANA).record.standing.pairing
    shown = operator.curl(CURL["qrcode"])[1]
    assert shown["pairingCode"] == shown["pairingCodeFormatted"] == f"{code.pairing_code[:4]}-{code.pairing_code[4:]}"
    assert shown["raw"]["pairingCode"] == code.pairing_code


class TestAGatewayThatRefuses:
    @pytest.fixture
    def variables(self):
        return {"RETRY_MAX_ATTEMPTS": "1", "BREAKER_FAILURE_THRESHOLD": "100", "RATE_LIMIT_CONNECTS": "0"}

    def test_its_status_is_kept(self, operator, sandbox):
        """F021, F022, F024, X15, B035"""
        for status in (400, 401, 403, 404, 429, 500, 502, 503):
            play(sandbox, "faults", error_rate=1, status=status)
            answer, body = operator.curl(CURL["start"])
            assert (answer, body["success"], body["status_code"]) == (status, False, status), body
            assert body["message"].startswith(f"Erro HTTP {status} na API WPPConnect: ")
            assert body["code"] == body["error"]["code"] != "UNAUTHENTICATED"

    def test_its_401_does_not_ask_the_caller_to_log_in(self, operator, sandbox, bearer):
        play(sandbox, "faults", error_rate=1, status=401)
        start = f"{operator.base}/system/whatsapp/start/"
        answer = requests.post(start, json={}, headers=bearer(operator.user), timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (401, "PROVIDER_AUTH")
        assert "WWW-Authenticate" not in answer.headers

    def test_no_answer_is_500(self, operator, admin):
        """F025"""
        admin.post("config/", {"url": "http://127.0.0.1:9", "key": KEY})
        status, body = operator.curl(CURL["start"])
        assert (status, body["status_code"], body["code"]) == (500, 500, "PROVIDER_UNAVAILABLE")


def test_without_the_trailing_slash_it_answers_the_same(operator):
    """A072"""
    for name in ("logout", "close"):
        status, body = operator.curl(CURL[name])
        assert (status, body["code"]) == (404, "INSTANCE_NOT_FOUND")  # there is nothing to part from
    for name in ("status", "qrcode", "start", "send-test", "logout", "close"):
        line = CURL[name].replace(f"{name}/", name)
        assert line != CURL[name]
        assert operator.curl(line)[0] in (200, 409), name


def test_a_cookie_alone_changes_nothing(operator, rows):
    """L010, I025"""
    for name in ("start", "logout", "close", "send-test"):
        for token in ("", '-H "X-CSRFToken: wrong" '):
            status, body = operator.curl(CURL[name].replace('-H "X-CSRFToken: {csrf}" ', token))
            assert (status, body["code"]) == (403, "CSRF")
    assert rows("SELECT 1 FROM whatsapp_instances") == []
    for line in CURL.values():
        status, body = operator.curl(line.replace('-b "session={session}"', ""))
        assert (status, body["code"]) == (401, "UNAUTHENTICATED")


def test_curl_without_a_content_type_starts_too_and_a_bearer_is_enough(operator, bearer):
    assert operator.curl(CURL["start"].replace('-H "Content-Type: application/json" ', ""))[0] == 200
    headers = bearer(operator.user)
    answer = requests.post(f"{operator.base}/system/whatsapp/start/", json={}, headers=headers, timeout=30)
    assert answer.json()["status"] == WAITING


def test_everybody_has_a_session_of_their_own(system, operator, sandbox):
    other = Operator(system, operator.base)
    connected(operator, sandbox)
    assert other.curl(CURL["status"])[1]["session"] == NOT_STARTED
    assert operator.name not in other.page()


class TestThePage:
    """A064, B056"""

    def test_who_is_not_logged_in_is_led_to_the_login(self, system):
        answer = build_app(system).test_client().get("/system/whatsapp/")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/login")

    def test_it_has_the_seeds_labels_and_no_script(self, operator):
        page = operator.page()
        assert "Desconectado" in page
        for label in ("Iniciar sessão", "Desconectar sessão", "Fechar sessão (remove dados locais)"):
            assert f">{label}</button>" in page
        assert "<script" not in page
        assert "Configurações do Serviço" not in page
        assert "Disconnect session" in operator.page(**{"Accept-Language": "en"})

    def test_a_click_starts_a_session_and_leads_back_to_its_code(self, operator, sandbox):
        """I025: the form's field is as good as the header."""
        answer = operator.click("start")
        assert [hop.status_code for hop in answer.history] == [303]
        assert answer.url == f"{operator.base}/system/whatsapp/"
        assert 'src="data:image/png;base64,' in answer.text
        assert answer.headers["Refresh"]
        play(sandbox, "phones/scan", instance=operator.name)
        page = until(operator.page, lambda page: "Conectado! ✅" in page)
        assert operator.curl(CURL["status"])[1]["session"]["phone"] in page
        assert "qrCodeSection" not in page
        assert "Feito." in operator.click("send-test", phone=ANA, message="oi").text
        assert "Desconectado" in operator.click("logout").text

    def test_what_went_wrong_is_shown_once_and_without_its_token_a_form_does_nothing(self, operator, rows):
        assert "Número de telefone inválido" in operator.click("send-test", phone="12", message="oi").text
        assert "Número de telefone inválido" not in operator.page()
        for token in ("", "wrong"):
            assert operator.click("start", csrfmiddlewaretoken=token).status_code == 403
        assert rows("SELECT 1 FROM whatsapp_instances") == []

    def test_what_went_wrong_is_said_in_the_readers_language(self, operator, sandbox):
        operator.click("start")
        assert "O WhatsApp não está conectado." in operator.click("send-test", phone=ANA, message="true").text
        assert "WhatsApp is not connected." in operator.click("send-test", "en", phone=ANA, message="true").text

    def test_a_form_from_elsewhere_logs_nobody_out(self, operator):
        """A browser sends no cookie along with it, and would take another one from the answer."""
        accept = {"Accept": "text/html"}
        start = f"{operator.base}/system/whatsapp/start/"
        answer = requests.post(start, headers=accept, allow_redirects=False, timeout=10)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
        assert "Set-Cookie" not in answer.headers

    def test_administrators_set_the_service_here(self, admin):
        page = admin.click("config", url="http://leguas_wppconnect:21465", instanceName="leguas", key="K3Y-OF-IT").text
        assert 'value="http://leguas_wppconnect:21465"' in page
        assert 'value="leguas"' in page
        assert "K3Y-OF-IT" not in page
        assert "O serviço WhatsApp está desativado." in admin.click("toggle", enabled="false").text
        assert 'value="leguas"' in admin.click("config", url="http://leguas_wppconnect:21465", key="").text


class TestTheConfiguration:
    """A071, K022, K023, L009"""

    def test_the_key_is_kept_and_never_told(self, admin, rows):
        given = {"provider": "evolution", "url": "http://127.0.0.1:9", "instanceName": "leguas", "key": "K3Y-OF-IT"}
        told = {"success": True, "enabled": True, **given, "hasKey": True}
        del told["key"]
        assert admin.post("config/", given) == (200, told)
        assert admin.curl('curl {base}/system/whatsapp/config/ -b "session={session}"') == (200, told)
        [row] = rows("SELECT actor, details FROM audit WHERE action = 'configuration.changed'")
        assert (row["actor"], "K3Y-OF-IT" in str(row["details"])) == (str(admin.user), False)

    def test_switched_off_it_says_so_until_it_is_on_again(self, admin, operator):
        assert admin.post("toggle/", {})[1]["enabled"] is False
        status, body = operator.curl(CURL["start"])
        assert (status, body["code"], body["message"]) == (
            400,
            "WHATSAPP_DISABLED",
            "O serviço WhatsApp está desativado",
        )
        assert operator.curl(CURL["status"])[0] == 200
        assert admin.post("toggle/", {})[1]["enabled"] is True
        assert admin.post("toggle/", {"enabled": True})[1]["enabled"] is True
        assert operator.curl(CURL["start"])[0] == 200

    def test_a_gateway_that_is_set_here_is_used_at_once(self, admin, operator, sandbox):
        admin.post("config/", {"url": sandbox.url, "key": "another"})
        assert operator.curl(CURL["start"])[1]["code"] == "PROVIDER_AUTH"
        admin.post("config/", {"key": KEY})
        assert operator.curl(CURL["start"])[1]["status"] == WAITING

    def test_what_makes_no_sense_is_400(self, admin):
        for body in ({}, {"token": "x"}, {"url": "leguas"}, {"provider": "x"}, {"enabled": "yes"}):
            status, told = admin.post("config/", body)
            assert (status, told["code"]) == (400, "VALIDATION_ERROR"), body

    def test_it_is_for_administrators(self, operator):
        line = 'curl {base}/system/whatsapp/config/ -b "session={session}"'
        found = [operator.post("config/", {"enabled": False}), operator.post("toggle/", {}), operator.curl(line)]
        assert [(status, body["code"]) for status, body in found] == [(403, "FORBIDDEN")] * 3


def as_somebody(system):
    return {"Authorization": f"Bearer {token_for(system, Principal(user_id=uuid4()))}"}


def test_without_a_gateway_it_says_what_is_missing(settings_of, database_url, engine):
    """B034, F028"""
    made = {name: Fernet.generate_key().decode() for name in ("SECRET_KEY", "AUTH_JWT_SECRET", "APP_ENCRYPTION_KEY")}
    bare = build(settings_of(APP_ENV="production", WEBHOOK_URL="https://z.example", **made), database_url)
    try:
        client = build_app(bare).test_client()
        for path in ("start", "logout", "close"):
            answer = client.post(f"/system/whatsapp/{path}/", json={}, headers=as_somebody(bare))
            body = answer.get_json()
            assert (answer.status_code, body["message"]) == (400, "URL do WPPConnect não configurada")
            assert (body["success"], body["code"]) == (False, "WHATSAPP_NOT_CONFIGURED")
    finally:
        bare.stop()


def test_whatever_else_goes_wrong_is_500(settings_of, free_port):
    """F025"""
    variables = {"EVOLUTION_API_URL": "http://127.0.0.1:9", "EVOLUTION_API_KEY": KEY}
    down = build(settings_of(**variables), f"postgresql://nobody@127.0.0.1:{free_port}/none")
    try:
        answer = build_app(down).test_client().post("/system/whatsapp/start/", json={}, headers=as_somebody(down))
        body = answer.get_json()
        assert (answer.status_code, body["code"]) == (500, "WHATSAPP_STORAGE_UNAVAILABLE")
        assert body["success"] is False
    finally:
        down.stop()


class TestWithLimits:
    @pytest.fixture
    def variables(self):
        return {"RATE_LIMIT_CONNECTS": "1", "RATE_LIMIT_SENDS": "1"}

    def test_starting_and_sending_are_counted_as_such_and_by_user(self, operator, system):
        for line in (CURL["start"], CURL["send-test"]):
            assert [operator.curl(line)[0] == 429 for _ in range(2)] == [False, True]
        assert Operator(system, operator.base).curl(CURL["start"])[0] == 200
