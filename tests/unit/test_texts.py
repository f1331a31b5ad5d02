"""What people are told: every kind in both languages, the seed's exact words, only what is known."""

import re
from itertools import pairwise

import pytest

from manager.fold import REASONS
from monitor.languages.english import EN
from monitor.languages.portuguese import PT
from monitor.policy.health import Deaf, Kind
from monitor.policy.servers import ServerKind
from monitor.texts import GRAVITY, REMINDER, duration, reason_word, severity, words

KINDS = [*Kind, *ServerKind, REMINDER]
FACTS = {
    "instanceName": "user_1",
    "gateway": "evolution",
    "reason": 408,
    "failures": 2,
    "attempts": 3,
    "since": "2026-11-22T03:17:00+00:00",
    "seconds": 180,
    "affected": 12,
    "deaf": "silent",
}
BANS = (402, 403, 406)


@pytest.mark.parametrize("language", ["pt", "en"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_something_with_and_without_facts(kind, language):
    for facts in ({}, FACTS, dict.fromkeys(FACTS)):
        said = words(kind, facts, language)
        assert said.title
        assert len(said.text) > 20
        assert not re.search(r"[{}]|None|  ", said.title + said.text)
        assert said.text[-1] == "."


@pytest.mark.parametrize("kind", KINDS)
def test_both_languages_offer_the_same(kind):
    portuguese, english = words(kind, FACTS), words(kind, FACTS, "en")
    assert portuguese.text != english.text
    assert (portuguese.action is None) == (english.action is None)


def test_the_languages_have_the_same_texts():
    for table in ("texts", "actions", "reasons", "deaf", "counts"):
        assert getattr(PT, table).keys() == getattr(EN, table).keys(), table
    for kind, (_, sentences, action) in PT.texts.items():
        _, others, other_action = EN.texts[kind]
        named = [set(re.findall(r"{(\w+)}", " ".join(text))) for text in (sentences, others)]
        assert (named[0], action) == (named[1], other_action), kind


def test_the_seeds_words_are_exact():
    """D019–D022."""
    assert words(Kind.DOWN, {}).title.startswith("⚠️")
    assert words(Kind.RECOVERED, {}).title == "Reconectado! ✅"
    failed = words(Kind.RECONNECT_FAILED, {})
    assert (failed.title, failed.action) == ("Reconexão falhou ❌", "Reconectar Agora")


def test_the_text_says_why_it_stopped_and_what_to_do():
    said = words(Kind.NEEDS_QR, {"reason": 401, "instanceName": "user_1"})
    assert said.text == (
        "Seu WhatsApp foi desconectado e só volta com um novo QR Code. O aparelho foi desconectado no celular, em"
        " Aparelhos conectados, ou pelo próprio WhatsApp. Toque em Reconectar Agora e escaneie o código em Aparelhos"
        " conectados, no WhatsApp do celular. Conexão: user_1."
    )


def test_english_is_complete():
    said = words(Kind.DOWN, {"reason": 408, "failures": 2}, "en")
    assert said.text == (
        "Your WhatsApp stopped answering. The connection to WhatsApp timed out: the phone's or the server's internet"
        " was unsteady. It failed 2 checks in a row. Zelador is taking care of it and will try to reconnect. Check that"
        " the phone is on and has internet."
    )


def test_a_recovery_says_how_long_it_lasted():
    assert "Ficou sem conexão por 2 h 5 min." in words(Kind.RECOVERED, {"seconds": 7_500}).text
    assert "O problema durou 3 min." in words(ServerKind.GATEWAY_RECOVERED, {"seconds": 180}).text


def test_a_recovery_whose_alert_was_never_sent_says_both():
    said = words(Kind.RECOVERED, {"seconds": 90, "collapsed": True})
    assert said.title == "Reconectado! ✅"
    assert said.text.startswith("Seu WhatsApp ficou sem conexão e já voltou. Durou 1 min.")
    server = words(ServerKind.GATEWAY_RECOVERED, {"seconds": 90, "collapsed": True})
    assert "teve um problema e já voltou" in server.text


def test_a_reminder_is_about_an_instance_or_a_server():
    assert "WhatsApp" in words(REMINDER, {"instanceName": "user_1", "seconds": 3_600}).title
    assert "servidor" in words(REMINDER, {"gateway": "evolution"}).title


@pytest.mark.parametrize("language", ["pt", "en"])
@pytest.mark.parametrize("kind", [Kind.BANNED, REMINDER])
def test_nobody_who_may_be_banned_is_offered_a_button(kind, language):
    for reason in BANS:
        assert words(kind, {"reason": reason, "instanceName": "user_1"}, language).action is None


@pytest.mark.parametrize("why", Deaf)
def test_a_mute_connection_says_how_it_was_noticed(why):
    assert PT.deaf[why] in words(Kind.DEAF, {"deaf": why}).text


@pytest.mark.parametrize("reason", [*REASONS, 999, 0])
@pytest.mark.parametrize("kind", Kind)
def test_every_reason_has_its_sentence(kind, reason):
    word = reason_word(kind, reason)
    assert word in PT.reasons
    assert word in EN.reasons


def test_428_is_a_missed_code_only_where_the_pairing_was_lost():
    """Otherwise it is a connection that ended, as any other."""
    assert reason_word(Kind.NEEDS_QR, 428) == "qr_limit"
    assert reason_word(Kind.DOWN, 428) == "connection_lost"


def test_a_ban_for_a_while_is_no_ban_for_ever():
    assert [reason_word(Kind.BANNED, reason) for reason in BANS] == ["banned_for_now", "banned", "banned"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (180, "3 min"),
        (3_600, "1 h"),
        (7_500, "2 h 5 min"),
        (86_400, "1 dia"),
        (2 * 86_400 + 3 * 3_600 + 60, "2 dias 3 h"),
    ],
)
def test_durations_are_words(seconds, said):
    assert duration(seconds) == said


def test_durations_are_english_too():
    assert duration(86_400 * 2, "en") == "2 days"


def test_numbers_agree_with_their_things():
    assert "1 tentativa sem" in words(Kind.GAVE_UP, {"attempts": 1}).text
    assert "5 tentativas sem" in words(Kind.GAVE_UP, {"attempts": 5}).text


def test_every_kind_has_its_gravity_and_graver_is_never_less_severe():
    assert sorted(GRAVITY) == sorted(map(str, KINDS))
    grades = ["info", "warning", "critical"]
    assert all(
        grades.index(severity(one)) <= grades.index(severity(graver))
        for kinds in (Kind, ServerKind)
        for one, graver in pairwise([kind for kind in GRAVITY if kind in set(kinds)])
    )


@pytest.mark.parametrize("kind", [Kind.RECOVERED, ServerKind.GATEWAY_RECOVERED])
def test_good_news_is_information(kind):
    assert severity(kind) == "info"


@pytest.mark.parametrize("kind", [Kind.BANNED, Kind.NEEDS_QR, Kind.GAVE_UP, ServerKind.GATEWAY_DOWN])
def test_what_needs_a_person_is_critical(kind):
    assert severity(kind) == "critical"


def test_a_text_names_no_technical_words():
    odd = re.compile(r"baileys|websocket|socket|webhook|gateway|instânc|HTTP|\b[45]\d\d\b", re.IGNORECASE)
    for said in (words(kind, {**FACTS, "gateway": "x"}, language) for kind in KINDS for language in ("pt", "en")):
        assert not odd.search(said.title + said.text), said
