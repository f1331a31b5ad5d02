"""What the operator decided, read once from the environment and checked before anything starts.

`Settings.from_env()` is called by `bootstrap` and by the scripts; a wrong value raises `ConfigError`, which
names the variable and never its value. Every secret may also come from a file (`NAME_FILE`). Outside
production, secrets nobody gave are made once and kept in the data folder (mode 600).
"""

import difflib
import os
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.secrets import SECRETS, ConfigError, from_files, kept_secret
from core.setting_kinds import (
    FERNET_KEY_BYTES,
    BaseUrl,
    DatabaseUrl,
    Environment,
    FernetKeys,
    Millis,
    Networks,
    Origin,
    Origins,
    PerMinute,
    Port,
    Secrets,
    SecretUrl,
    Targets,
    UrlWithQuery,
    wrong,
)
from core.setting_rules import odd_together, unfit_for_production


class Gateway(NamedTuple):
    """Where a gateway server answers and the key it wants."""

    url: str
    key: str
    is_sandbox: bool = False


class Settings(BaseSettings):
    """One field a variable (upper case). Bounds and defaults stand here and, in words, in docs/operations.md."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    app_env: Environment = "development"
    host: str = "127.0.0.1"
    port: Port = 8000
    zelador_data_dir: Path = Path("/var/lib/zelador") if os.geteuid() == 0 else Path("var")
    database_url: DatabaseUrl | None = None
    db_statement_timeout_ms: Millis = 15_000
    whatsapp_disable_refresh_on_storage_degraded: bool = False
    evolution_api_url: BaseUrl | None = None
    evolution_api_key: SecretStr | None = None
    webhook_url: BaseUrl | None = None
    webhook_secret: Secrets = []
    frontend_url: Origin | None = None
    cors_allowed_origins: Origins = []
    trusted_proxies: Networks = []
    secret_key: SecretStr | None = None
    app_encryption_key: FernetKeys | None = None
    auth_jwt_secret: SecretStr | None = None
    auth_jwt_audience: str | None = None
    auth_jwks_url: UrlWithQuery | None = None
    open_organizations: bool = False
    rate_limit_reads: PerMinute = 600
    rate_limit_writes: PerMinute = 120
    rate_limit_logins: PerMinute = 20
    rate_limit_connects: PerMinute = 6
    rate_limit_sends: PerMinute = 60
    rate_limit_tokens: PerMinute = 5
    max_body_bytes: Annotated[int, Field(ge=1024, le=256 * 1024 * 1024)] = 32 * 1024 * 1024
    event_retention_days: Annotated[int, Field(ge=1, le=3650)] = 7
    feed_retention_days: Annotated[int, Field(ge=1, le=3650)] = 7
    max_sockets: Annotated[int, Field(ge=1, le=11_000)] = 10_000
    qr_ttl_seconds: Annotated[int, Field(ge=5, le=600)] = 45
    pairing_code_ttl_seconds: Annotated[int, Field(ge=5, le=600)] = 60
    default_country_code: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,2}$")] | None = None
    whatsapp_provider: Literal["evolution", "wppconnect", "broker"] | None = None
    wppconnect_url: BaseUrl | None = None
    wppconnect_secret_key: SecretStr | None = None
    whatsapp_broker_base_url: BaseUrl | None = None
    whatsapp_broker_api_key: SecretStr | None = None
    whatsapp_broker_webhook_secret: SecretStr | None = None
    evolution_metrics_user: str | None = None
    evolution_metrics_password: SecretStr | None = None
    retry_max_attempts: Annotated[int, Field(ge=1, le=10)] = 3
    retry_initial_delay_ms: Millis = 1_000
    retry_max_delay_ms: Millis = 30_000
    breaker_failure_threshold: Annotated[int, Field(ge=1)] = 5
    breaker_window_ms: Millis = 60_000
    breaker_open_ms: Millis = 30_000
    health_check_interval_ms: Annotated[int, Field(ge=1_000)] = 60_000
    health_check_timeout_ms: Annotated[int, Field(ge=100)] = 10_000
    health_alert_threshold: Annotated[int, Field(ge=1)] = 2
    health_max_consecutive_failures: Annotated[int, Field(ge=1)] = 3
    auto_reconnect: bool = True
    reconnect_max_attempts: Annotated[int, Field(ge=1)] = 5
    heartbeat_url: SecretUrl | None = None
    owner_message_policy: Literal["note", "ignore"] = "note"
    auto_booking: bool = True
    keep_status_broadcasts: bool = False
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_file: Path | None = None
    alert_urls: Targets = []
    alert_allow_private: bool = False
    alert_reminder_hours: Annotated[int, Field(ge=0, le=24 * 30)] = 24
    sandbox_port: Port = 8081

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read, check and complete the settings. Raises ConfigError; may write new secrets to the data folder."""
        values = from_files(dict(os.environ if environ is None else environ))
        try:
            settings = cls(**_known(values))
        except ValidationError as error:
            raise ConfigError(_explain(error)) from None
        return settings if settings.is_production else settings._with_made_secrets()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: Any, init_settings: Any, env_settings: Any, dotenv_settings: Any, file_secret_settings: Any
    ) -> tuple[Any, ...]:
        """Only what `from_env` hands over: it has read the files and the aliases already."""
        return (init_settings,)

    @property
    def is_production(self) -> bool:
        return self.app_env == "production"

    @property
    def gateway(self) -> Gateway | None:
        """The Evolution server to use; the sandbox where no gateway is named outside production; else None."""
        key = self.evolution_api_key.get_secret_value() if self.evolution_api_key else ""
        if self.evolution_api_url:
            return Gateway(self.evolution_api_url, key, is_sandbox=False)
        if self.is_production or self.wppconnect_url or self.whatsapp_broker_base_url:
            return None
        return Gateway(f"http://127.0.0.1:{self.sandbox_port}", key, is_sandbox=True)

    def gateway_of(self, provider: str) -> Gateway | None:
        """The server of `evolution`, `wppconnect` or `broker`; None where none is named, or its key is missing."""
        others = {
            "wppconnect": (self.wppconnect_url, self.wppconnect_secret_key),
            "broker": (self.whatsapp_broker_base_url, self.whatsapp_broker_api_key),
        }
        if provider not in others:
            return self.gateway
        url, key = others[provider]
        return Gateway(url, key.get_secret_value()) if url and key else None

    @property
    def default_provider(self) -> str:
        """Which of them makes new instances: the one that is chosen, else the first one whose server is named."""
        named = {"evolution": self.evolution_api_url, "wppconnect": self.wppconnect_url}
        named["broker"] = self.whatsapp_broker_base_url
        return self.whatsapp_provider or next((name for name, url in named.items() if url), "evolution")

    @property
    def webhook_base(self) -> str:
        """The public base that gateways post to."""
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
        return self.webhook_url or f"http://{address(anywhere.get(self.host, self.host), self.port)}"

    @property
    def own_url(self) -> str:
        """Where the web role listens, as a URL."""
        return f"http://{address(self.host, self.port)}"

    @property
    def origins(self) -> frozenset[str]:
        """Origins of pages that may open our sockets, beside the page's own host."""
        return frozenset([*self.cors_allowed_origins, *([self.frontend_url] if self.frontend_url else [])])

    @model_validator(mode="after")
    def _together(self) -> Self:
        problems = [*odd_together(self), *(unfit_for_production(self) if self.is_production else [])]
        if problems:
            raise wrong("\n".join(problems))
        return self

    def _with_made_secrets(self) -> Self:
        """Complete what nobody gave with secrets of this data folder, made once."""
        makers = dict.fromkeys(("SECRET_KEY", "AUTH_JWT_SECRET", "EVOLUTION_API_KEY"), secrets.token_urlsafe)
        made = {name: kept_secret(self.zelador_data_dir, name, make) for name, make in makers.items()
                if getattr(self, name.lower()) is None}  # fmt: skip
        if self.app_encryption_key is None:
            made["APP_ENCRYPTION_KEY"] = kept_secret(
                self.zelador_data_dir,
                "APP_ENCRYPTION_KEY",
                lambda: urlsafe_b64encode(os.urandom(FERNET_KEY_BYTES)).decode(),
            )
        return self.model_copy(update={name.lower(): SecretStr(value) for name, value in made.items()})


def _known(environ: Mapping[str, str]) -> dict[str, Any]:
    given = {field: environ.get(field.upper(), "").strip() for field in Settings.model_fields}
    return {field: value for field, value in given.items() if value}


def _explain(error: ValidationError) -> str:
    """Each problem as `NAME: what is wrong`; pydantic's own text is kept, the input never."""
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        name = str(problem["loc"][0]).upper() if problem["loc"] else ""
        lines.append(f"{name}: {problem['msg']}" if name else problem["msg"])
    return "\n".join(lines)


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """Hints about variables that look like ours and are not: `EVOLUTION_API_KY: did you mean …?`"""
    ours = {name.upper() for name in Settings.model_fields} | {f"{name}_FILE" for name in SECRETS}
    hints = []
    for name in sorted(set(environ) - ours):
        close = difflib.get_close_matches(name, ours, n=1, cutoff=0.9)
        hints += [f"{name}: did you mean {close[0]}?"] if close else []
    return hints


def address(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
