"""Logs: one line a record whatever people write, and never a secret, a phone number or a message's text."""

import io
import json
import logging
import runpy
import sys
import threading
from pathlib import Path

import pytest
import structlog
from hypothesis import assume, given
from hypothesis import strategies as st

from core.logs import HIDDEN, SECRET_NAMES, configure, redact, redact_text

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_abc"


@pytest.fixture
def logged(monkeypatch):
    """Everything the process logs, as it is written."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    for module in (sys, threading):  # put back afterwards what `configure` sets
        monkeypatch.setattr(module, "excepthook", module.excepthook)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before = structlog.get_config()
    structlog.reset_defaults()
    configure("INFO")
    structlog.configure(cache_logger_on_first_use=False)
    yield stream
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    structlog.configure(**before)


def records(stream):
    return [json.loads(line) for line in stream.getvalue().split("\n") if line]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Authorization: Bearer {JWT}", f"Authorization: {HIDDEN}"),
        (f"bearer  {JWT}", HIDDEN),
        (f"token {JWT} seen", f"token {HIDDEN} seen"),
        ("zt_AbCdEf0123456789", HIDDEN),
        ("whk_AbCdEf0123456789-_x", HIDDEN),
        ("POST /api/webhook/t/N2k1bGFkb3JzZWNyZXQ?x=1", f"POST /api/webhook/t/{HIDDEN}?x=1"),
        ("GET /login/AbC-dEf_1", f"GET /login/{HIDDEN}"),
        ("GET /login", "GET /login"),
        ("postgresql://zelador:hunter2@db/zelador", f"postgresql://{HIDDEN}@db/zelador"),
        ("http://127.0.0.1:8080/instance", "http://127.0.0.1:8080/instance"),
        ("5511999990001@s.whatsapp.net", "5511*****0001@s.whatsapp.net"),
        ("from 5511999990001 to 551133334444", "from 5511*****0001 to 5511*****4444"),
        ("+5511999990001", "+5511*****0001"),
        ("user_3f2b8c1e-5a47-4d0f-9c26-0b7a1d9e4c55", "user_3f2b8c1e-5a47-4d0f-9c26-0b7a1d9e4c55"),
        ("12 events in 1795317373 ms", "12 events in 1795317373 ms"),
        ("Connection refused", "Connection refused"),
    ],
)
def test_a_text_is_shown_without_what_must_stay_hidden(text, shown):
    assert redact_text(text) == shown


def test_what_has_a_secret_name_is_hidden_at_any_depth():
    event = {"apikey": "a", "Token": "b", "rows": [{"JWT_KEY": "c", "id": 5}], "pair": ({"password": "d"}, "e")}
    assert redact(event) == {
        "apikey": HIDDEN,
        "Token": HIDDEN,
        "rows": [{"JWT_KEY": HIDDEN, "id": 5}],
        "pair": [{"password": HIDDEN}, "e"],
    }


def test_bytes_are_hidden_and_numbers_kept():
    assert redact([b"body", 5, None, True, 1.5]) == [HIDDEN, 5, None, True, 1.5]


secrets = st.text(
    st.sampled_from("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"), min_size=20, max_size=40
)
plain = st.none() | st.integers() | st.text(max_size=10)


@given(
    secrets,
    st.sampled_from(sorted(SECRET_NAMES)),
    st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)),
    st.lists(st.sampled_from(["list", "dict", "tuple"]), max_size=4),
)
def test_a_planted_value_under_a_secret_name_never_comes_out(secret, name, beside, wraps):
    value: object = {name.upper(): secret, "beside": beside}
    for wrap in wraps:
        wrapped: dict[str, object] = {"list": [value, beside], "dict": {"inner": value}, "tuple": (value,)}
        value = wrapped[wrap]
    assert secret not in repr(redact(value))


@given(
    secrets,
    st.sampled_from(
        [
            "Authorization: Bearer {}",
            "bearer {}",
            "zt_{}",
            "whk_{}",
            "eyJ{}",
            "/api/webhook/t/{}",
            "/login/{}",
            "https://user:{}@gateway",
            "postgresql://{}@db",
        ]
    ),
    st.text(st.characters(exclude_categories=("L", "N", "Cs")), max_size=10),
)
def test_a_planted_secret_in_a_text_never_comes_out(secret, form, around):
    assume(not set(around) & set("-_"))
    assert secret not in redact_text(f"{around} {form.format(secret)} {around}")


@given(
    st.from_regex(r"55[1-9]{2}9[0-9]{8}", fullmatch=True), st.sampled_from(["{}", "{}@s.whatsapp.net", "de {} às 5"])
)
def test_a_phone_number_never_comes_out_whole(phone, form):
    assert phone not in redact_text(form.format(phone))


HOSTILE = 'one\ntwo\r\n{"action":"forged"}\x1b[31mred\x1b[0m\u2028\u2029\x85\0'


@pytest.mark.parametrize("library", [False, True], ids=["ours", "a library's"])
def test_a_record_is_one_line_whatever_is_in_it(logged, library):
    if library:
        logging.getLogger("library").warning("came: %s", HOSTILE)
    else:
        structlog.get_logger().warning("came", said=HOSTILE)
    assert len(logged.getvalue().splitlines()) == 1
    assert "\x1b" not in logged.getvalue()
    assert len(records(logged)) == 1


def test_a_record_has_its_action_level_and_time(logged):
    structlog.get_logger("zelador").info("delivery_set_aside", instance="user_x", count=3)
    (record,) = records(logged)
    assert (record["action"], record["level"], record["instance"], record["count"]) == (
        "delivery_set_aside",
        "info",
        "user_x",
        3,
    )
    assert record["timestamp"].endswith("Z")


def test_what_is_bound_to_a_request_stands_in_its_records(logged):
    with structlog.contextvars.bound_contextvars(request_id="abc"):
        structlog.get_logger().info("one")
        logging.getLogger("library").warning("two")
    assert [record["request_id"] for record in records(logged)] == ["abc", "abc"]


@pytest.mark.parametrize("library", [False, True], ids=["ours", "a library's"])
def test_a_traceback_is_one_line_without_secrets(logged, library):
    logger = logging.getLogger("library") if library else structlog.get_logger()
    try:
        raise ValueError("postgresql://u:hunter2hunter2@db said no\nto 5511999990001")
    except ValueError:
        logger.exception("crashed")
    (record,) = records(logged)
    assert record["action"] == "crashed"
    assert "ValueError" in record["exception"]
    assert "hunter2" not in logged.getvalue()
    assert "5511999990001" not in logged.getvalue()


def test_a_librarys_arguments_are_redacted_too(logged):
    logging.getLogger("library").warning("GET %s with Bearer %s", "/login/abcdefgh1234", JWT)
    assert "abcdefgh1234" not in logged.getvalue()
    assert JWT not in logged.getvalue()


def test_what_json_does_not_know_is_still_logged(logged):
    structlog.get_logger().info("odd", value=object(), text="\ud800")
    assert len(records(logged)) == 1


def test_below_the_level_nothing_is_written(logged):
    structlog.get_logger().debug("quiet")
    assert logged.getvalue() == ""


FAILED = """IntegrityError: (psycopg.errors.CheckViolation) new row violates check constraint "text"
DETAIL:  Failing row contains (7, so entre nos

e mais nada).
[SQL: INSERT INTO messages VALUES (%(id)s)]"""


@pytest.mark.parametrize("rest", ["", "\n\nThe above exception was the direct cause of the following exception:\n"])
def test_a_row_quoted_by_the_database_is_hidden(rest):
    detail = FAILED.partition("\n[SQL")[0]
    shown = redact_text(detail + rest)
    assert (shown.startswith("IntegrityError"), "entre nos" in shown, "mais nada" in shown) == (True, False, False)
    assert shown.endswith(rest)
    assert "INSERT INTO messages" in redact_text(FAILED)


def test_last_words_are_one_line_that_quotes_nothing(logged):
    try:
        raise ValueError("so entre nos")
    except ValueError:
        sys.excepthook(*sys.exc_info())
    thread = threading.Thread(target=lambda: dict[str, str]()["so entre nos"])
    thread.start()
    thread.join()
    quiet = threading.Thread(target=sys.exit)
    quiet.start()
    quiet.join()
    first, second = records(logged)
    assert (first["action"], first["level"], first["type"]) == ("unhandled_exception", "critical", "ValueError")
    assert (second["action"], second["type"]) == ("unhandled_exception", "KeyError")
    assert "test_last_words" in first["at"][-1]
    assert "entre nos" not in logged.getvalue()


def test_gunicorns_own_lines_are_redacted_too(logged, monkeypatch):
    own = logging.getLogger("gunicorn.error")
    plain_text = io.StringIO()
    monkeypatch.setattr(own, "handlers", [logging.StreamHandler(plain_text)])
    monkeypatch.setattr(own, "propagate", False)
    runpy.run_path(str(Path(__file__).parents[2] / "gunicorn.conf.py"))["post_fork"](None, None)
    own.error("Error handling request %s %s", "POST", "/api/webhook/t/N2k1bGFkb3JzZWNyZXQ")
    (record,) = records(logged)
    assert record["action"] == f"Error handling request POST /api/webhook/t/{HIDDEN}"
    assert plain_text.getvalue() == ""


def test_a_library_that_quotes_paths_is_silent_even_for_the_curious(logged):
    configure("DEBUG")
    logging.getLogger("urllib3.connectionpool").debug('http://ping.example "GET /planted HTTP/1.1" 200')
    assert "planted" not in logged.getvalue()
