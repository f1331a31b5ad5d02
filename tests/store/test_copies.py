"""A message that comes in two wordings, a second reading of the log, and storms: what counts, and what people hear."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from bootstrap.system import System
from core.selection import Selection
from manager import store
from manager.lifecycle import Status, seen
from manager.providers.port import State
from tests import chats
from tests.chats import ANA, Desk
from tests.factories import connection_update

OWN = "5511900000000@s.whatsapp.net"
SHOWN = "SELECT kind, content, details, original, quoted_message_id FROM messages"
RICH = {
    "extendedTextMessage": {
        "text": "veja https://x",
        "title": "X",
        "contextInfo": {"stanzaId": "Q1", "isForwarded": True},
    }
}


@pytest.fixture
def shop(system: System) -> Desk:
    desk = Desk(system)
    desk.open(phone=OWN.partition("@")[0])
    return desk


def wordings() -> list[dict[str, Any]]:
    """2.x flattens a text on its way to `messages.upsert`, and not on its way to `send.message`."""
    flat = chats.message("veja https://x", from_me=True)
    rich = chats.sent(message=RICH)
    return [flat, rich]


@pytest.mark.parametrize("order", list(itertools.permutations([0, 1])))
@pytest.mark.parametrize("at_once", [True, False])
def test_the_copy_that_says_more_counts_whichever_comes_first(shop, rows, order, at_once):
    documents = [wordings()[place] for place in order]
    (shop.tell_at_once if at_once else shop.tell)(*documents)
    (row,) = rows(SHOWN)
    assert (row["content"], row["quoted_message_id"]) == ("veja https://x", "Q1")
    assert row["details"] == {"forwarded": True, "linkPreview": {"title": "X"}}
    assert row["original"]["extendedTextMessage"]["title"] == "X"


@pytest.mark.parametrize("order", list(itertools.permutations([0, 1])))
def test_a_rebuild_keeps_what_we_understood(system, shop, rows, order):
    """Also where the copy that nobody understands stands far away in the log: it is read 500 at a time."""
    understood = chats.message("texto bom")
    strange = {**chats.message(), "data": {**chats.message()["data"], "message": {"brandNewMessage": {"x": 1}}}}
    first, last = ([understood, strange][place] for place in order)
    shop.tell_at_once(first, *(chats.message(str(n), id=f"N{n}") for n in range(500)), last)
    mine = f"{SHOWN} WHERE whatsapp_message_id = 'M1'"
    before = rows(mine)
    assert [(row["kind"], row["content"]) for row in before] == [("text", "texto bom")]
    system.repair.rebuild("shop", actor="operator", dry_run=False)
    assert rows(mine) == before


def test_a_rebuild_leaves_alone_how_the_instance_stands(system, shop, rows, engine):
    """What we saw ourselves is in no delivery."""
    shop.tell(connection_update("shop", "open", "2026-11-22T03:16:13.000Z", wuid=OWN))
    with engine.begin() as connection:
        connection.execute(text("UPDATE whatsapp_instances SET state = 'disconnected', status = 'disconnected'"))
    system.repair.rebuild("shop", actor="operator", dry_run=False)
    assert rows("SELECT status FROM whatsapp_instances") == [{"status": Status.DISCONNECTED}]


def test_the_same_report_once_more_is_not_news_to_what_we_saw_since(system, shop, rows, engine):
    shop.tell(connection_update("shop", "open", "2026-11-22T03:16:13.000Z", wuid=OWN))
    with engine.begin() as connection:
        before = store.named(connection, ["shop"])["shop"]
        store.save(
            connection, [replace(before, standing=seen(before.standing, State.DISCONNECTED, system.clock.now()))]
        )
    number = rows("SELECT id FROM webhook_events")[0]["id"]
    assert system.repair.replay(Selection(ids=(number,)), actor="operator").replayed == 1
    shop.work()
    assert rows("SELECT status FROM whatsapp_instances") == [{"status": Status.DISCONNECTED}]


def test_of_many_reports_at_once_people_hear_what_came_of_them(shop, rows):
    """F-12"""
    states = itertools.cycle(["connecting", "close"])
    shop.tell(connection_update("shop", "open", "2026-11-22T03:00:00.000Z", wuid=OWN))
    heard = len(rows("SELECT FROM feed"))
    shop.tell_at_once(
        *(
            connection_update("shop", next(states), f"2026-11-22T03:{n // 60 + 1:02}:{n % 60:02}.000Z")
            for n in range(200)
        )
    )
    told = [(row["type"], row["data"].get("status")) for row in rows("SELECT type, data FROM feed ORDER BY id")]
    assert told[heard:] == [("status", "disconnected"), ("disconnected", None)]


def test_few_reports_are_told_step_by_step(shop, rows):
    shop.tell_at_once(
        connection_update("shop", "connecting", "2026-11-22T03:00:01.000Z"),
        connection_update("shop", "open", "2026-11-22T03:00:02.000Z", wuid=OWN),
    )
    statuses = [row["data"]["status"] for row in rows("SELECT data FROM feed WHERE type = 'status' ORDER BY id")]
    assert statuses == ["connecting", "connected"]


def test_a_reaction_that_nobody_is_named_for_is_nobodys(shop, rows):
    group: dict[str, Any] = {"key": {"remoteJid": "120363000000000001@g.us", "participant": ""}}
    shop.tell(chats.message("oi", key={"remoteJid": "120363000000000001@g.us", "participant": ANA}))
    shop.tell(chats.reaction("👍", from_me=True), chats.reaction("👎", at=90, **group))
    assert rows("SELECT author, emoji FROM reactions") == [{"author": "me", "emoji": "👍"}]


@pytest.mark.parametrize("opened_first", [True, False])
def test_a_siblings_number_is_a_client_whether_we_have_opened_or_not(system, rows, opened_first):
    """X10: the receiving instance decides; its own number stands in every delivery once it has one."""
    desk = Desk(system)
    desk.open("first", phone="5511911111111")
    desk.open("second")
    opened = connection_update("second", "open", "2026-11-22T03:16:13.000Z", wuid=OWN)
    said = {**chats.message("oi", jid="5511911111111@s.whatsapp.net", shop="second"), "sender": OWN}
    desk.tell(*([opened, said] if opened_first else [said, opened]))
    assert rows("SELECT direction FROM messages") == [{"direction": "inbound"}]
    assert len(rows("SELECT FROM bookings")) == 1


def test_a_group_is_not_called_like_its_last_writer(shop, rows):
    """Evolution reports the writer's name under the group's address."""
    group = "120363000000000001@g.us"
    shop.tell(chats.about("groups.upsert", [{"id": group, "subject": "Clientes VIP"}]))
    shop.tell(chats.message("oi", key={"remoteJid": group, "participant": ANA}, name="Bia"))
    shop.tell(chats.contact(group, "Bia"), chats.about("chats.upsert", [{"remoteJid": group, "name": "Bia"}]))
    assert rows("SELECT title FROM conversations") == [{"title": "Clientes VIP"}]


def test_a_thousand_contacts_in_one_delivery_are_a_thousand_contacts(shop, rows):
    people = [{"remoteJid": f"55219{n:08}@s.whatsapp.net", "pushName": f"Pessoa {n}"} for n in range(1000)]
    shop.tell(chats.about("contacts.upsert", people))
    assert rows("SELECT count(*) AS n FROM contacts") == [{"n": 1000}]
