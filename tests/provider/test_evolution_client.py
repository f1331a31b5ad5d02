"""The Evolution client against a server that answers whatever a test wants: what each answer of each call becomes."""

import gzip
import json
import zlib

import pytest

from core.errors import (
    BadResponse,
    InstanceUnknown,
    InvalidRecipient,
    LicenceRequired,
    NameInUse,
    NotConnected,
    NotOffered,
    ProviderError,
    ProviderRefused,
    RateLimited,
    Unavailable,
)
from manager.providers.evolution.client import EvolutionClient
from manager.providers.evolution.wire import EVENTS
from manager.providers.http import Limits
from manager.providers.port import Hook, Pairing, State
from tests.conftest import KEY
from tests.provider.rude import Rude

HOOK = Hook(url="http://127.0.0.1:9/hook", token="whk_token", jwt_key="jwt-key")
NAME = "user_x"
UNKNOWN = b'{"status":404,"error":"Not Found","response":{"message":["The \\"user_x\\" instance does not exist"]}}'
NO_ROUTE = b'{"status":404,"error":"Not Found","response":{"message":["Cannot POST /verify-creds"]}}'
CLOSED = b'{"status":400,"error":"Bad Request","response":{"message":["[object Object]"]}}'
LICENCE = b'{"error":"service not activated","code":"LICENSE_REQUIRED","message":"activate"}'
PROXYS = b"<html><h1>404 Not Found</h1><hr>nginx</html>"
CALLS = {
    "ping": lambda it: it.ping(),
    "version": lambda it: it.version(),
    "instances": lambda it: it.instances(),
    "state": lambda it: it.state(NAME),
    "create": lambda it: it.create(NAME, HOOK),
    "connect": lambda it: it.connect(NAME),
    "restart": lambda it: it.restart(NAME),
    "logout": lambda it: it.logout(NAME),
    "delete": lambda it: it.delete(NAME),
    "hook": lambda it: it.hook(NAME),
    "set_hook": lambda it: it.set_hook(NAME, HOOK),
    "send_text": lambda it: it.send_text(NAME, "5511999990001", "x"),
}
EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def answering(status, body, **headers):
    return lambda handler: handler.answer(status, body, **headers)


def by_path(**answers):
    """Answer (status, body) by the part that the path has."""

    def play(handler):
        status, body = next(answer for part, answer in answers.items() if part in handler.path)
        handler.answer(status, body)

    return play


def paths(rude):
    return [f"{method} {path}" for method, path, _ in rude.seen]


def raised(rudely, call):
    with pytest.raises(ProviderError) as caught:
        call(rudely)
    return caught.value


ANSWERS = [
    (200, b"", BadResponse),
    (204, b"", BadResponse),
    (200, b"not json", BadResponse),
    (200, b'{"instance":', BadResponse),
    (200, b"\xff\xfe\x00", BadResponse),
    (200, b"9" * 100_000, BadResponse),
    (200, b"<html>login</html>", BadResponse),
    (200, b'"text"', BadResponse),
    (299, b"{}", BadResponse),
    (202, b"{}", BadResponse),
    (302, b"", BadResponse),
    (405, b"<html>", BadResponse),
    (418, b"", BadResponse),
    (418, b"{}", BadResponse),
    (500, b"<html>", BadResponse),
    (501, b"", BadResponse),
    (600, b"{}", BadResponse),
    (502, b"<html>502 Bad Gateway</html>", Unavailable),
    (503, b"", Unavailable),
    (504, b'{"response":{"message":"slow"}}', Unavailable),
    (503, LICENCE, LicenceRequired),
    (401, b'{"status":401,"error":"Unauthorized","response":{"message":"Unauthorized"}}', ProviderRefused),
    (401, b"<html>", ProviderRefused),
    (403, b"", ProviderRefused),
    (429, b"{}", RateLimited),
    (429, b"<html>slow down</html>", RateLimited),
]


@EVERY_CALL
@pytest.mark.parametrize(("status", "body", "error"), ANSWERS)
def test_each_failure_has_its_own_error(rude, rudely, call, status, body, error):
    rude.plays(answering(status, body))
    found = raised(rudely, call)
    assert (type(found), found.provider_status) == (error, status)


@EVERY_CALL
@pytest.mark.usefixtures("calm")
def test_an_answer_that_is_nested_too_deeply_is_none(rude, rudely, call):
    rude.plays(answering(200, b"[" * 100_000))
    assert type(raised(rudely, call)) is BadResponse


@pytest.mark.parametrize("call", [call for name, call in CALLS.items() if name != "instances"])
def test_an_array_or_a_number_is_no_object(rude, rudely, call):
    for body in (b"[]", b"7", b"true"):
        rude.plays(answering(200, body))
        assert type(raised(rudely, call)) is BadResponse


@pytest.mark.parametrize("body", [b'{"instances":[]}', b"null", b"{}", b'"x"'])
def test_a_list_of_instances_must_be_a_list(rude, rudely, body):
    rude.plays(answering(200, body))
    assert type(raised(rudely, CALLS["instances"])) is BadResponse


@EVERY_CALL
@pytest.mark.parametrize("words", ["[object Object]", "BadRequestException", ["a", "b"], None])
def test_200_with_an_error_inside_is_a_failure(rude, rudely, call, words):
    rude.plays(answering(200, json.dumps({"error": True, "message": words}).encode()))
    found = raised(rudely, call)
    assert (type(found), found.provider_status) == (ProviderError, 200)


NAMED = [
    call for name, call in CALLS.items() if name not in ("ping", "version", "instances", "state", "delete", "create")
]


@pytest.mark.parametrize("call", NAMED)
def test_a_404_of_evolution_is_an_unknown_instance(rude, rudely, call):
    rude.plays(answering(404, UNKNOWN))
    assert type(raised(rudely, call)) is InstanceUnknown


@pytest.mark.parametrize("call", [*NAMED, CALLS["state"], CALLS["delete"], CALLS["ping"]])
@pytest.mark.parametrize("body", [PROXYS, b"", b"{}", b"[]", b'{"message":"Not Found"}', b'{"detail":"Not Found"}'])
def test_a_404_of_somebody_else_is_not(rude, rudely, call, body):
    rude.plays(answering(404, body))
    assert type(raised(rudely, call)) is BadResponse


@pytest.mark.parametrize("call", [*NAMED, CALLS["state"], CALLS["delete"], CALLS["ping"]])
def test_a_route_that_is_not_there_is_no_missing_instance(rude, rudely, call):
    """A base URL with a path too many would make every instance look lost."""
    rude.plays(answering(404, NO_ROUTE))
    assert type(raised(rudely, call)) is NotOffered


def test_a_state_is_not_found_and_a_delete_is_done_where_there_is_no_instance(rude, rudely):
    rude.plays(answering(404, UNKNOWN))
    assert rudely.state(NAME).state is State.NOT_FOUND
    rudely.delete(NAME)


@pytest.mark.parametrize("state", [None, 7, {"a": 1}, ["open"], "opened"])
def test_a_state_that_makes_no_sense_is_unknown(rude, rudely, state):
    rude.plays(answering(200, json.dumps({"instance": {"state": state}}).encode()))
    assert rudely.state(NAME).state is State.UNKNOWN


def test_403_is_a_name_in_use_on_create_only(rude, rudely):
    rude.plays(answering(403, b'{"response":{"message":["This name \\"user_x\\" is already in use."]}}'))
    assert type(raised(rudely, CALLS["create"])) is NameInUse
    for name, call in CALLS.items():
        if name != "create":
            assert type(raised(rudely, call)) is ProviderRefused
    rude.plays(answering(403, b"<html>blocked by the firewall</html>"))
    assert type(raised(rudely, CALLS["create"])) is ProviderRefused


@pytest.mark.parametrize(
    ("header", "wait_s"), [("7", 7), ("0", 0), ("3600", 60), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", None)]
)
def test_429_says_how_long_to_wait(rude, rudely, header, wait_s):
    rude.plays(answering(429, b"{}", Retry_After=header))
    assert raised(rudely, CALLS["connect"]).details.get("retry_after_s") == wait_s


def test_ping_asks_for_the_key_alone(rude, rudely):
    rude.plays(answering(200, b'{"status":200,"message":"Credentials are valid"}'))
    rudely.ping()
    assert paths(rude) == ["POST /verify-creds"]


@pytest.mark.parametrize("old", [(404, b'{"response":{"message":["Instance \\"nobody\\" not found"]}}'), (200, b"[]")])
def test_an_old_version_is_pinged_by_asking_for_nobody(rude, rudely, old):
    rude.plays(by_path(verify=(404, NO_ROUTE), fetchInstances=old))
    rudely.ping()
    assert paths(rude)[1].startswith("GET /instance/fetchInstances?instanceName=nobody")


def test_an_old_version_refuses_a_wrong_key_too(rude, rudely):
    rude.plays(by_path(verify=(404, NO_ROUTE), fetchInstances=(401, b"{}")))
    assert type(raised(rudely, CALLS["ping"])) is ProviderRefused


@pytest.mark.parametrize(
    ("body", "version"), [(b'{"version":"2.3.6"}', "2.3.6"), (b"{}", None), (b'{"version":2}', None)]
)
def test_the_version_is_what_it_says(rude, rudely, body, version):
    rude.plays(answering(200, body))
    assert rudely.version() == version


def test_connect_with_a_phone_asks_for_it(rude, rudely):
    rude.plays(answering(200, b'{"pairingCode":"D92MGGQX","code":"2@x","count":1}'))
    assert rudely.connect(NAME, "5511977770009").pairing == Pairing(qr="2@x", pairing_code="D92MGGQX")
    rudely.connect(NAME, "1&x=2")
    assert paths(rude) == [f"GET /instance/connect/{NAME}?number={number}" for number in ("5511977770009", "1%26x%3D2")]


def test_restart_is_a_post(rude, rudely):
    rude.plays(answering(200, b'{"instance":{"instanceName":"user_x","state":"open"}}'))
    assert rudely.restart(NAME).state is State.CONNECTED
    assert paths(rude) == [f"POST /instance/restart/{NAME}"]


@pytest.mark.parametrize("text", [b"The instance is not connected", b"[object Object]", b"desligado"])
def test_a_400_of_logout_on_a_closed_one_is_done(rude, rudely, text):
    body = b'{"response":{"message":["%s"]}}' % text
    rude.plays(by_path(logout=(400, body), connectionState=(200, b'{"instance":{"state":"close"}}')))
    rudely.logout(NAME)


@pytest.mark.parametrize(
    "state", [(200, b'{"instance":{"state":"open"}}'), (200, b'{"instance":{}}'), (500, b"{}"), (503, b"")]
)
def test_a_400_of_logout_on_any_other_is_a_failure(rude, rudely, state):
    rude.plays(by_path(logout=(400, CLOSED), connectionState=state))
    found = raised(rudely, CALLS["logout"])
    assert (type(found), found.provider_status) == (ProviderError, 400)


def test_a_500_of_logout_is_a_failure_without_a_look(rude, rudely):
    rude.plays(answering(500, b'{"response":{"message":["Error: Connection Closed"]}}'))
    assert type(raised(rudely, CALLS["logout"])) is ProviderError
    assert len(rude.seen) == 1


def test_a_delete_that_2_3_7_refuses_is_a_failure(rude, rudely):
    rude.plays(answering(400, CLOSED))
    assert type(raised(rudely, CALLS["delete"])) is ProviderError


def test_a_hook_that_was_never_set_is_none(rude, rudely):
    rude.plays(answering(200, b"null"))
    assert rudely.hook(NAME) is None


def hook_bodies(rude, rudely, refusal):
    """What set_hook sends to a version that refuses the first body so."""
    bodies = []

    def play(handler):
        bodies.append(json.loads(handler.sent)["webhook"])
        handler.answer(*(refusal if len(bodies) == 1 else (201, b"{}")))

    rude.plays(play)
    rudely.set_hook(NAME, HOOK)
    return bodies


def test_a_version_that_wants_names_gets_those_it_lists(rude, rudely):
    text = b'[["webhook.events[0] is not one of enum values: QRCODE_UPDATED,CALL,CONNECTION_UPDATE"]]'
    first, second = hook_bodies(rude, rudely, (400, b'{"status":400,"response":{"message":%s}}' % text))
    assert first["events"] == []
    assert second["events"] == ["CALL", "CONNECTION_UPDATE", "QRCODE_UPDATED"]
    assert {**second, "events": []} == first


def test_a_version_that_lists_none_gets_those_that_all_know(rude, rudely):
    _, second = hook_bodies(rude, rudely, (400, b'{"response":{"message":[["webhook.events is too short"]]}}'))
    assert set(second["events"]) == EVENTS


def test_a_hook_that_is_refused_again_is_a_failure(rude, rudely):
    rude.plays(answering(400, CLOSED))
    assert type(raised(rudely, CALLS["set_hook"])) is ProviderError
    assert len(rude.seen) == 2


SEND_FAILURES = [
    (500, b'{"response":{"message":"Cannot read properties of undefined (reading \'onWhatsApp\')"}}'),
    (500, b'{"response":{"message":"Connection Closed"}}'),
    (400, b'{"response":{"message":["Error: Connection Closed"]}}'),
    (400, CLOSED),
]


@pytest.mark.parametrize("failure", SEND_FAILURES)
@pytest.mark.parametrize(
    ("state", "error"),
    [
        ((200, b'{"instance":{"state":"close"}}'), NotConnected),
        ((200, b'{"instance":{"state":"connecting"}}'), NotConnected),
        ((200, b'{"instance":{}}'), NotConnected),
        ((200, b'{"instance":{"state":"open"}}'), ProviderError),
        ((404, UNKNOWN), InstanceUnknown),
        ((500, b"<html>"), ProviderError),
    ],
)
def test_a_send_that_fails_is_explained_by_the_state(rude, rudely, failure, state, error):
    rude.plays(by_path(sendText=failure, connectionState=state))
    found = raised(rudely, CALLS["send_text"])
    assert (type(found), found.provider_status) == (error, failure[0])
    assert [path for path in paths(rude) if "sendText" in path] == [f"POST /message/sendText/{NAME}"]


def test_a_number_without_whatsapp_needs_no_look(rude, rudely):
    body = b'{"response":{"message":[{"jid":"5511900000000@s.whatsapp.net","exists":false,"number":"5511900000000"}]}}'
    rude.plays(answering(400, body))
    assert type(raised(rudely, CALLS["send_text"])) is InvalidRecipient
    assert len(rude.seen) == 1


@pytest.mark.parametrize(
    "document", [{}, {"key": None}, {"key": {"id": 7}}, {"key": {"id": "3EB0"}, "status": "PENDING"}]
)
def test_a_message_that_was_taken_may_lack_its_id(rude, rudely, document):
    rude.plays(answering(201, json.dumps(document).encode()))
    sent = rudely.send_text(NAME, "5511999990001", "x")
    assert (sent.message_id in (None, "3EB0"), sent.status) == (True, "pending")


METRICS = b'evolution_instance_state{instance="user_x",integration="I",state="open"} 1\n'


def test_metrics_are_asked_for_without_our_key(rude):
    rude.plays(answering(200, METRICS, Content_Type="text/plain"))
    client = EvolutionClient(rude.url, KEY, metrics_user="someone", metrics_password="päss")
    assert client.states() == {NAME: State.CONNECTED}
    ((_, path, headers),) = rude.seen
    assert (path, headers["Authorization"]) == ("/metrics", "Basic c29tZW9uZTpww6Rzcw==")
    assert KEY not in headers.values()


@pytest.mark.parametrize(
    "answer", [(404, NO_ROUTE), (404, PROXYS), (401, b"no"), (403, b""), (200, b"process_cpu 1\n"), (200, b"\xff")]
)
def test_a_server_without_metrics_for_us_says_nothing(rude, rudely, answer):
    rude.plays(answering(*answer))
    assert rudely.states() is None


@pytest.mark.parametrize(
    ("answer", "error"), [((503, LICENCE), LicenceRequired), ((502, b""), Unavailable), ((418, b""), BadResponse)]
)
def test_metrics_may_fail_like_everything_else(rude, rudely, answer, error):
    rude.plays(answering(*answer))
    with pytest.raises(ProviderError) as caught:
        rudely.states()
    assert type(caught.value) is error


def test_a_name_never_leaves_its_place_in_the_path(rude, rudely):
    rude.plays(answering(200, b'{"instance":{"state":"open"}}'))
    rudely.state("../../verify-creds?x=1#y")
    assert paths(rude) == ["GET /instance/connectionState/..%2F..%2Fverify-creds%3Fx%3D1%23y"]


def test_a_base_url_may_have_a_path(rude):
    rude.plays(answering(200, b'{"instance":{"state":"open"}}'))
    EvolutionClient(f"{rude.url}/evolution/", KEY).state(NAME)
    assert paths(rude) == [f"GET /evolution/instance/connectionState/{NAME}"]


def test_no_redirect_is_followed_and_the_key_stays_here(rude, rudely):
    with Rude().serving() as elsewhere:
        elsewhere.plays(answering(200, b"{}"))
        for status in (301, 302, 303, 307, 308):
            rude.plays(answering(status, b"", Location=f"{elsewhere.url}/steal"))
            for call in CALLS.values():
                assert type(raised(rudely, call)) is BadResponse
        assert elsewhere.seen == []


def test_the_environments_proxy_does_not_see_the_key(rude, rudely, monkeypatch):
    with Rude().serving() as proxy:
        proxy.plays(answering(200, b"{}"))
        for variable in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(variable, proxy.url)
        rude.plays(answering(200, b'{"instance":{"state":"open"}}'))
        assert rudely.state(NAME).state is State.CONNECTED
        assert proxy.seen == []


def test_the_key_stands_in_no_error(rude, rudely):
    rude.plays(answering(500, b'{"response":{"message":"boom"}}'))
    found = raised(rudely, CALLS["connect"])
    assert KEY not in str(found)
    assert KEY not in repr(found.details)


def test_an_answer_may_be_compressed(rude, rudely):
    rude.plays(answering(200, gzip.compress(b'{"code":"2@x"}'), Content_Encoding="gzip"))
    assert rudely.connect(NAME).pairing == Pairing(qr="2@x")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip, gzip, gzip, gzip, gzip, gzip"])
def test_a_broken_compression_is_a_bad_answer(rude, rudely, encoding):
    rude.plays(answering(200, b"no gzip at all", Content_Encoding=encoding))
    assert type(raised(rudely, CALLS["connect"])) is BadResponse


def test_a_gzip_bomb_is_stopped_at_the_limit(rude):
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    rude.plays(answering(200, bomb, Content_Encoding="gzip"))
    found = raised(EvolutionClient(rude.url, KEY, Limits(largest_bytes=1 << 20)), CALLS["instances"])
    assert type(found) is BadResponse
    assert "too large" in found.message


def test_an_answer_without_end_is_cut(rude, rudely):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)

    rude.plays(endless)
    found = raised(rudely, CALLS["instances"])
    assert type(found) is BadResponse
    assert "too large" in found.message
