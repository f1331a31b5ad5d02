"""What a setting may look like, one type a kind: each refuses what it cannot be, in words that do not repeat the value.

Their errors are `wrong(...)`; `core.settings` puts the variable's name before them.
"""

import re
from base64 import urlsafe_b64decode
from ipaddress import ip_network
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from core import target_rules
from core.dburl import normalized_url
from core.errors import Malformed

FERNET_KEY_BYTES = 32
ENVIRONMENTS = {"development": "development", "dev": "development", "test": "test"}
ENVIRONMENTS |= {"production": "production", "prod": "production"}
ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?(?:/[^?#]*)?")
FROM_FILES = "file://"  # what packaged applications say on some systems
USUAL_PORTS = ("http:80", "https:443")


def wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("setting", message)


def _base_url(value: str) -> str:
    """An http(s) URL without user, query or fragment; a trailing slash is cut."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise wrong("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise wrong("must look like http://host:port")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise wrong("must not carry a user, a query or a fragment")
    return value.rstrip("/")


def _origin(value: str) -> str:
    """As a browser writes it, `https://app.example:8443`: a path is cut, and a port that goes without saying."""
    if value.lower() == FROM_FILES:
        return FROM_FILES
    found = ORIGIN.fullmatch(value.lower())
    if found is None:
        raise wrong("must look like https://app.example or http://host:port")
    scheme, host, port = found.groups("")
    return f"{scheme}://{host}{'' if scheme + port in USUAL_PORTS else port}"


def _environment(value: str) -> str:
    """A misspelt `production` must not quietly be a development with login links on its screen."""
    if value.lower() not in ENVIRONMENTS:
        raise wrong("must be development, test or production")
    return ENVIRONMENTS[value.lower()]


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _secret_url(value: SecretStr) -> SecretStr:
    """Services put their token into the path or the query."""
    _base_url(value.get_secret_value().partition("?")[0])
    return value


def _url_with_query(value: str) -> str:
    _base_url(value.partition("?")[0])
    return value


def _database_url(value: SecretStr) -> SecretStr:
    try:
        return SecretStr(normalized_url(value.get_secret_value()))
    except ValueError as error:
        raise wrong(str(error)) from None


def _targets(value: list[SecretStr]) -> list[SecretStr]:
    for number, url in enumerate(value, start=1):
        try:
            target_rules.read(url.get_secret_value())
        except Malformed as error:
            raise wrong(f"entry {number}: {error.message}") from None
    return value


def _networks(value: list[str]) -> list[str]:
    try:
        return [str(ip_network(network)) for network in value]
    except ValueError:
        raise wrong("must be a comma list of networks such as 10.0.0.0/8") from None


def _fernet_keys(value: SecretStr) -> SecretStr:
    try:
        if any(len(urlsafe_b64decode(key)) != FERNET_KEY_BYTES for key in value.get_secret_value().split(",")):
            raise ValueError
    except ValueError:
        raise wrong("must be a comma list of Fernet keys (44 characters each)") from None
    return value


Environment = Annotated[str, BeforeValidator(_environment)]
BaseUrl = Annotated[str, BeforeValidator(_base_url)]
UrlWithQuery = Annotated[str, AfterValidator(_url_with_query)]
SecretUrl = Annotated[SecretStr, AfterValidator(_secret_url)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
Origin = Annotated[str, BeforeValidator(_origin)]
Origins = Annotated[list[Origin], NoDecode, BeforeValidator(_listed)]
Networks = Annotated[list[str], NoDecode, BeforeValidator(_listed), AfterValidator(_networks)]
Secrets = Annotated[list[SecretStr], NoDecode, BeforeValidator(_listed)]
Targets = Annotated[list[SecretStr], NoDecode, BeforeValidator(_listed), AfterValidator(_targets)]
FernetKeys = Annotated[SecretStr, AfterValidator(_fernet_keys)]
Millis = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
PerMinute = Annotated[int, Field(ge=0, le=1_000_000)]  # 0: as often as they like
