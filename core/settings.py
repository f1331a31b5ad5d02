"""What the operator decided, read once from the environment and checked before anything starts.

`Settings.from_env()` is called by `bootstrap` and by the scripts; a wrong value raises `ConfigError`, which
names the variable and never its value. Every secret may also come from a file (`NAME_FILE`). Outside
production, secrets nobody gave are made once and kept in the data folder (mode 600).
"""

import difflib
import os
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core import target_rules
from core.dburl import normalized_url
from core.errors import Malformed
from core.secrets import SECRETS, ConfigError, from_files, kept_secret

REQUIRED_IN_PRODUCTION = ("SECRET_KEY", "APP_ENCRYPTION_KEY", "AUTH_JWT_SECRET")  # for the last, AUTH_JWKS_URL will do
PUBLISHED_KEYS = ("THISISMYSECURETOKEN",)  # WPPConnect Server's, where nobody gives it another
FERNET_KEY_BYTES = 32
WEAK_BELOW = 32  # characters: 256 bits of hex is 64, of base64 43; shorter ones are somebody's password
ENVIRONMENTS = {"development": "development", "dev": "development", "test": "test"}
ENVIRONMENTS |= {"production": "production", "prod": "production"}
ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?(?:/[^?#]*)?")
USUAL_PORTS = ("http:80", "https:443")


class Gateway(NamedTuple):
    """Where a gateway server answers and the key it wants."""

    url: str
    key: str
    is_sandbox: bool = False


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("setting", message)


def _base_url(value: str) -> str:
    """An http(s) URL without user, query or fragment; a trailing slash is cut."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise _wrong("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _wrong("must look like http://host:port")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _wrong("must not carry a user, a query or a fragment")
    return value.rstrip("/")


def _origin(value: str) -> str:
    """As a browser writes it, `https://app.example:8443`: a path is cut, and a port that goes without saying."""
    found = ORIGIN.fullmatch(value.lower())
    if found is None:
        raise _wrong("must look like https://app.example or http://host:port")
    scheme, host, port = found.groups("")
    return f"{scheme}://{host}{'' if scheme + port in USUAL_PORTS else port}"


def _environment(value: str) -> str:
    """A misspelt `production` must not quietly be a development with login links on its screen."""
    if value.lower() not in ENVIRONMENTS:
        raise _wrong("must be development, test or production")
    return ENVIRONMENTS[value.lower()]


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


BaseUrl = Annotated[str, BeforeValidator(_base_url)]
Origin = Annotated[str, BeforeValidator(_origin)]
Origins = Annotated[list[Origin], NoDecode, BeforeValidator(_listed)]
Listed = Annotated[list[str], NoDecode, BeforeValidator(_listed)]
Millis = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
PerMinute = Annotated[int, Field(ge=0, le=1_000_000)]  # 0: as often as they like


class Settings(BaseSettings):
    """One field a variable (upper case). Bounds and defaults stand here and, in words, in docs/operations.md."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    app_env: Annotated[str, BeforeValidator(_environment)] = "development"
    host: str = "127.0.0.1"
    port: Port = 8000
    zelador_data_dir: Path = Path("/var/lib/zelador") if os.geteuid() == 0 else Path("var")
    database_url: SecretStr | None = None
    db_statement_timeout_ms: Millis = 15_000
    whatsapp_disable_refresh_on_storage_degraded: bool = False
    evolution_api_url: BaseUrl | None = None
    evolution_api_key: SecretStr | None = None
    webhook_url: BaseUrl | None = None
    webhook_secret: Annotated[list[SecretStr], NoDecode, BeforeValidator(_listed)] = []
    frontend_url: Origin | None = None
    cors_allowed_origins: Origins = []
    trusted_proxies: Listed = []
    secret_key: SecretStr | None = None
    app_encryption_key: SecretStr | None = None
    auth_jwt_secret: SecretStr | None = None
    auth_jwt_audience: str | None = None
    auth_jwks_url: str | None = None
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
    heartbeat_url: SecretStr | None = None
    owner_message_policy: Literal["note", "ignore"] = "note"
    auto_booking: bool = True
    keep_status_broadcasts: bool = False
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_file: Path | None = None
    alert_urls: Annotated[list[SecretStr], NoDecode, BeforeValidator(_listed)] = []
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

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            return SecretStr(normalized_url(value.get_secret_value()))
        except ValueError as error:
            raise _wrong(str(error)) from None

    @field_validator("heartbeat_url")
    @classmethod
    def _heartbeat(cls, value: SecretStr | None) -> SecretStr | None:
        """Services put their token into the path or the query."""
        if value:
            _base_url(value.get_secret_value().partition("?")[0])
        return value

    @field_validator("auth_jwks_url")
    @classmethod
    def _key_server(cls, value: str | None) -> str | None:
        """Some providers tell their key sets apart by a query."""
        if value:
            _base_url(value.partition("?")[0])
        return value

    @field_validator("alert_urls")
    @classmethod
    def _targets(cls, value: list[SecretStr]) -> list[SecretStr]:
        for number, url in enumerate(value, start=1):
            try:
                target_rules.read(url.get_secret_value())
            except Malformed as error:
                raise _wrong(f"entry {number}: {error.message}") from None
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        try:
            return [str(ip_network(network)) for network in value]
        except ValueError:
            raise _wrong("must be a comma list of networks such as 10.0.0.0/8") from None

    @field_validator("app_encryption_key")
    @classmethod
    def _fernet(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            keys = value.get_secret_value().split(",") if value else []
            if any(len(urlsafe_b64decode(key)) != FERNET_KEY_BYTES for key in keys):
                raise ValueError
        except ValueError:
            raise _wrong("must be a comma list of Fernet keys (44 characters each)") from None
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        problems = [*self._odd_together(), *(self._unfit_for_production() if self.is_production else [])]
        if problems:
            raise _wrong("\n".join(problems))
        return self

    def _odd_together(self) -> list[str]:
        odd = []
        if self.port == self.sandbox_port and self.evolution_api_url is None and not self.is_production:
            odd.append("SANDBOX_PORT: must not be PORT")
        if self.log_file and not self.log_file.parent.is_dir():
            odd.append("LOG_FILE: its folder is not there")
        if self.health_alert_threshold > self.health_max_consecutive_failures:
            odd.append("HEALTH_ALERT_THRESHOLD: must not be above HEALTH_MAX_CONSECUTIVE_FAILURES")
        if self.health_check_timeout_ms > self.health_check_interval_ms:
            odd.append("HEALTH_CHECK_TIMEOUT_MS: must not be above HEALTH_CHECK_INTERVAL_MS")
        urls = [url for url in (self.evolution_api_url, self.wppconnect_url) if url]
        if not self.webhook_url and not all(_is_loopback(url) for url in urls):
            odd.append("WEBHOOK_URL: must say how a gateway on another host reaches this server")
        keys = {"EVOLUTION_API_URL": "EVOLUTION_API_KEY", "WPPCONNECT_URL": "WPPCONNECT_SECRET_KEY"}
        keys["WHATSAPP_BROKER_BASE_URL"] = "WHATSAPP_BROKER_API_KEY"
        odd += [f"{key}: missing, {url} is set" for url, key in keys.items() if self._has(url) and not self._has(key)]
        if self.whatsapp_provider and self.gateway_of(self.whatsapp_provider) is None:
            odd.append("WHATSAPP_PROVIDER: names a gateway of which no server is named")
        key = self.wppconnect_secret_key
        if key and key.get_secret_value() in PUBLISHED_KEYS:
            odd.append("WPPCONNECT_SECRET_KEY: everybody knows this one, give the server another")
        return odd

    def _has(self, variable: str) -> bool:
        return getattr(self, variable.lower()) is not None

    def _unfit_for_production(self) -> list[str]:
        values = {name: getattr(self, name.lower()) for name in REQUIRED_IN_PRODUCTION}
        if self.auth_jwks_url:
            values = {name: value for name, value in values.items() if value or name != "AUTH_JWT_SECRET"}
        unfit = [f"{name}: missing" for name, value in values.items() if value is None]
        given = [(name, value) for name, value in values.items() if value is not None]
        given += [("WEBHOOK_SECRET", value) for value in self.webhook_secret]
        unfit += [f"{name}: weak" for name, value in given if len(value.get_secret_value()) < WEAK_BELOW]
        urls = {"WEBHOOK_URL": self.webhook_url, "AUTH_JWKS_URL": self.auth_jwks_url}
        unfit += [f"{name}: must be https in production" for name, url in urls.items() if url and url[:8] != "https://"]
        if unfit:
            unfit.append("(production takes secrets of 32 characters or more; WEBHOOK_SECRET may stay unset)")
        return unfit

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


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
