"""Places, people, polls, appointments, calls and invitations. Readers of `kinds`. Pure."""

import re
from typing import Any

from manager.providers.evolution.content import Body, Content, known, labelled, with_options
from manager.providers.evolution.values import (
    called,
    clean,
    count,
    identifier,
    items,
    mapping,
    moment,
    real,
    said,
    text,
)

PHONE = re.compile(r"^(?:item\d+\.)?TEL([^:\r\n]*):([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
WAID = re.compile(r"waid=([0-9]+)", re.IGNORECASE)
FULL_NAME = re.compile(r"^FN[^:\r\n]*:([^\r\n]*)", re.MULTILINE | re.IGNORECASE)


def location(body: Body) -> Content:
    """`{"degreesLatitude":-23.5,"degreesLongitude":-46.6,"name":"Loja","address":"Rua X"}`"""
    words = labelled("Localização", body.get("name"), body.get("address"))
    return Content(kind="location", text=words, details=_place(body))


def live_location(body: Body) -> Content:
    words = said(body.get("caption")) or "Localização em tempo real"
    return Content(kind="live_location", text=words, details=_place(body))


def contact(body: Body) -> Content:
    """`{"displayName":"Bia","vcard":"BEGIN:VCARD\\n…TEL;waid=5511…:+55 11…"}`"""
    found = _card(body)
    return Content(kind="contact", text=labelled("Contato", found.get("name")), details=known(contacts=_list([found])))


def contacts(body: Body) -> Content:
    """`{"displayName":"2 contatos","contacts":[…as in contact…]}`"""
    found = [_card(mapping(one)) for one in items(body.get("contacts"))]
    words = labelled("Contatos", *(one.get("name") for one in found))
    return Content(kind="contacts", text=words, details=known(contacts=_list(found)))


def poll(body: Body) -> Content:
    """`{"name":"Qual?","options":[{"optionName":"A"},…],"selectableOptionsCount":1}`; 0 selectable: any number."""
    options = [name for one in items(body.get("options")) if (name := said(mapping(one).get("optionName")))]
    asked, most = said(body.get("name")), count(body.get("selectableOptionsCount"))
    found = known(question=asked, options=options, selectable=most)
    return Content(kind="poll", text=with_options(labelled("Enquete", asked), options), details=found)


def poll_vote(body: Body) -> Content:
    """`{"pollCreationMessageKey":{"id"},"vote":{"selectedOptions":["A"]}}`; up to 2.3.6 the vote is encrypted."""
    chosen = [name for one in items(mapping(body.get("vote")).get("selectedOptions")) if (name := said(one))]
    asked = identifier(mapping(body.get("pollCreationMessageKey")).get("id"))
    return Content(kind="poll_vote", text="Voto na enquete", details=known(pollId=asked, selected=chosen))


def event(body: Body) -> Content:
    """`{"name":"Reunião","description":"…","location":{"name":"…"},"startTime":1761400001}`; a planned call has
    `title` and `scheduledTimestampMs`.
    """
    name = said(body.get("name")) or said(body.get("title"))
    begin = moment(body.get("startTime") or body.get("scheduledTimestampMs"))
    place = _place(mapping(body.get("location")))
    address = place.pop("address", None) or place.pop("name", None)
    found = place | known(name=name, address=address, startsAt=begin.isoformat() if begin else None)
    return Content(kind="event", text=labelled("Evento", name), details=found)


def call_log(body: Body) -> Content:
    """A call in the history: `{"isVideo":false,"callOutcome":1,"durationSecs":{…}}`"""
    return call(video=body.get("isVideo") is True, seconds=count(body.get("durationSecs")))


def call(*, video: bool, seconds: int | None = None) -> Content:
    words = "Ligação de vídeo" if video else "Ligação de voz"
    return Content(kind="call", text=words, details=known(video=video, seconds=seconds))


def invite(body: Body) -> Content:
    """`{"groupJid":"…@g.us","inviteCode":"…","groupName":"Turma","caption":"…"}`; the code is a key and no detail."""
    words = said(body.get("caption")) or labelled("Convite para o grupo", body.get("groupName"))
    return Content(kind="invite", text=words, details=known(name=called(body.get("groupName"))))


def _place(body: Body) -> dict[str, Any]:
    """Degrees, metres."""
    return known(name=said(body.get("name")), address=said(body.get("address"))) | {
        key: number
        for key, given in (
            ("latitude", "degreesLatitude"),
            ("longitude", "degreesLongitude"),
            ("accuracyMeters", "accuracyInMeters"),
        )
        if (number := real(body.get(given))) is not None
    }


def _card(body: Body) -> dict[str, Any]:
    """A name and phone numbers: digits where WhatsApp knows the number (`waid`), else as they are written."""
    card = text(body.get("vcard"))
    full_name = FULL_NAME.search(card)
    phones = [_phone(parameters, number) for parameters, number in PHONE.findall(card)]
    name = said(body.get("displayName")) or said(full_name[1] if full_name else None)
    return known(name=name, phones=[phone for phone in dict.fromkeys(phones) if phone])


def _phone(parameters: str, number: str) -> str:
    known_to_whatsapp = WAID.search(parameters)
    return known_to_whatsapp[1] if known_to_whatsapp else clean(number).strip()


def _list(cards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"phones": []} | card for card in cards if card]
