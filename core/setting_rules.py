"""What settings must be like together, and in production. Called by `core.settings` once each is known to be sound."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from core.settings import Settings

REQUIRED_IN_PRODUCTION = ("SECRET_KEY", "APP_ENCRYPTION_KEY", "AUTH_JWT_SECRET")  # for the last, AUTH_JWKS_URL will do
PUBLISHED_KEYS = ("THISISMYSECURETOKEN",)  # WPPConnect Server's, where nobody gives it another
WEAK_BELOW = 32  # characters: 256 bits of hex is 64, of base64 43; shorter ones are somebody's password


def odd_together(settings: "Settings") -> list[str]:
    """What does not go with what, each as `NAME: what is wrong`."""
    odd = []
    if settings.port == settings.sandbox_port and settings.evolution_api_url is None and not settings.is_production:
        odd.append("SANDBOX_PORT: must not be PORT")
    if settings.log_file and not settings.log_file.parent.is_dir():
        odd.append("LOG_FILE: its folder is not there")
    if settings.health_alert_threshold > settings.health_max_consecutive_failures:
        odd.append("HEALTH_ALERT_THRESHOLD: must not be above HEALTH_MAX_CONSECUTIVE_FAILURES")
    if settings.health_check_timeout_ms > settings.health_check_interval_ms:
        odd.append("HEALTH_CHECK_TIMEOUT_MS: must not be above HEALTH_CHECK_INTERVAL_MS")
    urls = [url for url in (settings.evolution_api_url, settings.wppconnect_url) if url]
    if not settings.webhook_url and not all(_is_loopback(url) for url in urls):
        odd.append("WEBHOOK_URL: must say how a gateway on another host reaches this server")
    keys = {"EVOLUTION_API_URL": "EVOLUTION_API_KEY", "WPPCONNECT_URL": "WPPCONNECT_SECRET_KEY"}
    keys["WHATSAPP_BROKER_BASE_URL"] = "WHATSAPP_BROKER_API_KEY"
    odd += [
        f"{key}: missing, {url} is set" for url, key in keys.items() if _has(settings, url) and not _has(settings, key)
    ]
    if settings.whatsapp_provider and settings.gateway_of(settings.whatsapp_provider) is None:
        odd.append("WHATSAPP_PROVIDER: names a gateway of which no server is named")
    key = settings.wppconnect_secret_key
    if key and key.get_secret_value() in PUBLISHED_KEYS:
        odd.append("WPPCONNECT_SECRET_KEY: everybody knows this one, give the server another")
    return odd


def unfit_for_production(settings: "Settings") -> list[str]:
    """What must not be so where people depend on it."""
    values = {name: getattr(settings, name.lower()) for name in REQUIRED_IN_PRODUCTION}
    if settings.auth_jwks_url:
        values = {name: value for name, value in values.items() if value or name != "AUTH_JWT_SECRET"}
    unfit = [f"{name}: missing" for name, value in values.items() if value is None]
    given = [(name, value) for name, value in values.items() if value is not None]
    given += [("WEBHOOK_SECRET", value) for value in settings.webhook_secret]
    unfit += [f"{name}: weak" for name, value in given if len(value.get_secret_value()) < WEAK_BELOW]
    urls = {"WEBHOOK_URL": settings.webhook_url, "AUTH_JWKS_URL": settings.auth_jwks_url}
    unfit += [f"{name}: must be https in production" for name, url in urls.items() if url and url[:8] != "https://"]
    if unfit:
        unfit.append("(production takes secrets of 32 characters or more; WEBHOOK_SECRET may stay unset)")
    return unfit


def _has(settings: "Settings", variable: str) -> bool:
    return getattr(settings, variable.lower()) is not None


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
