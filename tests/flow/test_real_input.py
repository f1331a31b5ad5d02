"""What a real Evolution API 2.3.6 sent, and the samples of its other versions, through the running product.

Posted in order, shuffled, and shuffled twice over. What must come of it is read from the payloads here, without
asking the product what they mean.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests
from sqlalchemy import Engine, text

from bootstrap.system import System, build
from core.settings import Settings
from sandbox.server import Sandbox
from tests.conftest import KEY
from tests.factories import hook_keys, make_instance
from tests.waiting import until
from tests.web_process import WebProcess

Document = dict[str, Any]
PAYLOADS = Path(__file__).parent.parent / "payloads"
SHARED = "shared-secret-of-the-real-input-0123456789abcdef"
SECRETS = {"apikey", "api_key", "destination"}
SENDERS = 8


def documents() -> list[Document]:
    """The recorded ones in their order, then the samples by name."""
    recorded = (PAYLOADS / "recorded" / "webhooks.jsonl").read_text(encoding="utf-8").splitlines()
    samples = sorted((PAYLOADS / "evolution").glob("*.json"))
    return [json.loads(line)["body"] for line in recorded] + [json.loads(path.read_text()) for path in samples]


ALL = documents()
ORDERS: dict[str, list[Document]] = {
    "in order": ALL,
    "shuffled": random.Random(1).sample(ALL, len(ALL)),
    "twice and shuffled": random.Random(2).sample(ALL * 2, len(ALL) * 2),
}


# ---- what must come of it --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """A text message: who it is from or to is a set of JIDs, all of the same person; empty for our own in a group."""

    content: str
    direction: str
    sent_at: datetime
    people: frozenset[str]


def text_in(message: Any) -> str | None:
    if isinstance(message, dict):
        if isinstance(message.get("conversation"), str):
            return str(message["conversation"])
        if isinstance(message.get("extendedTextMessage"), dict):
            return str(message["extendedTextMessage"]["text"])
        if "ephemeralMessage" in message:
            return text_in(message["ephemeralMessage"]["message"])
    return message if isinstance(message, str) else None


def seconds(value: Any) -> int:
    return int(value["low"]) + int(value["high"]) * 2**32 if isinstance(value, dict) else int(value)


def jids(*found: Any) -> frozenset[str]:
    """Without the device; a bare number is a phone."""
    whole = [jid if "@" in jid else f"{jid}@s.whatsapp.net" for jid in found if jid]
    return frozenset(f"{jid.split('@')[0].split(':')[0]}@{jid.split('@')[1]}" for jid in whole)


def edits() -> dict[tuple[str, str], str]:
    """Instance and message id → the text it was changed to."""
    changed = [document for document in ALL if document["event"] in ("messages.edited", "send.message.update")]
    return {
        (document["instance"], document["data"]["key"]["id"]): text_in(document["data"]["editedMessage"]) or ""
        for document in changed
        if document["data"].get("editedMessage")
    }


def expected_texts() -> dict[tuple[str, str], set[Text]]:
    """Instance and message id → what may be stored; more than one where the gateway reported it differently."""
    found: dict[tuple[str, str], set[Text]] = defaultdict(set)
    for document in ALL:
        if document["event"] not in ("messages.upsert", "send.message"):
            continue
        data = document["data"]
        key, content = data["key"], text_in(data.get("message"))
        chat = key["remoteJid"]
        if content is None or chat.endswith(("@broadcast", "@newsletter")):
            continue
        if chat.endswith("@g.us"):
            people = (
                [] if key["fromMe"] else [key.get("participant"), key.get("participantAlt"), key.get("participantPn")]
            )
        else:
            people = [chat, key.get("remoteJidAlt"), key.get("senderPn"), key.get("senderLid")]
        found[document["instance"], key["id"]].add(
            Text(
                content=EDITS.get((document["instance"], key["id"]), content),
                direction="outbound" if key["fromMe"] else "inbound",
                sent_at=datetime.fromtimestamp(seconds(data["messageTimestamp"]), UTC),
                people=jids(*people),
            )
        )
    return dict(found)


def ambiguous() -> set[tuple[str, str]]:
    """Ids that the samples, which were made up alone, use for several different messages."""
    contents: dict[tuple[str, str], set[str]] = defaultdict(set)
    for document in ALL:
        if document["event"] in ("messages.upsert", "send.message"):
            data = document["data"]
            contents[document["instance"], data["key"]["id"]].add(json.dumps(data.get("message"), sort_keys=True))
    return {key for key, found in contents.items() if len(found) > 1}


EDITS = edits()
EXPECTED = {key: texts for key, texts in expected_texts().items() if key not in ambiguous()}


def without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: None if key in SECRETS else without_secrets(inner) for key, inner in value.items()}
    return [without_secrets(inner) for inner in value] if isinstance(value, list) else value


DIFFERENT = {json.dumps(without_secrets(document), sort_keys=True) for document in ALL}


# ---- the product -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def variables(place: Path, gateway: Sandbox, database_url: str) -> dict[str, str]:
    return {
        "ZELADOR_DATA_DIR": str(place / "settings"),
        "DATABASE_URL": database_url,
        "EVOLUTION_API_URL": gateway.url,
        "EVOLUTION_API_KEY": KEY,
        "WEBHOOK_SECRET": SHARED,
    }


@pytest.fixture(scope="module")
def web(variables: dict[str, str]) -> Iterator[WebProcess]:
    with WebProcess(**variables) as process:
        yield process
        assert "Traceback" not in process.log()


@pytest.fixture(scope="module")
def parts(variables: dict[str, str]) -> Iterator[System]:
    """The worker, in this process."""
    built = build(Settings.from_env(variables), variables["DATABASE_URL"])
    yield built
    built.stop()


@dataclass(frozen=True)
class Outcome:
    """Everything that may not depend on the order."""

    answers: set[tuple[int, str]]
    log: list[Any]
    pending: int
    aside: list[Any]
    messages: dict[tuple[str, str], list[dict[str, Any]]]
    statuses: dict[str, tuple[Any, ...]]
    feeds_whole: bool


@pytest.fixture(scope="module")
def outcomes(web: WebProcess, parts: System, session_engine: Engine) -> dict[str, Outcome]:
    made = {}
    for name, order in ORDERS.items():
        users = the_instances(parts)
        credentials = {instance: {"X-Webhook-Token": hook_keys(parts, instance).token} for instance in users}
        post = poster(web, users, credentials)
        with requests.Session() as session, ThreadPoolExecutor(1 if name == "in order" else SENDERS) as pool:
            answers = set(pool.map(partial(post, session), order))
        settle(parts)
        made[name] = outcome(session_engine, answers)
        with session_engine.begin() as connection:
            connection.execute(text("TRUNCATE profiles, webhook_events, inbox, lanes, set_aside, feed CASCADE"))
    return made


def the_instances(parts: System) -> dict[str, UUID]:
    names = sorted({document["instance"] for document in ALL if "instance" in document})
    with parts.transaction() as connection:
        return {name: make_instance(connection, name)[0] for name in names}


def poster(
    web: WebProcess, users: dict[str, UUID], credentials: dict[str, dict[str, str]]
) -> Callable[[requests.Session, Document], tuple[int, str]]:
    def post(session: requests.Session, document: Document) -> tuple[int, str]:
        instance = document.get("instance")
        path = f"user/{users[instance]}" if instance else "evolution"
        headers = credentials[instance] if instance else {"X-Webhook-Token": SHARED}
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", **headers}
        answer = session.post(f"{web.url}/api/webhook/{path}", data=body, headers=headers, timeout=20)
        return answer.status_code, answer.json()["status"]

    return post


def settle(parts: System) -> None:
    def left() -> int:
        parts.worker.work()
        with parts.transaction() as connection:
            count: int = connection.execute(text("SELECT count(*) FROM inbox")).scalar_one()
        return count

    until(left, lambda count: count == 0)


MESSAGES = """
SELECT instance_name, whatsapp_message_id, content, direction, sent_at, messages.status, messages.deleted_at,
       coalesce((SELECT array_agg(jid) FROM contact_aliases WHERE contact_aliases.contact_id = messages.contact_id),
                '{}') AS people,
       (SELECT phone_number FROM contacts WHERE contacts.id = messages.contact_id) AS phone
FROM messages JOIN whatsapp_instances ON whatsapp_instances.id = instance_id
"""
STATUSES = "SELECT instance_name, status, is_connected, phone_number, qr_code, pairing_code FROM whatsapp_instances"
GAPS = "SELECT count(*) FROM (SELECT user_id FROM feed GROUP BY user_id HAVING max(id) <> count(*)) AS gaps"


def outcome(engine: Engine, answers: set[tuple[int, str]]) -> Outcome:
    with engine.connect() as connection:

        def rows(query: str) -> Sequence[Any]:
            return connection.execute(text(query)).mappings().all()

        messages: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for row in rows(MESSAGES):
            messages[row["instance_name"], row["whatsapp_message_id"]].append(dict(row))
        return Outcome(
            answers=answers,
            log=[json.loads(bytes(row["body"])) for row in rows("SELECT body FROM webhook_events")],
            pending=len(rows("SELECT FROM inbox")),
            aside=[dict(row) for row in rows("SELECT state, reason, waits_for FROM set_aside")],
            messages=dict(messages),
            statuses={row["instance_name"]: tuple(row.values()) for row in rows(STATUSES)},
            feeds_whole=rows(GAPS)[0]["count"] == 0,
        )


@pytest.fixture(params=ORDERS)
def made(request, outcomes: dict[str, Outcome]) -> Outcome:
    return outcomes[request.param]


# ---- tests -----------------------------------------------------------------------------------------------------


def test_the_payloads_are_what_this_test_believes():
    assert len(ALL) > 440
    assert len(EXPECTED) > 45
    assert {text_.direction for texts in EXPECTED.values() for text_ in texts} == {"inbound", "outbound"}


def test_every_authentic_delivery_is_answered_200(made):
    assert made.answers <= {(200, "stored"), (200, "duplicate")}


def test_every_delivery_is_in_the_log_once_without_its_secrets(made):
    assert sorted(json.dumps(document, sort_keys=True) for document in made.log) == sorted(DIFFERENT)


def test_none_is_parked_or_left(made):
    """What waits speaks of messages that the gateway never showed."""
    assert {(row["state"], row["reason"]) for row in made.aside} == {("waiting", "waits_for_message")}
    assert not {row["waits_for"] for row in made.aside} & {message_id for _, message_id in made.messages}
    assert made.pending == 0


def test_every_text_message_is_stored_once(made):
    assert {key: len(rows) for key, rows in made.messages.items() if key in EXPECTED} == dict.fromkeys(EXPECTED, 1)


def test_every_text_message_has_its_text_direction_time_and_person(made):
    for key, texts in EXPECTED.items():
        [row] = made.messages[key]
        allowed = {(text_.content, text_.direction, text_.sent_at) for text_ in texts}
        assert (row["content"], row["direction"], row["sent_at"]) in allowed, key
        for people in {text_.people for text_ in texts}:
            assert set(row["people"]) & people or not people, key
            phones = {jid.split("@")[0] for jid in people if jid.endswith("@s.whatsapp.net")}
            assert row["phone"] in phones or not phones, key


def test_feeds_have_no_gaps(made):
    assert made.feeds_whole


def test_the_instances_stand_alike_whatever_the_order(outcomes):
    first, *others = outcomes.values()
    assert len(first.statuses) > 20
    assert len(set(first.statuses.values())) > 3
    for other in others:
        assert other.statuses == first.statuses


def test_the_messages_are_alike_whatever_the_order(outcomes):
    """Texts that the gateway reported twice with different times may have either."""

    def shown(one: Outcome) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
        return {
            key: [
                (row["content"], row["direction"], row["sent_at"], row["status"], row["deleted_at"] is None)
                for row in rows
            ]
            for key, rows in one.messages.items()
            if len(EXPECTED.get(key, ())) == 1
        }

    first, *others = map(shown, outcomes.values())
    for other in others:
        assert other == first
