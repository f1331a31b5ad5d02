"""Throwing away what is past its retention. Two that do it at once do no harm."""

from collections.abc import Callable, Iterable
from datetime import timedelta

from sqlalchemy import Connection

from core.db import Transaction

Prune = Callable[[Connection, timedelta], int]


def tidy(transaction: Transaction, kept: Iterable[tuple[Prune, timedelta]]) -> None:
    """Let each `prune` drop what is older than its age, a batch a transaction, so that nobody waits for long."""
    for prune, age in kept:
        dropped = 1
        while dropped:
            with transaction() as connection:
                dropped = prune(connection, age)
