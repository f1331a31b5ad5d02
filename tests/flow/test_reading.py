"""Messages, conversations and contacts as other programs read them: shapes, search, paging, whose they are."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from api.paging import Cursors
from bootstrap.web import build_app
from conversations.changes import Rules
from conversations.owner import ConversationOwner
from manager.providers.port import ChatReported, DeleteReported, EditReported, MessageReported, ReactionReported
from tests.factories import make_instance

SENT = datetime(2026, 11, 22, 3, 16, 13, tzinfo=UTC)
ANA = "5511999990001@s.whatsapp.net"


@pytest.fixture
def browser(system):
    with build_app(system).test_client() as client:
        yield client


@pytest.fixture
def owner(system):
    """Somebody with an instance: user id, instance name."""
    with system.transaction() as connection:
        return make_instance(connection)


def reported(name, said, *, message_id=None, sent_at=SENT, chat="5511999990001@s.whatsapp.net", **more):
    return MessageReported(
        delivery_id=1,
        instance=name,
        reported_at=None,
        received_at=SENT,
        message_id=message_id or uuid4().hex.upper(),
        chat=(chat,),
        author=() if more.get("from_me") else (chat,),
        from_me=more.get("from_me", False),
        text=said,
        kind="text",
        status="delivered",
        push_name=more.get("push_name"),
        sent_at=sent_at,
    )


def receive(system, *reports):
    """Take messages in as the worker does."""
    messages = ConversationOwner(rules=Rules())
    with system.transaction() as connection:
        messages.apply(connection, messages.fold(messages.load(connection, reports), reports))


def found(browser, headers, **query):
    answer = browser.get("/api/messages", query_string=query, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json.keys() == {"success", "items", "next_cursor"}
    return answer.json


def texts(browser, headers, q):
    return {item["text"] for item in found(browser, headers, q=q)["items"]}


def test_a_message_has_its_shape(browser, bearer, system, owner):
    user, name = owner
    receive(system, reported(name, "Oi, quero agendar", message_id="3EB0", push_name="Ana"))
    (item,) = found(browser, bearer(user))["items"]
    assert {key: item[key] for key in item if key not in ("id", "conversationId", "contactId")} == {
        "messageId": "3EB0",
        "contactName": "Ana",
        "phoneNumber": "5511999990001",
        "instanceName": name,
        "direction": "inbound",
        "fromMe": False,
        "text": "Oi, quero agendar",
        "kind": "text",
        "status": "delivered",
        "at": "2026-11-22T03:16:13.000Z",
        "details": None,
        "quotedMessageId": None,
        "edited": False,
        "deleted": False,
        "fromHistory": False,
        "reactions": [],
        "votes": None,
    }
    assert all(len(item[key]) == 36 for key in ("id", "conversationId", "contactId"))


def test_text_is_answered_as_it_was_written(browser, bearer, system, owner):
    user, name = owner
    receive(system, reported(name, "Olá 😀 <script>"))
    answer = browser.get("/api/messages", headers=bearer(user))
    assert "Olá 😀 <script>".encode() in answer.data
    assert answer.content_type == "application/json"


SAID = [
    "100% de desconto",
    "a_b",
    "axb",
    "diz 'oi' e \"tchau\"",
    "C:\\pasta",
    "a/b",
    "ÁGUA",
    "'; DROP TABLE messages;--",
]


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("%", {SAID[0]}),
        ("_", {SAID[1]}),
        ("a_b", {SAID[1]}),
        ("'", {SAID[3], SAID[7]}),
        ('"', {SAID[3]}),
        ("\\", {SAID[4]}),
        ("/", {SAID[5]}),
        ("água", {SAID[6]}),
        ("DROP TABLE", {SAID[7]}),
        ("a\0_b", {SAID[1]}),
        ("nada disso", set()),
        ("x" * 5000, set()),
        ("", set(SAID)),
    ],
)
def test_the_search_takes_every_character_as_itself(browser, bearer, system, owner, q, expected):
    user, name = owner
    receive(system, *(reported(name, said) for said in SAID))
    assert texts(browser, bearer(user), q) == expected


def test_the_search_finds_nothing_of_others(browser, bearer, system, owner):
    user, name = owner
    with system.transaction() as connection:
        _, other = make_instance(connection)
    receive(system, reported(name, "meu segredo"), reported(other, "segredo alheio"))
    assert texts(browser, bearer(user), "segredo") == {"meu segredo"}


def pages(browser, headers, **query):
    """All pages, by following the cursor."""
    cursor: dict[str, str] = {}
    while True:
        body = found(browser, headers, **query, **cursor)
        yield body["items"]
        if body["next_cursor"] is None:
            return
        cursor = {"cursor": body["next_cursor"]}


@pytest.mark.parametrize("limit", [7, 50, 120, 200])
def test_paging_over_equal_times_leaves_no_gap_and_no_duplicate(browser, bearer, system, owner, limit):
    user, name = owner
    receive(system, *(reported(name, f"n {number}", message_id=f"M{number}") for number in range(120)))
    got = list(pages(browser, bearer(user), limit=limit))
    ids = [item["messageId"] for page in got for item in page]
    assert sorted(ids) == sorted(f"M{number}" for number in range(120))
    assert all(len(page) == limit for page in got[:-1])
    assert 0 < len(got[-1]) <= limit


def test_what_arrives_while_somebody_pages_moves_nothing(browser, bearer, system, owner):
    user, name = owner
    receive(system, *(reported(name, "old", sent_at=SENT - timedelta(seconds=number)) for number in range(10)))
    read = pages(browser, bearer(user), limit=4)
    first = next(read)
    receive(system, *(reported(name, "new", sent_at=SENT + timedelta(seconds=number)) for number in range(1, 5)))
    rest = [item for page in read for item in page]
    assert [item["text"] for item in first + rest] == ["old"] * 10


def test_the_newest_stands_first(browser, bearer, system, owner):
    user, name = owner
    receive(system, *(reported(name, str(number), sent_at=SENT + timedelta(seconds=number)) for number in range(5)))
    assert [item["text"] for item in found(browser, bearer(user))["items"]] == ["4", "3", "2", "1", "0"]


def test_within_a_second_the_later_delivery_stands_first(browser, bearer, system, owner):
    user, name = owner
    in_order = [replace(reported(name, str(number)), delivery_id=number) for number in range(5)]
    for report in (in_order[3], in_order[0], in_order[4], in_order[1], in_order[2]):
        receive(system, report)
    assert [item["text"] for item in found(browser, bearer(user))["items"]] == ["4", "3", "2", "1", "0"]


def test_fifty_is_usual(browser, bearer, system, owner):
    user, name = owner
    receive(system, *(reported(name, "x") for _ in range(51)))
    assert len(found(browser, bearer(user))["items"]) == 50


@pytest.mark.parametrize("limit", ["0", "201", "-1", "abc", "1e2", "1.5", "", " 5", "٣", "9" * 5000])
def test_a_limit_out_of_bounds_is_400(browser, bearer, limit):
    answer = browser.get("/api/messages", query_string={"limit": limit}, headers=bearer(uuid4()))
    assert (answer.status_code, answer.json["code"]) == (400, "VALIDATION_ERROR")


def test_a_forged_cursor_is_400(browser, bearer, system):
    ours = Cursors(system.settings.secret_key.get_secret_value())
    good = ours.write((SENT, 1, uuid4())) or ""
    forged = Cursors("x" * 40).write((SENT, 1, uuid4()))
    for cursor in ["x", "..", "é", "\0", good[:-1], good + "x", forged, "a" * 9000]:
        answer = browser.get("/api/messages", query_string={"cursor": cursor}, headers=bearer(uuid4()))
        assert (answer.status_code, answer.json["code"]) == (400, "VALIDATION_ERROR"), cursor


def about(kind, name, **facts):
    return kind(delivery_id=2, instance=name, reported_at=None, received_at=SENT + timedelta(minutes=1), **facts)


def test_a_message_shows_what_came_of_it(browser, bearer, system, owner):
    """An edit, a reaction and a deletion; a deleted message keeps its text."""
    user, name = owner
    receive(
        system,
        reported(name, "Oi, quero agendar", message_id="3EB0"),
        about(EditReported, name, message_id="3EB0", text="Oi, quero remarcar", edited_at=SENT),
        about(ReactionReported, name, message_id="3EB0", author=(), from_me=True, emoji="👍", reacted_at=SENT),
        about(DeleteReported, name, message_id="3EB0"),
    )
    (item,) = found(browser, bearer(user))["items"]
    assert (item["text"], item["edited"], item["deleted"]) == ("Oi, quero remarcar", True, True)
    assert item["reactions"] == [{"author": "me", "emoji": "👍"}]


def listed(browser, path, headers, **query):
    answer = browser.get(path, query_string=query, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json.keys() == {"success", "items", "next_cursor"}
    return answer.json


def everything(browser, path, headers, **query):
    """All pages of a list."""
    items, cursor = [], None
    while True:
        answer = listed(browser, path, headers, **query, **({"cursor": cursor} if cursor else {}))
        items += answer["items"]
        cursor = answer["next_cursor"]
        if not cursor:
            return items


def test_a_conversation_shows_whom_with_and_what_was_said_last(browser, bearer, system, owner):
    """H027"""
    user, name = owner
    group = "120363025982934543@g.us"
    receive(
        system,
        reported(name, "primeira", push_name="Ana"),
        reported(name, "segunda", from_me=True, sent_at=SENT + timedelta(seconds=9)),
        reported(name, "no grupo", chat=group, sent_at=SENT - timedelta(seconds=9)),
        about(ChatReported, name, chat=(group,), title="Turma"),
    )
    first, second = listed(browser, "/api/conversations", bearer(user))["items"]
    assert first.pop("id") != second.pop("id")
    assert len(first.pop("contactId")) == 36
    assert first == {
        "instanceName": name,
        "phoneNumber": "5511999990001",
        "groupJid": None,
        "title": "Ana",
        "lastMessageAt": "2026-11-22T03:16:22.000Z",
        "lastMessage": {"text": "segunda", "kind": "text", "fromMe": True},
    }
    assert (second["title"], second["groupJid"], second["contactId"]) == ("Turma", group, None)


def test_conversations_page_without_gap_or_duplicate(browser, bearer, system, owner):
    user, name = owner
    people = [f"55119999900{n:02}@s.whatsapp.net" for n in range(25)]
    receive(
        system,
        *(reported(name, "oi", chat=jid, sent_at=SENT + timedelta(seconds=n // 5)) for n, jid in enumerate(people)),
    )
    items = everything(browser, "/api/conversations", bearer(user), limit=7)
    assert sorted(item["phoneNumber"] for item in items) == sorted(jid.split("@")[0] for jid in people)
    shown = [item["lastMessageAt"] for item in items]
    assert shown == sorted(shown, reverse=True)


def test_a_conversation_deleted_on_the_phone_comes_back_with_a_newer_message(browser, bearer, system, owner):
    """C011"""
    user, name = owner
    receive(system, reported(name, "oi"), about(ChatReported, name, chat=(ANA,), deleted=True))
    assert listed(browser, "/api/conversations", bearer(user))["items"] == []
    receive(system, reported(name, "de novo", sent_at=SENT + timedelta(hours=1)))
    assert [item["lastMessage"]["text"] for item in listed(browser, "/api/conversations", bearer(user))["items"]] == [
        "de novo"
    ]


def test_a_conversation_is_read_page_by_page(browser, bearer, system, owner):
    user, name = owner
    receive(system, *(reported(name, str(n), sent_at=SENT + timedelta(seconds=n)) for n in range(20)))
    receive(system, reported(name, "outra", chat="5511999990002@s.whatsapp.net"))
    number = next(
        item["id"]
        for item in listed(browser, "/api/conversations", bearer(user))["items"]
        if item["lastMessage"]["text"] == "19"
    )
    items = everything(browser, f"/api/conversations/{number}/messages", bearer(user), limit=6)
    assert [item["text"] for item in items] == [str(n) for n in reversed(range(20))]
    assert {item["conversationId"] for item in items} == {number}


@pytest.mark.parametrize("number", ["x", "0", "7b2b1c9e-0000-4000-8000-000000000001", "../../x", "%00"])
def test_a_conversation_that_is_not_there_is_404(browser, bearer, number):
    answer = browser.get(f"/api/conversations/{number}/messages", headers=bearer(uuid4()))
    assert answer.status_code == 404


def test_somebody_elses_conversation_is_404(browser, bearer, system, owner):
    user, name = owner
    receive(system, reported(name, "oi"))
    (item,) = listed(browser, "/api/conversations", bearer(user))["items"]
    answer = browser.get(f"/api/conversations/{item['id']}/messages", headers=bearer(uuid4()))
    assert (answer.status_code, answer.json["code"]) == (404, "CONVERSATION_NOT_FOUND")


def test_contacts_are_read_with_a_bearer(browser, bearer, system, owner):
    """H018, H026, X38"""
    user, name = owner
    receive(system, reported(name, "oi", push_name="Ana"), reported(name, "oi", chat="98765432109876@lid"))
    first, second = listed(browser, "/api/contacts", bearer(user))["items"]
    assert first.keys() == {"id", "phone_number", "name", "organization_id", "created_at", "updated_at"}
    assert (first["name"], first["phone_number"], first["organization_id"]) == ("Ana", "5511999990001", None)
    assert (second["name"], second["phone_number"]) == ("Unknown", None)
    assert browser.get("/api/contacts").status_code == 401


def test_contacts_are_the_organizations(browser, bearer, system):
    """X38: its members see them; others do not find it; an administrator may ask for any."""
    with system.transaction() as connection:
        _, name = make_instance(connection, organization_id="org_123")
    receive(system, reported(name, "oi", push_name="Ana"))
    member, stranger = bearer(uuid4(), organization_id="org_123"), bearer(uuid4(), organization_id="org_456")
    admin = bearer(uuid4(), role="admin")
    for headers, query in (
        (member, {}),
        (member, {"organization_id": "org_123"}),
        (admin, {"organization_id": "org_123"}),
    ):
        assert [item["name"] for item in listed(browser, "/api/contacts", headers, **query)["items"]] == ["Ana"]
    assert listed(browser, "/api/contacts", stranger)["items"] == []
    answer = browser.get("/api/contacts", query_string={"organization_id": "org_123"}, headers=stranger)
    assert (answer.status_code, answer.json["code"]) == (404, "ORGANIZATION_NOT_FOUND")


def test_a_post_without_a_number_lists(browser, bearer, system):
    """A061, X38: the seed's check for stored contacts."""
    with system.transaction() as connection:
        _, name = make_instance(connection, organization_id="org_123")
    receive(system, reported(name, "oi", push_name="Ana"))
    headers = bearer(uuid4(), organization_id="org_123")
    answer = browser.post("/api/contacts", json={"organization_id": "org_123"}, headers=headers)
    assert (answer.status_code, [item["name"] for item in answer.json["items"]]) == (200, ["Ana"])


def test_a_post_with_a_number_writes_the_contact_down(browser, bearer, system):
    """H019, X38: on conflict it is the same contact; a name given by hand stays."""
    headers = bearer(uuid4(), organization_id="org_123")
    asked = {"phone_number": "+55 (11) 99999-0001", "name": "Ana da loja"}
    first = browser.post("/api/contacts", json=asked, headers=headers).json["contact"]
    again = browser.post("/api/contacts", json={"phone_number": ANA}, headers=headers).json["contact"]
    assert (first["phone_number"], first["name"], first["organization_id"]) == (
        "5511999990001",
        "Ana da loja",
        "org_123",
    )
    assert again["id"] == first["id"]
    with system.transaction() as connection:
        _, name = make_instance(connection, organization_id="org_123")
    receive(system, reported(name, "oi", push_name="aninha"))
    assert [item["name"] for item in listed(browser, "/api/contacts", headers)["items"]] == ["Ana da loja"]


def test_a_number_that_another_program_wrote_down_is_the_same_contact(browser, bearer, engine):
    with engine.begin() as connection:
        row = (
            "INSERT INTO contacts (scope, organization_id, phone_number) VALUES ('org_1', 'org_1', :phone) RETURNING id"
        )
        found = connection.execute(text(row), {"phone": ANA.partition("@")[0]}).scalar_one()
    asked = {"phone_number": ANA, "name": "Ana"}
    for _ in range(2):
        answer = browser.post("/api/contacts", json=asked, headers=bearer(uuid4(), organization_id="org_1"))
        assert (answer.status_code, answer.json["contact"]["id"]) == (200, str(found)), answer.text
        assert answer.json["contact"]["name"] == "Ana"


@pytest.mark.parametrize(
    "asked",
    [
        {"phone_number": "123"},
        {"phone_number": "5" * 16},
        {"phone_number": "abc5511999990001"},
        {"phone_number": 5511999990001},
        {"phone_number": None},
        {"phone_number": "5511999990001", "name": ""},
        {"phone_number": "5511999990001", "name": 5},
        {"phone_number": "5511999990001", "name": "x" * 201},
    ],
)
def test_a_contact_that_makes_no_sense_is_400(browser, bearer, rows, asked):
    """H041"""
    answer = browser.post("/api/contacts", json=asked, headers=bearer(uuid4()))
    assert (answer.status_code, answer.json["code"]) == (400, "VALIDATION_ERROR")
    assert rows("SELECT FROM contacts") == []


@pytest.mark.parametrize(("q", "names"), [("ana", ["Ana"]), ("99999-0002", ["Bia"]), ("%", []), ("", ["Ana", "Bia"])])
def test_contacts_are_found_by_name_and_number(browser, bearer, system, owner, q, names):
    user, name = owner
    receive(
        system,
        reported(name, "oi", push_name="Ana"),
        reported(name, "oi", push_name="Bia", chat="5511999990002@s.whatsapp.net"),
    )
    assert [item["name"] for item in listed(browser, "/api/contacts", bearer(user), q=q)["items"]] == names


def test_contacts_page_without_gap_or_duplicate(browser, bearer, system, owner):
    user, name = owner
    people = [f"55119999900{n:02}@s.whatsapp.net" for n in range(25)]
    receive(system, *(reported(name, "oi", chat=jid, push_name=f"Ana {n // 10}") for n, jid in enumerate(people)))
    items = everything(browser, "/api/contacts", bearer(user), limit=7)
    assert sorted(item["phone_number"] for item in items) == sorted(jid.split("@")[0] for jid in people)


@pytest.mark.parametrize("path", ["/api/contacts", "/api/conversations", "/api/messages", "/api/admin/quarantine"])
def test_a_cursor_of_another_list_is_400(browser, bearer, system, path):
    ours = Cursors(system.settings.secret_key.get_secret_value())
    answer = browser.get(path, query_string={"cursor": ours.write(["x"])}, headers=bearer(uuid4(), role="admin"))
    assert (answer.status_code, answer.json["code"]) == (400, "VALIDATION_ERROR")
