"""The open data file of a gateway. Everything here runs in the thread of the database."""

import logging
from collections import defaultdict
from collections.abc import Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from foxapi_async._sql import sqlite
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.store import schema
from foxapi_async.gateway.store.migration import migrate
from foxapi_async.gateway.store.packing import (
    LogPage,
    pack_batch,
    pack_batches,
    pack_log,
    unpack_batch,
    unpack_log,
)
from foxapi_async.gateway.store.protocol import StoreError, UnstorableError
from foxapi_async.gateway.store.rows import (
    ChunkRow,
    NewTask,
    RunningChunks,
    Snapshot,
    StoredState,
    TaskChange,
    TaskRow,
    UnfinishedRow,
)

_logger = logging.getLogger(__name__)

# One transaction compacts so many bytes, so that others are written in between. A row counts for a
# page at least.
_STEP: Final = 2 * 1024 * 1024
_PAGE: Final = 4096


class TaskTables:
    """One connection to a data file, which belongs to this process alone while it is open.

    A committed transaction survives the death of the process. A power cut may undo the last
    transactions, but never a part of one.
    """

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path = path
        self.connection: Connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the file, and lock it; ``ConfigError`` says why it cannot be used."""
        try:
            sqlite.prepare_file(path, "the data file", create=True)
            # Another process that has the file keeps it for long, so waiting is of no use.
            file = sqlite.open_file(path, ("locking_mode = EXCLUSIVE",), timeout=0)
            tables = cls(path, file.connect())
        except sqlite.DatabaseFileError as error:
            raise ConfigError(str(error)) from None
        except sqlite.ERRORS as error:
            raise ConfigError(_reason(path, error)) from None
        try:
            tables._lock_and_create()
        except BaseException as error:
            tables.close()
            if isinstance(error, sqlite.ERRORS):
                raise ConfigError(_reason(path, error)) from None
            raise
        return tables

    def _lock_and_create(self) -> None:
        """Lock the file, check who made it, and create or migrate its tables."""
        connection = self.connection
        # The operating system holds the lock for the process: a `kill -9` releases it.
        sqlite.lock_for_writing(connection, "EXCLUSIVE")
        application = sqlite.read_pragma(connection, "application_id")
        version = sqlite.read_pragma(connection, "user_version")
        tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()
        if not application and not version and not tables:
            schema.METADATA.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA application_id = {schema.APPLICATION}")
            connection.exec_driver_sql(f"PRAGMA user_version = {schema.VERSION}")
        elif application != schema.APPLICATION:
            raise ConfigError(
                f"{self._path} is a database of another program: give the gateway a file of its own"
            )
        elif version != schema.VERSION and not migrate(connection, version):
            raise ConfigError(
                f"{self._path} was written by another version of the gateway: its schema is number "
                f"{version}, this one's is {schema.VERSION}; use that version or another file"
            )
        connection.commit()
        # Only now: these would change the file of another program.
        sqlite.read_pragma(connection, "journal_mode = WAL")
        connection.exec_driver_sql("PRAGMA synchronous = NORMAL")
        connection.commit()

    def translate_error(self, error: Exception) -> Exception:
        """Return the error of the store for an error of the database."""
        if sqlite.is_bad_value(error):
            store_error: Exception = UnstorableError(f"a value cannot be stored in {self._path}")
        elif isinstance(error, sqlite.ERRORS):
            # Never the text of SQLAlchemy: it quotes the statement.
            store_error = StoreError(f"the data file {self._path}: {sqlite.cause(error)}")
        else:
            return error
        store_error.__cause__ = sqlite.cause(error)
        return store_error

    def is_unstorable(self, error: Exception) -> bool:
        """Tell whether a value was at fault."""
        return sqlite.is_bad_value(error)

    def close(self) -> None:
        """Close the file, which folds the write-ahead log into it."""
        self.connection.close()

    def execute(self, items: Sequence[object]) -> Sequence[object]:
        """Insert tasks, then chunks and whole logs, then update snapshots.

        A new task results in whether its id was free, a change in ``True``.
        """
        try:
            return self._write(items, is_careful=False)
        except IntegrityError:
            # The id of a new task may be taken, which is rare enough not to look each time.
            self.connection.rollback()
        return self._write(items, is_careful=True)

    def _write(self, items: Sequence[object], *, is_careful: bool) -> Sequence[object]:
        tasks = [item for item in items if isinstance(item, NewTask)]
        changes = [item for item in items if isinstance(item, TaskChange)]
        added = iter(self._add_if_free(tasks) if is_careful else self._add(tasks))
        self._add_chunks([chunk for change in changes for chunk in change.chunks])
        snapshots = [change.snapshot for change in changes if change.snapshot is not None]
        self._add_logs(snapshots)
        self._update(snapshots)
        return [next(added) if isinstance(item, NewTask) else True for item in items]

    def _add(self, tasks: Sequence[NewTask]) -> Sequence[bool]:
        if tasks:
            self.connection.execute(schema.ADD_TASK, [task._asdict() for task in tasks])
        return [True] * len(tasks)

    def _add_if_free(self, tasks: Sequence[NewTask]) -> Sequence[bool]:
        added: list[bool] = []
        for task in tasks:
            is_free = self.connection.execute(schema.HAS_ID, {"id": task.id}).first() is None
            if is_free:
                self._add([task])
            added.append(is_free)
        return added

    def _add_chunks(self, chunks: Sequence[ChunkRow]) -> None:
        for batch in pack_batches(chunks):
            self.connection.execute(schema.ADD_BATCH, {"chunks": batch})

    def _add_logs(self, snapshots: Sequence[Snapshot]) -> None:
        values = [
            {"task": snapshot.key, **page._asdict()}
            for snapshot in snapshots
            for page in pack_log(snapshot.log)
        ]
        if values:
            self.connection.execute(schema.ADD_LOG, values)

    def _update(self, snapshots: Sequence[Snapshot]) -> None:
        if snapshots:
            values = [
                {
                    "of_key": snapshot.key,
                    "new_answer": snapshot.answer,
                    "new_ended": snapshot.ended,
                    "new_closing": snapshot.closing,
                    "new_credits": snapshot.credits,
                }
                for snapshot in snapshots
            ]
            self.connection.execute(schema.UPDATE_TASK, values)

    def begin_run(self) -> StoredState:
        """Count this run of the gateway, and return what the earlier ones have left."""
        runs = self.connection.scalar(schema.COUNT_RUNS) or 0
        self.connection.execute(schema.ADD_RUN, {"number": runs + 1})
        spent: defaultdict[str, float] = defaultdict(float)
        for owner, cost in self._rows(schema.SPENT):
            spent[owner] += cost
        return StoredState(
            runs=runs,
            last_key=self.connection.scalar(schema.LAST_KEY) or 0,
            spent=spent,
            unfinished=[UnfinishedRow(*row) for row in self._rows(schema.UNFINISHED)],
        )

    def find(self, task_id: str) -> TaskRow | None:
        """Return a task by its id."""
        row = self.connection.execute(schema.FIND_TASK, {"id": task_id}).first()
        return TaskRow(*row) if row is not None else None

    def newest(
        self, owner: str, *, before_first: int, expired: float, limit: int
    ) -> Sequence[tuple[object, object]]:
        """Return the keys and snapshots of the newest tasks of an owner that have not expired."""
        rows = self._rows(
            schema.NEWEST, before_first=before_first, owner=owner, expired=expired, limit=limit
        )
        return [tuple(row) for row in rows]

    def page(self, key: int, number: int) -> Sequence[bytes]:
        """Return some chunks of an ended task from this number on; none at the end."""
        row = self.connection.execute(schema.PAGE, {"task": key, "number": number}).first()
        if row is None:
            return ()
        page = LogPage(*row)
        try:
            return unpack_log(page)[number - page.first :]
        except (TypeError, ValueError) as error:
            raise StoreError(f"the data file {self._path}: damaged chunks of a task") from error

    def running_chunks(self) -> RunningChunks:
        """Return the chunks of the tasks that have not ended."""
        running = self._running()
        found: defaultdict[int, list[ChunkRow]] = defaultdict(list)
        is_whole = True
        for position, batch in self._batches(0, self.last_batch()):
            try:
                chunks = unpack_batch(batch)
            except (TypeError, ValueError) as error:
                _logger.error("%s: batch %d is damaged: %s", self._path, position, error)  # noqa: TRY400
                is_whole = False
                continue
            for chunk in chunks:
                if chunk[0] in running:
                    found[chunk[0]].append(chunk)
        return RunningChunks(found, is_whole)

    def last_batch(self) -> int:
        """Return the position of the newest batch."""
        return self.connection.scalar(schema.LAST_BATCH) or 0

    def compact(self, first: int, last: int, most_ended: float) -> int | None:
        """Delete chunks of ended tasks from some batches from ``first`` on.

        A batch with at most this part of such chunks is left as it is.

        Return the position to go on from; ``None`` after ``last``.
        """
        running = self._running()
        # Batches that follow each other become one, which keeps the order of chunks.
        runs: list[dict[int, list[ChunkRow]]] = [{}]
        size = 0
        position = last
        batches = self._batches(first, last)
        for position, batch in batches:
            chunks = _readable(batch)
            kept = [chunk for chunk in chunks if chunk[0] in running]
            if chunks and len(kept) >= len(chunks) * (1 - most_ended):
                runs.append({})
            else:
                runs[-1][position] = kept
            size += max(_PAGE, len(batch or b""))
            if size >= _STEP:
                break
        batches.close()
        for run in runs:
            self._merge(run)
        return position + 1 if position < last else None

    def _merge(self, run: Mapping[int, Sequence[ChunkRow]]) -> None:
        """Replace batches by one batch of the given chunks of each, or by none."""
        chunks = [chunk for kept in run.values() for chunk in kept]
        deleted = [{"of_position": position} for position in run]
        if chunks:
            values = {**deleted.pop(0), "new_chunks": pack_batch(chunks)}
            self.connection.execute(schema.UPDATE_BATCH, values)
        if deleted:
            self.connection.execute(schema.DELETE_BATCH, deleted)

    def _running(self) -> Collection[int]:
        return {key for (key,) in self._rows(schema.RUNNING)}

    def _batches(self, first: int, last: int) -> Generator[tuple[int, bytes | None]]:
        values = {"first": first, "last": last}
        with self.connection.execute(schema.BATCHES, values) as found:
            yield from found

    def expired_logs(self, before: float) -> Sequence[int]:
        """Return the keys of the tasks that ended by then and still have chunks."""
        return [key for (key,) in self._rows(schema.EXPIRED_LOGS, before=before)]

    def expired_tasks(self, before: float) -> Sequence[tuple[int, str, float]]:
        """Return the key, the owner and the credits of each task that ended by then."""
        return [tuple(row) for row in self._rows(schema.EXPIRED_TASKS, before=before)]

    def delete_logs(self, keys: Collection[int]) -> None:
        """Delete the chunks of these tasks."""
        values = [{"of_task": key} for key in keys]
        self.connection.execute(schema.DELETE_LOG, values)
        self.connection.execute(schema.DELETE_CLOSING, values)

    def delete_tasks(self, tasks: Collection[tuple[int, str, float]]) -> None:
        """Delete tasks and their chunks; their owners have spent them all the same."""
        values = [{"of_task": key} for key, _, _ in tasks]
        self.connection.execute(schema.DELETE_LOG, values)
        self.connection.execute(schema.DELETE_TASK, values)
        spent: defaultdict[str, float] = defaultdict(float)
        for _, owner, cost in tasks:
            spent[owner] += cost
        for owner, cost in spent.items():
            more = {"of_owner": owner, "more": cost}
            if not self.connection.execute(schema.INCREASE_SPENT, more).rowcount:
                self.connection.execute(schema.ADD_SPENT, {"owner": owner, "credits": cost})

    def _rows(self, statement: Any, **values: object) -> Sequence[Any]:
        return self.connection.execute(statement, values).all()


def _reason(path: Path, error: Exception) -> str:
    if sqlite.is_locked(error):
        return f"{path} is in use by another process: stop it, or give this gateway another file"
    if sqlite.is_no_database(error):
        return f"{path} is no data file of the gateway: give it a file of its own"
    return f"cannot use the data file {path}: {sqlite.cause(error)}"


def _readable(batch: bytes | None) -> Sequence[ChunkRow]:
    """Return the chunks of a batch; none of a damaged one, which is of no use."""
    try:
        return unpack_batch(batch)
    except (TypeError, ValueError):
        return ()
