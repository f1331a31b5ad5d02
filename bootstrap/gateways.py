"""The gateway servers, wired: where each answers, its breaker, its client for people and the one for the monitor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.crypto import Vault
from core.db import Transaction
from core.settings import Gateway, Settings
from manager.configuration import LOST, Configurations
from manager.gateways import BROKER, EVOLUTION, WPPCONNECT, Gateways
from manager.providers.broker.signature import is_signed
from manager.providers.guarded import Breaker
from manager.providers.making import make_provider, make_watcher, policy_of
from manager.providers.port import Provider
from manager.upstream import Upstream

PROVIDERS = (EVOLUTION, WPPCONNECT, BROKER)


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """What an operator set by hand counts for the gateway it names, else for the one that makes new instances; the
    rest is the environment's."""

    settings: Settings
    configurations: Configurations

    def default(self) -> str:
        return self.configurations.current().provider or self.settings.default_provider

    def enabled(self) -> bool:
        return self.configurations.current().enabled

    def of(self, provider: str) -> Gateway | None:
        known, by_hand = self.settings.gateway_of(provider), self.configurations.current()
        if provider != self.default() or not (by_hand.url or by_hand.key):
            return known
        url, key = by_hand.url or (known and known.url), by_hand.key or (known and known.key)
        return Gateway(url, key) if url and key else None


@dataclass(frozen=True, kw_only=True)
class Servers:
    """By name of the provider."""

    addresses: Addresses
    gateways: Gateways
    breakers: Mapping[str, Breaker]
    watchers: Mapping[str, Provider]

    def refused(self, name: str) -> Callable[[], bool]:
        """Whether the server refuses our key by now."""
        return lambda: self.breakers[name].refused

    def is_brokers(self, body: bytes, signature: str) -> bool:
        """Whether the Baileys broker has signed this: with its webhook's own secret, or with its API's."""
        own, server = self.addresses.settings.whatsapp_broker_webhook_secret, self.addresses.of(BROKER)
        secret = own.get_secret_value() if own else (server.key if server else None)
        return secret not in (None, LOST) and is_signed(body, signature, [secret])

    @property
    def breaker(self) -> Breaker:
        """That of the server of new instances."""
        return self.breakers[self.gateways.default()]


def make_servers(
    settings: Settings,
    transaction: Transaction,
    vault: Vault,
    configurations: Configurations,
    provider: Provider | None = None,
) -> Servers:
    """`provider`: tests' own, in the place of all of them."""
    addresses = Addresses(settings=settings, configurations=configurations)
    breakers = {name: Breaker(policy_of(settings)) for name in PROVIDERS}
    clients = {name: _clients(settings, addresses, name, breakers[name]) for name in PROVIDERS}
    if provider:
        clients = {EVOLUTION: (provider, provider)}
    upstreams = {
        name: Upstream(
            transaction=transaction,
            provider=patient,
            vault=vault,
            webhook_base=settings.webhook_base,
            name=name,
            secret_path=name == WPPCONNECT,
        )
        for name, (patient, _) in clients.items()
    }
    gateways = Gateways(
        upstreams=upstreams,
        default=(lambda: EVOLUTION) if provider else addresses.default,
        is_there=(lambda name: name in clients) if provider else (lambda name: addresses.of(name) is not None),
        enabled=addresses.enabled,
    )
    return Servers(
        addresses=addresses,
        gateways=gateways,
        breakers=breakers,
        watchers={name: watcher for name, (_, watcher) in clients.items()},
    )


def _clients(settings: Settings, addresses: Addresses, name: str, breaker: Breaker) -> tuple[Provider, Provider]:
    def find() -> Gateway | None:
        return addresses.of(name)

    return make_provider(settings, name, find, breaker), make_watcher(settings, name, find, breaker)
