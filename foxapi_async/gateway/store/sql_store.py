"""Tasks that outlive the process, in an SQLite file."""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from weakref import WeakSet

import msgspec
from msgspec.structs import replace

from foxapi_async._clock import Clock
from foxapi_async._wire.base import encode
from foxapi_async._wire.paths import stream_path
from foxapi_async._wire.request import GenerationRequest, request_decoder
from foxapi_async._wire.task import Status, StreamRef, UnifiedTask
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.store.database import Database, TaskRow, UnfinishedRow
from foxapi_async.gateway.store.entry import Entry
from foxapi_async.gateway.store.group_commit import GroupCommitter
from foxapi_async.gateway.store.lru import LRUCache
from foxapi_async.gateway.store.protocol import Log, Restored, StoreError, Unfinished

_PAGE: Final = 256
_CACHE: Final = 32 * 1024 * 1024
# Expired rows are invisible at once, so that only the size of the file is at stake.
_PURGE_INTERVAL: Final = 30.0

_logger = logging.getLogger(__name__)

_snapshot = msgspec.json.Decoder(UnifiedTask).decode


class StoredLog:
    """The chunks of a task that has ended, read page by page."""

    __slots__ = ("__weakref__", "_database", "closing", "key")

    def __init__(self, database: Database, key: int, closing: bytes) -> None:
        self._database = database
        self.key: int = key
        self.closing: bytes = closing

    async def read(self, offset: int) -> Sequence[bytes]:
        """Return a page."""
        return await self._database.page(self.key, offset, offset + _PAGE)


class SqlStore:
    """A store that a ``kill -9`` takes nothing from that was ever seen.

    Tasks that run are in memory too, with their chunks; of those that have ended as many as
    ``cache`` bytes hold, the rest is read when it is asked for. One process has the file at a time.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        retention: float,
        task_retention: float,
        cache: int = _CACHE,
    ) -> None:
        self._path = path
        self._clock = clock
        self._retention = retention
        self._task_retention = task_retention
        self._running: dict[str, Entry] = {}
        self._recent = LRUCache(cache)
        self._read: WeakSet[StoredLog] = WeakSet()
        self._spent: Counter[str] = Counter()
        self._last_key = 0
        self._next_purge = 0.0
        self._purging: asyncio.Task[None] | None = None
        self._opened: tuple[Database, GroupCommitter] | None = None

    @property
    def _database(self) -> Database:
        if self._opened is None:
            raise RuntimeError("the store is not open")
        return self._opened[0]

    @property
    def _committer(self) -> GroupCommitter:
        if self._opened is None:
            raise RuntimeError("the store is not open")
        return self._opened[1]

    async def open(self) -> Restored:
        """Open or create the file and take up the tasks that have not ended."""
        database = await Database.open(self._path)
        try:
            found = await self._take_up(database)
        except BaseException:
            await database.aclose()
            raise
        self._opened = database, GroupCommitter(database)
        return found

    async def _take_up(self, database: Database) -> Restored:
        try:
            runs = await database.begin_run()
            self._last_key = await database.last_key()
            self._spent = await database.spent()
            rows = await database.unfinished()
        except StoreError as error:
            raise ConfigError(str(error)) from None
        except sqlite3.Error as error:
            raise ConfigError(f"cannot read the data file {self._path}: {error}") from None
        return Restored(runs, [await self._restore(database, row) for row in rows])

    async def _restore(self, database: Database, row: UnfinishedRow) -> Unfinished:
        """Take up one task. One that cannot be read is taken up as a task that cannot go on."""
        try:
            restored = _read(row, await database.chunks(row.key))
        except (msgspec.MsgspecError, sqlite3.Error, RecursionError, TypeError, ValueError):
            _logger.exception("task %s cannot be read from %s", row.id, self._path)
            restored = Unfinished(_unreadable(row), None, ())
        entry = Entry(restored.task, owner=row.owner, key=row.key)
        if entry.log is not None:
            entry.log.extend(restored.frames)
        self._running[row.id] = entry
        return restored

    async def add(self, task: UnifiedTask, request: GenerationRequest, owner: str = "") -> bool:
        """Keep a new task, once it is written."""
        self._purge()
        self._last_key += 1
        entry = Entry(task, owner=owner, key=self._last_key)
        self._committer.batch.tasks.append(
            {
                "key": entry.key,
                "id": task.id,
                "owner": owner,
                "answer": entry.json,
                "request": encode(request),
            }
        )
        if not await self._committer.written(entry.key):
            return False
        self._running[task.id] = entry
        self._spent[owner] += 1
        return True

    async def advance(self, task: UnifiedTask, frames: Sequence[bytes] = ()) -> None:
        """Replace the snapshot and add chunks, once both are written."""
        entry = self._running[task.id]
        log = entry.log
        if not frames or log is None or entry.task is None or entry.task.status != task.status:
            self._update(entry, encode(task))
        if log is not None and frames:
            self._committer.batch.chunks.extend(
                (entry.key, number, task.progress, frame)
                for number, frame in enumerate(frames, len(log))
            )
        await self._committer.written(entry.key)
        entry.advance(task)
        if log is not None and frames:
            log.extend(frames)

    async def finish(self, task: UnifiedTask, closing: bytes) -> None:
        """Keep the last snapshot and end the log, once both are written."""
        entry = self._running[task.id]
        now = self._clock.unix()
        json = encode(task)
        self._update(entry, json, ended=now, closing=closing if entry.log is not None else None)
        await self._committer.written(entry.key)
        entry.finish(json, ended=now, closing=closing)
        del self._running[task.id]
        self._recent.keep(task.id, entry)

    async def answer(self, task_id: str, owner: str = "") -> bytes | None:
        """Return the newest snapshot as JSON."""
        entry = self._running.get(task_id) or self._recent.find(task_id)
        if entry is not None:
            known = entry.owner == owner and not self._is_over(entry.ended, self._task_retention)
            return entry.json if known else None
        row = await self._find(task_id, owner)
        return row.answer if row is not None else None

    async def log(self, task_id: str, owner: str = "") -> Log | None:
        """Return the chunks while they can be read."""
        entry = self._running.get(task_id) or self._recent.find(task_id)
        if entry is not None:
            known = entry.owner == owner and not self._is_over(entry.ended, self._shorter)
            return entry.log if known else None
        row = await self._find(task_id, owner)
        if row is None or row.closing is None or self._is_over(row.ended, self._shorter):
            return None
        log = StoredLog(self._database, row.key, row.closing)
        self._read.add(log)
        return log

    async def spent(self, owner: str) -> int:
        """Return how many tasks the owner has made."""
        return self._spent[owner]

    def cut(self) -> None:
        """Cut the readers of unfinished logs off."""
        for entry in self._running.values():
            if entry.log is not None:
                entry.log.end()

    async def aclose(self) -> None:
        """Write what is still to be written and let go of the file."""
        if self._opened is None:
            return
        database, committer = self._opened
        self._opened = None
        if self._purging is not None:
            await asyncio.wait({self._purging})
        await committer.drain()
        await database.aclose()

    @property
    def _shorter(self) -> float:
        return min(self._retention, self._task_retention)

    def _is_over(self, ended: float | None, retention: float) -> bool:
        return ended is not None and ended + retention <= self._clock.unix()

    async def _find(self, task_id: str, owner: str) -> TaskRow | None:
        row = await self._database.find(task_id)
        if row is None or row.owner != owner or self._is_over(row.ended, self._task_retention):
            return None
        return row

    def _update(
        self,
        entry: Entry,
        json: bytes,
        *,
        ended: float | None = None,
        closing: bytes | None = None,
    ) -> None:
        self._committer.batch.updates.append(
            {"of": entry.key, "answer": json, "ended": ended, "closing": closing}
        )

    def _purge(self) -> None:
        """Forget what has expired, from time to time."""
        now = self._clock.unix()
        if now < self._next_purge or self._purging is not None:
            return
        self._next_purge = now + _PURGE_INTERVAL
        self._purging = asyncio.create_task(self._forget(now))

    async def _forget(self, now: float) -> None:
        try:
            await self._database.purge(
                logs=now - self._retention,
                tasks=now - self._task_retention,
                spare={log.key for log in self._read},
            )
        except StoreError:
            # What has expired is invisible; the file is only larger than it could be.
            _logger.exception("the expired tasks are still in the file")
        finally:
            self._purging = None


def _read(row: UnfinishedRow, chunks: Sequence[tuple[int, bytes]]) -> Unfinished:
    """Return a task as it was; ``ValueError`` and the like if the rows say something else."""
    task = _snapshot(row.answer)
    if task.id != row.id:
        raise ValueError(f"the row says that it is task {task.id!r}")
    if chunks:
        task = replace(task, progress=max(task.progress, chunks[-1][0]))
    # SQLite has no types of columns: damage may leave a text where bytes were.
    frames = [memoryview(frame).tobytes() for _, frame in chunks]
    return Unfinished(task, _request(row.request), frames)


def _unreadable(row: UnfinishedRow) -> UnifiedTask:
    """Return what is still known of a task."""
    return UnifiedTask(
        id=row.id,
        object="llm.generation.task",
        type="llm",
        status=Status.PROCESSING,
        stream=StreamRef(url=stream_path(row.id)),
    )


def _request(json: bytes) -> GenerationRequest | None:
    """Read a request again; another version of the package may have written it."""
    try:
        return request_decoder.decode(json)
    except msgspec.DecodeError:
        return None
