"""What contacts do: their messages, edits, calls and receipts become the webhooks Evolution sends for them."""

from functools import partial
from typing import Any

from sandbox import ids, keys, numbers, samples
from sandbox.encoding import encoded
from sandbox.errors import ControlError
from sandbox.keys import Person
from sandbox.line import Line
from sandbox.profiles import Profile
from sandbox.samples import Sample
from sandbox.scenes import Scenes, keep, upsert
from sandbox.state import Instance, Message, World


class Inbound:
    """Everything that reaches the phone. Methods may be called from any thread."""

    def __init__(self, world: World, line: Line, scenes: Scenes, profile: Profile) -> None:
        self._world = world
        self._line = line
        self._scenes = scenes
        self._profile = profile

    def receive(
        self, instance: Instance, sender: str, text: str, name: str | None, sample: str = "text", id_: str | None = None
    ) -> str:
        """Somebody does something; gives the id of the message, `id_` when it is given.

        Raises ControlError 409 unless it is open.
        """
        person = keys.person_of(numbers.jid_of(sender))
        with self._world.lock:
            if instance.live.state != "open":
                raise ControlError(409, f'instance "{instance.name}" is not open')
            if instance.live.mode == "half_open":  # it is written, and never gets here
                return ids.received_message_id()
            if sample in samples.SCENES:
                return self._scenes.play(sample, instance, person, text)
            if sample in ("lid", "pn_lid"):
                person = keys.with_lid(person, by_phone=sample == "pn_lid")
            message = self._message(instance, person, text, None if sample == "no_name" else name, sample, id_)
            self._arrive(instance, message)
            return message.id

    def _message(
        self, instance: Instance, person: Person, text: str, name: str | None, sample: str, id_: str | None
    ) -> Message:
        built = samples.CONTENTS.get(sample, samples.CONTENTS["text"])(text)
        own, id_ = sample == "own_phone", id_ or ids.received_message_id()
        group = next(iter(numbers.KNOWN_GROUPS)) if sample == "group" else None
        key = keys.key_of(self._profile, id_, person, group=group, from_me=own)
        return Message(
            id=id_,
            row_id=ids.row_id(),
            jid=key["remoteJid"],
            from_me=own,
            name=instance.profile_name if own else name,
            text=built.text,
            status="SERVER_ACK" if own else "DELIVERY_ACK",
            kind=built.kind,
            key=key,
            content=self._content(instance, built, group),
            context=built.context,
        )

    def _content(self, instance: Instance, built: Sample, group: str | None) -> dict[str, Any]:
        """The first message in a group brings the sender's key along."""
        first = group is not None and group not in instance.contacts
        key_material = {"senderKeyDistributionMessage": _sender_key(group)} if first else {}
        content: dict[str, Any] = encoded(key_material | built.content, self._profile)
        if built.raw is not None and instance.live.base64:
            content["base64"] = ids.base64_text(built.raw)
        return content

    def _arrive(self, instance: Instance, message: Message) -> None:
        """chats.update and contacts.update come whatever happens to the message itself."""
        group = message.jid.endswith("@g.us")
        if group and instance.settings["groupsIgnore"]:
            return
        repeated = self._profile.drops_repeats and message.id in instance.live.seen
        instance.live.seen.append(message.id)
        self._scenes.touch(instance, message.jid)
        # Evolution takes nothing in any more after an API logout: neither stored nor told.
        if not repeated and not instance.live.inbound_dead:
            self._line.take(instance, partial(self._take_in, instance, message))

    def _take_in(self, instance: Instance, message: Message) -> None:
        known = message.jid in instance.contacts
        instance.contacts[message.jid] = message.name
        keep(instance, message)
        self._line.tell(instance, "messages.upsert", upsert(instance, message))
        named = {"remoteJid": message.jid, "pushName": "" if message.from_me else message.name or ""}
        contact = {**named, "profilePicUrl": None, "instanceId": instance.id}
        self._line.tell(instance, "contacts.update" if known else "contacts.upsert", contact)


def _sender_key(group: str | None) -> dict[str, Any]:
    return {"groupId": group, "axolotlSenderKeyDistributionMessage": bytes(range(78))}
