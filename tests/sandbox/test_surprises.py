"""What a client must survive of a 2.3.6, each reproduced on a real one; and what blocks what."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandbox.phone import Habits
from sandbox.server import Sandbox
from tests.sandbox.receiver import KEY, Client, Receiver, eventually
from tests.waiting import until

ANA = "5511999990001"


def events(client: Client, count: int) -> list[str]:
    return sorted(one.event for one in client.take(count))


def again(client: Client) -> None:
    client.call("GET", "/instance/connect/shop1")
    client.scan("shop1")


def row(client: Client) -> Any:
    return client.call("GET", "/instance/fetchInstances?instanceName=shop1").json()[0]


def set_url(client: Client, url: str) -> None:
    hook = {"enabled": True, "url": url, "events": []}
    client.call("POST", "/webhook/set/shop1", {"webhook": hook})


def test_after_logout_and_login_messages_are_sent_and_none_is_received(client: Client) -> None:
    client.pair("shop1")
    client.call("DELETE", "/instance/logout/shop1")
    again(client)
    client.take(5 + 3 + 2 + 2)

    client.message("shop1", "to the deaf")
    client.call("POST", "/message/sendText/shop1", {"number": ANA, "text": "Oi"})

    assert events(client, 5) == ["chats.update", "contacts.update", *["messages.update"] * 2, "send.message"]
    found = client.call("POST", "/chat/findMessages/shop1", {}).json()["messages"]["records"]
    assert [record["key"]["fromMe"] for record in found] == [True]
    client.call("POST", "/instance/restart/shop1")
    client.reaches("shop1", "open")
    client.message("shop1", "restart does not help")
    assert events(client, 4) == ["chats.update", "connection.update", "connection.update", "contacts.update"]


def test_deleting_and_creating_anew_or_a_new_process_ends_the_deafness(client: Client, receiver: Receiver) -> None:
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT"]})
    client.call("DELETE", "/instance/logout/shop1")
    client.call("DELETE", "/instance/delete/shop1")
    client.reaches("shop1", None)
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT"]})
    client.message("shop1")
    assert events(client, 1) == ["messages.upsert"]

    with (box := Sandbox(key=KEY, time_scale=0.01, qr_every_s=6000)):
        other = Client(box, receiver, client.hook)
        other.pair("shop2", hook={"events": ["MESSAGES_UPSERT"]})
        other.call("DELETE", "/instance/logout/shop2")
        other.call("GET", "/instance/connect/shop2")
        other.scan("shop2")
    with box:
        other.reaches("shop2", "open")
        other.message("shop2")
        assert events(other, 1) == ["messages.upsert"]


def test_unlinking_on_the_phone_does_not_make_it_deaf(client: Client) -> None:
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT"]})
    client.drop("shop1", 401)
    again(client)
    client.message("shop1")
    assert events(client, 1) == ["messages.upsert"]


def test_creates_of_one_name_at_the_same_time_delete_each_other(receiver: Receiver, hook: str) -> None:
    with Sandbox(key=KEY, time_scale=1000) as box:
        client = Client(box, receiver, hook)
        hooked = {"url": receiver.url + hook, "events": ["INSTANCE_CREATE", "REMOVE_INSTANCE"]}
        body = {"instanceName": "par", "integration": "WHATSAPP-BAILEYS", "webhook": hooked}
        with ThreadPoolExecutor(2) as both:
            asked = [both.submit(client.call, "POST", "/instance/create", body) for _ in range(2)]
        assert sorted(one.result().status_code for one in asked) == [201, 400]
        client.reaches("par", None)
        assert events(client, 2) == ["instance.create", "remove.instance"]


def test_a_logout_while_the_receiver_is_down_spoils_the_next_login(receiver: Receiver, hook: str) -> None:
    """The clean-up comes when the retries end, and finds the new session."""
    receiver.release.clear()
    with (box := Sandbox(key=KEY, time_scale=0.01, qr_every_s=6000)):
        client = Client(box, receiver, hook)
        client.pair("shop1")
        set_url(client, f"{receiver.url}/held{hook}")
        client.call("DELETE", "/instance/logout/shop1")
        receiver.take(3, f"/held{hook}")  # they have arrived, and are not answered yet
        set_url(client, receiver.url + hook)
        again(client)
        assert (client.state("shop1"), row(client)["connectionStatus"]) == ("open", "open")

        receiver.release.set()
        eventually(lambda: row(client)["connectionStatus"] == "close")

        assert client.state("shop1") == "open"
    with box:  # the session is gone: a code again
        eventually(lambda: client.call("GET", "/instance/connect/shop1").json().get("code") is not None)


def test_an_edit_that_cannot_be_delivered_holds_what_comes_behind_it(client: Client) -> None:
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT", "MESSAGES_EDITED", "CHATS_UPDATE"]})
    client.message("shop1", "first")
    client.take(2)
    healthy = client.hook
    client.receiver.release.clear()
    set_url(client, f"{client.receiver.url}/held{healthy}")
    client.message("shop1", sample="edit", text="edited")
    eventually(lambda: "messages.edited" in {one.event for one in client.receiver.under(f"/held{healthy}")})
    set_url(client, client.receiver.url + healthy)

    client.message("shop1", "waits")

    eventually(lambda: "chats.update" in {one.event for one in client.receiver.under(healthy)})
    assert "messages.upsert" not in {one.event for one in client.receiver.under(healthy)}
    client.receiver.release.set()
    eventually(lambda: "messages.upsert" in {one.event for one in client.receiver.under(healthy)})


def test_an_id_that_was_seen_is_not_told_again(client: Client) -> None:
    client.pair("shop1", hook={"events": ["MESSAGES_UPSERT"]})
    for text in ("once", "twice"):
        client.message("shop1", text, id="3EB0SAME")
    client.message("shop1", "another")
    assert {one.data["message"]["conversation"] for one in client.take(2)} == {"once", "another"}


def test_a_stale_code_is_answered_after_a_login(receiver: Receiver, hook: str) -> None:
    """It is cleared by nothing: after a logout the first answer of connect may be the old one."""
    with Sandbox(key=KEY, time_scale=0.001, qr_every_s=1e6) as box:
        client = Client(box, receiver, hook)
        old = _shown(client)
        client.scan("shop1")
        box.habits = Habits(qr_after_s=1e6)
        client.call("DELETE", "/instance/logout/shop1")
        assert client.call("GET", "/instance/connect/shop1").json()["code"] == old


def _shown(client: Client) -> Any:
    client.create("shop1", qrcode=True)
    codes = [one for one in client.take(3) if one.event == "qrcode.updated"]
    return codes[0].data["qrcode"]["code"]


def test_what_was_not_delivered_is_lost_with_the_process(receiver: Receiver, hook: str) -> None:
    with (box := Sandbox(key=KEY, time_scale=1)):
        client = Client(box, receiver, "/status/503" + hook)
        client.create("shop1", hook={"events": ["INSTANCE_CREATE"]})
        client.take(1)
        until(lambda: [one for one in box.log.items() if one["kind"] == "webhook"])  # after we have it
    with box:
        client.reaches("shop1", "connecting")
        items = client.call("GET", "/sandbox/log").json()["items"]
    assert [one["attempt"] for one in items if one["kind"] == "webhook"] == [1]


@pytest.mark.parametrize("missing", ["/message/sendStatus/shop1", "/chat/archiveChat/shop1", "/call/offer/shop1"])
def test_what_is_not_here_is_said_as_evolution_says_it(client: Client, missing: str) -> None:
    client.create("shop1")
    answer = client.call("POST", missing, {})
    assert (answer.status_code, answer.json()["response"]) == (404, {"message": [f"Cannot POST {missing}"]})
