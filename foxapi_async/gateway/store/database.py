"""The data file: one connection in a thread of its own, and all that is ever asked of it."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import aiosqlite

from foxapi_async.errors import ConfigError
from foxapi_async.gateway.store import schema
from foxapi_async.gateway.store.batch import Batch
from foxapi_async.gateway.store.protocol import StoreError, UnstorableError

# So many expired tasks go in one transaction, before writers have their turn again.
_PURGE = 200
# What SQLite and its driver raise about a value, whatever the state of the disk.
_BAD_VALUE = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
    OverflowError,
    TypeError,
    ValueError,
)


T = TypeVar("T")


class TaskRow(NamedTuple):
    """A task as it is kept."""

    key: int
    owner: str
    answer: bytes
    ended: float | None
    closing: bytes | None


class UnfinishedRow(NamedTuple):
    """A task that was running when the file was closed, or its process killed."""

    key: int
    id: str
    owner: str
    answer: bytes
    request: bytes


class Database:
    """Reads and writes one data file, which belongs to this process alone while it is open.

    Readers see nothing of a transaction that is under way: each call has the connection to itself.
    A transaction that has returned survives the death of the process; when the machine dies the
    last few may be lost, never a part of one.
    """

    def __init__(self, path: Path, connection: aiosqlite.Connection) -> None:
        self._path = path
        self._connection = connection
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> "Database":
        """Open or create the file; ``ConfigError`` when it cannot be used, and why."""
        try:
            await asyncio.to_thread(_try, path)
            # A neighbour that holds the file will hold it for long: waiting is no use.
            connection = await aiosqlite.connect(path, timeout=0)
        except sqlite3.Error as error:
            raise ConfigError(
                f"cannot open the data file {path}: {error}; it must be a file, in a folder that "
                "is there and may be written to"
            ) from None
        try:
            await _take(connection, path)
        except sqlite3.Error as error:
            await connection.close()
            raise ConfigError(_reason(error, path)) from None
        except BaseException:
            await connection.close()
            raise
        return cls(path, connection)

    async def commit(self, batch: Batch) -> Collection[int]:
        """Write all of a batch or nothing; return the keys of tasks whose ids were taken."""
        async with self._transaction():
            taken: Collection[int] = ()
            if batch.tasks:
                cursor = await self._connection.executemany(schema.ADD_TASK, batch.tasks)
                if cursor.rowcount < len(batch.tasks):
                    taken = [row["key"] for row in batch.tasks if not await self._has(row["key"])]
            for part in _parts(batch.chunks, schema.MOST_CHUNKS):
                values = list(chain.from_iterable(part))
                await self._connection.execute(schema.add_chunks(len(part)), values)
            if batch.updates:
                await self._connection.executemany(schema.UPDATE_TASK, batch.updates)
            return taken

    async def begin_run(self) -> int:
        """Count this run of the gateway and return how many there were before it."""
        async with self._transaction():
            ((number,),) = await self._select(schema.RUN)
            runs = (number or 0) + 1
            await self._connection.execute(schema.BEGIN_RUN, {"number": runs})
        return runs - 1

    async def last_key(self) -> int:
        """Return the highest key that is in use."""
        async with self._turn:
            ((key,),) = await self._select(schema.LAST_KEY)
        return key or 0

    async def find(self, task_id: str) -> TaskRow | None:
        """Return a task by its id."""
        async with self._turn:
            rows = await self._select(schema.FIND_TASK, id=task_id)
        return TaskRow(*rows[0]) if rows else None

    async def page(self, key: int, first: int, end: int) -> Sequence[bytes]:
        """Return the chunks of a task from ``first`` to before ``end``, as many as there are."""
        async with self._turn:
            rows = await self._select(schema.PAGE, task=key, first=first, end=end)
        return [frame for (frame,) in rows]

    async def unfinished(self) -> Sequence[UnfinishedRow]:
        """Return the tasks that have not ended, oldest first."""
        async with self._turn:
            return [UnfinishedRow(*row) for row in await self._select(schema.UNFINISHED)]

    async def chunks(self, key: int) -> Sequence[tuple[int, bytes]]:
        """Return the chunks of a task, and the progress that each brought."""
        async with self._turn:
            return [(row[0], row[1]) for row in await self._select(schema.CHUNKS_OF, task=key)]

    async def spent(self) -> Counter[str]:
        """Return how many tasks each owner has made."""
        spent: Counter[str] = Counter()
        async with self._turn:
            for owner, tasks in await self._select(schema.SPENT):
                spent[owner] += tasks
        return spent

    async def purge(self, *, logs: float, tasks: float, spare: Collection[int]) -> None:
        """Forget the chunks of tasks that ended by ``logs`` and the tasks that did by ``tasks``.

        Chunks of the tasks whose keys are in ``spare`` are still being read, and stay.
        """
        async with self._turn:
            found = await self._select(schema.EXPIRED_LOGS, before=logs)
            expired = await self._select(schema.EXPIRED_TASKS, before=tasks)
        for part in _parts([{"task": key} for (key,) in found if key not in spare], _PURGE):
            async with self._transaction():
                await self._connection.executemany(schema.FORGET_CHUNKS, part)
                await self._connection.executemany(schema.FORGET_LOG, part)
        for rows in _parts([row for row in expired if row[0] not in spare], _PURGE):
            part = [{"task": key} for key, _ in rows]
            owners = Counter(owner for _, owner in rows)
            async with self._transaction():
                await self._connection.executemany(schema.FORGET_CHUNKS, part)
                await self._connection.executemany(schema.FORGET_TASK, part)
                await self._connection.executemany(
                    schema.KEEP_SPENT,
                    [{"owner": owner, "tasks": n, "more": n} for owner, n in owners.items()],
                )

    async def aclose(self) -> None:
        """Let go of the file."""
        async with self._turn:
            await self._connection.close()

    async def _select(self, statement: str, **values: object) -> list[Any]:
        return list(await self._connection.execute_fetchall(statement, values))

    async def _has(self, key: int) -> bool:
        return bool(await self._select(schema.HAS_KEY, key=key))

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[None]:
        """Commit what is written inside, or nothing of it.

        ``UnstorableError`` if a value cannot be written, ``StoreError`` if none can be.
        """
        async with self._turn:
            try:
                yield
                await self._connection.commit()
            except _BAD_VALUE as error:
                await self._connection.rollback()
                raise UnstorableError(f"a value cannot be written to {self._path}") from error
            except sqlite3.Error as error:
                await self._connection.rollback()
                raise StoreError(f"cannot write to {self._path}: {error}") from error
            except BaseException:
                await self._connection.rollback()
                raise


def _try(path: Path) -> None:
    """Open the file and close it again.

    A connection of aiosqlite that cannot be opened leaves a thread behind, which would have its
    last word when the loop is closed already.
    """
    sqlite3.connect(path).close()


async def _take(connection: aiosqlite.Connection, path: Path) -> None:
    """Lock the file, see whose it is, and make the tables of a new one."""
    # The lock is the system's, held by the process: a `kill -9` leaves none behind.
    await connection.execute_fetchall("PRAGMA locking_mode = EXCLUSIVE")
    await connection.execute("BEGIN EXCLUSIVE")
    application = await _number(connection, "PRAGMA application_id")
    version = await _number(connection, "PRAGMA user_version")
    tables = await _number(connection, "SELECT count(*) FROM sqlite_master")
    if not application and not version and not tables:
        for statement in schema.CREATE:
            await connection.execute(statement)
        await connection.execute(f"PRAGMA application_id = {schema.APPLICATION}")
        await connection.execute(f"PRAGMA user_version = {schema.VERSION}")
    elif application != schema.APPLICATION:
        raise ConfigError(
            f"{path} is a database of another program: give the gateway a file of its own"
        )
    elif version != schema.VERSION:
        raise ConfigError(
            f"{path} was written by another version of the gateway: its schema is number "
            f"{version}, this one's is {schema.VERSION}; use that version or another file"
        )
    await connection.commit()
    await connection.execute_fetchall("PRAGMA journal_mode = WAL")
    await connection.execute_fetchall("PRAGMA synchronous = NORMAL")


async def _number(connection: aiosqlite.Connection, statement: str) -> int:
    ((number,),) = await connection.execute_fetchall(statement)
    return int(number)


def _reason(error: sqlite3.Error, path: Path) -> str:
    if error.sqlite_errorcode in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return f"{path} is in use by another process: stop it, or give this gateway another file"
    if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
        return f"{path} is no data file of the gateway: give it a file of its own"
    return f"cannot use the data file {path}: {error}"


def _parts(rows: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
