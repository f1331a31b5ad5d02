"""The outside of a delivery: no secret gets in, every spelling is one event, and a refusal says what is wrong."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Malformed
from webhooks.envelope import (
    PARSED_BELOW,
    Envelope,
    event_name,
    open_envelope,
    parse,
    peek_instance,
    scrub,
)

CANARY = "CANARY-0b3c9e"
NAMES = ("apikey", "api_key", "destination", "instanceToken", "keyData")
MB = 1024 * 1024

# ---- scrub -----------------------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "a string": CANARY,
    "a string with quotes and backslashes": f'a"b\\{CANARY}\\"',
    "a string with braces": f"}}{{]{CANARY}[",
    "an object": {"nested": CANARY},
    "an object with braces in its text": {"a}": "}{", "b": CANARY},
    "objects in objects": {"a": {"b": {"c": {"d": CANARY}}}, "e": CANARY},
    "a buffer": {"type": "Buffer", "data": [67, 65, 78], "text": CANARY},
    "a list": [CANARY, [CANARY, {"a": CANARY}]],
    "1 MB": CANARY + "x" * MB,
}


@pytest.mark.parametrize("name", [*NAMES, "APIKEY", "ApiKey", "INSTANCETOKEN"])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_secret_is_cut_out_and_the_rest_stays_as_it_was(name, value):
    document = {"event": "x", name: value, "data": {"text": "Olá, 👋", name: value, "list": [{name: value}]}, "z": 1}
    expected = {"event": "x", name: None, "data": {"text": "Olá, 👋", name: None, "list": [{name: None}]}, "z": 1}
    for ascii_only in (True, False):
        for spaces in (None, 2):
            body = json.dumps(document, ensure_ascii=ascii_only, indent=spaces).encode()
            assert json.loads(scrub(body)) == expected


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b'{"apikey":"CANA', b'{"apikey":null'),
        (b'{"apikey":"CANA\\', b'{"apikey":null'),
        (b'{"apikey":"CANA\\"RY","event":"x"', b'{"apikey":null,"event":"x"'),
        (b'{"a":1,"apikey"  :\n\t "CANARY" ,"b', b'{"a":1,"apikey"  :\n\t null ,"b'),
        (b'{"apikey":{"a":"CANA', b'{"apikey":null'),
        (b'{"apikey":{"a":{"b":["CANA', b'{"apikey":null'),
        (b'{"apikey":["CANARY","CANARY"', b'{"apikey":null'),
        (b'{"apikey":CANARY,"b":1}', b'{"apikey":null,"b":1}'),
        (b'{"apikey":"CANARY"CANARY}', b'{"apikey":null}'),
        (b'{"apikey":12e4}', b'{"apikey":null}'),
        (b'{"apikey":', b'{"apikey":'),
        (b'"apikey":"CANARY"', b'"apikey":null'),
    ],
)
def test_a_secret_is_cut_out_of_broken_json_too(body, left):
    assert scrub(body) == left


@pytest.mark.parametrize(
    "text",
    [
        "a apikey é abc123",
        'manda assim: {"apikey":"abc","destination":"http://x"}',
        '\\"apikey":"x"',
        "apikey",
        'keyData": "x',
    ],
)
def test_a_message_that_talks_about_keys_is_left_alone(text):
    for document in ({"message": {"conversation": text}}, [text, {"name": text}], {"myapikey": text, "apikeys": 1}):
        body = json.dumps(document, ensure_ascii=False).encode()
        assert scrub(body) == body


HOSTILE = {
    "keys in keys": b'{"apikey":' * 10_000,
    "open lists": b'"apikey":' + b"[" * 100_000,
    "open objects": b'"apikey":' + b"{" * 100_000,
    "backslashes": b'"apikey":"' + b"\\" * 100_001,
    "quotes": b'"apikey":' + b'"' * 100_000,
    "spaces": b'"apikey"' + b" " * 100_000,
    "keys and spaces": b'"apikey"   ' * 10_000,
    "pairs that never close": b'"apikey":{"a":{"b":[1,' * 5_000,
    "keys without end": b'"destination' * 10_000,
    "nested and long": b'{"apikey":{"a":' * 200 + b'"x"' * 30_000,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bodies_take_no_hostile_time(body):
    assert scrub(scrub(body)) == scrub(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PLANTED = st.recursive(
    st.text().map(lambda text: text + CANARY),
    lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)


@settings(deadline=None)
@given(
    document=st.dictionaries(st.text(max_size=12), JSON, max_size=6),
    name=st.sampled_from(NAMES),
    secret=PLANTED,
    place=st.integers(0, 6),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_no_planted_secret_survives_and_json_stays_json(document, name, secret, place, ascii_only, indent):
    pairs = [(key, value) for key, value in document.items() if key.lower() not in {n.lower() for n in NAMES}]
    pairs.insert(place, (name, secret))
    body = json.dumps(dict(pairs), ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    scrubbed = scrub(body)
    assert CANARY.encode() not in scrubbed
    assert scrub(scrubbed) == scrubbed
    assert json.loads(scrubbed.decode("utf-8", "surrogatepass"))[name] is None


PIECES = st.sampled_from(
    [b'"apikey"', b'"keyData":', b":", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b" ", b"x", b"1"]
)


@settings(deadline=None)
@given(st.binary() | st.lists(PIECES, max_size=30).map(b"".join))
def test_scrub_takes_any_bytes_and_twice_is_once(body):
    assert scrub(scrub(body)) == scrub(body)


# ---- names -----------------------------------------------------------------------------------------------------

EVENTS = (
    "application.startup", "qrcode.updated", "messages.set", "messages.upsert", "messages.edited", "messages.update",
    "messages.delete", "send.message", "send.message.update", "contacts.set", "contacts.upsert", "contacts.update",
    "presence.update", "chats.set", "chats.upsert", "chats.update", "chats.delete", "groups.upsert", "groups.update",
    "group-participants.update", "connection.update", "labels.edit", "labels.association", "call", "typebot.start",
    "typebot.change-status", "instance.create", "instance.delete", "remove.instance", "logout.instance",
    "status.instance", "messaging-history.set", "error", "brand.new.event",
)  # fmt: skip


@pytest.mark.parametrize("name", EVENTS)
def test_every_spelling_is_one_event(name):
    parts = name.replace("-", ".").split(".")
    for spelling in (name, ".".join(parts), "-".join(parts), "_".join(parts)):
        assert event_name(spelling) == event_name(spelling.upper()) == event_name(spelling.title()) == name
        assert open_envelope(b"{}", suffix=spelling).event == name


ODD: tuple[object, ...] = (None, 7, True, [], {})


@pytest.mark.parametrize(
    ("document", "envelope"),
    [
        ({"event": "call", "instance": "user_1"}, Envelope(event="call", instance="user_1")),
        ({"event": "MESSAGES_UPSERT"}, Envelope(event="messages.upsert")),
        ({"event": "call", "instance": {"instanceName": "a"}}, Envelope(event="call", instance="a")),
        ({"event": "call", "instance": {"name": "a", "id": 3}}, Envelope(event="call", instance="a")),
        ({"event": "call", "instance": {}}, Envelope(event="call")),
        ({"event": "call", "instance": None}, Envelope(event="call")),
        ({"event": "call", "instance": ""}, Envelope(event="call")),
        ({}, Envelope(problem="no_event")),
        ({"instance": "user_1"}, Envelope(instance="user_1", problem="no_event")),
        *(
            ({"event": odd, "instance": "a"}, Envelope(instance="a", problem="bad_event"))
            for odd in (*ODD, "", "a" * 65, "x\ny", "../../x", "ação", "a\0b", "mensagens novas")
        ),
        *(
            ({"event": "call", "instance": odd}, Envelope(event="call", problem="unknown_instance"))
            for odd in ("уser_42", "user_42 ", " ", "joão", "a" * 63 + "é")
        ),
        *(
            ({"event": "call", "instance": odd}, Envelope(event="call", problem="bad_instance"))
            for odd in ("../x", "a" * 65, "a\0", "a\nb", "a%00", 7, [], ["a"], {"name": 7}, {"name": {"name": "a"}})
        ),
    ],
)
def test_the_envelope_says_event_and_instance_or_what_is_wrong(document, envelope):
    assert open_envelope(json.dumps(document).encode()) == envelope


def test_the_suffix_counts_only_where_the_body_names_no_event():
    assert open_envelope(b'{"instance":"a"}', suffix="qrcode-updated").event == "qrcode.updated"
    assert open_envelope(b'{"event":"call"}', suffix="qrcode-updated").event == "call"
    assert open_envelope(b'{"event":7}', suffix="qrcode-updated").problem == "bad_event"
    assert open_envelope(b"{}", suffix="a b").problem == "bad_event"


def test_a_large_body_is_not_parsed_while_the_sender_waits():
    body = b'{"event":"call","instance":"user_1","data":"' + b"x" * PARSED_BELOW
    assert open_envelope(body) == Envelope()
    assert open_envelope(body, suffix="messages-upsert") == Envelope(event="messages.upsert")
    assert peek_instance(body) == "user_1"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"event":"x","instance" : "a-b_C9","data":{"instance":"other"}', "a-b_C9"),
        (b'{"instance":"a b"}', None),
        (b'{"instance":{"instanceName":"a"}}', None),
        (b"\xff\xfe", None),
        (b" " * 65_536 + b'{"instance":"a"}', None),
        (b'"instance":"' + b"a" * 65 + b'"', None),
    ],
)
def test_the_first_instance_name_is_found_without_parsing(body, found):
    assert peek_instance(body) == found


# ---- refusals --------------------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "INVALID_JSON"),
    "cut off": (b'{"event":"call","insta', "INVALID_JSON"),
    "something behind it": (b'{"event":"x"}garbage', "INVALID_JSON"),
    "two documents": (b"{}{}", "INVALID_JSON"),
    "single quotes": (b"{'event':'x'}", "INVALID_JSON"),
    "a comment": (b'{"event":"x"/*c*/}', "INVALID_JSON"),
    "a comma too many": (b'{"event":"x",}', "INVALID_JSON"),
    "a raw line break in a string": (b'{"event":"a\nb"}', "INVALID_JSON"),
    "NaN": (b'{"n":NaN}', "INVALID_JSON"),
    "-Infinity": (b'{"n":[-Infinity]}', "INVALID_JSON"),
    "NaN and a key twice": (b'{"event":"x","event":"x","n":NaN}', "INVALID_JSON"),
    "a list": (b'[{"event":"x"}]', "NOT_AN_OBJECT"),
    "null": (b"null", "NOT_AN_OBJECT"),
    "a number": (b"42", "NOT_AN_OBJECT"),
    "a string": (b'"event"', "NOT_AN_OBJECT"),
    "a number of 5,000 digits": (b'{"n":%s}' % (b"9" * 5_000), "NUMBER_TOO_LONG"),
    "10,000 objects deep": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "TOO_DEEP"),
    "100,000 lists deep": (b'{"a":' + b"[" * 100_000, "TOO_DEEP"),
    "Latin-1": ('{"n":"é"}'.encode("latin-1"), "INVALID_ENCODING"),
    "UTF-16": ('{"event":"x"}'.encode("utf-16"), "INVALID_ENCODING"),
    "an encoded surrogate": (b'{"n":"\xed\xa0\x80"}', "INVALID_ENCODING"),
    "event twice": (b'{"event":"a","event":"b"}', "DUPLICATE_KEY"),
    "the same event twice": (b'{"event":"a","instance":"x","event":"a"}', "DUPLICATE_KEY"),
    "instance twice": (b'{"instance":"a","data":{},"instance":"b"}', "DUPLICATE_KEY"),
    "event twice, and very deep": (b'{"event":"a","event":' + b"[" * 100_000, "TOO_DEEP"),
}


@pytest.mark.parametrize(("body", "code"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_says_what_is_wrong(body, code):
    with pytest.raises(Malformed) as refused:
        open_envelope(body)
    assert refused.value.code == code
    assert refused.value.http_status == 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":"call","data":{"event":"a","event":"b"}}',
        b'{"event":"call","data":[{"event":1},{"event":2,"instance":"b"}],"instance":"a"}',
        b'{"event":"call","data":{"id":1,"id":2}}',
        b'\xef\xbb\xbf{"event":"call"}',
        b' \r\n\t{"event":"call"}\n',
        b'{"event":"call","data":{"n":1e400,"text":"\\ud800\\u0000"}}',
    ],
)
def test_odd_but_readable_json_is_read(body):
    assert parse(body)["event"] == "call"
    assert open_envelope(body).problem is None


@settings(deadline=None)
@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_an_envelope_or_a_refusal_with_a_code(body):
    try:
        envelope = open_envelope(body)
    except Malformed as refused:
        code = refused.code
    else:
        code = (envelope.event or "CALL").upper()
    assert code.isascii()
    assert code == code.upper()
