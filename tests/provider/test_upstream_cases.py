"""Everything that a gateway was ever thought to answer (`bad-upstream.json`), and what becomes of it."""

import json
import zlib
from pathlib import Path

import pytest

from core.errors import ProviderError, ProviderRefused, Unavailable
from manager.providers.blame import blames_server
from manager.providers.evolution.client import EvolutionClient
from manager.providers.guarded import Breaker, Guarded, Policy
from manager.providers.http import Limits
from manager.providers.port import State
from tests.conftest import KEY

NAME = "user_42"
ALL = json.loads((Path(__file__).parent / "bad-upstream.json").read_text(encoding="utf-8"))
CASES = [case for case in ALL if "only" not in case["request"]["reply"]]
(ONE_BAD,) = [reply for case in ALL if "only" in (reply := case["request"]["reply"])]
LIMITS = Limits(usual_s=0.3, slow_s=0.3)
OPERATIONS = {
    "connect": lambda it: it.connect(NAME),
    "restart": lambda it: it.restart(NAME),
    "connectionState": lambda it: it.state(NAME),
    "fetchInstances": lambda it: it.instances(),
}


def bodies(generated):
    """The pieces of a body that is too large to be written down."""
    if "gzip_zeros" in generated:
        packer = zlib.compressobj(wbits=31)
        for _ in range(generated["gzip_zeros"] >> 20):
            yield packer.compress(bytes(1 << 20))
    else:
        for _ in range(generated["times"] >> 20):
            yield generated["unit"].encode() * (1 << 20)


def playing(reply):
    body = reply["body_raw"].encode() if "body_raw" in reply else b""
    if "body" in reply:
        body = json.dumps(reply["body"]).encode()

    def play(handler):
        if reply.get("hang"):
            handler.rfile.read(1)  # until the client has had enough
            return
        handler.send_response(reply["status"])
        for name, value in reply.get("headers", {}).items():
            handler.send_header(name, value)
        if "body_gen" not in reply:
            handler.send_header("Content-Length", str(reply.get("declared_length", len(body))))
        handler.end_headers()
        for piece in [body] if "body_gen" not in reply else bodies(reply["body_gen"]):
            handler.wfile.write(piece)
        handler.close_connection = True

    return play


def outcome(call):
    """In the words of the cases."""
    try:
        found = call()
    except ProviderRefused:
        return "gateway_auth"
    except ProviderError as error:
        return "gateway_fault" if blames_server(error) else "failure"
    return {State.NOT_FOUND: "notfound", State.UNKNOWN: "missing"}[found.state]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_an_answer_becomes_what_it_is(rude, case):
    operation, reply = OPERATIONS[case["request"]["operation"]], case["request"]["reply"]
    rude.plays(playing(reply) if "dns" not in reply else None)
    url = "http://gateway.invalid" if "dns" in reply else rude.url
    limits = LIMITS if reply.get("hang") else Limits()
    assert outcome(lambda: operation(EvolutionClient(url, KEY, limits))) == case["expect"]["outcome"]


def test_one_instance_that_answers_500_does_not_open_the_breaker(rude):
    """Be it with an error of Evolution's or with nothing at all."""

    def play(handler):
        bad = handler.path.endswith(f"/{ONE_BAD['only']}")
        handler.answer(ONE_BAD["status"] if bad else 200, b"" if bad else b'{"instance":{"state":"open"}}')

    rude.plays(play)
    breaker = Breaker(Policy())
    gateway = Guarded(lambda: EvolutionClient(rude.url, KEY), Policy(), breaker)
    gateway.state("user_1")
    for _ in range(20):
        with pytest.raises(ProviderError):
            gateway.state(NAME)
    assert gateway.state("user_2").state is State.CONNECTED
    assert breaker.state == "closed"


def test_a_server_that_is_gone_opens_the_breaker(free_port):
    waits: list[float] = []
    breaker = Breaker(Policy())
    nobody = EvolutionClient(f"http://127.0.0.1:{free_port}", KEY)
    gateway = Guarded(lambda: nobody, Policy(), breaker, sleep=waits.append)
    for _ in range(2):
        with pytest.raises(Unavailable):
            gateway.state(NAME)
    assert breaker.state == "open"
    assert len(waits) == 4
