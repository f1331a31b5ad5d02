"""How reports change an instance's standing: tables for the rules, and the law that their order does not matter."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.fold import fold, reason_of
from manager.lifecycle import (
    InstanceRecord,
    Lifetimes,
    Standing,
    Status,
    connection_reported,
    pairing_reported,
    pairing_shown,
    seen,
)
from manager.providers.port import ConnectionReported, Pairing, PairingReported, State

TTL = Lifetimes(qr=timedelta(seconds=45))
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HEARD = START + timedelta(hours=3)  # our clock; the gateway's is off
QR, NEXT_QR = Pairing(qr="2@first"), Pairing(qr="2@second", pairing_code="K3ZT9QWB")
ANA = "5511999990001"


def at(second):
    return None if second is None else START + timedelta(seconds=second)


def connection(state, second, *, reason=200, phone=None, name=None, ended=False):
    return ConnectionReported(
        delivery_id=1,
        instance="user_x",
        reported_at=at(second),
        received_at=HEARD + timedelta(seconds=second or 0),
        state=state,
        reason=reason,
        phone=phone,
        profile_name=name,
        ended=ended,
    )


def code(pairing, second, *, heard=None):
    heard_at = HEARD + timedelta(seconds=(second or 0) if heard is None else heard)
    return PairingReported(
        delivery_id=1, instance="user_x", reported_at=at(second), received_at=heard_at, pairing=pairing
    )


def after(*reports, standing=None):
    standing = standing or Standing()
    for report in reports:
        if isinstance(report, ConnectionReported):
            standing = connection_reported(standing, report)
        else:
            standing = pairing_reported(standing, report, TTL)
    return standing


def opened(second, phone=ANA, name=None):
    return connection(State.CONNECTED, second, phone=phone, name=name)


def connecting(second):
    return connection(State.CONNECTING, second)


def closed(second, reason=401):
    return connection(State.DISCONNECTED, second, reason=reason)


def refused(second):
    return connection(State.REFUSED, second, reason=428)


@pytest.mark.parametrize(
    ("reports", "status"),
    [
        ([], Status.DISCONNECTED),
        ([connecting(1)], Status.CONNECTING),
        ([connecting(1), code(QR, 2)], Status.QR_PENDING),
        ([code(QR, 2)], Status.QR_PENDING),
        ([connecting(1), code(QR, 2), connecting(3)], Status.QR_PENDING),
        ([connecting(1), code(QR, 2), connecting(3), opened(4)], Status.CONNECTED),
        ([connecting(1), code(QR, 2), opened(4), code(None, 5)], Status.CONNECTED),
        ([opened(1), closed(2)], Status.DISCONNECTED),
        ([opened(1), connecting(2)], Status.CONNECTING),
        ([connecting(1), code(QR, 2), code(None, 3), refused(4)], Status.DISCONNECTED),
        ([connecting(1), code(QR, 2), code(None, 3)], Status.CONNECTING),
        ([opened(1), connection(State.UNKNOWN, 2)], Status.CONNECTED),
        ([opened(1), connection(State.NOT_FOUND, 2)], Status.CONNECTED),
        ([opened(1), closed(2), code(QR, 3)], Status.QR_PENDING),
    ],
)
def test_the_status_is_what_the_newest_reports_say_together(reports, status):
    assert after(*reports).status is status


@pytest.mark.parametrize("late", [closed(2), connecting(2), refused(2), code(QR, 2), code(None, 2)])
def test_nothing_late_undoes_an_open(late):
    assert after(opened(3), late).status is Status.CONNECTED


def test_a_late_close_does_not_undo_an_open():
    standing = after(opened(5), closed(4))
    assert (standing.status, standing.reason, standing.state_at) == (Status.CONNECTED, None, at(5))


def test_an_open_and_a_close_in_one_millisecond_leave_it_open():
    assert after(opened(5), closed(5)).status is Status.CONNECTED
    assert after(closed(5), opened(5)).status is Status.CONNECTED


def test_a_close_that_overtook_its_open_keeps_whose_phone_it_was():
    standing = after(closed(2), opened(1, name="Ana"))
    assert (standing.status, standing.reason) == (Status.DISCONNECTED, 401)
    assert (standing.phone, standing.profile_name) == (ANA, "Ana")


def test_the_newest_open_says_whose_phone_it_is():
    standing = after(opened(2, phone="5521888880002", name="Bia"), opened(1, phone=ANA, name="Ana"))
    assert (standing.phone, standing.profile_name) == ("5521888880002", "Bia")


def test_an_open_that_names_nobody_leaves_the_phone_known_before():
    assert after(opened(1), opened(2, phone=None)).phone == ANA


def test_a_new_phone_does_not_keep_the_name_of_the_old_one():
    assert after(opened(1, name="Ana"), opened(2, phone="5521888880002")).profile_name is None


def test_a_report_without_a_time_is_news():
    standing = after(opened(5), closed(None))
    assert (standing.status, standing.state_at) == (Status.DISCONNECTED, at(5))
    assert after(code(QR, 5), code(NEXT_QR, None)).pairing == NEXT_QR


@pytest.mark.parametrize(("said", "kept"), [(200, None), (0, None), (None, None), (401, 401), (428, 428)])
def test_the_reason_of_a_close_is_kept(said, kept):
    assert after(closed(1, reason=said)).reason == kept


def test_a_stale_qr_after_an_open_is_ignored():
    standing = after(connecting(1), code(QR, 2), opened(4), code(NEXT_QR, 3))
    assert (standing.pairing, standing.pairing_expires_at, standing.status) == (None, None, Status.CONNECTED)


def test_an_older_qr_does_not_replace_a_newer_one():
    assert after(code(NEXT_QR, 3), code(QR, 2)).pairing == NEXT_QR


def test_a_qr_of_a_connection_that_has_ended_since_is_not_shown():
    assert after(closed(3), connecting(4), code(QR, 2)).status is Status.CONNECTING
    assert after(code(QR, 2), connecting(4), closed(3)).status is Status.CONNECTING


def test_a_qr_lives_for_its_time_by_our_own_clock():
    assert after(code(QR, 2)).pairing_expires_at == HEARD + timedelta(seconds=2) + TTL.qr


def test_a_qr_told_twice_does_not_live_longer():
    assert after(code(QR, 2), code(QR, 2, heard=40)).pairing_expires_at == HEARD + timedelta(seconds=2) + TTL.qr


def test_the_qr_limit_clears_the_code():
    standing = after(code(QR, 2), code(None, 3))
    assert (standing.pairing, standing.pairing_expires_at) == (None, None)
    assert standing.retired_qr == QR.qr


def test_the_end_of_a_code_in_its_own_millisecond_wins():
    assert after(code(QR, 2), code(None, 2)).pairing is None
    assert after(code(None, 2), code(QR, 2)).pairing is None


SHOWN_UNTIL = HEARD + TTL.qr


def test_a_code_in_the_gateways_answer_is_shown():
    standing = pairing_shown(after(connecting(1)), QR, SHOWN_UNTIL)
    assert (standing.status, standing.pairing_expires_at) == (Status.QR_PENDING, SHOWN_UNTIL)


@pytest.mark.parametrize(
    ("before", "what"),
    [
        (after(opened(1)), "it is open"),
        (after(code(QR, 1), code(None, 2)), "the code has ended"),
        (after(code(QR, 1), code(NEXT_QR, 2)), "a newer code has taken its place"),
        (after(code(QR, 1)), "it is on the screen, with its own expiry"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_code_in_the_gateways_answer_changes_nothing_where(before, what):
    assert pairing_shown(before, QR, SHOWN_UNTIL) == before


def test_the_connecting_report_of_the_same_click_leaves_the_shown_code():
    shown = pairing_shown(Standing(state=State.CONNECTING), QR, SHOWN_UNTIL)
    assert after(connecting(1), standing=shown).status is Status.QR_PENDING


def test_a_shown_code_ends_with_the_open():
    shown = pairing_shown(after(connecting(1)), QR, SHOWN_UNTIL)
    assert after(opened(2), standing=shown).status is Status.CONNECTED


def test_seeing_it_open_ends_the_code_and_starts_the_time():
    standing = seen(after(connecting(1), code(QR, 2)), State.CONNECTED, HEARD)
    assert (standing.status, standing.connected_at, standing.retired_qr) == (Status.CONNECTED, HEARD, QR.qr)


def test_seeing_it_open_again_does_not_move_the_time():
    before = after(opened(1))
    assert seen(before, State.CONNECTED, HEARD + timedelta(hours=1)) == before


@pytest.mark.parametrize("state", [State.DISCONNECTED, State.NOT_FOUND, State.REFUSED])
def test_seeing_it_gone_is_disconnected_until_the_next_report(state):
    standing = seen(after(opened(1)), state, HEARD)
    assert standing.status is Status.DISCONNECTED
    assert after(opened(2), standing=standing).status is Status.CONNECTED


@pytest.mark.parametrize(
    ("reason", "word", "needs_user"),
    [
        (401, "logged_out", True),
        (403, "banned", True),
        (408, "timed_out", False),
        (428, "qr_limit", True),
        (440, "replaced", True),
        (515, "restart", False),
        (999, "connection_lost", False),
        (None, "connection_lost", False),
    ],
)
def test_people_hear_why_it_ended(reason, word, needs_user):
    assert reason_of(after(closed(1, reason=reason))) == {
        "reason": word,
        "reasonCode": reason,
        "needsUser": needs_user,
    }


def record(standing=None, user_id=None, organization_id=None):
    return InstanceRecord(
        id=uuid4(),
        name="user_x",
        user_id=user_id,
        organization_id=organization_id,
        status=Status.DISCONNECTED,
        standing=standing or Standing(),
        updated_at=None,
    )


def told(*reports):
    changes = fold({"user_x": record(user_id=uuid4())}, reports, TTL)
    return [event.type for event in changes.events]


def test_people_hear_every_step_of_a_pairing():
    steps = [connecting(1), code(NEXT_QR, 2), connecting(3), opened(4)]
    assert told(*steps) == ["status", "qrcode", "pairing_code", "status", "status", "connected"]


def test_a_code_is_told_as_text_and_without_a_picture():
    pairing = record(user_id=uuid4())
    changes = fold({"user_x": pairing}, [code(QR, 2)], TTL)
    (told_code,) = [event.data for event in changes.events if event.type == "qrcode"]
    until = (HEARD + timedelta(seconds=2) + TTL.qr).isoformat().replace("+00:00", "Z")
    about = {"instanceName": "user_x", "instanceId": str(pairing.id)}
    assert told_code == {**about, "qr": QR.qr, "status": "waiting_qr", "expiresAt": until}


def test_a_connection_is_told_with_whose_it_is():
    paired = record(user_id=uuid4(), organization_id="org_1")
    (connected,) = [
        event.data for event in fold({"user_x": paired}, [opened(4)], TTL).events if event.type == "connected"
    ]
    assert (connected["instanceId"], connected["organizationId"]) == (str(paired.id), "org_1")


def test_people_hear_of_a_logout_once():
    assert told(opened(1), closed(2), closed(2)) == ["status", "connected", "status", "disconnected"]


def test_nobody_hears_of_an_instance_without_a_user():
    changes = fold({"user_x": record()}, [opened(1)], TTL)
    assert (changes.events, [changed.status for changed in changes.changed]) == ((), [Status.CONNECTED])


def test_what_changes_nothing_is_not_written():
    before = record(after(opened(5)), user_id=uuid4())
    before = replace(before, status=Status.CONNECTED)
    assert fold({"user_x": before}, [closed(4), connecting(3)], TTL).changed == ()


connections = st.builds(
    connection,
    st.sampled_from(list(State)),
    st.integers(0, 4),
    reason=st.sampled_from([None, 0, 200, 401, 428]),
    phone=st.sampled_from([None, ANA, "5521888880002"]),
    name=st.sampled_from([None, "Ana", "Bia"]),
)
ends = st.builds(connection, st.just(State.DISCONNECTED), st.integers(0, 4), reason=st.none(), ended=st.just(True))
codes = st.builds(code, st.sampled_from([None, QR, NEXT_QR]), st.integers(0, 4), heard=st.integers(0, 99))


@given(st.data(), st.lists(connections | codes | ends, max_size=8))
def test_any_order_and_repetition_of_reports_ends_in_the_same_standing(data, reports):
    again = data.draw(st.lists(st.sampled_from(reports), max_size=4)) if reports else []
    shuffled = data.draw(st.permutations([*reports, *again]))
    assert after(*shuffled) == after(*reports)
    assert after(*shuffled).status is after(*reports).status


@given(st.lists(connections | codes | ends, max_size=8))
def test_a_code_is_on_the_screen_only_with_its_expiry(reports):
    standing = after(*reports)
    assert (standing.pairing is None) == (standing.pairing_expires_at is None)
    assert (standing.status is Status.QR_PENDING) == (standing.pairing is not None)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_logout_that_comes_as_three_reports_keeps_its_reason_in_any_order(order):
    reports = [closed(2, reason=401), closed(3, reason=200), closed(4, reason=None)]
    standing = after(opened(1), *(reports[place] for place in order))
    assert (standing.status, standing.reason, standing.reason_at) == (Status.DISCONNECTED, 401, at(2))


@pytest.mark.parametrize("sign", [connecting(3), opened(3)])
def test_a_newer_sign_of_life_ends_the_reason_whichever_comes_first(sign):
    assert after(closed(2), sign).reason is None
    assert after(sign, closed(2)).reason is None
    assert after(sign, closed(2), closed(4, reason=440)).reason == 440


def test_of_two_reasons_the_newer_one_counts():
    assert after(closed(3, reason=440), closed(2, reason=401)).reason == 440
    assert after(closed(2, reason=401), closed(3, reason=440)).reason == 440


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize(("code", "word"), [(401, "logged_out"), (403, "banned")])
def test_a_logouts_three_reports_say_why_in_any_order(order, code, word):
    """Two of them give a reason; the third one says only that it is over."""
    reports = [
        connection(State.DISCONNECTED, 5, reason=code),
        connection(State.DISCONNECTED, 6, reason=code),
        connection(State.DISCONNECTED, 7, reason=None, ended=True),
    ]
    before = replace(record(after(opened(1)), user_id=uuid4()), status=Status.CONNECTED)
    told = [
        event.data["reason"]
        for event in fold({"user_x": before}, [reports[place] for place in order], TTL).events
        if event.type == "disconnected"
    ]
    assert told[-1] == word
    assert len(told) == (2 if order[0] == 2 and code != 401 else 1)


def test_a_gateway_that_does_not_know_changes_nothing():
    """Right after its boot it answers without a state."""
    before = after(opened(1))
    assert seen(before, State.UNKNOWN, HEARD) == before


def test_seeing_that_the_gateway_has_it_no_more_says_that_somebody_must_scan():
    assert reason_of(seen(after(opened(1)), State.NOT_FOUND, HEARD))["needsUser"] is True
