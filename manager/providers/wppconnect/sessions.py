"""How a session stands, and the codes it pairs by. Readers of `events`. Pure.

| status-find | state | what it is |
|---|---|---|
| `notLogged`, `isLogged`, `qrReadSuccess` | connecting | no phone yet; its session was found; the QR was taken |
| `inChat` | unknown | ready, as a look has to confirm; a page that loads again says it too, and is connected all the while |
| `qrReadFail`, `qrReadError` | refused | the QR was taken, and nothing came of it |
| `phoneNotConnected` | disconnected | the phone did not answer in time; it is paired still |
| `autocloseCalled`, `browserClose`, `serverClose` | disconnected | the browser has ended; the pairing is kept |
| `disconnectedMobile`, up to 2.8.6 `desconnectedMobile` | disconnected, ended | the phone has unpaired it |
"""  # noqa: E501 — a table

from collections.abc import Mapping
from typing import Any

from core.errors import Malformed
from manager.providers.evolution.heard import Heard, Reports, unknown_shape
from manager.providers.port import ConnectionReported, PairingReported, State
from manager.providers.wppconnect.wire import pairing, pairing_code

LOGGED_OUT, TIMED_OUT, NO_MORE_CODES = 401, 408, 428  # Baileys' numbers, in which reasons are told
WORDS: Mapping[str, Mapping[str, Any]] = {
    "notLogged": {"state": State.CONNECTING},
    "isLogged": {"state": State.CONNECTING},
    "qrReadSuccess": {"state": State.CONNECTING},
    "inChat": {"state": State.UNKNOWN},
    "qrReadFail": {"state": State.REFUSED, "reason": NO_MORE_CODES},
    "qrReadError": {"state": State.REFUSED, "reason": NO_MORE_CODES},
    "phoneNotConnected": {"state": State.DISCONNECTED, "reason": TIMED_OUT},
    "autocloseCalled": {"state": State.DISCONNECTED},
    "browserClose": {"state": State.DISCONNECTED},
    "serverClose": {"state": State.DISCONNECTED},
    "disconnectedMobile": {"state": State.DISCONNECTED, "reason": LOGGED_OUT, "ended": True},
    "desconnectedMobile": {"state": State.DISCONNECTED, "reason": LOGGED_OUT, "ended": True},
}
TAKEN = ("isLogged", "qrReadSuccess", "inChat")  # nobody needs the code any more


def status_find(heard: Heard) -> Reports:
    """`{"event":"status-find","status":"inChat","session":"user_…"}`; `session` is missing in several versions."""
    word = heard.document.get("status")
    if not isinstance(word, str):
        raise unknown_shape()
    if word not in WORDS:
        heard.odd("unknown_state")
    found = WORDS.get(word, {"state": State.UNKNOWN})
    taken: Reports = [PairingReported(**heard.facts, pairing=None)] if word in TAKEN else []
    return [*taken, ConnectionReported(**heard.facts, **found)]


def qrcode(heard: Heard) -> Reports:
    """`{"event":"qrcode","qrcode":"iVBORw0…","urlcode":"2@…"}`, anew every 20 s or so."""
    if not heard.document.get("urlcode") and not heard.document.get("qrcode"):
        raise Malformed("No QR code in the event", code="NO_QRCODE")
    if (found := pairing(heard.document)) is None:
        heard.odd("bad_qr")
        return []
    return [PairingReported(**heard.facts, pairing=found)]


def phone_code(heard: Heard) -> Reports:
    """`{"event":"phoneCode","phoneCode":"K3ZT9QWB","phone":"5511…"}`; of several the newest is good."""
    if not heard.document.get("phoneCode"):
        raise Malformed("No pairing code in the event", code="NO_QRCODE")
    if (found := pairing_code(heard.document["phoneCode"])) is None:
        heard.odd("bad_qr")
        return []
    return [PairingReported(**heard.facts, pairing=found)]


def closed(heard: Heard) -> Reports:
    """`{"event":"closesession","message":"Session: user_… disconnected","connected":false}`: the pairing is kept."""
    return [ConnectionReported(**heard.facts, state=State.DISCONNECTED)]


def logged_out(heard: Heard) -> Reports:
    """`{"event":"logoutsession","message":"Session: user_… logged out","connected":false}`"""
    return [ConnectionReported(**heard.facts, state=State.DISCONNECTED, reason=LOGGED_OUT, ended=True)]
