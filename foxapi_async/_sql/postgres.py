"""What only PostgreSQL has: its connection and time limits, and the meaning of its errors."""

import os
import random
import sys
from typing import Any, Final
from weakref import WeakSet

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

LOCK_TIMEOUT: Final = 10.0
"""For how many seconds a statement waits for another transaction."""
STATEMENT_TIMEOUT: Final = 60.0
"""How many seconds a statement may take."""
RECONNECT_TIME: Final = 30.0
"""For how many seconds a lost connection is made again before the caller gets an error."""
_CONNECT_TIMEOUT: Final = 10
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
# A host that is lost without a word is given up after 10 + 3 * 5 seconds, on both sides: the server
# then ends the session and lets go of its locks.
_KEEPALIVES: Final = {"idle": 10, "interval": 5, "count": 3}
_GIVE_UP: Final = 25_000  # milliseconds until sent data must be acknowledged
_DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "foxapi-async",
    "connect_timeout": _CONNECT_TIMEOUT,
    "keepalives": 1,
    "tcp_user_timeout": _GIVE_UP,
    **{f"keepalives_{name}": value for name, value in _KEEPALIVES.items()},
}

_MEANINGS: Final = {
    "08": "the connection was lost; it is made again with the next use",
    "22": "a value cannot be stored in it",
    "23": "its tables have other rules than those of this release",
    "25006": "it is read-only: name the primary server, and a database that may be written to",
    "28": "the server refuses this user or password",
    "3D000": "there is no such database: make it first",
    "3F000": "there is no schema to put the tables in: make it, or set another search_path",
    "40": "other transactions have been in its way at every attempt; try again",
    "42501": (
        "this user lacks a right: grant it SELECT, INSERT, UPDATE and DELETE on "
        "foxapi_submissions, foxapi_costs and foxapi_spent, SELECT, INSERT and UPDATE on "
        "foxapi_rates, and SELECT on foxapi_journal; the tables are made by a user with CREATE on "
        "the schema"
    ),
    "42703": "a column of its tables is missing: they were changed by another program",
    "42P01": "a table is missing: it was dropped while in use; build a new FoxSession",
    "53100": "the disk of the server is full: make room, then submit again",
    "53300": "the server has no connection left: raise its max_connections or use fewer processes",
    "53": "the server has run out of a resource",
    "55P03": f"another transaction has kept a row locked for {LOCK_TIMEOUT:g} s",
    "57014": f"a statement took longer than {STATEMENT_TIMEOUT:g} s, or was cancelled",
    "57": "the server has ended the connection; it is made again with the next use",
    "XX001": "the server reports damaged data: restore it from a backup",
    "XX002": "the server reports a damaged index: run REINDEX TABLE foxapi_submissions",
}
# What a restart or a failover of the server does not mend: wrong passwords, names and rights.
_LASTING: Final = ("28", "3D", "3F", "42")
# Nothing of the transaction is stored, and the next attempt may succeed.
_TRANSIENT: Final = frozenset({"40001", "40P01"})

ERRORS: Final = (SQLAlchemyError, psycopg.Error, OSError)
"""What the database and its driver raise."""


def make_engine(url: str, *, statement_timeout: float = STATEMENT_TIMEOUT) -> Engine:
    """Prepare an engine for a server; it connects nowhere yet."""

    def connect() -> "psycopg.Connection[Any]":
        # What the URL says goes before our defaults.
        words: Any = _DEFAULTS | conninfo_to_dict(url) | {"client_encoding": "utf8"}
        connection: psycopg.Connection[Any] = psycopg.connect(**words)
        _OPEN.add(connection)
        try:
            connection.execute(_settings(statement_timeout))
            connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=NullPool,
        # Parameters are prompts, and an error's text may be logged.
        hide_parameters=True,
        # The rules of the statements hold at this level, whatever the server's default is.
        isolation_level="READ COMMITTED",
        use_native_hstore=False,
    )


def _settings(statement_timeout: float) -> bytes:
    settings = {
        "statement_timeout": round(1000 * statement_timeout),
        "lock_timeout": round(1000 * LOCK_TIMEOUT),
        # A process that was stopped in the middle keeps no lock for longer.
        "idle_in_transaction_session_timeout": round(1000 * STATEMENT_TIMEOUT),
        "tcp_user_timeout": _GIVE_UP,
        **{f"tcp_keepalives_{name}": value for name, value in _KEEPALIVES.items()},
    }
    return ";".join(f"SET {name} = {value}" for name, value in settings.items()).encode()


def is_connected(connection: Connection) -> bool:
    """Tell whether the connection is not known to be lost; nothing is sent."""
    if connection.closed or connection.invalidated:
        return False
    driver: Any = connection.connection.driver_connection
    return driver is not None and not driver.closed


def cause(error: Exception) -> BaseException:
    """Return the driver's error behind one of SQLAlchemy's."""
    return (error.__cause__ or error) if isinstance(error, SQLAlchemyError) else error


def is_transient(error: Exception) -> bool:
    """Tell whether the transaction was undone because of others, and may be tried again."""
    return _state(cause(error)) in _TRANSIENT


def reconnect_pause(error: Exception, losses: int, elapsed: float) -> float | None:
    """Return after how many seconds a lost connection is made again; ``None`` to give up.

    Args:
        error: Why the connection was lost, or could not be made.
        losses: How often it was lost in a row, this time included.
        elapsed: How many seconds ago it was lost for the first time.
    """
    found = cause(error)
    is_lasting = _state(found).startswith(_LASTING) or isinstance(found, psycopg.ProgrammingError)
    if is_lasting or elapsed >= RECONNECT_TIME:
        return None
    if losses == 1:
        return 0.0
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(losses - 2, 10))
    # Many processes lose a server at once.
    return random.uniform(longest / 2, longest)  # noqa: S311 no secret


def conflict_pause(conflicts: int) -> float:
    """Return after how many seconds a transaction is executed again that others were in the way of.

    Of two transactions in each other's way, one comes first the next time.
    """
    return random.uniform(0, 0.002 * 2**conflicts)  # noqa: S311 no secret


def is_bad_value(error: Exception) -> bool:
    """Tell whether a value cannot be stored, while others can."""
    found = cause(error)
    if isinstance(found, psycopg.Error):
        return isinstance(found, psycopg.DataError | psycopg.IntegrityError)
    return isinstance(found, OverflowError | TypeError | ValueError)


def meaning(error: Exception, secret: str = "") -> str:
    """Return what happened and the fix. It never quotes a value, a statement or ``secret``."""
    found = cause(error)
    state = _state(found)
    for known in (state, state[:2]):
        if known in _MEANINGS:
            return _MEANINGS[known]
    if isinstance(found, psycopg.ProgrammingError) and not state:
        # The text quotes the URL.
        return "the driver cannot read its URL: see the options that libpq takes"
    if isinstance(found, psycopg.OperationalError) and not state:
        # It comes from the client's side, and tells of the server's address alone.
        why = " ".join(str(found).split())
        return f"the server cannot be reached ({_masked(why, secret)[:400]})"
    return f"{type(found).__name__} {state}".strip()


def _masked(text: str, secret: str) -> str:
    return text.replace(secret, "***") if secret else text


def _state(error: BaseException) -> str:
    return (getattr(error, "sqlstate", None) or "") if isinstance(error, psycopg.Error) else ""


_OPEN: WeakSet[Any] = WeakSet()


def _close_sockets() -> None:
    # A fork that kept the socket of its parent would keep the parent's locks after its end.
    for connection in list(_OPEN):
        if not connection.closed:
            os.close(connection.fileno())
    _OPEN.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_close_sockets)
