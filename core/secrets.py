"""Where secrets come from when they do not stand in the environment: files, and the data folder.

Used by `core.settings`; programs catch its ConfigError.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SECRETS = (
    "EVOLUTION_API_KEY",
    "EVOLUTION_METRICS_PASSWORD",
    "WPPCONNECT_SECRET_KEY",
    "WHATSAPP_BROKER_API_KEY",
    "WHATSAPP_BROKER_WEBHOOK_SECRET",
    "WEBHOOK_SECRET",
    "SECRET_KEY",
    "APP_ENCRYPTION_KEY",
    "AUTH_JWT_SECRET",
    "DATABASE_URL",
    "ALERT_URLS",
    "HEARTBEAT_URL",
)
ALIASES = {
    "APP_ENV": ("NODE_ENV", "FLASK_ENV"),
    "WHATSAPP_BROKER_BASE_URL": ("BROKER_BASE_URL",),
    "WHATSAPP_BROKER_API_KEY": ("BROKER_API_KEY",),
}


class ConfigError(Exception):
    """The environment cannot be used as it is. `str()` has one line a problem."""


def kept_secret(data_dir: Path, name: str, make: Callable[[], str]) -> str:
    """The data folder's secret of that name; made on first use. Raises ConfigError when it cannot be kept."""
    path = data_dir / "secrets" / name.lower()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _write_once(path, str(make()))
        return path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"ZELADOR_DATA_DIR: cannot be written ({error.strerror})") from None


def _write_once(path: Path, value: str) -> None:
    """Linked into place whole: of two processes that start at once, both end with the first one's secret."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent) as fresh:  # mode 600 by itself
        fresh.write(value)
        fresh.flush()
        with suppress(FileExistsError):
            os.link(fresh.name, path)


def _read_secret(path: Path, variable: str) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{variable}: the file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{variable}: the file is not text") from None


def from_files(environ: dict[str, str]) -> dict[str, str]:
    """Put the contents of each NAME_FILE in the place of NAME."""
    for name in SECRETS:
        if path := environ.get(f"{name}_FILE"):
            if environ.get(name):
                raise ConfigError(f"{name}: given twice, {name}_FILE is set too")
            environ[name] = _read_secret(Path(path), f"{name}_FILE")
    for name, others in ALIASES.items():
        environ[name] = next((environ[spelling] for spelling in (name, *others) if environ.get(spelling)), "")
    return environ
