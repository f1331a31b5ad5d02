"""What the broker's REST says, in our words: both kinds of builds, and answers of the wrong shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadResponse, InvalidRecipient, NotOffered
from manager.providers.broker import wire
from manager.providers.port import Found, Sent, State

USER = {"id": "554123912160:18@s.whatsapp.net", "name": "Ana"}
LOGGED_OUT = {"statusCode": 401, "reason": "loggedOut", "isLoggedOut": True, "isTimedOut": False}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=10,
)
NAMED = st.dictionaries(
    st.sampled_from(["id", "connected", "connectionState", "connectionStateDetail", "user", "name", "hasLastQr"]), JSON
)


@pytest.mark.parametrize("url", ["https://b.example", "https://b.example/", "https://b.example/instances"])
def test_the_address_may_name_the_instances(url):
    assert wire.base_of(url) == wire.base_of(f"{url}/") == "https://b.example"


def test_an_address_may_have_a_path_of_its_own():
    assert wire.base_of("https://b.example/whatsapp/instances/") == "https://b.example/whatsapp"


@pytest.mark.parametrize("name", ["user_7b1d2c3e-0000-4000-8000-000000000001", "teste", "a_b-c", "a-1"])
def test_a_name_that_the_broker_keeps(name):
    assert wire.kept_name(name) == name


@pytest.mark.parametrize("name", ["", "Maria", "maria silva", "ma--ria", "maría", "a/b", "a.b", " a", "a\n"])
def test_a_name_that_the_broker_would_change_is_refused(name):
    with pytest.raises(NotOffered):
        wire.kept_name(name)


@pytest.mark.parametrize(
    "to", ["5511999990001", "551133330001", "5511999990001@s.whatsapp.net", "5511999990001:2@c.us"]
)
def test_a_brazilian_phone_is_sent_to(to):
    assert wire.recipient(to) == to.partition("@")[0].partition(":")[0]


@pytest.mark.parametrize(
    "to", ["12025550123", "11999990001", "351912345678", "55119999", "5511999990001234", "77@lid", "1-2@g.us", "", "x"]
)
def test_nobody_else_is_sent_to_for_the_broker_would_take_them_for_brazilians(to):
    with pytest.raises(InvalidRecipient):
        wire.recipient(to)


@pytest.mark.parametrize(
    ("row", "state"),
    [
        ({"connectionState": "open", "connected": True}, State.CONNECTED),
        ({"connectionState": "connecting", "connected": False}, State.CONNECTING),
        ({"connectionState": "close", "connected": False}, State.DISCONNECTED),
        ({"connectionState": "qr_timeout", "connected": False}, State.REFUSED),
        ({"connectionState": "asleep", "connected": True}, State.UNKNOWN),
        ({"connectionState": None, "connected": True, "user": USER}, State.CONNECTED),
        ({"connected": True, "user": USER}, State.CONNECTED),
        ({"connected": True}, State.CONNECTED),
        ({"connected": False, "user": None}, State.CONNECTING),
        ({"connected": True, "user": {"id": "5511999990001@s.whatsapp.net", "name": "~"}}, State.CONNECTING),
        ({"connected": "yes"}, State.UNKNOWN),
        ({}, State.UNKNOWN),
    ],
)
def test_how_an_instance_stands(row, state):
    found = wire.snapshot("user_x", row)
    assert (found.name, found.state, found.pairing, found.ended) == ("user_x", state, None, False)
    assert wire.states([{"id": "user_x", **row}]) == {"user_x": state}


@pytest.mark.parametrize(
    ("state", "detail", "ended"),
    [
        ("close", LOGGED_OUT, True),
        ("connecting", LOGGED_OUT, True),  # it shows a new QR by now
        ("open", LOGGED_OUT, False),
        ("close", {**LOGGED_OUT, "isLoggedOut": False}, False),
        ("close", None, False),
        ("close", "loggedOut", False),
    ],
)
def test_a_phone_that_parted_has_ended_it(state, detail, ended):
    assert wire.snapshot("user_x", {"connectionState": state, "connectionStateDetail": detail}).ended is ended


@pytest.mark.parametrize(
    ("row", "waits"),
    [
        ({"connectionState": "open", "hasLastQr": True}, False),
        ({"connectionState": "connecting", "hasLastQr": True}, True),
        ({"connectionState": "connecting", "hasLastQr": False}, False),  # a session is coming back, perhaps
        ({"connectionState": "close", "connectionStateDetail": LOGGED_OUT}, True),
        ({"connectionState": "close"}, False),
        ({"connectionState": "qr_timeout"}, True),
        ({"connected": True}, False),
        ({"connected": False}, True),
    ],
)
def test_whether_nobody_is_paired(row, waits):
    assert wire.waits_for_phone(row) is waits


def test_a_list_as_the_seed_shows_it():
    rows = [{"id": "teste", "name": "Teste", "connected": True, "user": USER}, {"name": "no id"}, None]
    assert wire.instances(rows) == [
        Found(name="teste", stored_state=State.CONNECTED, phone="554123912160", profile_name="Ana")
    ]


def test_a_number_that_was_only_asked_for_is_nobodys_phone_yet():
    row = {"connected": True, "user": {"id": "5511999990001@s.whatsapp.net", "name": "~"}}
    assert wire.found("user_x", row) == Found(name="user_x", stored_state=State.CONNECTING)


@pytest.mark.parametrize("body", [b"", b"<html>", b"no-qr", wire.PNG + bytes(70_000)])
def test_what_is_no_picture_is_refused(body):
    with pytest.raises(BadResponse):
        wire.picture(body)


def test_a_picture_is_a_data_url():
    assert wire.picture(wire.PNG).startswith("data:image/png;base64,iVBORw0KGgo")


@pytest.mark.parametrize(
    ("code", "kept"),
    [("K3ZT9QWB", "K3ZT9QWB"), ("123-456", "123456"), ("k3zt-9qwb", "K3ZT9QWB")],
)
def test_a_pairing_code_in_every_form(code, kept):
    assert wire.pairing_code({"pairingCode": code}) == kept


@pytest.mark.parametrize("code", ["", None, 7, "<b>", "K3ZT9QWB2"])
def test_what_is_no_pairing_code_is_refused(code):
    with pytest.raises(BadResponse):
        wire.pairing_code({"pairingCode": code})


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        ({"id": "3EB01", "messageId": "3EB01", "status": 1}, Sent(message_id="3EB01", status="pending")),
        ({"messageId": "3EB01", "status": 2}, Sent(message_id="3EB01", status="sent")),
        ({"id": None, "status": None}, Sent(message_id=None, status="pending")),
    ],
)
def test_a_message_that_was_taken(answer, sent):
    assert wire.sent(answer) == sent


@given(st.lists(NAMED | JSON, max_size=3))
def test_any_rows_are_read(rows):
    assert set(wire.states(rows)) == {one.name for one in wire.instances(rows)}


@given(NAMED)
def test_any_row_is_read(row):
    assert isinstance(wire.snapshot("x", row).state, State)
    assert wire.may_show_qr(row) in (True, False)
    assert wire.waits_for_phone(row) in (True, False)
