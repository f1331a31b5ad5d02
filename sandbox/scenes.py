"""What happens beside messages: edits, revokes, receipts, repeats, calls, presence, history."""

from collections.abc import Callable
from functools import partial
from typing import Any

from sandbox import ids, keys, numbers
from sandbox.keys import Person
from sandbox.line import Line
from sandbox.profiles import Profile
from sandbox.samples import ABSENT
from sandbox.state import Instance, Message

HISTORY_MESSAGES = 3

Scene = Callable[[Instance, Person, str], str]


class Scenes:
    """Each scene gives the id of the message it is about. Callers hold the world's lock."""

    def __init__(self, line: Line, profile: Profile) -> None:
        self._line = line
        self._profile = profile
        self._scenes: dict[str, Scene] = {
            "edit": self._edit,
            "revoke": self._revoke,
            "read": self._read,
            "repeat": self._repeat,
            "undecryptable": self._undecryptable,
            "presence": self._presence,
            "call": self._call,
            "history": self._history,
        }

    def play(self, name: str, instance: Instance, person: Person, text: str) -> str:
        return self._scenes[name](instance, person, text)

    def touch(self, instance: Instance, jid: str) -> None:
        """What comes with whatever a contact does."""
        self._line.tell(instance, "chats.update", [{"remoteJid": jid, "instanceId": instance.id}])
        pictured = {"remoteJid": jid, "profilePicUrl": None, "instanceId": instance.id}
        self._line.tell(instance, "contacts.update", [pictured])

    def _edit(self, instance: Instance, person: Person, text: str) -> str:
        """The last message of this contact is edited; the delivery of this event holds what comes behind it."""
        key = _bare(self._last(instance, person))
        edit = {"key": key, "type": "MESSAGE_EDIT", "editedMessage": {"conversation": text}, "timestampMs": _now_ms()}
        self.touch(instance, person.jid)
        if not instance.live.inbound_dead:
            self._line.take(instance, partial(self._line.tell_edit, instance, edit))
        return str(key["id"])

    def _revoke(self, instance: Instance, person: Person, _: str) -> str:
        """The last message is deleted for everybody: messages.delete, and since 2.3.1 messages.edited too."""
        key = self._last(instance, person)
        self.touch(instance, person.jid)
        if instance.live.inbound_dead:
            return str(key["id"])
        self._line.take(instance, partial(self._line.tell, instance, "messages.delete", key))
        if self._profile.tells_revokes_as_edits:
            revoke = {"key": _bare(key), "type": "REVOKE"}
            self._line.take(instance, partial(self._line.tell_edit, instance, revoke))
        return str(key["id"])

    def _read(self, instance: Instance, person: Person, _: str) -> str:
        """The contact reads what was sent to it; receipts of what is unknown give nothing."""
        unread = [one for one in instance.messages if _was_sent(one, person) and one.status != "READ"]
        for message in unread:
            message.status = "READ"
            message.updates.append("READ")
            self._line.tell(instance, "messages.update", receipt(instance, message, "READ"))
        return unread[-1].id if unread else ids.sent_message_id()

    def _repeat(self, instance: Instance, person: Person, _: str) -> str:
        """The same id once more: dropped where Evolution remembers it, told again elsewhere."""
        from_them = [one for one in instance.messages if one.jid == person.jid and not one.from_me]
        self.touch(instance, person.jid)
        if not from_them:
            return ids.received_message_id()
        last = from_them[-1]
        if not (self._profile.drops_repeats and last.id in instance.live.seen):
            self._line.take(instance, partial(self._line.tell, instance, "messages.upsert", upsert(instance, last)))
        return last.id

    def _undecryptable(self, instance: Instance, person: Person, _: str) -> str:
        self.touch(instance, person.jid)
        return ids.received_message_id()

    def _presence(self, instance: Instance, person: Person, _: str) -> str:
        shown = {person.jid: {"lastKnownPresence": "composing"}}
        self._line.tell(instance, "presence.update", {"id": person.jid, "presences": shown})
        return ""

    def _call(self, instance: Instance, person: Person, _: str) -> str:
        """Somebody rings; with rejectCall and a text the phone answers by itself."""
        id_ = ids.received_message_id()
        call = {"chatId": person.jid, "from": person.jid, "id": id_, "date": ids.now_iso(), "offline": False}
        self._line.tell(instance, "call", call | {"status": "offer", "isVideo": False, "isGroup": False})
        if instance.settings["rejectCall"] and instance.settings["msgCall"]:
            self._answer(instance, person, instance.settings["msgCall"])
        return id_

    def _answer(self, instance: Instance, person: Person, text: str) -> None:
        """What Evolution writes to a caller: a messages.upsert, as if it had been typed on the phone."""
        id_ = ids.sent_message_id()
        key = {"remoteJid": person.jid, "fromMe": True, "id": id_}
        facts: dict[str, Any] = {"key": key, "content": {"conversation": text}, "context": ABSENT, "source": "web"}
        facts |= {"id": id_, "row_id": ids.row_id(), "jid": person.jid, "from_me": True, "name": "Você"}
        message = Message(text=text, status="PENDING", kind="conversation", **facts)
        keep(instance, message)
        self._line.tell(instance, "messages.upsert", upsert(instance, message))
        contact = {"remoteJid": person.jid, "pushName": "", "profilePicUrl": None, "instanceId": instance.id}
        self._line.tell(instance, "contacts.update", contact)

    def _history(self, instance: Instance, person: Person, text: str) -> str:
        """What a phone hands over after pairing: old messages, which are no live traffic."""
        old = [self._old(instance, person, f"{text} {number}") for number in range(HISTORY_MESSAGES)]
        contact = {"remoteJid": person.jid, "pushName": numbers.digits_of(person.jid), "profilePicUrl": None}
        self._line.tell(instance, "chats.set", [{"remoteJid": person.jid, "instanceId": instance.id}])
        self._line.tell(instance, "contacts.upsert", [contact | {"instanceId": instance.id}])
        self._line.tell(instance, "messages.set", old)
        return str(old[-1]["key"]["id"])

    def _old(self, instance: Instance, person: Person, text: str) -> dict[str, Any]:
        id_ = ids.received_message_id()
        return {
            "key": keys.key_of(self._profile, id_, person, group=None, from_me=False),
            "pushName": None,
            "message": {"conversation": text},
            "messageType": "conversation",
            "messageTimestamp": ids.epoch_s() - 86_400,
            "instanceId": instance.id,
            "source": "android",
        }

    def _last(self, instance: Instance, person: Person) -> dict[str, Any]:
        """The key of the last message of this contact, or one that nobody knows."""
        found = [one.key for one in instance.messages if one.jid == person.jid and not one.from_me]
        id_ = ids.received_message_id()
        return found[-1] if found else keys.key_of(self._profile, id_, person, group=None, from_me=False)


def keep(instance: Instance, message: Message) -> None:
    instance.message_count += 1
    instance.messages.append(message)


def upsert(instance: Instance, message: Message) -> dict[str, Any]:
    """`{key, pushName, status, message, contextInfo?, messageType, messageTimestamp, instanceId, source}`."""
    context = {} if message.context == ABSENT else {"contextInfo": message.context}
    return {
        "key": message.key,
        "pushName": message.name,
        "status": message.status,
        "message": message.content,
        **context,
        "messageType": message.kind,
        "messageTimestamp": message.at_s,
        "instanceId": instance.id,
        "source": message.source,
    }


def receipt(instance: Instance, message: Message, status: str) -> dict[str, Any]:
    """`{keyId, remoteJid, fromMe, status, instanceId, messageId}`."""
    body = {"keyId": message.id, "remoteJid": message.jid, "fromMe": True, "status": status}
    return body | {"instanceId": instance.id, "messageId": message.row_id}


def _bare(key: dict[str, Any]) -> dict[str, Any]:
    return {name: key[name] for name in ("remoteJid", "fromMe", "id")}


def _was_sent(message: Message, person: Person) -> bool:
    return message.from_me and message.jid == person.jid and message.key.get("id", "").startswith("3EB0")


def _now_ms() -> str:
    return f"{ids.epoch_s()}000"
