"""The words of `/system/whatsapp/*`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from api import system_shapes as shapes
from core import errors
from manager.configuration import Configuration
from manager.lifecycle import InstanceRecord, Standing, Status
from manager.phones import InvalidPhone, PhoneRequired
from manager.providers.port import Pairing, State
from manager.service import Connecting

USER = UUID(int=7)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SOON = NOW + timedelta(seconds=40)
SHOWN = Standing(state=State.CONNECTING, pairing=Pairing(qr="2@abc", pairing_code="K3ZT9QWB"), pairing_expires_at=SOON)
DEVICE = {"manufacturer": None, "model": None, "os": None}


def record(standing):
    return InstanceRecord(
        id=USER, name=f"user_{USER}", user_id=USER, organization_id=None, status=standing.status, standing=standing,
        updated_at=NOW,
    )  # fmt: skip


def words(standing):
    found = shapes.session(record(standing))
    return found["connected"], found["status"], found["message"]


def test_every_status_in_the_seeds_words():
    """B038–B041, X08, X18, X19"""
    assert shapes.session(None) == {"connected": False, "status": "notLogged", "message": "Session not initialized"}
    assert words(Standing()) == (False, "notLogged", "Session not initialized")
    assert words(SHOWN) == (False, "notLogged", "Waiting for QRCode Scan")
    assert words(Standing(state=State.CONNECTING)) == (False, "inChat", "Connecting")
    assert shapes.session(record(Standing(state=State.CONNECTED, phone="5511999999999"))) == {
        "connected": True, "status": "isLogged", "message": "Connected", "phone": "5511999999999", "device": DEVICE,
        "battery": None,
    }  # fmt: skip


@pytest.mark.parametrize("state", [*State])
def test_only_who_is_connected_is_logged(state):
    connected, word, _ = words(Standing(state=state))
    assert connected is (word == "isLogged") is (state is State.CONNECTED)


def test_a_gateway_that_connects_again_under_a_code_has_seen_it_read():
    """B038: what we set ourselves does not count, and where no code's time is known nothing is said."""
    for later, word in ((timedelta(seconds=3), "qrReadSuccess"), (timedelta(microseconds=1), "notLogged")):
        assert words(replace(SHOWN, pairing_at=NOW, state_at=NOW + later))[:2] == (False, word)
    assert words(replace(SHOWN, pairing_at=NOW, state_at=NOW - timedelta(seconds=3)))[1] == "notLogged"
    assert words(replace(SHOWN, state_at=NOW))[1] == "notLogged"


def test_a_start_shows_the_code_and_says_what_it_waits_for():
    """B032, B033, X01, X03"""
    body = shapes.started(Connecting(record=record(SHOWN)), NOW)
    assert body["status"] == {"connected": False, "status": "notLogged", "message": "Waiting for QRCode Scan"}
    assert (body["pairingCode"], body["pairingCodeFormatted"]) == ("K3ZT-9QWB", "K3ZT-9QWB")
    assert (body["qr"], body["qrcode"]) == ("2@abc", body["qrCode"])
    assert body["raw"] == {
        "instanceName": f"user_{USER}", "status": Status.QR_PENDING, "qr": "2@abc", "pairingCode": "K3ZT9QWB",
        "expiresAt": "2026-11-22T12:00:40.000Z",
    }  # fmt: skip


def test_a_start_without_a_code_yet_and_one_that_was_not_needed():
    """X04"""
    waiting = shapes.started(Connecting(record=record(Standing(state=State.CONNECTING))), NOW)
    assert (waiting["qrcode"], waiting["status"]["status"], bool(waiting["message"])) == (None, "inChat", True)
    there = Connecting(record=record(Standing(state=State.CONNECTED)), already_connected=True)
    assert shapes.started(there, NOW)["status"]["status"] == "isLogged"


def test_a_code_that_is_over_is_not_shown():
    body = shapes.code(record(SHOWN), SOON)
    assert {body[name] for name in shapes.NOTHING_SHOWN} == {None}
    assert shapes.no_code(USER).keys() == body.keys()
    assert shapes.no_code(USER)["raw"].keys() == body["raw"].keys()


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (errors.NotConfigured("x"), 400, "URL do WPPConnect não configurada"),
        (errors.SwitchedOff("x"), 400, "O serviço WhatsApp está desativado"),
        (InvalidPhone("x"), 400, "Número de telefone inválido"),
        (PhoneRequired("x"), 400, "Número de telefone inválido"),
        (errors.InvalidRecipient("x", provider_status=500), 400, "Número de telefone inválido"),
        (errors.ProviderError("boom", provider_status=500), 500, "Erro HTTP 500 na API WPPConnect: boom"),
        (errors.InstanceUnknown("gone", provider_status=404), 404, "Erro HTTP 404 na API WPPConnect: gone"),
        (errors.ProviderRefused("key", provider_status=401), 401, "Erro HTTP 401 na API WPPConnect: key"),
        (errors.BadResponse("no JSON", provider_status=200), 500, "no JSON"),
        (errors.TimedOut("slow"), 500, "slow"),
        (errors.Unavailable("away"), 500, "away"),
        (errors.StorageUnavailable("away"), 500, "away"),
        (errors.NotConnected("closed"), 409, "closed"),
        (errors.NotFound("none"), 404, "none"),
        (errors.Unauthenticated("who"), 401, "who"),
        (errors.Forbidden("no"), 403, "no"),
    ],
)
def test_errors_have_the_gateways_status_or_ours(error, status, message):
    """F021, F022, F024, F025, F027, F028, K023, X15"""
    assert shapes.trouble(error) == (status, message)


def test_a_configuration_is_shown_without_its_key():
    """L009"""
    shown = shapes.configuration(Configuration(url="http://x", key="SECRET"))
    assert shown == {
        "success": True, "enabled": True, "provider": None, "url": "http://x", "instanceName": None, "hasKey": True,
    }  # fmt: skip
    assert shapes.configuration(Configuration())["hasKey"] is False


def test_what_is_a_phone():
    """H008, X26"""
    good = (
        "5511999990001",
        "+55 (11) 99999-0001",
        "5511999990001@s.whatsapp.net",
        "5511999990001:3@c.us",
        "1234567890",
    )
    assert all(shapes.is_phone(written) for written in good)
    bad: tuple[object, ...] = ("123456789", "1" * 16, "", None, 5511999990001, [], "x@y")
    assert not any(shapes.is_phone(written) for written in bad)
