"""The providers that the contract tests run over: each with somebody who plays the phone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import requests

from manager.providers.evolution.client import EvolutionClient
from manager.providers.memory import MemoryProvider
from manager.providers.port import Provider
from sandbox.server import Sandbox
from tests.conftest import KEY

Serving = Callable[[], AbstractContextManager["Gateway"]]
VERSIONS = ("2.2.3", "2.3.0", "2.3.6", "2.3.7", "2.4")


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """`scan` lets a phone take the code that the named instance shows; `other_key` is a client with a wrong key.

    What is sent to `hook_url` is lost.
    """

    provider: Provider
    hook_url: str
    scan: Callable[[str], object]
    other_key: Provider | None = None


@contextmanager
def in_memory() -> Iterator[Gateway]:
    provider = MemoryProvider()
    yield Gateway(provider=provider, hook_url="http://127.0.0.1/nowhere", scan=provider.scan)


def evolution(version: str) -> Serving:
    """On a real socket, as a version of Evolution; 2.4 has its licence."""

    @contextmanager
    def serving() -> Iterator[Gateway]:
        with Sandbox(key=KEY, time_scale=0.01, licensed=True, profile=version) as box:

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


def gateways() -> dict[str, Serving]:
    """By name; the sandbox in every version that it can play."""
    played = {f"evolution {version}": evolution(version) for version in VERSIONS}
    return {"memory": in_memory, **played}
