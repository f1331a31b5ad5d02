"""An end, on our side, to every wait for the database.

A server that is frozen, or whose disk is, keeps its sockets open and says nothing: neither its own time-outs nor TCP's
end the wait. So a connection that has waited long enough is closed here, and never used again. Called by core.db.
"""

import time
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Dialect, Engine, event

PING_S = 2.0  # for the one word by which the pool finds out whether a connection is still good
MARGIN_S = 5.0  # after the time in which the server itself should have ended a statement
REST_S = 1.0


class Impatient(psycopg.Connection[Any]):
    """`patience_s`: how long a statement may take, its answer included; None: as long as it likes."""

    patience_s: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()  # an answer that comes yet would be taken for the next statement's
            raise


class _Door:
    """Makes connections. Where the server has just let one wait in vain, the next to come are not kept waiting too."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s, self._shut_until = patience_s, 0.0

    def connect(self, _: Dialect, __: object, cargs: tuple[Any, ...], cparams: dict[str, Any]) -> Impatient:
        if time.monotonic() < self._shut_until:
            raise psycopg.OperationalError("The database has just not answered")
        try:
            connection = Impatient.connect(*cargs, **cparams)
        except psycopg.errors.ConnectionTimeout:
            self._shut_until = time.monotonic() + REST_S
            raise
        connection.patience_s = self._patience_s
        return connection


def make_impatient(engine: Engine, statement_timeout_ms: int) -> None:
    """Have the engine's connections closed that wait for much longer than the server's own time-out of a statement."""
    patience_s = statement_timeout_ms / 1000 + MARGIN_S

    def taken(connection: Impatient, *_: object) -> None:
        connection.patience_s = patience_s

    def given_back(connection: Impatient | None, *_: object) -> None:
        if connection is not None:
            connection.patience_s = PING_S

    event.listen(engine, "do_connect", _Door(patience_s).connect)
    event.listen(engine, "checkout", taken)
    event.listen(engine, "checkin", given_back)


def wait_for_ever(connection: Any) -> None:
    """Let statements on this SQLAlchemy connection take as long as they like, until it is given back."""
    connection.connection.driver_connection.patience_s = None
