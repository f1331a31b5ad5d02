"""The gateways that the settings and the operator name, each behind its breaker."""

from collections.abc import Callable
from dataclasses import replace

from core.errors import NotConfigured
from core.settings import Gateway, Settings
from manager.providers.broker.client import BrokerClient
from manager.providers.evolution.client import EvolutionClient
from manager.providers.guarded import Breaker, Guarded, Policy
from manager.providers.http import Limits
from manager.providers.port import Provider
from manager.providers.wppconnect.client import WppConnectClient

Find = Callable[[], Gateway | None]


class Current:
    """The client of a gateway as it is configured now: another one when its address or key has changed."""

    def __init__(self, find: Find, make: Callable[[Gateway], Provider]) -> None:
        self._find, self._make = find, make
        self._made: tuple[Gateway, Provider] | None = None

    def __call__(self) -> Provider:
        """Raises NotConfigured."""
        gateway, made = self._find(), self._made
        if gateway is None:
            raise NotConfigured("WhatsApp is not configured")
        if made is None or made[0] != gateway:
            made = self._made = (gateway, self._make(gateway))
        return made[1]


def make_provider(settings: Settings, name: str, find: Find, breaker: Breaker) -> Provider:
    """For what people ask for: patient, and with retries."""
    return Guarded(Current(find, lambda at: _client(settings, name, at, Limits())), policy_of(settings), breaker)


def make_watcher(settings: Settings, name: str, find: Find, breaker: Breaker) -> Provider:
    """The same server for the health monitor: in a hurry, and without retries, for it asks again by itself."""
    patience_s = settings.health_check_timeout_ms / 1000
    limits = Limits(connect_s=min(5.0, patience_s), usual_s=patience_s, look_s=patience_s)
    once = replace(policy_of(settings), attempts=1)
    return Guarded(Current(find, lambda at: _client(settings, name, at, limits)), once, breaker)


def policy_of(settings: Settings) -> Policy:
    return Policy(
        attempts=settings.retry_max_attempts,
        first_delay_s=settings.retry_initial_delay_ms / 1000,
        longest_delay_s=settings.retry_max_delay_ms / 1000,
        failures=settings.breaker_failure_threshold,
        window_s=settings.breaker_window_ms / 1000,
        open_s=settings.breaker_open_ms / 1000,
    )


def _client(settings: Settings, name: str, gateway: Gateway, limits: Limits) -> Provider:
    if name == "wppconnect":
        return WppConnectClient(gateway.url, gateway.key, limits)
    if name == "broker":
        return BrokerClient(gateway.url, gateway.key, limits)
    password = settings.evolution_metrics_password
    return EvolutionClient(
        gateway.url,
        gateway.key,
        limits,
        metrics_user=settings.evolution_metrics_user,
        metrics_password=password.get_secret_value() if password else None,
    )
