"""Throwing away what is past its retention. Two that do it at once do no harm."""

from collections.abc import Callable, Iterable
from datetime import timedelta

import structlog
from sqlalchemy import Connection

from core.db import Transaction
from core.errors import AppError

log = structlog.get_logger()
Prune = Callable[[Connection, timedelta], int]


def tidy(transaction: Transaction, kept: Iterable[tuple[Prune, timedelta]]) -> None:
    """Let each `prune` drop what is older than its age. One that fails is logged, and keeps no other from its turn."""
    for prune, age in kept:
        try:
            _finish(transaction, prune, age)
        except AppError as error:
            log.warning("prune_failed", what=prune.__module__, error_code=error.code)
        except Exception as error:
            log.error("prune_crashed", what=prune.__module__, exc_info=error)


def _finish(transaction: Transaction, prune: Prune, age: timedelta) -> None:
    """A batch a transaction, so that nobody waits for long."""
    dropped = 1
    while dropped:
        with transaction() as connection:
            dropped = prune(connection, age)
