"""Replays what a real Evolution API 2.3.6 was asked, and compares status and shape of the body."""

import http.client
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from sandbox.server import Sandbox
from tests.sandbox.receiver import GUARD_S, KEY, Client, Receiver
from tests.sandbox.recordings import exchanges, shape

BETA_TOKEN = "beta-secret-token"

# What the sandbox answers in another shape than the real server did, and why. It fails when that is no longer so.
DIFFERENT: dict[int, str] = {}


def nothing(client: Client, name: str) -> None:
    """An empty server."""


def closed(client: Client, name: str) -> None:
    client.call("POST", "/instance/create", {"instanceName": name, "integration": "WHATSAPP-BAILEYS"})


def with_token(client: Client, name: str) -> None:
    client.create("beta" if name in ("delta", "") else name, token=BETA_TOKEN)


def two_instances(client: Client, name: str) -> None:
    closed(client, name)
    client.create("beta", token=BETA_TOKEN)


def other_instance(client: Client, name: str) -> None:
    closed(client, "somebody")


def webhook_set(client: Client, name: str) -> None:
    hook = {"url": client.receiver.url, "enabled": True, "events": ["CALL"], "headers": {"X-Custom": "one"}}
    closed(client, name)
    client.call("POST", f"/webhook/set/{name}", {"webhook": hook})


def webhook_disabled(client: Client, name: str) -> None:
    webhook_set(client, name)
    hook = {"url": client.receiver.url, "enabled": False, "events": ["CALL"]}
    client.call("POST", f"/webhook/set/{name}", {"webhook": hook})


def webhook_headers_kept(client: Client, name: str) -> None:
    client.create(name, hook={"headers": {"Authorization": "Basic abc", "X-Webhook-Secret": "s3cr3t"}})
    hook = {"url": client.receiver.url, "enabled": True, "events": ["CONTACTS_UPSERT"]}
    client.call("POST", f"/webhook/set/{name}", {"webhook": hook})


def created_with_webhook(client: Client, name: str) -> None:
    client.create(name, hook={"events": ["MESSAGES_UPSERT"]})


def qr_shown(client: Client, name: str) -> None:
    client.create(name, qrcode=True, hook={"headers": {"X-Tenant": "t1", "Authorization": "Bearer abc"}})


def connecting_logged_out(client: Client, name: str) -> None:
    client.create(name, qrcode=True)
    client.call("DELETE", f"/instance/logout/{name}")


def qr_shown_with_number(client: Client, name: str) -> None:
    closed(client, name)
    client.call("GET", f"/instance/connect/{name}?number=5511977770009")


def paired(client: Client, name: str) -> None:
    client.pair(name, token=f"{name}-token", hook={"headers": {"X-Tenant": "t1", "Authorization": "Bearer abc"}})


def paired_with_profile(client: Client, name: str) -> None:
    client.pair(name, "own phone")


def logged_out(client: Client, name: str) -> None:
    paired(client, name)
    client.call("DELETE", f"/instance/logout/{name}")


def unlinked(client: Client, name: str) -> None:
    paired(client, name)
    client.drop(name, 401)


def whatsapp_down(client: Client, name: str) -> None:
    paired(client, name)
    client.drop(name, 403)
    client.call("GET", f"/instance/connect/{name}")
    client.scan(name, profile_name=None)
    client.drop(name, 408, silent=True)


def deleted_while_receiver_fails(client: Client, name: str) -> None:
    client.create(name, hook={"url": f"{client.receiver.url}/status/503{client.hook}"})
    client.call("DELETE", f"/instance/delete/{name}")


def paired_while_receiver_fails(client: Client, name: str) -> None:
    client.pair(name, hook={"url": f"{client.receiver.url}/status/503{client.hook}"})


def logged_out_while_receiver_fails(client: Client, name: str) -> None:
    paired_while_receiver_fails(client, name)
    client.call("DELETE", f"/instance/logout/{name}")


def empty_jwt_key(client: Client, name: str) -> None:
    client.create(name, hook={"headers": {"jwt_key": ""}})


def evolution(client: Client, name: str) -> None:
    body = {"instanceName": name or "evo1", "integration": "EVOLUTION", "token": "evo1-token"}
    hook = {"url": client.receiver.url + client.hook, "events": []}
    for number in ("5500000101", "5500000001"):
        client.call("POST", "/instance/create", body | {"number": number, "webhook": hook})
        body["instanceName"] = "victim"


def evolution_logged_out(client: Client, name: str) -> None:
    evolution(client, name)
    client.call("DELETE", f"/instance/logout/{name or 'evo1'}")


def paired_with_base64(client: Client, name: str) -> None:
    client.pair(name, hook={"base64": True})


def with_messages(client: Client, name: str) -> None:
    """Those the later exchanges speak about."""
    paired_with_base64(client, name)
    client.message(name, id="3EB0TEXT0001")
    client.message(name, "foto", sample="image", id="3EB0IMG00001")


def relogged_in(client: Client, name: str) -> None:
    client.pair(name)
    client.message(name, **{"from": "5511999990003"})
    client.call("DELETE", f"/instance/logout/{name}")
    client.call("GET", f"/instance/connect/{name}")
    client.scan(name)
    client.call("POST", f"/message/sendText/{name}", {"number": "5511999990003", "text": "x"})


def many_chats(client: Client, name: str) -> None:
    """One of every kind, oldest first: heard from, without a name, by LID, answered, written to only, a group."""
    client.pair(name)
    client.message(name, **{"from": "5521988880000"})
    client.message(name, sample="no_name", **{"from": "5521977770000"})
    client.message(name, **{"from": "555555555555555@lid"})
    client.message(name, sample="pn_lid", **{"from": "5531955550000"})
    client.message(name, sample="group")
    for number in ("120363000000000001@g.us", "5511999998888"):
        client.call("POST", f"/message/sendText/{name}", {"number": number, "text": "oi"})
    client.message(name, **{"from": "123456789012345@lid"})
    client.call("POST", f"/message/sendText/{name}", {"number": "123456789012345@lid", "text": "oi lid"})
    client.message(name)
    buttons = [{"type": "reply", "displayText": "Sim", "id": "yes"}]
    body = {"number": "5511999990001", "title": "T", "description": "D", "footer": "F", "buttons": buttons}
    client.call("POST", f"/message/sendButtons/{name}", body)


# What has to be there before the exchange; for all others the instance that it names, closed or absent.
PREPARED: dict[Callable[[Client, str], None], tuple[int, ...]] = {
    with_token: (37, 39, 40, 42),
    two_instances: (38,),
    other_instance: (106,),
    webhook_disabled: (62,),
    webhook_headers_kept: (229,),
    created_with_webhook: (111, 113),
    # On the unreachable WhatsApp this is connecting without a code.
    qr_shown: (121, 124, 125, 126, 131, 135, 136, 232, 235, 278),
    qr_shown_with_number: (231,),
    paired: (140, 141, *range(142, 160), 163, 165, 168, 169, 174, *range(186, 190), 191, 192, 194, 195, 197, 207),
    paired_with_base64: (162,),
    with_messages: (179, 182, 183, 184, 185),
    many_chats: (178,),
    relogged_in: (204,),
    evolution: (105, 218, 219, 224, 225, 226),
    evolution_logged_out: (227, 228),
    paired_with_profile: (196, 236),
    connecting_logged_out: (129,),
    logged_out: (199, 200, 201, 202, 276),
    unlinked: (210,),
    whatsapp_down: (214, 215, 216),
    deleted_while_receiver_fails: (238, 270, 271),
    paired_while_receiver_fails: (273,),
    logged_out_while_receiver_fails: (274, 275),
    empty_jwt_key: (264, 266),
    # Things that are not there (any more), names that are to be made, and calls without a name.
    nothing: (
        *(*range(1, 12), 13, *range(15, 23), 34, 36, 103, 104, 107, 108, 109, 110, 112, 114, 120, 132, 133),
        *(208, 209, 217, *range(239, 246), *range(247, 255), 260, 268),
    ),
}
# WhatsApp does not answer: no QR code comes.
UNREACHABLE = (120, 121, 124, 125, 126, 129, 131)
# The phone at the other end is off: no receipts.
WITHOUT_RECEIPTS = (178, 204)
# Two at once: one of them gets the 201 of exchange 241, the other what was recorded.
AT_ONCE = (242, 243)


def named_in(exchange: dict[str, Any]) -> str:
    """The instance an exchange speaks about; "" when none."""
    body, url = exchange["request"]["body"], urlsplit(exchange["request"]["path"])
    if url.path == "/instance/create":
        return str(body.get("instanceName", "")) if isinstance(body, dict) else ""
    if url.path == "/instance/fetchInstances":
        named = url.query.removeprefix("instanceName=")
        return "shop1" if "number=" in named else named
    return unquote(url.path.rsplit("/", maxsplit=1)[-1]) if url.path.count("/") == 3 else ""


def preparation(exchange: dict[str, Any]) -> Callable[[Client, str], None]:
    for prepare, seqs in PREPARED.items():
        if exchange["seq"] in seqs:
            return prepare
    return nothing if named_in(exchange) in ("ghost", "") else closed


def replay(box: Sandbox, receiver: Receiver, hook: str, request: dict[str, Any]) -> tuple[int, Any]:
    """The request as it was, path untouched; only its webhooks go to our receiver."""
    body = request["body"]
    text = body if isinstance(body, str) else json.dumps(body) if body is not None else None
    if text is not None:
        text = text.replace("http://127.0.0.1:8099/ok/", receiver.url + hook)
    connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=GUARD_S)
    try:
        connection.request(request["method"], request["path"], text, request["headers"])
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or '""')
    finally:
        connection.close()


@pytest.fixture(scope="module")
def unreachable_box() -> Iterator[Sandbox]:
    with Sandbox(key=KEY, time_scale=0.01, qr_after_s=1e6) as box:
        yield box


@pytest.fixture(scope="module")
def unread_box() -> Iterator[Sandbox]:
    with Sandbox(key=KEY, time_scale=0.01, qr_every_s=6000, receipts=False) as box:
        yield box


@pytest.fixture(scope="module")
def patient_box() -> Iterator[Sandbox]:
    """Where making an instance takes so long that the other one comes meanwhile, however slow this machine is."""
    with Sandbox(key=KEY, time_scale=1000) as box:
        yield box


@pytest.fixture
def special(unreachable_box: Sandbox, unread_box: Sandbox, patient_box: Sandbox) -> Callable[[int], Sandbox | None]:
    """The server an exchange needs, when any will not do."""
    boxes = {unreachable_box: UNREACHABLE, unread_box: WITHOUT_RECEIPTS, patient_box: AT_ONCE}
    return lambda seq: next((box for box, seqs in boxes.items() if seq in seqs), None)


def comparable(status: int, body: Any) -> Any:
    """The very words of what failed, the shape of what succeeded."""
    return shape(body) if status < 400 else body


def refused_of_two(ask: Callable[[], tuple[int, Any]]) -> tuple[int, Any]:
    """Both at the same time: one is made, and the other's failure takes it away again."""
    with ThreadPoolExecutor(2) as both:
        made, refused = sorted((one.result() for one in [both.submit(ask), both.submit(ask)]), key=lambda got: got[0])
    assert made[0] == 201
    return refused


@pytest.mark.parametrize("exchange", exchanges(), ids=lambda exchange: f"{exchange['seq']}-{exchange['name']}")
def test_answers_as_the_real_server_did(
    exchange: dict[str, Any], client: Client, special: Callable[[int], Sandbox | None], receiver: Receiver, hook: str
) -> None:
    if (box := special(exchange["seq"])) is not None:
        box.reset()
        client = Client(box, receiver, hook)
    preparation(exchange)(client, named_in(exchange))

    ask = partial(replay, client.box, receiver, hook, exchange["request"])
    status, body = refused_of_two(ask) if exchange["seq"] in AT_ONCE else ask()

    expected = exchange["response"]
    same = (status, comparable(status, body)) == (expected["status"], comparable(status, expected["body"]))
    assert same is (exchange["seq"] not in DIFFERENT), (status, body)


def test_what_is_different_was_recorded() -> None:
    """A reason that fits nothing any more should go."""
    assert set(DIFFERENT) <= {exchange["seq"] for exchange in exchanges()}
