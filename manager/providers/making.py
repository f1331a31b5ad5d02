"""The gateway that the settings name, behind its breaker."""

from core.settings import Settings
from manager.providers.evolution.client import EvolutionClient
from manager.providers.guarded import Breaker, Guarded, Policy
from manager.providers.port import Provider


def make_provider(settings: Settings, breaker: Breaker) -> Provider | None:
    gateway = settings.gateway
    if gateway is None:
        return None
    password = settings.evolution_metrics_password
    client = EvolutionClient(
        gateway.url,
        gateway.key,
        metrics_user=settings.evolution_metrics_user,
        metrics_password=password.get_secret_value() if password else None,
    )
    return Guarded(client, policy_of(settings), breaker)


def policy_of(settings: Settings) -> Policy:
    return Policy(
        attempts=settings.retry_max_attempts,
        first_delay_s=settings.retry_initial_delay_ms / 1000,
        longest_delay_s=settings.retry_max_delay_ms / 1000,
        failures=settings.breaker_failure_threshold,
        window_s=settings.breaker_window_ms / 1000,
        open_s=settings.breaker_open_ms / 1000,
    )
