"""The one way to the database: engine, metadata with constraint names, transactions.

Every package's `tables.py` builds on `Base`; nobody else makes engines.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, LiteralString, cast
from uuid import UUID

import psycopg
from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase

from core.dburl import normalized_url
from core.errors import StorageUnavailable
from core.patience import make_impatient

# a peer that is gone without a word is noticed after some 15 s, not after the kernel's quarter of an hour
PATIENCE: dict[str, Any] = {
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
IDLE_MS = 20_000  # who froze in a transaction loses it, and its locks
BEHIND = ("42P01", "42703")  # a table or column is missing: the structure is not this version's, yet
FROZE = "25P03"  # we were idle in a transaction for too long, and lost it
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
    """An engine whose connections fail rather than hang: connect 3 s, locks 2 s, statements as configured; where the
    server does not even say so, 5 s later."""
    options = f"-c statement_timeout={statement_timeout_ms} -c lock_timeout=2000 -c timezone=UTC"
    options += f" -c idle_in_transaction_session_timeout={IDLE_MS}"
    engine = create_engine(
        normalized_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=2,
        pool_pre_ping=True,
        hide_parameters=True,  # people's messages are among them, and errors are logged
        connect_args={"connect_timeout": 3, "options": options, "application_name": application, **PATIENCE},
    )
    event.listen(engine, "connect", _prepare_nothing)
    make_impatient(engine, statement_timeout_ms)
    return engine


def _prepare_nothing(connection: psycopg.Connection[Any], _: object) -> None:
    connection.prepare_threshold = None  # prepared statements do not survive a transaction pooler


def array(values: Iterable[object]) -> str:
    """The values as PostgreSQL's array literal, for `CAST(:name AS type[])`; None is NULL.

    psycopg writes lists item by item and escapes them with a regular expression: that was 40 % of the worker's CPU.
    """
    return "{" + ",".join([_element(value) for value in values]) + "}"


def json_array(values: Iterable[object]) -> str:
    """The same of JSON documents, for `CAST(:name AS text[])` and then jsonb; None is NULL."""
    return array(None if value is None else json.dumps(value) for value in values)


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if type(value) is UUID:
        return f"{value.int:032x}"
    text = value if type(value) is str else str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def transactions(engine: Engine) -> Transaction:
    """A factory of transactions: commit at the end, roll back on any error, storage trouble as our own error."""

    @contextmanager
    def transaction() -> Iterator[Connection]:
        with _told_as_ours(), engine.begin() as connection:
            yield connection

    return transaction


def questions(engine: Engine) -> Transaction:
    """The same for reading: every statement is a transaction of its own. One question is one round trip, not three."""

    @contextmanager
    def question() -> Iterator[Connection]:
        with _told_as_ours(), engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    return question


def straight(connection: Connection, statement: LiteralString, values: Sequence[object]) -> list[tuple[Any, ...]]:
    """A question's rows, past SQLAlchemy: for what is asked while somebody waits for each third of a millisecond, as
    long as its layers take. `%s` are the values' places. Raises StorageUnavailable."""
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    try:
        return driver.execute(statement, values).fetchall()
    except psycopg.Error as error:
        connection.invalidate()  # nobody else would find out
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) or error.sqlstate in (*BEHIND, FROZE):
            raise _unavailable(error.sqlstate) from error
        raise


@contextmanager
def _told_as_ours() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise storage_error(error) from error
    except (ProgrammingError, InternalError) as error:
        if sqlstate(error) in (*BEHIND, FROZE):
            raise storage_error(error) from error
        raise


def storage_error(error: SQLAlchemyError) -> StorageUnavailable:
    """The database's trouble (gone, locked, too slow, full, not migrated) as our own error."""
    return _unavailable(sqlstate(error))


def _unavailable(code: str | None) -> StorageUnavailable:
    message = "The database is not migrated to this version" if code in BEHIND else "The database is not available"
    return StorageUnavailable(message, dbCode=code)


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's five-letter code, where there is one."""
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
