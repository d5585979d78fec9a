"""The SQLite file of a journal: opening it, one transaction at a time, and what its errors mean.

All that is SQLite's own is here.
"""

import asyncio
import errno
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

import aiosqlite
from sqlalchemy import URL, Connection, Insert, Select, Update
from sqlalchemy.engine import Compiled
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.compiler import SQLCompiler

from foxapi_async._journal.journal_url import JournalURL, Synchronous
from foxapi_async._journal.schema import Mismatch, check, migrate
from foxapi_async._journal.seal import RESEAL, reseal
from foxapi_async._journal.statements import Values
from foxapi_async.errors import JournalError

T = TypeVar("T")

_PATIENCE: Final = 10.0
_NAP: Final = 0.02
_RACES: Final = 20
_SOME: Final = 2000  # pages, so that others can write in between

_LEAST: Final = 512  # bytes in the smallest page of a database
_DAMAGED: Final = (
    "it is damaged: nothing is submitted with it. Save its rows with `sqlite3 FILE .recover | "
    "sqlite3 NEW`, and use the new file from then on"
)
# SQLite quotes what it cannot read, and its driver takes that for text.
_FAILURES: Final = (SQLAlchemyError, UnicodeDecodeError)
_MEANINGS: Final = {
    "FULL": "the disk is full, or the file may not grow: make room, then submit again",
    "READONLY": "it is read-only: give this process the right to write to the file and its folder",
    "PERM": "this process may not write to it: give it the right to do so",
    "CANTOPEN": (
        "it cannot be opened: give this process the right to read and write the file and to write "
        "to its folder"
    ),
    "BUSY": f"another process has kept it locked for {_PATIENCE:g} s",
    "LOCKED": "another connection keeps it locked",
    "NOTADB": "it is not a database: give the journal a file of its own",
    "CORRUPT": _DAMAGED,
    "ERROR": _DAMAGED,
    "IOERR": "the disk fails to read or write it, or a limit of this process keeps it from growing",
}


class Database:
    """One connection to the file, used by one task at a time."""

    def __init__(
        self,
        path: str,
        engine: AsyncEngine,
        connection: AsyncConnection,
        driver: aiosqlite.Connection,
        file: os.stat_result,
    ) -> None:
        self.path: str = path
        self._engine = engine
        self._connection = connection
        self._driver = driver
        self._file = file
        self._statements: dict[Insert | Update | Select[Any], _Prepared] = {}

    @classmethod
    async def open(cls, location: JournalURL, *, create: bool = True) -> Self:
        """Open the file and bring its tables up to date; ``JournalError`` says why it cannot."""
        path, file, engine = await asyncio.to_thread(_prepare, location, create=create)
        try:
            connection = await engine.connect()
        except _FAILURES as error:
            await engine.dispose()
            raise _translated(path, error) from error.__cause__
        database = cls(path, engine, connection, await _driver_of(connection), file)
        try:
            await database.run(_migrate)
            # Apart from it, because a large file takes its time, in which others may write.
            await database.run(check)
        except BaseException as error:
            await database.aclose()
            if isinstance(error, Mismatch):
                raise JournalError(f"the journal {path} {error}") from None
            raise
        return database

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction, commit, and return what it returns.

        It is run again when another process got ahead of it. ``JournalError`` means that nothing
        of it was written.
        """
        try:
            return await self._connection.run_sync(_whole, work)
        except _FAILURES as error:
            raise _translated(self.path, error) from error.__cause__
        except asyncio.CancelledError:
            if self._connection.invalidated:
                # SQLAlchemy gives a connection up that was cut short, and makes another.
                self._driver = await _driver_of(self._connection)
            raise

    async def write(self, statements: Sequence[tuple[Insert | Update, list[Values]]]) -> None:
        """Execute each statement once for each of its values, and commit: all of it or nothing.

        The hot path of a submission, past SQLAlchemy's machinery, with what it has compiled, and in
        one trip to the driver's thread. ``Taken`` if a row is there already, ``JournalError`` if it
        cannot be written.
        """
        work = [(query := self._prepared(it), list(map(query.bound, of))) for it, of in statements]
        # A trip costs as much as a write, and the driver's own ways take one for each statement.
        trip: Any = cast("Any", self._driver)._execute  # noqa: SLF001
        try:
            await trip(self._write_all, self._driver, work)
        except sqlite3.IntegrityError as error:
            raise Taken from error
        except Exception as error:
            raise self._failed(error) from error

    def _write_all(
        self,
        driver: aiosqlite.Connection,
        work: Sequence[tuple["_Prepared", list[tuple[Any, ...]]]],
    ) -> None:
        """Write and commit, or leave nothing behind; in the thread of the driver."""
        # SQLite would go on writing into a file that has no name any more.
        if not os.path.samestat(os.stat(self.path), self._file):  # noqa: PTH116 quick
            raise FileNotFoundError(self.path)
        connection = driver._conn  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        try:
            for query, rows in work:
                connection.executemany(query.sql, rows)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise

    async def read(self, query: Select[Any], values: Values) -> list[dict[str, Any]]:
        """Return the rows of a query by their columns; quick for a single row."""
        prepared = self._prepared(query)
        try:
            rows = await self._driver.execute_fetchall(prepared.sql, prepared.bound(values))
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._failed(error) from error
        names = query.selected_columns.keys()
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _failed(self, error: Exception) -> JournalError:
        return JournalError(f"the journal {self.path}: {_meaning(error)}")

    def _prepared(self, statement: Insert | Update | Select[Any]) -> "_Prepared":
        prepared = self._statements.get(statement)
        if prepared is None:
            compiled = statement.compile(dialect=self._engine.dialect)
            prepared = self._statements[statement] = _Prepared(compiled)
        return prepared

    async def aclose(self) -> None:
        """Close the file; the last one to do so folds what was written into it."""
        await self._connection.close()
        await self._engine.dispose()


class Taken(Exception):  # noqa: N818 a signal inside the journal, which no user ever sees
    """A row that was to be inserted is there already; nothing was written."""


class _Prepared:
    """A statement as the driver takes it: its text, and the order of its values."""

    def __init__(self, compiled: Compiled) -> None:
        if not isinstance(compiled, SQLCompiler):
            raise TypeError(f"no statement with values: {compiled!r}")
        self.sql: str = compiled.string
        self._names: list[str] = list(compiled.positiontup or ())
        self._constants: dict[str, Any] = dict(compiled.params)

    def bound(self, values: Values) -> tuple[Any, ...]:
        """Return the values in the order of the text; what is not given is the same each time."""
        constants = self._constants
        return tuple(values[name] if name in values else constants[name] for name in self._names)


def give_back(connection: Connection) -> bool:
    """Give some of the room of deleted rows back to the disk; tell whether there may be more.

    The file is cut when its last user closes it, or SQLite folds what was written into it.
    """
    adapted: Any = connection.connection.dbapi_connection
    adapted.run_async(_free_pages)
    free = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
    return bool(free) and bool(connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one())


async def _driver_of(connection: AsyncConnection) -> aiosqlite.Connection:
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, aiosqlite.Connection):
        raise TypeError(f"SQLAlchemy came with another driver: {driver!r}")
    return driver


async def _free_pages(driver: aiosqlite.Connection) -> None:
    # Only as a script is the statement run to its end: each step of it frees one page.
    await driver.executescript(f"PRAGMA incremental_vacuum({_SOME})")


def _whole(connection: Connection, work: Callable[[Connection], T]) -> T:
    races = 0
    while True:
        try:
            result = work(connection)
            connection.commit()
        except IntegrityError:
            connection.rollback()
            races += 1
            if races > _RACES:
                raise
        except BaseException:
            connection.rollback()
            raise
        else:
            return result


def _migrate(connection: Connection) -> None:
    # SQLite's driver begins no transaction for the making of tables.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    migrate(connection)


def _prepare(location: JournalURL, *, create: bool) -> tuple[str, os.stat_result, AsyncEngine]:
    """Do what touches the disk before the first connection does."""
    # Through links, as SQLite goes: all who open the file must find the marks of the living.
    path = Path(location.path).resolve()
    try:
        if create:
            _make_private(path)
        file = path.stat()
    except OSError as error:
        raise JournalError(_unopened(path, error, create=create)) from error
    if 0 < file.st_size < _LEAST:
        # SQLite takes the rest of a file for a new one.
        raise JournalError(f"the journal {path} was cut off: put a whole copy of it in its place")
    if not stat.S_ISREG(file.st_mode):
        raise JournalError(f"the journal {path} is no file: name one, such as {path / 'tasks.db'}")
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        poolclass=NullPool,
        # Parameters are prompts, and an error's text may be logged.
        hide_parameters=True,
        connect_args={
            "factory": _Full if location.synchronous == "full" else _Normal,
            # Begins each transaction that writes with the right to write, so that two processes
            # wait for each other instead of failing half-way.
            "isolation_level": "IMMEDIATE",
            "timeout": _PATIENCE,
        },
    )
    return str(path), file, engine


def _make_private(path: Path) -> None:
    """Make the file if it is not there, such that only its owner could ever read it."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except PermissionError:
        # What may only be read SQLite can still open, and it says best why not to write.
        if not path.exists():
            raise


def _unopened(path: Path, error: OSError, *, create: bool) -> str:
    """Say why the file is not there to be opened, and what to do about it."""
    folder = path.parent
    if isinstance(error, FileNotFoundError) and not create:
        return f"there is no journal at {path}"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"the journal {path} cannot be made: there is no folder {folder}; make it first"
    if isinstance(error, IsADirectoryError):
        return f"the journal {path} is a folder: name a file, such as {path / 'tasks.db'}"
    if isinstance(error, PermissionError):
        return (
            f"the journal {path} cannot be made: this process may not write to the folder "
            f"{folder}; give it the right to, or name a file elsewhere"
        )
    why = _ERRNOS.get(error.errno or 0, error.strerror or type(error).__name__)
    return f"the journal {path} cannot be made: {why}"


_ERRNOS: Final = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the disk quota of this user is used up; make room",
    errno.EROFS: "its folder is on a read-only file system; name a file elsewhere",
    errno.ENAMETOOLONG: "its name is too long; give it a shorter one",
    errno.ELOOP: "its symbolic links lead in a circle; name another file",
}


class _Normal(sqlite3.Connection):
    """A connection that is set up by the thread that makes it."""

    SYNCHRONOUS: Synchronous = "normal"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.text_factory = _text
        self.create_function(RESEAL, -1, reseal, deterministic=True)
        try:
            # Heeded by a file that is still empty alone, so before anything is written.
            self.execute("PRAGMA auto_vacuum = INCREMENTAL")
            self._use_wal()
            self.execute(f"PRAGMA synchronous = {self.SYNCHRONOUS}")
            # The requests of what has been accepted are overwritten where that costs no write.
            self.execute("PRAGMA secure_delete = FAST")
        except BaseException:
            self.close()
            raise

    def _use_wal(self) -> None:
        # Two processes that make the file at once may meet here, where SQLite does not wait.
        ends = time.monotonic() + _PATIENCE
        while True:
            try:
                self.execute("PRAGMA journal_mode = WAL").close()
            except sqlite3.OperationalError as error:
                if _name(error) != "BUSY" or time.monotonic() > ends:
                    raise
                time.sleep(_NAP)
            else:
                return


class _Full(_Normal):
    SYNCHRONOUS = "full"


def _text(data: bytes) -> str | bytes:
    """Return what should be text; what is damaged stays as it is, for a row to be judged."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _translated(path: str, error: Exception) -> JournalError:
    # Never the text of SQLAlchemy: it quotes what was to be written.
    return JournalError(f"the journal {path}: {_meaning(error.__cause__ or error)}")


def _meaning(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "it was moved or deleted while it was in use: put it back, or build a new FoxSession"
    if isinstance(error, UnicodeDecodeError):
        return _DAMAGED
    name = _name(error) if isinstance(error, sqlite3.Error) else ""
    return _MEANINGS.get(name) or f"{type(error).__name__} {name}".strip()


def _name(error: sqlite3.Error) -> str:
    """Return ``BUSY`` for ``SQLITE_BUSY_SNAPSHOT`` and the like."""
    return getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").partition("_")[0]
