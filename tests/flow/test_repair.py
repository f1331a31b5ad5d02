"""What administrators do about deliveries: the list, replay and dry run by the API; `ops.py replay` and `rebuild`."""

import json
from uuid import uuid4

import pytest
from click.testing import CliRunner
from flask import Flask

from api import repair as repair_api
from api.paging import Cursors
from bootstrap.web import build_app
from core.audit import note
from core.db import transactions
from core.diff import Change
from core.errors import AppError, Forbidden, Malformed
from core.selection import Selection
from core.veil import line, shown
from core.web import Guard, failure
from scripts import repairs
from tests.factories import body_of, make_instance, text_message
from tests.store.toys import Register, owners_of
from webhooks.inbox import Delivery, Inbox
from webhooks.repair import Repair
from webhooks.worker import Worker

SECRET = "texto-secreto-de-uma-pessoa"
LIST, REPLAY = "/api/admin/quarantine", "/api/admin/replay"
ITEM_KEYS = {
    "id", "instance", "event", "state", "reason", "fingerprint", "waitsFor", "issues", "receivedAt", "at", "size",
}  # fmt: skip
OPERATOR = uuid4()


class Admin(Guard):
    """Everybody is an administrator, or nobody."""

    def __init__(self, let_in: bool = True) -> None:
        self.let_in = let_in

    def admin(self):
        if not self.let_in:
            raise Forbidden("Only an administrator may do this")
        return type("Principal", (), {"user_id": OPERATOR})


@pytest.fixture
def register():
    return Register(poison={SECRET})


@pytest.fixture
def repair(engine, register):
    owners = owners_of(register)
    return Repair(transactions(engine), owners, owners, tables=["profiles"], note=note)


@pytest.fixture
def worker(engine, register):
    return Worker(transactions(engine), owners_of(register), lambda _: None, name="w")


@pytest.fixture
def guard():
    return Admin()


@pytest.fixture
def client(repair, guard):
    app = Flask("repair")
    app.register_blueprint(repair_api.make_blueprint(repair, guard, Cursors("x" * 40)))
    app.register_error_handler(AppError, failure)
    return app.test_client()


@pytest.fixture
def failed(engine, worker):
    """Ids of three parked deliveries of instance `a`."""
    with engine.begin() as connection:
        make_instance(connection, "a")
    inbox = Inbox(engine, lambda: None)
    bodies = [json.dumps({"event": "put", "data": [key, SECRET]}).encode() for key in ("M1", "M2", "M3")]
    ids = [inbox.record(Delivery(instance="a", event="put", body=body)).id for body in bodies]
    inbox.stop()
    worker.work()
    return ids


def test_the_list_shows_everything_but_contents(client, failed):
    answer = client.get(LIST)
    assert answer.status_code == 200
    assert answer.json.keys() == {"success", "items", "next_cursor"}
    assert [item["id"] for item in answer.json["items"]] == failed[::-1]
    assert all(item.keys() == ITEM_KEYS for item in answer.json["items"])
    assert SECRET not in answer.text
    assert answer.json["items"][0]["state"] == "parked"


def test_the_list_has_pages_and_filters(client, failed):
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(LIST, query_string={"limit": 2, "cursor": cursor, "state": "parked", "instance": "a"}).json
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == failed[::-1]
    for other in ({"state": "waiting"}, {"instance": "b"}, {"event": "drop"}, {"reason": "no_event"}):
        assert client.get(LIST, query_string=other).json["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        {"state": "lost"}, {"limit": "0"}, {"limit": "201"}, {"limit": "00000000119999"}, {"limit": "0000000001"},
        {"cursor": "mine"}, {"instance": "a\0"},
    ],
)  # fmt: skip
def test_a_list_that_makes_no_sense_is_refused(client, query):
    assert client.get(LIST, query_string=query).status_code == 400


def test_a_replay_puts_them_back_and_says_how_many(client, failed, register, worker, rows):
    register.poison.clear()
    answer = client.post(REPLAY, json={"ids": [*failed, 7]})
    assert answer.json == {"success": True, "replayed": 3, "refused": {"not_found": 1}}
    assert worker.work() == 3
    assert rows("SELECT FROM set_aside") == []
    assert [(row["actor"], row["action"]) for row in rows("SELECT * FROM audit")] == [(str(OPERATOR), "replayed")]


def test_a_dry_run_shows_lengths_and_changes_nothing(client, failed, register, rows):
    register.poison.clear()
    answer = client.post(REPLAY, json={"state": "parked", "dryRun": True})
    assert (answer.json["replayed"], answer.json["changed"], answer.json["frames"]) == (3, 3, 3)
    first = answer.json["changes"][0]
    assert (first["table"], first["before"]) == ("profiles", None)
    assert first["after"]["name"] == f"{len(SECRET)} characters"
    assert SECRET not in answer.text
    assert len(rows("SELECT FROM set_aside")) == 3
    assert rows("SELECT FROM audit") == rows("SELECT FROM inbox") == []


@pytest.mark.parametrize(
    "body",
    [
        {}, {"dryRun": True}, {"dryRun": "yes", "state": "parked"}, {"state": "lost"}, {"ids": []}, {"ids": ["1"]},
        {"ids": [True]}, {"ids": [2**63]}, {"since": "yesterday"}, {"since": 7}, {"everything": True}, {"instance": 7},
        {"reason": "x" * 201},
    ],
)  # fmt: skip
def test_a_replay_that_makes_no_sense_is_refused(client, failed, rows, body):
    answer = client.post(REPLAY, json=body)
    assert (answer.status_code, answer.json["code"]) == (400, "VALIDATION_ERROR")
    assert rows("SELECT FROM inbox") == []


def test_only_administrators_may(client, guard):
    guard.let_in = False
    assert client.get(LIST).status_code == client.post(REPLAY, json={"state": "parked"}).status_code == 403


def test_the_product_has_both_for_its_administrators(system, bearer):
    client = build_app(system).test_client()
    admin, user = bearer(uuid4(), role="admin"), bearer(uuid4())
    assert client.get(LIST, headers=admin).json == {"success": True, "items": [], "next_cursor": None}
    replayed = client.post(REPLAY, json={"state": "parked"}, headers=admin)
    assert replayed.json == {"success": True, "replayed": 0, "refused": {}}
    for answer in (client.get(LIST, headers=user), client.post(REPLAY, json={"state": "parked"}, headers=user)):
        assert answer.status_code == 403
    assert client.get(LIST).status_code == 401


# ---- from a shell ----------------------------------------------------------------------------------------------


def test_a_shell_says_what_would_change_in_lengths(repair, failed, register, capsys):
    register.poison = {"M9"}
    done = repair.try_replay(Selection(ids=tuple(failed)))
    repairs.report(done, verb="would be replayed", listed=True)
    said = capsys.readouterr().out
    assert SECRET not in said
    assert said.count(f"name {len(SECRET)} characters") == 3
    assert said.splitlines()[-2:] == ["3 would be replayed", "changes: profiles 3"]


def test_a_shell_ends_with_1_where_something_fails(repair, failed, capsys):
    with pytest.raises(SystemExit) as ended:
        repairs.report(repair.try_replay(Selection(ids=tuple(failed))), verb="would be replayed", listed=True)
    assert ended.value.code == repairs.NOT_DONE
    assert "failed: ValueError" in capsys.readouterr().err


def test_the_commands_work_on_the_product_s_database(system, database_url, rows):
    """The real parts: a delivery of an instance that was not there yet is adopted, then its instance rebuilt."""
    document = text_message("user_late", SECRET, message_id="M1")
    system.inbox.record(Delivery(instance="user_late", event=document["event"], body=body_of(document)))
    assert system.worker.work() == 1
    with system.transaction() as connection:
        make_instance(connection, "user_late")

    def run(command, *arguments):
        done = CliRunner().invoke(command, arguments, env={"DATABASE_URL": database_url, "EVOLUTION_API_URL": ""})
        assert done.exit_code == 0, done.output
        assert SECRET not in done.output
        return done.output.splitlines()

    tried = run(repairs.replay, "--reason", "unknown_instance", "--dry-run")
    assert f"content {len(SECRET)} characters" in "\n".join(tried)
    assert tried[-2] == "1 would be replayed"
    assert rows("SELECT FROM messages") == []
    assert run(repairs.replay, "--reason", "unknown_instance") == ["1 replayed"]
    assert system.worker.work() == 1
    assert rows("SELECT content FROM messages") == [{"content": SECRET}]
    assert run(repairs.rebuild, "--instance", "user_late", "--diff") == ["1 rebuilt", "changes: none"]
    assert run(repairs.rebuild, "--instance", "user_late") == ["1 rebuilt"]


@pytest.mark.parametrize("arguments", [[], ["--state", "lost"], ["--since", "yesterday"], ["--id", "x"]])
def test_a_command_that_makes_no_sense_is_wrong_usage(arguments):
    assert CliRunner().invoke(repairs.replay, arguments).exit_code == 2


def test_a_selection_reads_moments_of_every_zone():
    wanted = Selection.of({"since": "2026-11-22T03:00:00-03:00", "until": "2026-11-22T06:00:00"})
    assert wanted.since == wanted.until
    with pytest.raises(Malformed):
        Selection.of({"ids": [1.5]})


def test_changes_are_shown_without_what_people_wrote():
    change = Change(
        table="messages",
        key=("3EB0C767D097E9ECFE4C",),
        before={"content": "x" * 12, "kind": "text", "details": None},
        after={"content": "y" * 31, "kind": "image", "details": {"a": 1}},
    )
    expected = "messages 3EB0…: content 12 → 31 characters, kind text → image, details null → 8 characters"
    assert line(change) == expected
    assert shown(change)["before"] == {"content": "12 characters", "kind": "text", "details": None}
