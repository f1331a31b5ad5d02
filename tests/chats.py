"""Chats for tests of what Zelador knows: deliveries as Evolution posts them, and the product that works them off."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import text

from bootstrap.system import System
from tests.factories import body_of, make_instance, text_message
from webhooks.inbox import Delivery

Document = dict[str, Any]
ANA, ANA_LID, BIA = "5511999990001@s.whatsapp.net", "111@lid", "5521888880002@s.whatsapp.net"
OWN, GROUP = "5511900000000@s.whatsapp.net", "120363@g.us"
SENT = 1_795_317_373  # 2026-11-22T03:16:13Z


@dataclass
class Desk:
    """`tell` posts deliveries, one commit each, and has them worked off. Instances are made by `open`."""

    system: System
    users: dict[str, UUID] = field(default_factory=dict)

    def open(
        self,
        name: str = "shop",
        *,
        organization: str | None = "org",
        phone: str | None = None,
        others: Sequence[str] = (),
    ) -> UUID:
        """An instance; its user."""
        with self.system.transaction() as connection:
            user_id, _ = make_instance(connection, name, organization_id=organization)
            connection.execute(
                text("UPDATE whatsapp_instances SET phone_number = :phone, owner_phones = :others WHERE user_id = :id"),
                {"id": user_id, "phone": phone, "others": list(others)},
            )
        self.users[name] = user_id
        return user_id

    def tell(self, *documents: Document) -> None:
        """One after the other, each in a batch of its own."""
        for document in documents:
            self.record(document)
            self.work()

    def tell_at_once(self, *documents: Document) -> None:
        """All in one batch."""
        for document in documents:
            self.record(document)
        self.work()

    def record(self, document: Document) -> int:
        delivery = Delivery(instance=document["instance"], event=document["event"], body=body_of(document))
        return self.system.inbox.record(delivery).id

    def work(self) -> None:
        while self.system.worker.work():
            pass


def message(
    words: str = "oi",
    *,
    jid: str = ANA,
    alt: str | None = None,
    id: str = "M1",
    at: int = 0,
    shop: str = "shop",
    **more: Any,
) -> Document:
    """A text; `at` seconds after SENT. `name=`: the push name; `from_me=True`: ours; others: fields of the data."""
    names = {"remoteJidAlt": alt} if alt else {}
    key = {"fromMe": bool(more.pop("from_me", False)), **names, **more.pop("key", {})}
    data = {"messageTimestamp": SENT + at, "pushName": more.pop("name", "Ana"), **more}
    return text_message(shop, words, sender=jid, message_id=id, key=key, **data)


def sent(words: str = "oi", **more: Any) -> Document:
    """The gateway's own word for what we sent through it."""
    return {**message(words, from_me=True, status="PENDING", **more), "event": "send.message"}


def about(event: str, data: Any, *, shop: str = "shop") -> Document:
    return {"event": event, "instance": shop, "data": data, "date_time": "2026-11-22T03:16:13.000Z"}


def receipt(status: str, *, id: str = "M1", **more: Any) -> Document:
    return about("messages.update", {"keyId": id, "remoteJid": ANA, "fromMe": True, "status": status}, **more)


def edit(words: str, *, id: str = "M1", at: int = 60, **more: Any) -> Document:
    said = {
        "key": {"id": id, "remoteJid": ANA},
        "type": "MESSAGE_EDIT",
        "editedMessage": {"conversation": words},
        "timestampMs": str((SENT + at) * 1000),
    }
    return about("messages.edited", said, **more)


def delete(*, id: str = "M1", **more: Any) -> Document:
    return about("messages.delete", {"id": id, "remoteJid": ANA, "fromMe": False}, **more)


def reaction(emoji: str, *, to: str = "M1", at: int = 70, jid: str = ANA, shop: str = "shop", **more: Any) -> Document:
    """`from_me=True`: ours."""
    body = {"key": {"id": to, "remoteJid": jid}, "text": emoji, "senderTimestampMs": (SENT + at) * 1000}
    return message(jid=jid, id=f"R{at}{emoji}", at=at, shop=shop, message={"reactionMessage": body}, **more)


def poll_votes(voters: dict[str, list[str]], *, id: str = "M1") -> Document:
    updates = [{"name": name, "voters": who} for name, who in voters.items()]
    return about("messages.update", {"keyId": id, "remoteJid": ANA, "fromMe": True, "pollUpdates": updates})


def contact(jid: str, name: str | None = None, *, shop: str = "shop", **more: Any) -> Document:
    return about("contacts.upsert", [{"remoteJid": jid, "pushName": name, **more}], shop=shop)


def again(document: Document, copy: int) -> Document:
    """The same thing in other bytes."""
    return {**document, "server_url": f"http://localhost:{copy}"}
