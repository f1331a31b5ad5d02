"""Replays what a real Evolution API 2.3.6 was asked, and compares status and shape of the body."""

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from sandbox.server import Sandbox
from tests.sandbox.receiver import GUARD_S, KEY, Client, Receiver
from tests.sandbox.recordings import exchanges, shape

BETA_TOKEN = "beta-secret-token"

# Exchanges that are not replayed, and why. A path stands for itself and all below.
LEFT_OUT_PATHS = {
    "/chat/": "chat routes are not part of the sandbox yet",
    "/group/": "group routes are not part of the sandbox yet",
    "/webhook/evolution": "the EVOLUTION channel has no phone",
    "/message/sendMedia": "only text is sent yet",
    "/message/sendReaction": "only text is sent yet",
    "/message/sendPoll": "only text is sent yet",
    "/message/sendList": "only text is sent yet",
}
LEFT_OUT = {
    **dict.fromkeys((104, 217, 218, 219, 225, 226, 227), "the EVOLUTION channel has no phone"),
    **dict.fromkeys((242, 243), "concurrent creates do not break each other here: the second is refused"),
}


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
    paired: (140, 141, *range(142, 160), 187, 192, 194, 195, 197, 207),
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
        *(*range(1, 12), 13, *range(15, 23), 34, 36, 103, 107, 108, 109, 110, 112, 114, 120, 132, 133),
        *(208, 209, 239, 240, 241, 244, 245, *range(247, 255), 260, 268),
    ),
}
# WhatsApp does not answer: no QR code comes.
UNREACHABLE = (120, 121, 124, 125, 126, 129, 131)


def reason_left_out(exchange: dict[str, Any]) -> str | None:
    path = exchange["request"]["path"]
    by_path = [reason for prefix, reason in LEFT_OUT_PATHS.items() if path.startswith(prefix)]
    return by_path[0] if by_path else LEFT_OUT.get(exchange["seq"])


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
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


REPLAYED = [exchange for exchange in exchanges() if reason_left_out(exchange) is None]


@pytest.fixture(scope="module")
def unreachable_box() -> Iterator[Sandbox]:
    with Sandbox(key=KEY, time_scale=0.01, qr_after_s=1e6) as box:
        yield box


@pytest.mark.parametrize("exchange", REPLAYED, ids=lambda exchange: f"{exchange['seq']}-{exchange['name']}")
def test_answers_as_the_real_server_did(
    exchange: dict[str, Any], client: Client, unreachable_box: Sandbox, receiver: Receiver, hook: str
) -> None:
    if exchange["seq"] in UNREACHABLE:
        unreachable_box.reset()
        client = Client(unreachable_box, receiver, hook)
    preparation(exchange)(client, named_in(exchange))

    status, body = replay(client.box, receiver, hook, exchange["request"])

    expected = exchange["response"]
    assert (status, shape(body)) == (expected["status"], shape(expected["body"])), body


def test_what_is_left_out_is_there() -> None:
    """A reason that fits nothing any more should go."""
    seqs = {exchange["seq"] for exchange in exchanges()}
    paths = [exchange["request"]["path"] for exchange in exchanges()]
    assert set(LEFT_OUT) <= seqs
    assert all(any(path.startswith(prefix) for path in paths) for prefix in LEFT_OUT_PATHS)
    assert len(REPLAYED) >= 120
