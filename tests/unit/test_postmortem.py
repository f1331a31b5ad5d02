"""The report of an incident: made of codes, in both languages, for people."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from manager.providers.port import State
from monitor.casebook import IncidentRecord
from monitor.incidents import ACKNOWLEDGED, Step
from monitor.languages import english_report, portuguese_report
from monitor.policy.health import Action, HealthState, Kind, Policy
from monitor.policy.servers import ServerKind, ServerState
from monitor.postmortem import report, told
from monitor.texts import GRAVITY, REMINDER
from monitor.watching.actions import OUTCOMES
from monitor.watching.watched import SHOWS_CODE

AT = datetime(2026, 11, 22, 3, 17, tzinfo=UTC)
KINDS = [kind for kind in GRAVITY if kind != REMINDER]


def minutes(count):
    return AT + timedelta(minutes=count)


def incident(kind="down", **facts):
    known = {
        "id": 7,
        "gateway": "evolution",
        "instance_id": None,
        "instance_name": None if kind in set(ServerKind) else "user_1",
        "user_id": None,
        "organization_id": None,
        "kind": kind,
        "reason": None,
        "opened_at": AT,
        "closed_at": None,
        "acknowledged_at": None,
        "acknowledged_by": None,
        "reminded_at": None,
    }
    return IncidentRecord(**{**known, **facts})


def lines(found, code):
    return list(next(section.lines for section in found.sections if section.code == code))


STEPS = [
    Step(at=minutes(-2), kind="signal", code="reported", facts={"state": "disconnected", "reason": 408}),
    Step(at=minutes(-1), kind="verdict", code="check_failed", facts={"failures": 1}),
    Step(at=AT, kind="verdict", code="now_unhealthy", facts={"failures": 2}),
    Step(at=AT, kind="notice", code="down", facts={}),
    Step(at=minutes(1), kind="action", code="try_connect", facts={"number": 1}),
    Step(at=minutes(2), kind="action", code="answered", facts={"outcome": "provider_timeout"}),
    Step(at=minutes(3), kind="verdict", code="check_failed", facts={"times": 4, "until": minutes(6).isoformat()}),
    Step(at=minutes(7), kind="person", code="acknowledged", facts={}),
    Step(at=minutes(9), kind="notice", code="recovered", facts={}),
]


def test_a_report_tells_the_whole_story():
    found = report(incident(reason=408, closed_at=minutes(9)), STEPS)
    assert found.title == "Relato: ⚠️ WhatsApp sem conexão"
    assert lines(found, "happened") == [
        "O WhatsApp ficou sem conexão.",
        "A conexão com o WhatsApp expirou: a internet do celular ou do servidor oscilou.",
        "Começou em 22/11/2026 03:17 UTC e terminou em 22/11/2026 03:26 UTC, depois de 9 min.",
        "Conexão: user_1.",
    ]
    assert lines(found, "evidence") == [
        "22/11/2026 03:15 UTC: O servidor informou que a conexão caiu. A conexão com o WhatsApp expirou: a internet do"
        " celular ou do servidor oscilou.",
        "22/11/2026 03:16 UTC: O Zelador verificou e estava sem conexão.",
        "22/11/2026 03:17 UTC: Situação: com falhas.",
        "22/11/2026 03:20 UTC: O Zelador verificou e estava sem conexão. (4 vezes até 22/11/2026 03:23 UTC)",
        "22/11/2026 03:24 UTC: Alguém confirmou que já sabe do problema; os lembretes pararam.",
    ]
    assert lines(found, "done") == [
        "22/11/2026 03:17 UTC: Avisou: “⚠️ WhatsApp sem conexão”.",
        "22/11/2026 03:18 UTC: Tentou reconectar (tentativa 1).",
        "22/11/2026 03:19 UTC: O servidor não conseguiu atender o pedido.",
        "22/11/2026 03:26 UTC: Avisou: “Reconectado! ✅”.",
    ]
    assert lines(found, "advice") == ["Nada: está resolvido."]


def test_the_same_in_english():
    found = report(incident(reason=408, closed_at=minutes(9)), STEPS, "en")
    assert found.title == "Report: ⚠️ WhatsApp is offline"
    assert [section.title for section in found.sections] == [
        "What happened",
        "What was seen",
        "What Zelador did",
        "What you must do",
    ]
    assert lines(found, "done")[1] == "22/11/2026 03:18 UTC: It tried to reconnect (attempt 1)."


def test_plain_text_and_json_say_the_same():
    found = report(incident(closed_at=minutes(9)), STEPS)
    shown = found.as_dict()
    assert shown["text"] == found.text
    assert [section["code"] for section in shown["sections"]] == ["happened", "evidence", "done", "advice"]
    assert all(f"- {line}" in found.text for section in shown["sections"] for line in section["lines"])
    assert found.text.startswith("Relato: ⚠️ WhatsApp sem conexão\n\nO que aconteceu\n- O WhatsApp ficou sem conexão.\n")


@pytest.mark.parametrize("language", ["pt", "en"])
@pytest.mark.parametrize("closed_at", [None, minutes(90)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_all_four_parts(kind, closed_at, language):
    found = report(incident(kind, closed_at=closed_at), [Step(at=AT, kind="notice", code=kind)], language)
    assert [section.code for section in found.sections] == ["happened", "evidence", "done", "advice"]
    assert all(section.lines for section in found.sections)
    assert not re.search(r"[{}]|None", found.text)


def test_an_open_incident_says_what_to_do():
    found = report(incident("needs_qr", reason=401), [])
    assert lines(found, "happened")[2] == "Começou em 22/11/2026 03:17 UTC e ainda não terminou."
    assert lines(found, "done") == ["Não tentou reconectar: sem um novo QR Code não adianta."]
    assert "Reconectar Agora" in lines(found, "advice")[0]


def test_what_is_over_says_how_not_to_have_it_again():
    found = report(incident("conflict", closed_at=minutes(5)), [])
    assert lines(found, "advice") == [
        "Nada: está resolvido.",
        "Para não se repetir: use esta conexão em um lugar só.",
    ]


def test_what_came_back_by_itself_says_so():
    found = report(incident(closed_at=minutes(1)), STEPS[:4])
    assert lines(found, "done")[0] == "Não precisou reconectar: a conexão voltou sozinha."


def test_a_server_is_named_as_one():
    found = report(incident("gateway_down"), [Step(at=AT, kind="verdict", code="gateway_down", facts={"faults": 3})])
    assert lines(found, "happened")[-1] == "Servidor: evolution."
    assert lines(found, "evidence") == ["22/11/2026 03:17 UTC: O servidor não respondeu várias vezes seguidas."]


CODES = [
    *(("verdict", f"now_{state}", {}) for state in HealthState),
    *(("verdict", f"policy_{policy}", {}) for policy in Policy),
    *(("verdict", f"gateway_{state}", {}) for state in ServerState),
    ("verdict", "check_failed", {}),
    *(("signal", "reported", {"state": state}) for state in State if state is not State.UNKNOWN),
    *(("action", f"try_{action}", {"number": 2}) for action in Action),
    *(("action", "answered", {"outcome": word}) for word in (*OUTCOMES.values(), SHOWS_CODE, "asked", "crashed", "x")),
    *(("notice", kind, {}) for kind in (*Kind, *ServerKind)),
    ("person", ACKNOWLEDGED, {}),
    ("person", "parted", {}),
]


@pytest.mark.parametrize("language", ["pt", "en"])
@pytest.mark.parametrize(("kind", "code", "facts"), CODES)
def test_every_code_of_a_timeline_has_its_words(kind, code, facts, language):
    assert told(Step(at=AT, kind=kind, code=code, facts=facts), language)


@pytest.mark.parametrize("kind", ["signal", "verdict", "action", "notice", "person"])
def test_a_code_that_nobody_knows_is_left_out(kind):
    step = Step(at=AT, kind=kind, code="something_new")
    assert told(step) is None
    assert "something_new" not in report(incident(), [step]).text


def test_the_languages_have_the_same_words():
    for table in ("headings", "frame", "happened", "restraint", "advice", "lessons", "steps"):
        portuguese, english = (getattr(one, table) for one in (portuguese_report.PT, english_report.EN))
        assert portuguese.keys() == english.keys(), table
        for code, text in portuguese.items():
            assert re.findall(r"{\w+}", text) == re.findall(r"{\w+}", english[code]), code
