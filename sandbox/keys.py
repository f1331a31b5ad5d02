"""The key of a message that comes in: who wrote, in the words of each version. Pure."""

import hashlib
from dataclasses import dataclass
from typing import Any

from sandbox.profiles import Profile


@dataclass(frozen=True)
class Person:
    """`phone` and `lid` are JIDs; one of them may be unknown to WhatsApp's message. `by_phone`: both are known, and
    the message still came under the number."""

    phone: str | None
    lid: str | None = None
    by_phone: bool = False

    @property
    def jid(self) -> str:
        return self.phone or self.lid or ""


def person_of(jid: str) -> Person:
    return Person(None, jid) if jid.endswith("@lid") else Person(jid)


def with_lid(person: Person, *, by_phone: bool) -> Person:
    """The same person, known by LID too: fifteen digits that stay with the number."""
    made_up = int(hashlib.sha256(person.jid.encode()).hexdigest(), 16) % 10**14
    return person if person.lid else Person(person.phone, f"1{made_up:014}@lid", by_phone)


def key_of(profile: Profile, id_: str, person: Person, *, group: str | None, from_me: bool) -> dict[str, Any]:
    """The whole key. In a group the person stands in `participant`, else in `remoteJid`."""
    names = _names(profile, person)
    if group is None:
        key = {**names, "fromMe": from_me, "id": id_}
        return key if profile.bare_keys else key | {"participant": "", "addressingMode": _mode(profile, person)}
    key = {"remoteJid": group, "fromMe": from_me, "id": id_, "participant": names["remoteJid"]}
    if "remoteJidAlt" in names:
        key["participantAlt"] = names["remoteJidAlt"]
    return key if profile.bare_keys else key | {"addressingMode": _mode(profile, person)}


def _names(profile: Profile, person: Person) -> dict[str, str]:
    """`remoteJid` and what stands beside it for a person whose LID and number are both known."""
    phone, lid = person.phone, person.lid
    if phone is None or lid is None:
        return {"remoteJid": person.jid}
    if person.by_phone:
        return {"remoteJid": phone, **_beside(profile, lid)}
    return {
        "alone": {"remoteJid": lid},
        "sender_pn": {"remoteJid": lid, "senderPn": phone},
        "alt": {"remoteJid": lid, "remoteJidAlt": phone},
        "lost": {"remoteJid": phone, "remoteJidAlt": phone},
        "swapped": {"remoteJid": phone, "remoteJidAlt": lid},
    }[profile.lid]


def _beside(profile: Profile, lid: str) -> dict[str, str]:
    return {"alone": {}, "sender_pn": {"senderLid": lid}}.get(profile.lid, {"remoteJidAlt": lid})


def _mode(profile: Profile, person: Person) -> str:
    if person.lid is None or person.by_phone or (profile.lid == "swapped" and person.phone is not None):
        return "pn"
    return "lid"
