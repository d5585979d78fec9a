"""Tasks that outlive the process, in a data file."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakSet

import msgspec
from msgspec.structs import replace

from foxapi_async._clock import Clock
from foxapi_async._sql import DatabaseThread, GroupCommitter
from foxapi_async._wire.base import encode
from foxapi_async._wire.media_request import MediaRequest
from foxapi_async._wire.paths import stream_path
from foxapi_async._wire.request import request_decoder
from foxapi_async._wire.task import Status, StreamRef
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.response_structs import UnifiedTask
from foxapi_async.gateway.store.protocol import (
    MAX_SCANNED,
    MEDIA,
    Log,
    NumberedTask,
    Restored,
    StoredRequest,
    StoreError,
    Unfinished,
    UnstorableError,
)
from foxapi_async.gateway.store.rows import (
    NewTask,
    RunningChunks,
    Snapshot,
    TaskChange,
    TaskRow,
    UnfinishedRow,
)
from foxapi_async.gateway.store.stored_task import LRUCache, StoredTask

if TYPE_CHECKING:
    from foxapi_async.gateway.store.tables import TaskTables

T = TypeVar("T")

_CACHE: Final = 32 * 1024 * 1024
# Expired rows are invisible at once, so only the size of the file depends on this.
_PURGE_INTERVAL: Final = 30.0
# One transaction deletes so many expired tasks, so that others are written in between.
_PURGE: Final = 200
# So many chunks of ended tasks make the batches worth compacting, as long as the running tasks have
# fewer: all are read.
_MOST_ENDED: Final = 20_000
# A batch stays as it is while so many of its chunks belong to ended tasks.
_MOST_ENDED_PART: Final = 0.5
# When many tasks write, the next commit waits for more of them.
_GATHER: Final = 0.002

_logger = logging.getLogger(__name__)

_decode_media_request = msgspec.json.Decoder(MediaRequest).decode
_decode_task = msgspec.json.Decoder(UnifiedTask).decode


class StoredLog:
    """The chunks of a task that has ended, read page by page."""

    __slots__ = ("__weakref__", "_store", "closing", "key")

    def __init__(self, store: "SqlStore", key: int, closing: bytes) -> None:
        self._store = store
        self.key: int = key
        self.closing: bytes = closing

    async def read(self, offset: int) -> Sequence[bytes]:
        """Return a page."""
        return await self._store.page(self.key, offset)


class SqlStore:
    """A store that returns only what survives a ``kill -9``.

    Running tasks and their chunks are in memory too, and of the ended ones up to ``cache`` bytes;
    the others are read on demand. One process has the file at a time.
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
        self._running: dict[str, StoredTask] = {}
        self._recent = LRUCache(cache)
        self._read_logs: WeakSet[StoredLog] = WeakSet()
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._last_key = 0
        # Chunks of running tasks, and those of ended tasks that are stored beside them.
        self._running_chunks = 0
        self._ended_chunks = 0
        self._next_purge = 0.0
        self._purging: asyncio.Task[None] | None = None
        self._opened: GroupCommitter[TaskTables] | None = None

    @property
    def _committer(self) -> "GroupCommitter[TaskTables]":
        if self._opened is None:
            raise RuntimeError("the store is not open")
        return self._opened

    async def open(self) -> Restored:
        """Open or create the file and restore the tasks that have not ended."""
        thread = DatabaseThread(partial(_open, self._path))
        await thread.open()
        committer = GroupCommitter(thread, self._clock, gather=_GATHER)
        try:
            restored = await self._restore_all(committer)
        except BaseException:
            await committer.aclose()
            raise
        self._opened = committer
        return restored

    async def _restore_all(self, committer: "GroupCommitter[TaskTables]") -> Restored:
        try:
            state = await committer.run(lambda tables: tables.begin_run())
            running = await committer.run(lambda tables: tables.running_chunks())
            # A new task may get the key of a deleted one, so nothing of that one may be left.
            await _compact(committer, most_ended=0.0)
        except (StoreError, UnstorableError) as error:
            raise ConfigError(str(error)) from None
        self._last_key = state.last_key
        self._spent.update(state.spent)
        unfinished = [self._restore(row, running) for row in state.unfinished]
        return Restored(state.runs, unfinished)

    def _restore(self, row: UnfinishedRow, running: RunningChunks) -> Unfinished:
        """Restore one task. One that cannot be read is restored without its request."""
        try:
            restored = _read(row, running)
        except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
            _logger.exception("task %s cannot be read from %s", row.id, self._path)
            restored = Unfinished(_unreadable(row), None, (), row.owner)
        stored = StoredTask(restored.task, owner=row.owner, key=row.key)
        if stored.log is not None:
            stored.log.extend(restored.frames)
        self._running[row.id] = stored
        self._running_chunks += len(restored.frames)
        return restored

    async def add(
        self,
        task: UnifiedTask,
        request: StoredRequest,
        owner: str = "",
        *,
        kind: str | None = None,
    ) -> bool:
        """Store a new task."""
        self._purge()
        self._last_key += 1
        stored = StoredTask(task, owner=owner, key=self._last_key)
        request_json = encode(request)
        new = NewTask(stored.key, task.id, owner, stored.json, request_json, task.credits, kind)
        if not await self._committer.execute(new):
            return False
        self._running[task.id] = stored
        self._spent[owner] += task.credits
        return True

    async def advance(self, task: UnifiedTask, frames: Sequence[bytes] = ()) -> None:
        """Store a snapshot and chunks, and then show both."""
        stored = self._running[task.id]
        log = stored.log
        snapshot = None
        # The progress of a snapshot is stored with the chunks too.
        if not frames or log is None or stored.task is None or stored.task.status != task.status:
            snapshot = Snapshot(stored.key, encode(task))
        first = len(log) if log is not None else 0
        chunks = [
            (stored.key, number, task.progress, frame) for number, frame in enumerate(frames, first)
        ]
        await self._committer.execute(TaskChange(snapshot, chunks if log is not None else ()))
        stored.advance(task)
        if log is not None and frames:
            log.extend(frames)
            self._running_chunks += len(frames)

    async def finish(self, task: UnifiedTask, closing: bytes) -> None:
        """Store the last snapshot and the end of the log, and then show both."""
        stored = self._running[task.id]
        now = self._clock.unix()
        json = encode(task)
        more = stored.settle(task)
        log = stored.log
        snapshot = Snapshot(
            stored.key,
            json,
            ended=now,
            closing=closing if log is not None else None,
            credits=task.credits if more else None,
            log=log.since(0, len(log)) if log is not None else (),
        )
        await self._committer.execute(TaskChange(snapshot))
        self._spent[stored.owner] += more
        stored.finish(json, ended=now, closing=closing)
        del self._running[task.id]
        self._recent.put(task.id, stored)
        self._running_chunks -= len(snapshot.log)
        self._ended_chunks += len(snapshot.log)
        self._purge()

    async def snapshot(self, task_id: str, owner: str = "") -> bytes | None:
        """Return the newest snapshot as JSON."""
        stored = self._running.get(task_id) or self._recent.get(task_id)
        if stored is not None:
            known = stored.owner == owner and not self._is_over(stored.ended, self._task_retention)
            return stored.json if known else None
        row = await self._find(task_id, owner)
        return row.answer if row is not None else None

    async def log(self, task_id: str, owner: str = "") -> Log | None:
        """Return the chunks while they are retained."""
        stored = self._running.get(task_id) or self._recent.get(task_id)
        if stored is not None:
            known = stored.owner == owner and not self._is_over(stored.ended, self._log_retention)
            return stored.log if known else None
        row = await self._find(task_id, owner)
        if row is None or row.closing is None or self._is_over(row.ended, self._log_retention):
            return None
        log = StoredLog(self, row.key, row.closing)
        self._read_logs.add(log)
        return log

    async def page(self, key: int, first: int) -> Sequence[bytes]:
        """Return the next stored chunks of an ended task from number ``first`` on."""
        return await self._committer.run(lambda tables: tables.page(key, first))

    async def spent(self, owner: str) -> float:
        """Return the credits of the tasks of an owner."""
        return self._spent.get(owner, 0.0)

    async def newest(self, owner: str, limit: int) -> Sequence[NumberedTask]:
        """Return the newest tasks of an owner, without damaged ones."""
        first = self._last_key - MAX_SCANNED
        expired = self._clock.unix() - self._task_retention
        rows = await self._committer.run(
            lambda it: it.newest(owner, before_first=first, expired=expired, limit=limit)
        )
        return [
            NumberedTask(number, snapshot)
            for number, snapshot in rows
            if isinstance(number, int) and isinstance(snapshot, bytes)
        ]

    def close_readers(self) -> None:
        """End the logs of running tasks: their readers get no more chunks."""
        for stored in self._running.values():
            if stored.log is not None:
                stored.log.end()

    async def aclose(self) -> None:
        """Write what is still waiting, and close the file."""
        committer, self._opened = self._opened, None
        if committer is None:
            return
        if self._purging is not None:
            await asyncio.wait({self._purging})
        await committer.aclose()

    @property
    def _log_retention(self) -> float:
        return min(self._retention, self._task_retention)

    def _is_over(self, ended: float | None, retention: float) -> bool:
        return ended is not None and ended + retention <= self._clock.unix()

    async def _find(self, task_id: str, owner: str) -> TaskRow | None:
        row = await self._committer.run(lambda tables: tables.find(task_id))
        if row is None or row.owner != owner or self._is_over(row.ended, self._task_retention):
            return None
        return row

    def _purge(self) -> None:
        """Compact the batches and delete what has expired, if there may be enough of it."""
        if self._purging is not None or self._opened is None:
            return
        now = self._clock.unix()
        is_due = now >= self._next_purge
        if is_due:
            self._next_purge = now + _PURGE_INTERVAL
        elif self._ended_chunks < max(_MOST_ENDED, self._running_chunks):
            return
        self._ended_chunks = 0
        self._purging = asyncio.create_task(self._delete(self._opened, now, is_due=is_due))

    async def _delete(
        self, committer: "GroupCommitter[TaskTables]", now: float, *, is_due: bool
    ) -> None:
        try:
            await _compact(committer, most_ended=_MOST_ENDED_PART)
            if is_due:
                await self._delete_expired(committer, now)
        except StoreError:
            # What has expired is invisible all the same.
            _logger.exception("expired tasks could not be deleted from the file")
        finally:
            self._purging = None

    async def _delete_expired(self, committer: "GroupCommitter[TaskTables]", now: float) -> None:
        kept = {log.key for log in self._read_logs}
        logs = await committer.run(lambda it: it.expired_logs(now - self._retention))
        tasks = await committer.run(lambda it: it.expired_tasks(now - self._task_retention))
        for keys in _parts([key for key in logs if key not in kept]):
            await committer.run(_deleting_logs(keys))
        for rows in _parts([row for row in tasks if row[0] not in kept]):
            await committer.run(_deleting_tasks(rows))


async def _compact(committer: "GroupCommitter[TaskTables]", *, most_ended: float) -> None:
    """Delete chunks of ended tasks from the batches; their logs have them too."""
    last = await committer.run(lambda tables: tables.last_batch())
    first: int | None = 0
    while first is not None:
        first = await committer.run(_compacting(first, last, most_ended))


def _open(path: Path) -> "TaskTables":
    # In the thread of the database, because SQLAlchemy takes its time to load.
    from foxapi_async.gateway.store.tables import TaskTables

    return TaskTables.open(path)


def _compacting(first: int, last: int, most_ended: float) -> "Callable[[TaskTables], int | None]":
    return lambda tables: tables.compact(first, last, most_ended)


def _deleting_logs(keys: Sequence[int]) -> "Callable[[TaskTables], None]":
    return lambda tables: tables.delete_logs(keys)


def _deleting_tasks(tasks: Sequence[tuple[int, str, float]]) -> "Callable[[TaskTables], None]":
    return lambda tables: tables.delete_tasks(tasks)


def _parts(rows: Sequence[T]) -> Iterable[Sequence[T]]:
    return (rows[start : start + _PURGE] for start in range(0, len(rows), _PURGE))


def _read(row: UnfinishedRow, running: RunningChunks) -> Unfinished:
    """Return a task as it was; raise ``ValueError`` and the like if its rows are damaged."""
    task = _decode_task(row.answer)
    if task.id != row.id:
        raise ValueError(f"the row says that it is task {task.id!r}")
    if not running.is_whole and task.stream is not None and task.status != Status.PENDING:
        raise ValueError("a damaged row may have chunks of the task")
    frames: list[bytes] = []
    progress = task.progress
    for _, number, chunk_progress, frame in running.chunks.get(row.key, ()):
        if number != len(frames):
            raise ValueError(f"chunk {len(frames)} is damaged or missing")
        progress = max(progress, chunk_progress)
        frames.append(frame)
    if row.kind is not None and not isinstance(row.kind, str):
        raise TypeError("the kind is damaged")
    task = replace(task, progress=progress)
    request = _request(row.request, is_media=row.kind == MEDIA)
    return Unfinished(task, request, frames, row.owner, row.kind)


def _unreadable(row: UnfinishedRow) -> UnifiedTask:
    """Return what is still known of a task."""
    if row.kind == MEDIA:
        return UnifiedTask(id=row.id, status=Status.PROCESSING)
    return UnifiedTask(
        id=row.id,
        object="llm.generation.task",
        type="llm",
        status=Status.PROCESSING,
        stream=StreamRef(url=stream_path(row.id)),
    )


def _request(json: bytes, *, is_media: bool) -> StoredRequest | None:
    """Decode a stored request, which another version of the package may have written."""
    try:
        return _decode_media_request(json) if is_media else request_decoder.decode(json)
    except msgspec.DecodeError:
        return None
