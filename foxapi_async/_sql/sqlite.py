"""What only SQLite has: the file and its rights, pragmas, locks, and the meaning of its errors."""

import errno
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

BUSY_TIMEOUT: Final = 10.0
_BUSY_INTERVAL: Final = 0.02
_VACUUM_PAGES: Final = 2000  # one transaction frees so many, so that others can write in between
_SMALLEST_PAGE: Final = 512  # bytes

DAMAGED: Final = (
    "it is damaged: nothing is submitted with it. Save its rows with `sqlite3 FILE .recover | "
    "sqlite3 NEW`, and use the new file from then on"
)
_MEANINGS: Final = {
    "FULL": "the disk is full, or the file may not grow: make room, then submit again",
    "READONLY": "it is read-only: give this process the right to write to the file and its folder",
    "PERM": "this process may not write to it: give it the right to do so",
    "CANTOPEN": (
        "it cannot be opened: give this process the right to read and write the file and to write "
        "to its folder"
    ),
    "BUSY": f"another process has kept it locked for {BUSY_TIMEOUT:g} s",
    "LOCKED": "another connection keeps it locked",
    "NOTADB": "it is not a database: give the journal a file of its own",
    "CORRUPT": DAMAGED,
    "ERROR": DAMAGED,
    # A row that one index has, and another has not: see `Tables.write` of the journal.
    "CONSTRAINT": DAMAGED,
    "IOERR": "the disk fails to read or write it, or a limit of this process keeps it from growing",
}
_ERRNOS: Final = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the disk quota of this user is used up; make room",
    errno.EROFS: "its folder is on a read-only file system; name a file elsewhere",
    errno.ENAMETOOLONG: "its name is too long; give it a shorter one",
    errno.ELOOP: "its symbolic links lead in a circle; name another file",
}
# What SQLite and its driver raise about a value, whatever the state of the disk.
_BAD_VALUE: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
    OverflowError,
    TypeError,
    ValueError,
)

# SQLite quotes what it cannot read, and its driver takes that for text.
ERRORS: Final = (SQLAlchemyError, sqlite3.Error, UnicodeDecodeError, OSError)
"""What the database and its file raise."""


class DatabaseFileError(Exception):
    """A file that cannot be a database, or cannot be made."""


class DatabaseFile:
    """A file that is open, and the engine for it."""

    def __init__(self, path: str, engine: Engine) -> None:
        self.path: str = path
        self._engine = engine
        self._identity = os.stat(path)  # noqa: PTH116 the path is text

    def connect(self) -> Connection:
        """Open the one connection."""
        return self._engine.connect()

    def check(self) -> None:
        """Raise ``FileNotFoundError`` if the file was moved: SQLite would go on writing into it."""
        if not os.path.samestat(os.stat(self.path), self._identity):  # noqa: PTH116 quick
            raise FileNotFoundError(self.path)


def open_file(
    path: Path,
    pragmas: Sequence[str],
    *,
    timeout: float = BUSY_TIMEOUT,
    set_up: Callable[[sqlite3.Connection], object] | None = None,
) -> DatabaseFile:
    """Prepare an engine for a file that is there; it reads nothing of the file yet.

    ``pragmas`` and ``set_up`` are applied to each new connection.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        # Parameters are prompts, and an error's text may be logged.
        hide_parameters=True,
        connect_args={
            # Begins each transaction that writes with the right to write, so that two processes
            # wait for each other instead of failing half-way.
            "isolation_level": "IMMEDIATE",
            "timeout": timeout,
        },
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        if set_up is not None:
            set_up(connection)
        for pragma in pragmas:
            _execute(connection, f"PRAGMA {pragma}", timeout)

    return DatabaseFile(str(path), engine)


def _execute(connection: sqlite3.Connection, pragma: str, timeout: float) -> None:
    # Two processes that make the file at once may meet here, where SQLite does not wait.
    ends = time.monotonic() + timeout
    while True:
        try:
            connection.execute(pragma).close()
        except sqlite3.OperationalError as error:
            if _name(error) != "BUSY" or time.monotonic() >= ends:
                raise
            time.sleep(_BUSY_INTERVAL)
        else:
            return


def prepare_file(path: Path, what: str, *, create: bool) -> None:
    """Make the file if it is not there, and refuse what can be no database.

    The text of ``DatabaseFileError`` names ``what`` the file is, its path, and the fix.
    """
    try:
        if create:
            _make_private(path)
        file = path.stat()
    except OSError as error:
        raise DatabaseFileError(_unopened(path, what, error, create=create)) from error
    if 0 < file.st_size < _SMALLEST_PAGE:
        # SQLite takes the rest of a file for a new one.
        raise DatabaseFileError(f"{what} {path} was cut off: put a whole copy of it in its place")
    if not stat.S_ISREG(file.st_mode):
        raise DatabaseFileError(f"{what} {path} is no file: name one, such as {path / 'tasks.db'}")


def _make_private(path: Path) -> None:
    """Make the file if it is not there, such that only its owner can read it."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except PermissionError:
        # SQLite can open a file that may only be read, and its error says best what is missing.
        if not path.exists():
            raise


def _unopened(path: Path, what: str, error: OSError, *, create: bool) -> str:
    folder = path.parent
    if isinstance(error, FileNotFoundError) and not create:
        return f"there is no {what.removeprefix('the ')} at {path}"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"{what} {path} cannot be made: there is no folder {folder}; make it first"
    if isinstance(error, IsADirectoryError):
        return f"{what} {path} is a folder: name a file, such as {path / 'tasks.db'}"
    if isinstance(error, PermissionError):
        return (
            f"{what} {path} cannot be made: this process may not write to the folder "
            f"{folder}; give it the right to, or name a file elsewhere"
        )
    why = _ERRNOS.get(error.errno or 0, error.strerror or type(error).__name__)
    return f"{what} {path} cannot be made: {why}"


def lock_for_writing(connection: Connection, kind: str = "IMMEDIATE") -> None:
    """Begin a transaction with the lock that it needs: the driver begins none for making tables."""
    connection.exec_driver_sql(f"BEGIN {kind}")


def has_transaction(connection: Connection) -> bool:
    """Tell whether a transaction has begun, which then may write."""
    driver: Any = connection.connection.driver_connection
    return bool(driver.in_transaction)


def read_pragma(connection: Connection, pragma: str) -> Any:
    """Return the first value that a pragma gives."""
    return connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()


def column_types(connection: Connection, table: str) -> set[tuple[str, str]]:
    """Return the name and the declared type of each column of a table."""
    return {(row[1], row[2]) for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")}


def size(connection: Connection) -> int:
    """Return how many bytes the database has."""
    return int(read_pragma(connection, "page_count")) * int(read_pragma(connection, "page_size"))


def find_damage(connection: Connection) -> str | None:
    """Read the whole file; return what is wrong with its pages or indexes."""
    found = read_pragma(connection, "integrity_check(1)")
    return None if found == "ok" else str(found)


def incremental_vacuum(connection: Connection) -> bool:
    """Give some pages of deleted rows back to the disk; tell whether there may be more.

    The file is cut when its last user closes it, or SQLite folds its write-ahead log.
    """
    driver: Any = connection.connection.driver_connection
    # Only as a script is the statement run to its end: each step of it frees one page.
    driver.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
    return bool(read_pragma(connection, "freelist_count")) and bool(
        read_pragma(connection, "auto_vacuum")
    )


def cause(error: Exception) -> BaseException:
    """Return the driver's error behind one of SQLAlchemy's, whose text quotes the statement."""
    return (error.__cause__ or error) if isinstance(error, SQLAlchemyError) else error


def is_bad_value(error: Exception) -> bool:
    """Tell whether a value cannot be stored, while others can."""
    found = cause(error)
    return isinstance(found, _BAD_VALUE) and not isinstance(found, UnicodeDecodeError)


def is_locked(error: Exception) -> bool:
    """Tell whether another process has the file."""
    return _name(cause(error)) in {"BUSY", "LOCKED"}


def is_no_database(error: Exception) -> bool:
    """Tell whether the file has another format."""
    return _name(cause(error)) == "NOTADB"


def meaning(error: Exception) -> str:
    """Return what happened to the file and the fix. It never quotes a value or a statement."""
    found = cause(error)
    if isinstance(found, FileNotFoundError):
        return "it was moved or deleted while it was in use: put it back, or build a new FoxSession"
    if isinstance(found, UnicodeDecodeError):
        return DAMAGED
    name = _name(found)
    return _MEANINGS.get(name) or f"{type(found).__name__} {name}".strip()


def _name(error: BaseException) -> str:
    """Return ``BUSY`` for ``SQLITE_BUSY_SNAPSHOT`` and the like."""
    return getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").partition("_")[0]
