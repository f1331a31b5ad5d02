"""The product's parts on its database, for one command of a shell."""

from typing import TYPE_CHECKING

from core.errors import AppError
from core.settings import Settings

if TYPE_CHECKING:
    from bootstrap.system import System


def opened() -> "Opened":
    return Opened(Settings.from_env())


class Opened:
    """Let go at the end. Raises StorageUnavailable where the database does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __enter__(self) -> "System":
        from bootstrap.system import build, database

        url, self._let_go = database(self._settings)
        self._system = build(self._settings, url)
        try:
            with self._system.transaction():
                return self._system
        except AppError:
            self._let_go(False)
            raise

    def __exit__(self, *_: object) -> None:
        self._system.engine.dispose()
        self._system.inbox_engine.dispose()
        self._let_go(False)
