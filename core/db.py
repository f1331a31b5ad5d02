"""The one way to the database: engine, metadata with constraint names, transactions.

Every package's `tables.py` builds on `Base`; nobody else makes engines.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase

from core.dburl import normalized_url
from core.errors import StorageUnavailable

Transaction = Callable[[], AbstractContextManager[Connection]]


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def make_engine(url: str, *, statement_timeout_ms: int, pool_size: int = 5, application: str = "zelador") -> Engine:
    """An engine whose connections fail rather than hang: connect 3 s, locks 2 s, statements as configured."""
    options = f"-c statement_timeout={statement_timeout_ms} -c lock_timeout=2000 -c timezone=UTC"
    engine = create_engine(
        normalized_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=2,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 3, "options": options, "application_name": application},
    )
    event.listen(engine, "connect", _prepare_nothing)
    return engine


def _prepare_nothing(connection: psycopg.Connection[Any], _: object) -> None:
    connection.prepare_threshold = None  # prepared statements do not survive a transaction pooler


def transactions(engine: Engine) -> Transaction:
    """A factory of transactions: commit at the end, roll back on any error, storage trouble as our own error."""

    @contextmanager
    def transaction() -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            raise storage_error(error) from error

    return transaction


def storage_error(error: SQLAlchemyError) -> StorageUnavailable:
    """The database's trouble (gone, locked, too slow, full) as our own error."""
    return StorageUnavailable("The database is not available", db_code=sqlstate(error))


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's five-letter code, where there is one."""
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
