"""Every bad input of the webhook entrance, against the real gunicorn process: the answer, and what is kept of it.

The cases are data (payloads/bad-webhooks.json); where one of them and the design disagree, the design wins.
"""

import base64
import contextlib
import http.client
import json
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from sqlalchemy import Engine, text

from bootstrap.system import System, build
from core.crypto import fingerprint
from core.settings import Settings
from sandbox.server import Sandbox
from tests.conftest import KEY
from tests.factories import body_of, connection_update, hook_keys, make_instance
from tests.waiting import until
from tests.web_process import Detour, WebProcess
from webhooks.inbox import Delivery

Case = dict[str, Any]
CASES: list[Case] = json.loads((Path(__file__).parent.parent / "payloads" / "bad-webhooks.json").read_text())
NAMED: dict[str, Case] = {case["name"]: case for case in CASES}
NAME = "user_42"
SHARED = "shared-secret-of-the-answers-0123456789abcdef"
OLD_KEY = "key-before-the-rotation-0123456789abcdef01234"
GUARD_S = 30  # the promise is 5 s, measured by the benchmark; without it the wait has no end
CANARIES = ("CANARY1", "CANARY2", "CANARY3", "/api/webhook/t/")
TABLES = ("feed", "feed_heads", "messages", "conversations", "contact_aliases", "contacts",
          "set_aside", "inbox", "lanes", "webhook_events")  # fmt: skip

# A bearer names no instance: only the body says whose key to check it with. In these cases the body does not say
# it, or says a name that has no key, so they come with a bearer that is signed with a shared WEBHOOK_SECRET.
BY_SHARED_SECRET = {
    "single quotes", "comment in JSON", "top level null", "empty object", "UTF-16 bytes declared as JSON",
    "error webhook {event:error, api_key:GLOBAL}", "instance missing", "instance null", "instance unknown",
    "instance name traversal", "instance name 300 chars", "instance case differs (User_42)",
    "instance homoglyph (Cyrillic u)", "instance with trailing space", "deleted instance (late retries)",
    "base64 media 20 MB", "body one byte over limit, Content-Length",
}  # fmt: skip

# What the design, or the server in front of us, answers instead.
INSTEAD: dict[str, tuple[dict[str, Any], str]] = {
    "Transfer-Encoding and Content-Length together": ({"code": None}, "gunicorn refuses it before the product sees it"),
    "negative Content-Length": ({"code": None}, "gunicorn refuses it before the product sees it"),
    "Bearer 1 MB long": ({"status_in": [400, 431], "code": None}, "gunicorn's limit for header fields"),
    "JWT of instance A, body of instance B": (
        {"status": 401, "store": "none", "code": "UNAUTHENTICATED"},
        "design 3.3: a bearer is proven with the key of the instance that the body names, so this one is forged; "
        "with a token, which names its instance, it is quarantined (a test of its own below)",
    ),
    "200 wrong tokens / 10 s from one IP": ({"status": 401, "store": "none"}, "no rate limit yet"),
    "deleted instance (late retries)": ({"reason": "unknown_instance"}, "no memory of deleted instances yet"),
    "body one byte over limit, Content-Length": ({"must": []}, "gunicorn drops an application's `Connection: close`"),
}

# The entrance keeps it and answers "stored"; the worker finds that it means nothing.
MEANINGLESS = {
    "data missing / null": "no_data",
    "data is a string": "bad_data",
    "webhookByEvents unknown suffix": "unknown_event",
}

# Parts of cases that nothing does yet; everything else in these cases is checked.
NOT_YET: dict[str, str] = {
    "duplicate nested key (last wins, flagged)": "the issue duplicate_key",
    "100 000 keys in data": "TOO_MANY_KEYS: it is stored, and read by the worker",
    "wrong static token": "same timing class: not measured here",
    "JWT iat 1 h in the future": "a clock_skew warning that names the gateway",
    "JWT of instance A, body of instance B": "security audit rows",
    "200 wrong tokens / 10 s from one IP": "429 with Retry-After",
    "suffix disagrees with body event (body wins, flagged)": "the issue suffix_mismatch",
    "X-Forwarded-For forged (untrusted peer)": "audit rows with the peer's IP",
    "deleted instance (late retries)": "the reason deleted_instance",
    "connection.update state unknown word": "check_soon",
    "remove.instance / instance.delete data null": "a check that confirms it before the state is gone",
    "base64 media 20 MB": "media",
    "media url to metadata service": "media is not fetched by anything yet",
    **{
        name: "reconnects (monitor)"
        for name in NAMED
        if name.startswith(("connection.update close", "connection.update refused"))
    },
}
UNFLAGGED = {"duplicate_key", "suffix_mismatch"}

# With tests of their own below.
APART = {
    "body shorter than Content-Length, then silence",
    "slow body 1 byte / 2 s (x200 connections)",
    "client disconnects mid body",
    "client disconnects after body, before response",
    "DB down",
    "DB frozen (SIGSTOP)",
}


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


# ---- the product -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def variables(place: Path, gateway: Sandbox) -> dict[str, str]:
    return {
        "ZELADOR_DATA_DIR": str(place / "settings"),
        "EVOLUTION_API_URL": gateway.url,
        "EVOLUTION_API_KEY": KEY,
        "WEBHOOK_SECRET": SHARED,
    }


@pytest.fixture(scope="module")
def detour(database_url: str) -> Iterator[Detour]:
    with Detour(database_url) as way:
        yield way


@pytest.fixture(scope="module")
def processes(variables: dict[str, str], database_url: str, detour: Detour) -> Iterator[tuple[WebProcess, WebProcess]]:
    """The web role on the database, and another one on the detour to it; both start at the same time."""
    with contextlib.ExitStack() as stack:
        started = [WebProcess(DATABASE_URL=url, **variables) for url in (database_url, detour.url)]
        for process in started:
            stack.push(process.__exit__)
            process.start()
        straight, roundabout = (process.ready() for process in started)
        yield straight, roundabout
        assert "Traceback" not in straight.log()


@pytest.fixture(scope="module")
def parts(variables: dict[str, str], database_url: str, session_engine: Engine) -> Iterator[System]:
    """The worker, in this process; it shares the secrets of the web process."""
    built = build(Settings.from_env(variables), database_url)
    yield built
    built.stop()
    with session_engine.begin() as connection:
        for table in (*TABLES, "webhook_keys", "whatsapp_instances", "profiles"):
            connection.execute(text(f"DELETE FROM {table}"))


@dataclass
class Home:
    """The instance user_42 and what a gateway knows of it."""

    token: str
    jwt_key: str


@pytest.fixture(scope="module")
def home(parts: System) -> Home:
    with parts.transaction() as connection:
        make_instance(connection, NAME)
    keys = hook_keys(parts, NAME)
    old = {"token": "whk_old", "jwt_key": OLD_KEY}
    with parts.transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO webhook_keys (instance_id, token_hash, sealed, created_at) "
                "SELECT id, :hash, :sealed, now() - interval '1 hour' FROM whatsapp_instances"
            ),
            {"hash": fingerprint(old["token"]), "sealed": parts.vault.seal(old)},
        )
    return Home(token=keys.token, jwt_key=keys.jwt_key)


@pytest.fixture(scope="module")
def web(processes: tuple[WebProcess, WebProcess], home: Home) -> WebProcess:
    return processes[0]


@pytest.fixture
def look(session_engine: Engine):
    def fetch(query: str) -> list[dict[str, Any]]:
        with session_engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]

    return fetch


@pytest.fixture
def clean(parts: System, session_engine: Engine, home: Home) -> Iterator[None]:
    """An instance as new, its keys kept; nothing else."""
    with session_engine.connect() as connection:
        instance = dict(connection.execute(text("SELECT * FROM whatsapp_instances")).mappings().one())
    yield
    with session_engine.begin() as connection:
        for table in TABLES:
            connection.execute(text(f"DELETE FROM {table}"))
        columns = [name for name in instance if name != "id"]
        assignments = ", ".join(f"{name} = :{name}" for name in columns)
        connection.execute(text(f"UPDATE whatsapp_instances SET {assignments} WHERE id = :id"), instance)


def settle(parts: System) -> None:
    """Work until nothing is left."""

    def left() -> int:
        parts.worker.work()
        with parts.transaction() as connection:
            count: int = connection.execute(text("SELECT count(*) FROM inbox")).scalar_one()
        return count

    until(left, lambda count: count == 0)


# ---- requests --------------------------------------------------------------------------------------------------


def bearer(key: str, iat: float = 0.0, algorithm: str = "HS256", **claims: object) -> str:
    made = int(time.time() + iat)
    payload = {"iat": made, "exp": made + 600, "app": "evolution", "action": "webhook", **claims}
    return jwt.encode(payload, key.ljust(64, "=") if algorithm == "HS512" else key, algorithm=algorithm)


def filled(value: str, case: Case, home: Home) -> str:
    """`{{HOOK_JWT}}` and the like, filled in."""
    key = SHARED if case["name"] in BY_SHARED_SECRET else home.jwt_key
    words = {
        "{{HOOK_JWT}}": lambda: bearer(key),
        "{{JWT_HS512}}": lambda: bearer(home.jwt_key, algorithm="HS512"),
        "{{JWT_EXPIRED_9MIN}}": lambda: bearer(home.jwt_key, iat=-19 * 60.0),
        "{{JWT_EXPIRED_25H}}": lambda: bearer(home.jwt_key, iat=-25 * 3600.0 - 600),
        "{{JWT_IAT_PLUS_1H}}": lambda: bearer(home.jwt_key, iat=3600.0),
        "{{JWT_WRONG_APP}}": lambda: bearer(home.jwt_key, app="other"),
        "{{JWT_OLD_KEY}}": lambda: bearer(OLD_KEY),
        "{{TOKEN}}": lambda: home.token,
        "{{GEN:x*1048576}}": lambda: "x" * 1048576,
    }
    for word, make in words.items():
        if word in value:
            value = value.replace(word, make())
    return value


def bodies_of(case: Case) -> list[bytes]:
    """The bodies of a case; several where it has variants."""
    request = case["request"]
    if "body" in request:
        return [json.dumps(body).replace("{{INSTANCE_APIKEY}}", "CANARY1").encode() for body in variants(case)]
    if "body_raw" in request:
        return [request["body_raw"].encode()]
    if "body_b64" in request:
        return [base64.b64decode(request["body_b64"])]
    if "body_gen" in request:
        return [generated(**request["body_gen"]).encode()]
    return [b""]


def variants(case: Case) -> list[Any]:
    body, others = case["request"]["body"], case["request"].get("variants", [])
    if case["name"].startswith("event null"):
        return [body, *({**body, "event": other} for other in others)]
    return [body, *({**body, "data": {**body["data"], "key": {**body["data"]["key"], "remoteJid": o}}} for o in others)]


def generated(**how: Any) -> str:
    if "depth" in how:
        inner: str = how["open"] * how["depth"] + "1" + "}" * how["depth"]
        return how["wrap"].replace("%s", inner)  # type: ignore[no-any-return]  # the case's own text
    if "keys" in how:
        inner = json.dumps({f"k{number}": number for number in range(how["keys"])})
        return how["wrap"].replace("%s", inner)  # type: ignore[no-any-return]  # the case's own text
    return f"{how['prefix']}{how['unit'] * how['times']}{how['suffix']}"


def post(web: WebProcess, case: Case, home: Home, body: bytes) -> Answer:
    request = case["request"]
    if "raw_http" in request:
        return raw(web, request["raw_http"].replace("\\r\\n", "\r\n").encode())
    chunked = request.get("transfer") == "chunked"
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    try:
        given = request["headers"]
        line.putrequest(request["method"], filled(request["path"], case, home), skip_host="Host" in given)
        for name, value in given.items():
            line.putheader(name, filled(value, case, home))
        if request["method"] == "POST":
            line.putheader(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # answered before all was sent
            line.endheaders(body if request["method"] == "POST" else None, encode_chunked=chunked)
        found = line.getresponse()
        return Answer(found.status, {name.title(): value for name, value in found.getheaders()}, found.read())
    finally:
        line.close()


def raw(web: WebProcess, sent: bytes) -> Answer:
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as line:
        line.sendall(sent)
        return answer_on(line)


def answer_on(line: socket.socket) -> Answer:
    found = http.client.HTTPResponse(line)
    try:
        found.begin()
        return Answer(found.status, dict(found.getheaders()), found.read())
    finally:
        found.close()


# ---- the table -------------------------------------------------------------------------------------------------


def test_the_lists_speak_of_cases_that_exist():
    assert {*BY_SHARED_SECRET, *INSTEAD, *MEANINGLESS, *NOT_YET, *APART} <= set(NAMED)


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("name", [name for name in NAMED if name not in APART])
def test_the_answer_and_what_is_kept(name, web, home, parts, look):
    case = NAMED[name]
    expect = case["expect"] | INSTEAD.get(name, ({}, ""))[0]
    if "status" in INSTEAD.get(name, ({}, ""))[0]:
        expect.pop("status_in", None)
    given(case, parts)
    bodies = bodies_of(case)
    for body in bodies:
        for _ in range(case["request"].get("repeat", 1)):
            answer = post(web, case, home, body)
            check_answer(answer, expect)
    settle(parts)
    check_kept(expect, answer, look, len(bodies), MEANINGLESS.get(name))
    check_meaning(case, look)


def given(case: Case, parts: System) -> None:
    if case["request"].get("given") == "instance healthy since later date_time":
        opened = connection_update(NAME, "open", "2026-03-10T00:00:00.000Z")
        parts.inbox.record(Delivery(instance=NAME, event="connection.update", body=body_of(opened)))
        settle(parts)
        with parts.transaction() as connection:
            connection.execute(text("DELETE FROM webhook_events"))


def check_answer(answer: Answer, expect: dict[str, Any]) -> None:
    if "status_in" in expect:
        assert answer.status in expect["status_in"], answer
    else:
        assert answer.status == expect["status"], answer
    assert answer.status not in (404, 422)
    assert not 300 <= answer.status < 400
    assert "Access-Control-Allow-Origin" not in answer.headers
    if expect.get("code") and answer.status >= 400:
        said = answer.json()
        assert said["success"] is False
        assert said["code"] == said["error"]["code"] == expect["code"]
        assert said["status_code"] == answer.status
    wanted = expect.get("must", [])
    if "Allow: POST" in wanted:
        assert answer.headers["Allow"] == "POST"
    if "Connection: close" in wanted:
        assert answer.headers["Connection"] == "close"


def check_kept(expect: dict[str, Any], answer: Answer, look: Any, count: int, meaningless: str | None) -> None:
    log = look("SELECT id, instance, event, body, issues FROM webhook_events")
    aside = look("SELECT event_id, state, reason FROM set_aside")
    store = expect.get("store") or ("event" if answer.status == 200 and not aside else None)
    assert not any(canary.encode() in bytes(row["body"]) for row in log for canary in CANARIES)
    if store == "none":
        assert log == []
    if store == "event":
        assert len(log) == count
        assert [row["reason"] for row in aside] == [meaningless] * count * bool(meaningless)
        flags = {*(flag for row in log for flag in row["issues"] or ()), meaningless}
        assert set(expect.get("issues", ())) - UNFLAGGED <= flags
        assert answer.json()["success"] is True
    if store == "quarantine":
        reason = expect.get("reason") or expect["code"].lower()
        assert {(row["state"], row["reason"]) for row in aside} == {("quarantined", reason)}
        assert {row["event_id"] for row in aside} == {row["id"] for row in log}
        assert len(log) == count
        assert look("SELECT FROM messages") == []
    if kind := expect.get("kind"):
        assert [row["event"] for row in log] == [kind]


def check_meaning(case: Case, look: Any) -> None:
    """What the case says about rows beyond the log."""
    name, must = case["name"], case["expect"].get("must", [])
    messages = look("SELECT content, sent_at, whatsapp_message_id FROM messages")
    feed = json.dumps(look("SELECT type, data FROM feed ORDER BY id"))
    if "same text back through API, except NUL -> U+FFFD" in must:
        said = case["request"]["body"]["data"]["message"]["conversation"]
        assert [row["content"] for row in messages] == [said.replace("\0", "\ufffd")]
    if "parsed to 2026-03-09 UTC" in must:
        assert [row["sent_at"].isoformat()[:16] for row in messages] == ["2026-03-09T03:35"]
    if name.startswith("messageTimestamp"):
        assert [2025 < row["sent_at"].year < 2100 for row in messages] == [True]
    if "stored and shown as inert text" in must:
        assert [row["name"] for row in look("SELECT name FROM contacts")] == [
            case["request"]["body"]["data"]["pushName"]
        ]
    if name.startswith("qrcode base64"):
        assert look("SELECT qr_code FROM whatsapp_instances") == [{"qr_code": "2@abc"}]
        assert '"qr": "2@abc"' in feed  # the picture is drawn from it, when it is shown
        assert not any(evil in feed for evil in ("javascript", "svg", "evil"))
    if name in ("qrcode.updated after open (stale)", "qrcode.updated limit reached (no qrcode key)"):
        assert look("SELECT qr_code FROM whatsapp_instances") == [{"qr_code": None}]
        assert "2@old" not in feed
    if name == "connection.update state unknown word":
        assert feed == "[]"


# ---- credentials and paths that the table does not have --------------------------------------------------------


def message(text_: str, instance: str = NAME) -> bytes:
    data = {
        "key": {"id": text_, "remoteJid": "5511999990001@s.whatsapp.net"},
        "message": {"conversation": text_},
    }
    return json.dumps({"event": "messages.upsert", "instance": instance, "data": data}).encode()


def send(web: WebProcess, path: str, body: bytes, **headers: str) -> Answer:
    case = {
        "name": "",
        "request": {"method": "POST", "path": path, "headers": {"Content-Type": "application/json", **headers}},
    }
    return post(web, case, Home(token="", jwt_key=""), body)


@pytest.mark.usefixtures("clean")
def test_every_credential_on_every_path(web, home, parts, look):
    credentials = [
        {"X-Webhook-Token": home.token},
        {"X-Webhook-Token": SHARED},
        {"Authorization": f"Bearer {bearer(home.jwt_key)}"},
        {"Authorization": f"Bearer {bearer(SHARED)}"},
    ]
    ways = [(f"/api/webhook/{end}", headers) for end in ("whatsapp", "evolution", "user/42") for headers in credentials]
    ways += [(f"/api/webhook/t/{token}", {}) for token in (home.token, SHARED)]
    for number, (path, headers) in enumerate(ways):
        for end in ("", "/", "/messages-upsert", "//MESSAGES_UPSERT//", "/born-tomorrow"):
            answer = send(web, path + end, message(f"m{number}{end}"), **headers)
            assert (answer.status, answer.json()["status"]) == (200, "stored"), (path, end, headers)
            assert send(web, path + end, message(f"m{number}{end}"), **headers).json() == {
                "success": True,
                "status": "duplicate",
                "id": answer.json()["id"],
            }
    settle(parts)
    assert len(look("SELECT FROM messages")) == len(ways) * 5
    assert look("SELECT FROM set_aside") == []


@pytest.mark.usefixtures("clean")
def test_a_token_of_one_instance_with_a_body_of_another_is_kept_and_changes_nothing(web, home, parts, look):
    answer = send(web, "/api/webhook/evolution", message("x", "user_other"), **{"X-Webhook-Token": home.token})
    assert (answer.status, answer.json()["status"]) == (200, "quarantined")
    settle(parts)
    assert look("SELECT reason FROM set_aside") == [{"reason": "instance_mismatch"}]
    assert look("SELECT FROM messages") == []


@pytest.mark.usefixtures("clean")
def test_nothing_is_learned_by_asking_without_a_credential(web, look):
    paths = [
        "/api/webhook/user/42",
        "/api/webhook/user/43",
        "/api/webhook/t/x",
        "/api/webhook/evolution/messages-upsert",
    ]
    answers = [send(web, path, message("x")) for path in paths]
    assert [answer.status for answer in answers] == [401] * len(paths)
    assert len({answer.body for answer in answers}) == 1
    assert look("SELECT FROM webhook_events") == []


# ---- bodies that do not come -----------------------------------------------------------------------------------


def head(home: Home, length: int | None) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [
        "POST /api/webhook/evolution HTTP/1.1", "Host: x", "Content-Type: application/json",
        f"X-Webhook-Token: {home.token}", size, "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


@pytest.fixture(scope="module")
def slow(web: WebProcess, home: Home) -> Iterator[dict[str, Future[Any]]]:
    """The cases that wait for a deadline, all at once, from the moment when the first test wants to know."""
    silent = {
        "declared": head(home, 100) + b'{"event"',
        "chunked": head(home, None) + b'50\r\n{"event"',
        "between chunks": head(home, None) + b'8\r\n{"event"\r\n',
    }
    with ThreadPoolExecutor(len(silent) + 1) as pool:
        begun: dict[str, Future[Any]] = {name: pool.submit(raw, web, sent) for name, sent in silent.items()}
        yield begun | {"dripping": pool.submit(drip, web, home)}


@pytest.fixture(scope="module", autouse=True)
def _begun_early(request: pytest.FixtureRequest) -> None:
    """They wait while the other tests run."""
    if any("slow" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("slow")


def drip(web: WebProcess, home: Home, connections: int = 200) -> list[int]:
    """One byte every 2 s on each; the statuses."""
    lines = [socket.create_connection(("127.0.0.1", web.port), timeout=30) for _ in range(connections)]
    try:
        for line in lines:
            line.sendall(head(home, 5_000))
        waiting, statuses = set(lines), []
        give_up_at, next_byte_at = time.monotonic() + 60, time.monotonic()
        while waiting and time.monotonic() < give_up_at:
            for line in select.select(list(waiting), [], [], max(0.0, next_byte_at - time.monotonic()))[0]:
                waiting.discard(line)
                statuses.append(answer_on(line).status)
            if time.monotonic() >= next_byte_at:
                next_byte_at += 2
                for line in waiting:
                    with contextlib.suppress(OSError):
                        line.sendall(b" ")
        return statuses
    finally:
        for line in lines:
            line.close()


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("how", ["declared", "chunked", "between chunks"])
def test_a_body_that_falls_silent_is_a_408_in_time(slow, look, how):
    answer = slow[how].result(timeout=60)
    assert (answer.status, answer.json()["code"]) == (408, "BODY_TOO_SLOW")
    assert look("SELECT FROM webhook_events WHERE position('\"event\"'::bytea in body) = 1") == []


@pytest.mark.usefixtures("clean")
def test_200_bodies_that_drip_are_408s_and_hold_up_nobody(slow, web, home):
    for number in range(20):
        began = time.monotonic()
        token = {"X-Webhook-Token": home.token}
        assert send(web, "/api/webhook/evolution", message(f"meanwhile {number}"), **token).status == 200
        assert time.monotonic() - began < GUARD_S
    assert slow["dripping"].result(timeout=90) == [408] * 200


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("chunks", [b"x\r\n{}\r\n", b"-2\r\n{}", b"2\r\n{}xx0\r\n\r\n"])
def test_chunks_that_are_none_leave_nothing(web, home, look, chunks):
    answer = raw(web, head(home, None) + chunks)
    assert answer.status in (400, 408, 413)
    assert look("SELECT FROM webhook_events") == []


@pytest.mark.usefixtures("clean")
def test_a_sender_that_hangs_up_in_the_middle_leaves_nothing(web, home, look):
    for sent in (b"", b'{"event":"call","instance":"user_42"', b"x" * 4_999):
        with socket.create_connection(("127.0.0.1", web.port), timeout=30) as line:
            line.sendall(head(home, 5_000) + sent)
    assert send(web, "/api/webhook/evolution", message("x"), **{"X-Webhook-Token": home.token}).status == 200
    assert len(look("SELECT FROM webhook_events")) == 1


@pytest.mark.usefixtures("clean")
def test_a_sender_that_hangs_up_before_the_answer_and_comes_again_is_kept_once(web, home, look):
    body = message("twice")
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as line:
        line.sendall(head(home, len(body)) + body)
    until(lambda: look("SELECT FROM webhook_events"))
    again = send(web, "/api/webhook/evolution", body, **{"X-Webhook-Token": home.token})
    assert again.json()["status"] == "duplicate"
    assert len(look("SELECT FROM webhook_events")) == 1


# ---- a database that does not answer ---------------------------------------------------------------------------


def not_now(web: WebProcess, body: bytes, **headers: str) -> float:
    began = time.monotonic()
    answer = send(web, "/api/webhook/evolution", body, **headers)
    assert (answer.status, answer.headers["Retry-After"], answer.json()["code"]) == (503, "5", "NOT_NOW"), answer
    return time.monotonic() - began


@pytest.mark.usefixtures("clean")
def test_a_database_that_freezes_or_is_gone_is_a_503_and_nothing_is_lost(processes, detour, home, parts, look):
    _, web = processes
    ways = [
        {"X-Webhook-Token": home.token},
        {"X-Webhook-Token": SHARED},
        {"Authorization": f"Bearer {bearer(home.jwt_key)}"},
    ]
    for number, headers in enumerate(ways):
        assert send(web, "/api/webhook/evolution", message(f"before {number}"), **headers).status == 200
    detour.freeze()
    with ThreadPoolExecutor(8) as pool:
        waits = [
            pool.submit(not_now, web, message(f"frozen {round_} {number}"), **headers)
            for round_ in range(2)
            for number, headers in enumerate([*ways, {"X-Webhook-Token": "never seen"}])
        ]
        assert max(wait.result(timeout=60) for wait in waits) < GUARD_S
    detour.thaw()
    again = [
        send(web, "/api/webhook/evolution", message(f"frozen {round_} {number}"), **headers).json()["status"]
        for round_ in range(2)
        for number, headers in enumerate(ways)
    ]
    assert set(again) <= {"stored", "duplicate"}
    detour.cut()
    for headers in ways:
        assert not_now(web, message("gone"), **headers) < GUARD_S
    settle(parts)
    assert len(look("SELECT FROM messages")) == 9
