"""The providers that the contract tests run over: each with somebody who plays the phone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import requests

from manager.providers.broker.client import BrokerClient
from manager.providers.evolution.client import EvolutionClient
from manager.providers.memory import MemoryProvider
from manager.providers.port import Provider, State
from manager.providers.wppconnect.client import WppConnectClient
from sandbox.server import Sandbox
from tests.conftest import KEY
from tests.provider.broker_server import BrokerServer
from tests.provider.wppconnect_server import WppConnectServer

Serving = Callable[[], AbstractContextManager["Gateway"]]
VERSIONS = ("2.2.3", "2.3.0", "2.3.6", "2.3.7", "2.4")


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """`scan` lets a phone take the code that the named instance shows; `other_key` is a client with a wrong key.

    What is sent to `hook_url` is lost. The rest is what gateways differ in: how an instance stands once it is `made`
    and once its phone was `parted`, whether it says its version, whether an instance has a webhook of its own, whether
    a look shows the QR, whether one comes along with a pairing code, whether it sends to everybody or to Brazil only,
    whether its list has names alone, whether the answer of a connect shows how it was before: its QR comes with the
    next one then, and pairing codes by webhook alone.
    """

    provider: Provider
    hook_url: str
    scan: Callable[[str], object]
    other_key: Provider | None = None
    made: State = State.DISCONNECTED
    parted: State = State.DISCONNECTED
    says_version: bool = True
    has_hooks: bool = True
    looks_show_qr: bool = False
    shows_both_codes: bool = True
    sends_to_all: bool = True
    lists_names_only: bool = False
    answers_late: bool = False

    @property
    def begins_with_connect(self) -> bool:
        """Nothing is there before the first connect, and no name is unknown to the other calls: it is only closed."""
        return self.made is State.NOT_FOUND


@contextmanager
def in_memory() -> Iterator[Gateway]:
    provider = MemoryProvider()
    yield Gateway(provider=provider, hook_url="http://127.0.0.1/nowhere", scan=provider.scan)


def evolution(version: str) -> Serving:
    """On a real socket, as a version of Evolution; 2.4 has its licence."""

    @contextmanager
    def serving() -> Iterator[Gateway]:
        with Sandbox(key=KEY, time_scale=0.01, qr_every_s=6000, licensed=True, profile=version) as box:

            def scan(name: str) -> None:
                body = {"instance": name}
                requests.post(f"{box.url}/sandbox/phones/scan", json=body, timeout=10).raise_for_status()

            yield Gateway(
                provider=EvolutionClient(box.url, KEY),
                hook_url=f"{box.url}/nowhere",  # a 404 at once: deliveries hold nothing up
                scan=scan,
                other_key=EvolutionClient(box.url, "wrong"),
            )

    return serving


def broker(*, told: bool) -> Serving:
    """On a real socket, as a build of 2026 (`told`) or of 2025."""

    @contextmanager
    def serving() -> Iterator[Gateway]:
        with BrokerServer(KEY, told=told).serving() as server:
            yield Gateway(
                provider=BrokerClient(f"{server.url}/instances", KEY),
                hook_url=f"{server.url}/nowhere",
                scan=server.scan,
                other_key=BrokerClient(server.url, "wrong"),
                made=State.CONNECTING,
                parted=State.CONNECTING if told else State.NOT_FOUND,
                says_version=False,
                has_hooks=False,
                looks_show_qr=True,
                shows_both_codes=False,
                sends_to_all=False,
            )

    return serving


@contextmanager
def wppconnect() -> Iterator[Gateway]:
    """On a real socket."""
    with WppConnectServer(KEY).serving() as server:
        yield Gateway(
            provider=WppConnectClient(server.url, KEY),
            hook_url=f"{server.url}/nowhere",
            scan=server.scan,
            other_key=WppConnectClient(server.url, "wrong"),
            made=State.NOT_FOUND,
            parted=State.NOT_FOUND,
            has_hooks=False,
            looks_show_qr=True,
            lists_names_only=True,
            answers_late=True,
        )


def gateways() -> dict[str, Serving]:
    """By name; the sandbox in every version that it can play."""
    played = {f"evolution {version}": evolution(version) for version in VERSIONS}
    brokers = {"broker 2025": broker(told=False), "broker 2026": broker(told=True)}
    return {"memory": in_memory, **played, **brokers, "wppconnect": wppconnect}
