"""One message: where it stands, who wrote it, what it says and what is kept of it."""

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from manager.providers.evolution.content import KINDS
from manager.providers.evolution.events import read_event
from manager.providers.evolution.kinds import BESIDE, READERS, WRAPPERS, Opened, read_content
from manager.providers.port import MessageReported, Reading

SECONDS = 1795317373
ANA, LID, GROUP = "5511999990001@s.whatsapp.net", "77@lid", "120363000000000011@g.us"
OWN = "5511988887777@s.whatsapp.net"
FACTS = {"delivery_id": 7, "instance": "user_x", "received_at": datetime(2026, 11, 22, 12, 0, tzinfo=UTC)}


def read(*, event: str = "messages.upsert", **more: Any) -> Reading:
    key = {"remoteJid": ANA, "fromMe": False, "id": "A1"} | more.pop("key", {})
    data = {"key": key, "message": {"conversation": "Oi"}, "messageTimestamp": SECONDS, **more}
    return read_event(event, {"data": data, "sender": "5511988887777:4@s.whatsapp.net"}, dict(FACTS))


def only(**more: Any) -> MessageReported:
    (found,) = read(**more).events
    assert isinstance(found, MessageReported)
    return found


def said(message: object, **more: Any) -> tuple[str, str, Any]:
    found = only(message=message, **more)
    return found.kind, found.text, found.details


# ---- where and who ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "chat"),
    [
        ({"remoteJid": "5511999990001:12@s.whatsapp.net"}, (ANA,)),
        ({"remoteJid": "5511999990001@c.us"}, (ANA,)),
        ({"remoteJid": "5511999990001"}, (ANA,)),
        ({"remoteJid": "5511999990001@hosted"}, (ANA,)),
        ({"remoteJidAlt": ANA}, (ANA,)),
        ({"remoteJidAlt": "77:3@lid"}, (ANA, LID)),
        ({"remoteJid": LID, "senderPn": ANA}, (LID, ANA)),
        ({"senderLid": LID}, (ANA, LID)),
        ({"previousRemoteJid": LID, "senderPn": ANA}, (ANA, LID)),
        ({"remoteJid": LID, "remoteJidAlt": ""}, (LID,)),
        ({"remoteJid": "", "remoteJidAlt": ANA}, (ANA,)),
        ({"remoteJidAlt": "7" * 500 + "@lid"}, (ANA,)),
        ({"remoteJidAlt": {"not": "a text"}}, (ANA,)),
        ({"remoteJid": OWN, "remoteJidAlt": "5@lid"}, (OWN, "5@lid")),
        ({"remoteJid": "553188887777@s.whatsapp.net"}, ("553188887777@s.whatsapp.net",)),
    ],
)
def test_a_chat_is_known_by_all_names_of_the_other_person(key, chat):
    found = only(key=key)
    assert (found.chat, found.author, found.own) == (chat, chat, OWN)


def test_a_message_of_ours_has_no_author_and_none_of_our_own_names():
    found = only(key={"fromMe": True, "senderLid": "5@lid", "senderPn": OWN, "remoteJidAlt": LID})
    assert (found.chat, found.author, found.from_me, found.status) == ((ANA, LID), (), True, "pending")


@pytest.mark.parametrize(
    ("key", "author"),
    [
        ({"participant": LID, "participantAlt": ANA}, (LID, ANA)),
        ({"participant": LID, "participantPn": "5511999990001:2@s.whatsapp.net"}, (LID, ANA)),
        ({"participant": ANA, "participantLid": LID}, (ANA, LID)),
        ({"participant": ""}, ()),
        ({"participant": LID, "fromMe": True}, ()),
    ],
)
@pytest.mark.parametrize("chat", [GROUP, "status@broadcast"])
def test_in_a_group_and_in_the_status_list_the_participant_wrote(chat, key, author):
    found = only(key={"remoteJid": chat, "remoteJidAlt": LID, "senderPn": ANA, **key})
    assert (found.chat, found.author) == ((chat,), author)


@pytest.mark.parametrize(
    ("key", "issues"),
    [
        ({"remoteJid": "1@newsletter"}, ()),
        ({"remoteJid": "1234@broadcast"}, ()),
        ({"remoteJid": "1@bot"}, ("unknown_jid",)),
        ({"remoteJid": "1@bot", "remoteJidAlt": ANA}, ("unknown_jid",)),
        ({"remoteJid": None}, ("no_chat",)),
        ({"remoteJid": "@"}, ("no_chat",)),
        ({"id": None}, ("no_message_id",)),
        ({"id": ""}, ("no_message_id",)),
        ({"id": "A" * 5000}, ("no_message_id",)),
    ],
)
def test_a_message_without_an_address_is_not_reported(key, issues):
    assert read(key=key) == Reading(events=(), issues=issues)


@pytest.mark.parametrize(
    ("given", "name", "issues"),
    [
        ("Ana", "Ana", ()),
        ("", None, ()),
        (None, None, ()),
        ("a\0", "a\ufffd", ()),
        ({"a": 1}, None, ("bad_push_name",)),
        (7, None, ("bad_push_name",)),
        ("a" * 10**6, "a" * 200, ("bad_push_name",)),
    ],
)
def test_a_push_name_is_a_short_text(given, name, issues):
    found = read(pushName=given)
    assert isinstance(found.events[0], MessageReported)
    assert (found.events[0].push_name, found.issues) == (name, issues)


def test_a_status_is_the_gateways_or_what_the_direction_says():
    assert [only(status=status).status for status in ("READ", 2, None, "LOST", True)] == [
        "read", "sent", "delivered", "delivered", "delivered",
    ]  # fmt: skip
    assert only(key={"fromMe": True}, status="ERROR").status == "error"


def test_a_message_of_a_synchronisation_is_history():
    assert only(event="messages.set").history
    assert not only(event="send.message").history


# ---- what it says ----------------------------------------------------------------------------------------------

BUTTON = {"buttonParamsJson": '{"display_text":"Sim","id":"yes"}'}
CARD = "BEGIN:VCARD\nFN;CHARSET=UTF-8:Bia\nTEL;type=CELL;waid=5511999990002:+55 11 99999-0002\ntel:190\nEND:VCARD"
AMOUNT = {"low": 12000, "high": 0, "unsigned": False}
SAID: dict[str, tuple[object, str, str, Any]] = {
    "a bare string": ("Olá!", "text", "Olá!", None),
    "an empty text": ({"conversation": ""}, "text", "", None),
    "an empty text beside a picture": ({"conversation": "", "imageMessage": {"width": 3}},
                                       "image", "Foto", {"width": 3}),
    "nulls beside a text": ({"conversation": "Oi", "imageMessage": None}, "text", "Oi", None),
    "a link": (
        {"extendedTextMessage": {"text": "veja", "title": "T", "description": "D", "matchedText": "https://x"}},
        "text", "veja", {"linkPreview": {"title": "T", "description": "D"}},
    ),
    "a picture seen once": ({"imageMessage": {"viewOnce": True}}, "image", "Foto", {"viewOnce": True}),
    "a film": ({"videoMessage": {"caption": "olha", "seconds": "61"}}, "video", "olha", {"seconds": 61}),
    "a film without words": ({"videoMessage": {}}, "video", "Vídeo", None),
    "a GIF": ({"videoMessage": {"gifPlayback": True}}, "video", "GIF", {"gif": True}),
    "a video note": ({"ptvMessage": {"seconds": 65}}, "video_note", "Mensagem de vídeo (1:05)", {"seconds": 65}),
    "a sound": ({"audioMessage": {"seconds": 3661}}, "audio", "Áudio (1:01:01)", {"seconds": 3661}),
    "a sound of no length": ({"audioMessage": {"ptt": False}}, "audio", "Áudio", None),
    "a voice": ({"audioMessage": {"ptt": True, "seconds": 0}}, "voice", "Mensagem de voz (0:00)", {"seconds": 0}),
    "a file": ({"documentMessage": {"title": "a.pdf"}}, "document", "Documento: a.pdf", {"fileName": "a.pdf"}),
    "a file without a name": ({"documentMessage": {}}, "document", "Documento", None),
    "a file with words": (
        {"documentWithCaptionMessage": {"message": {"documentMessage": {"caption": "leia", "fileName": "a.pdf"}}}},
        "document", "leia", {"fileName": "a.pdf"},
    ),
    "a sticker": ({"stickerMessage": {"isAnimated": True}}, "sticker", "Figurinha", {"animated": True}),
    "a lottie sticker": (
        {"lottieStickerMessage": {"message": {"stickerMessage": {}}}}, "sticker", "Figurinha", None,
    ),
    "a place": ({"locationMessage": {"degreesLatitude": 0, "degreesLongitude": float("inf")}},
                "location", "Localização", {"latitude": 0.0}),
    "a moving place": ({"liveLocationMessage": {}}, "live_location", "Localização em tempo real", None),
    "a card": ({"contactMessage": {"vcard": CARD}}, "contact", "Contato: Bia",
               {"contacts": [{"name": "Bia", "phones": ["5511999990002", "190"]}]}),
    "an empty card": ({"contactMessage": {}}, "contact", "Contato", None),
    "cards": ({"contactsArrayMessage": {"contacts": [{"displayName": "Bia"}, {"displayName": "Caio"}, 7]}},
              "contacts", "Contatos: Bia, Caio",
              {"contacts": [{"name": "Bia", "phones": []}, {"name": "Caio", "phones": []}]}),
    "a poll": ({"pollCreationMessage": {"name": "Qual?", "options": [{"optionName": "A"}, {"x": 1}]}},
               "poll", "Enquete: Qual? (A)", {"question": "Qual?", "options": ["A"]}),
    "a wrapped poll": ({"pollCreationMessageV4": {"message": {"pollCreationMessage": {"selectableOptionsCount": 0}}}},
                       "poll", "Enquete", {"selectable": 0}),
    "an encrypted vote": ({"pollUpdateMessage": {"vote": {"encPayload": {"0": 1}}}},
                          "poll_vote", "Voto na enquete", None),
    "an appointment": (
        {"eventMessage": {"name": "Reunião", "location": {"name": "Loja"}, "startTime": {"low": SECONDS, "high": 0}}},
        "event", "Evento: Reunião", {"name": "Reunião", "address": "Loja", "startsAt": "2026-11-22T03:16:13+00:00"},
    ),
    "a past call": ({"callLogMesssage": {"isVideo": True, "durationSecs": "9"}},
                    "call", "Ligação de vídeo", {"video": True, "seconds": 9}),
    "an invitation": ({"groupInviteMessage": {"groupName": "Turma", "inviteCode": "CODE"}},
                      "invite", "Convite para o grupo: Turma", {"name": "Turma"}),
    "a list": ({"listMessage": {"title": "T", "description": "Escolha", "footerText": "F",
                                "sections": [{"rows": [{"title": "A"}, {"title": "B"}]}, 7]}},
               "list", "Escolha (A / B)", {"title": "T", "footer": "F", "options": ["A", "B"]}),
    "an empty list": ({"listMessage": {}}, "list", "Lista", None),
    "a choice by id": ({"listResponseMessage": {"singleSelectReply": {"selectedRowId": "r1"}}},
                       "list_reply", "r1", {"selected": ["r1"]}),
    "buttons": ({"buttonsMessage": {"contentText": "Ok?", "buttons": [{"buttonText": {"displayText": "Sim"}}]}},
                "buttons", "Ok? (Sim)", {"options": ["Sim"]}),
    "a template": (
        {"templateMessage": {"hydratedTemplate": {
            "hydratedContentText": "Oi", "hydratedTitleText": "T", "hydratedFooterText": "F",
            "hydratedButtons": [{"index": 0, "quickReplyButton": {"displayText": "Sim"}}]}}},
        "template", "Oi (Sim)", {"title": "T", "footer": "F", "options": ["Sim"]},
    ),
    "an interactive template": (
        {"templateMessage": {"interactiveMessageTemplate": {"body": {"text": "Oi"}}}}, "template", "Oi", None,
    ),
    "an interactive one": (
        {"interactiveMessage": {"header": {"title": "T"}, "body": {"text": "Oi"},
                                "nativeFlowMessage": {"buttons": [BUTTON, {"buttonParamsJson": "{"}, 7]}}},
        "interactive", "Oi (Sim)", {"title": "T", "options": ["Sim"]},
    ),
    "buttons sent as seen once": (
        {"viewOnceMessage": {"message": {"buttonsMessage": {"contentText": "Ok?"}}}}, "buttons", "Ok?", None,
    ),
    "an interactive answer": (
        {"interactiveResponseMessage": {"nativeFlowResponseMessage": {"paramsJson": '{"id":"yes"}'}}},
        "interactive_reply", "yes", {"selected": ["yes"]},
    ),
    "an order": ({"orderMessage": {"itemCount": 3, "totalAmount1000": AMOUNT, "totalCurrencyCode": "BRL"}},
                 "order", "Pedido: 3 itens, R$ 12,00", {"itemCount": 3, "amount": 12.0, "currency": "BRL"}),
    "an order of one": ({"orderMessage": {"itemCount": 1, "totalAmount1000": "1234567890", "totalCurrencyCode": "USD"}},
                        "order", "Pedido: 1 item, USD 1.234.567,89",
                        {"itemCount": 1, "amount": 1234567.89, "currency": "USD"}),
    "an empty order": ({"orderMessage": {}}, "order", "Pedido", None),
    "a product": ({"productMessage": {"product": {"title": "Bolo", "priceAmount1000": 59900, "currencyCode": "BRL"}}},
                  "product", "Produto: Bolo, R$ 59,90", {"title": "Bolo", "amount": 59.9, "currency": "BRL"}),
}  # fmt: skip


@pytest.mark.parametrize(("message", "kind", "text", "details"), SAID.values(), ids=SAID)
def test_a_content_says(message, kind, text, details):
    found = read(message=message)
    (one,) = found.events
    assert isinstance(one, MessageReported)
    assert (one.kind, one.text, one.details, found.issues) == (kind, text, details, ())


def test_every_kind_is_shown_here_or_in_the_samples():
    in_samples = {"contact", "buttons_reply", "template_reply"}
    assert {kind for _, kind, _, _ in SAID.values()} | in_samples | {"unsupported"} == KINDS


@pytest.mark.parametrize("name", READERS)
def test_every_content_may_lack_everything(name):
    assert read_content(Opened(name=name, body=[])) is None
    for body in ({}, dict.fromkeys(("text", "caption", "contextInfo", "options", "vcard", "product", "body")), ""):
        content = read_content(Opened(name=name, body=body))
        assert content is None or content.kind in KINDS


def test_wrappers_may_stand_in_each_other_in_any_order():
    wrappers = ("ephemeralMessage", "viewOnceMessageV2", "documentWithCaptionMessage", "groupMentionedMessage")
    for order in permutations(wrappers):
        wrapped: dict[str, object] = {"imageMessage": {"caption": "fundo"}}
        for wrapper in order:
            wrapped = {wrapper: {"message": wrapped, "other": 1}, "messageContextInfo": {}}
        assert said(wrapped) == ("image", "fundo", {"viewOnce": True})


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_is_taken_off(wrapper):
    (found,) = read(message={wrapper: {"message": {"conversation": "Oi"}}}).events
    assert found.text == "Oi"  # type: ignore[attr-defined]  # a message's or an edit's


def test_an_endless_wrapping_is_not_followed():
    wrapped: dict[str, object] = {"conversation": "fundo"}
    for _ in range(20):
        wrapped = {"ephemeralMessage": {"message": wrapped}}
    assert said(wrapped)[:2] == ("unsupported", "Mensagem não suportada")


@pytest.mark.parametrize(
    "message",
    [None, {}, 7, [], {"messageContextInfo": {"a": 1}}, {"senderKeyDistributionMessage": {"groupId": GROUP}},
     {"ephemeralMessage": {"message": {}}}, {"protocolMessage": {}}, {"imageMessage": None, "base64": "x"},
     *({name: {"a": 1}} for name in sorted(BESIDE))],
)  # fmt: skip
def test_noise_is_no_message_and_not_odd(message):
    assert read(message=message) == Reading(events=(), issues=())


@pytest.mark.parametrize(
    "message", [{"brandNewMessage": {"a": 1}}, {"conversation": {"no": "text"}}, {"imageMessage": "x"},
                {"extendedTextMessage": {"text": 7}}, {"messageContextInfo": {}, "brandNewMessage": {}}]
)  # fmt: skip
def test_what_nobody_knows_is_shown_as_such(message):
    found = read(message=message)
    (one,) = found.events
    assert isinstance(one, MessageReported)
    assert (one.kind, one.text, found.issues) == ("unsupported", "Mensagem não suportada", ("unknown_message",))


# ---- its surroundings ------------------------------------------------------------------------------------------

CONTEXT = {
    "stanzaId": "Q1", "mentionedJid": ["77:2@lid", ANA, 7], "isForwarded": True, "forwardingScore": 7,
    "expiration": 604800, "externalAdReply": {"title": "T", "sourceUrl": "https://fb.me/x", "thumbnailUrl": "no"},
}  # fmt: skip
AROUND = {
    "mentions": [LID, ANA], "forwarded": True, "forwardingScore": 7, "expirationSeconds": 604800,
    "ad": {"title": "T", "sourceUrl": "https://fb.me/x"},
}  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {"contextInfo": CONTEXT},
        {"message": {"extendedTextMessage": {"text": "Oi", "contextInfo": CONTEXT}}},
        {"message": {"extendedTextMessage": {"text": "Oi", "contextInfo": CONTEXT}}, "contextInfo": {"stanzaId": "Q9"}},
        {"message": {"extendedTextMessage": {"text": "Oi", "contextInfo": {"stanzaId": None}}}, "contextInfo": CONTEXT},
        {"message": {"ephemeralMessage": {"message": {"extendedTextMessage": {"text": "Oi", "contextInfo": CONTEXT}}}}},
    ],
)
def test_the_surroundings_stand_in_the_content_or_beside_it(more):
    found = only(**more)
    assert (found.text, found.quoted_id, found.details) == ("Oi", "Q1", AROUND)


@pytest.mark.parametrize("context", [None, {}, [], 7, {"isForwarded": False, "forwardingScore": 1, "expiration": 0,
                                                       "mentionedJid": [], "stanzaId": ""}])  # fmt: skip
def test_empty_surroundings_say_nothing(context):
    found = only(contextInfo=context)
    assert (found.quoted_id, found.details) == (None, None)


def test_a_message_that_the_phone_shows_once_says_so():
    assert only(key={"isViewOnce": True}).details == {"viewOnce": True}


def test_nothing_secret_stands_in_the_details():
    body = {"mediaKey": "K", "fileSha256": "H", "url": "https://x", "directPath": "/x", "jpegThumbnail": "P"}
    for name in ("imageMessage", "videoMessage", "audioMessage", "documentMessage", "stickerMessage", "ptvMessage"):
        assert only(message={name: body}).details is None


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("Oi", None),
        ({"conversation": "Oi", "messageContextInfo": {"a": 1}}, None),
        ({"extendedTextMessage": {"text": "Oi"}}, None),
        ({"ephemeralMessage": {"message": {"conversation": "Oi"}}}, None),
        (
            {"extendedTextMessage": {"text": "Oi", "contextInfo": {}}},
            {"extendedTextMessage": {"text": "Oi", "contextInfo": {}}},
        ),
        (
            {"viewOnceMessage": {"message": {"imageMessage": {"jpegThumbnail": "P"}}}, "base64": "x"},
            {"viewOnceMessage": {"message": {"imageMessage": {}}}},
        ),
        ({"brandNewMessage": {"key": [1, 2]}}, {"brandNewMessage": {"key": "AQI="}}),
    ],
)
def test_the_original_is_kept_where_there_is_more_than_a_text(message, kept):
    assert only(message=message).original == kept
