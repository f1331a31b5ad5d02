"""The gateway that the settings name, behind its breaker."""

from dataclasses import replace

from core.settings import Gateway, Settings
from manager.providers.evolution.client import EvolutionClient
from manager.providers.guarded import Breaker, Guarded, Policy
from manager.providers.http import Limits
from manager.providers.port import Provider


def make_provider(settings: Settings, breaker: Breaker) -> Provider | None:
    """For what people ask for: patient, and with retries."""
    gateway = settings.gateway
    return Guarded(_client(settings, gateway, Limits()), policy_of(settings), breaker) if gateway else None


def make_watcher(settings: Settings, breaker: Breaker) -> Provider | None:
    """The same server for the health monitor: in a hurry, and without retries, for it asks again by itself."""
    gateway, patience_s = settings.gateway, settings.health_check_timeout_ms / 1000
    limits = Limits(connect_s=min(5.0, patience_s), usual_s=patience_s, look_s=patience_s)
    once = replace(policy_of(settings), attempts=1)
    return Guarded(_client(settings, gateway, limits), once, breaker) if gateway else None


def policy_of(settings: Settings) -> Policy:
    return Policy(
        attempts=settings.retry_max_attempts,
        first_delay_s=settings.retry_initial_delay_ms / 1000,
        longest_delay_s=settings.retry_max_delay_ms / 1000,
        failures=settings.breaker_failure_threshold,
        window_s=settings.breaker_window_ms / 1000,
        open_s=settings.breaker_open_ms / 1000,
    )


def _client(settings: Settings, gateway: Gateway, limits: Limits) -> EvolutionClient:
    password = settings.evolution_metrics_password
    return EvolutionClient(
        gateway.url,
        gateway.key,
        limits,
        metrics_user=settings.evolution_metrics_user,
        metrics_password=password.get_secret_value() if password else None,
    )
