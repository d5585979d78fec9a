"""Group commit: operations that are added during one commit are part of the next one."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

from foxapi_async._clock import Clock, Timer
from foxapi_async._sql.worker import DatabaseThread, Tables

_log = logging.getLogger("foxapi_async")

_FLUSH_DELAY: Final = 0.1
# A commit of so many writes means that many callers write at once.
_BUSY: Final = 8

R = TypeVar("R")
T = TypeVar("T", bound=Tables)

_Waiter = asyncio.Future[Any]


class Operation(NamedTuple):
    """One operation and its waiter."""

    item: object
    """What ``Tables.execute`` takes."""
    waiter: _Waiter | None
    """What is resolved with the result; ``None`` if nothing waits."""
    is_kept: bool
    """Whether the item is written with a later commit if this one fails."""
    on_written: Callable[[Any], object] | None = None
    """What is called with the result once it is written."""


class _Read(NamedTuple):
    work: Callable[[Any], object]
    waiter: _Waiter


class _Failure(NamedTuple):
    error: Exception
    is_unstorable: bool


class GroupCommitter(Generic[T]):
    """Writes and reads a database by one trip to its thread at a time.

    A trip writes all that is waiting in one transaction, and then reads. Cancelling a caller
    ends its wait only. After a large commit the next trip waits for ``gather`` seconds,
    so that more callers share it.
    """

    def __init__(self, thread: DatabaseThread[T], clock: Clock, *, gather: float = 0.0) -> None:
        self._thread = thread
        self._clock = clock
        self._gather = gather
        self._writes: list[Operation] = []
        self._reads: list[_Read] = []
        self._unwritten: list[Operation] = []
        self._flush_timer: Timer | None = None
        self._error: Exception | None = None
        self._is_busy = False
        self._is_closing = False
        self._idle: _Waiter | None = None

    def execute(self, item: object, *, keep: bool = False) -> _Waiter:
        """Write an item with the next commit; return a future of its result.

        With ``keep`` an item that could not be written is tried again with each later commit.
        """
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        self._writes.append(Operation(item, waiter, keep))
        self._flush()
        return waiter

    def execute_soon(self, item: object, on_written: Callable[[Any], object] | None = None) -> None:
        """Write an item with the next commit, or in a tenth of a second; it is kept.

        Once it is written, ``on_written`` is called with its result. After ``aclose`` it does
        nothing.
        """
        if self._is_closing:
            return
        self._writes.append(Operation(item, None, is_kept=True, on_written=on_written))
        if self._flush_timer is None:
            self._flush_timer = self._clock.call_at(self._clock.time() + _FLUSH_DELAY, self._flush)

    async def run(self, work: Callable[[T], R]) -> R:
        """Run ``work`` in a transaction of its own and return its result.

        What is to be written goes first. If a kept item cannot be written, its error is raised
        instead: the result would be stale.
        """
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        self._reads.append(_Read(work, waiter))
        self._flush()
        result: R = await waiter
        return result

    async def aclose(self) -> None:
        """Write all that is waiting, then close the database. Raise if either fails.

        The caller must submit nothing more. A cancelled call closes the database
        too.
        """
        self._is_closing = True
        try:
            await self._wait_until_idle()
            if self._writes or self._unwritten:
                self._flush()
                await self._wait_until_idle()
            if self._error is not None:
                raise self._error
        finally:
            await self._thread.aclose()

    async def _wait_until_idle(self) -> None:
        while self._is_busy:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if not self._is_busy:
            self._is_busy = True
            # Other callers may add operations until the next iteration of the loop. The commit
            # serves several callers, so it runs in an empty context.
            asyncio.get_running_loop().call_soon(self._send, context=Context())

    def _send(self) -> None:
        writes, self._writes = [*self._unwritten, *self._writes], []
        self._unwritten = []
        reads, self._reads = self._reads, []
        job = partial(_write_and_read, writes, reads)
        self._thread.submit(job, partial(self._on_done, writes, reads))

    def _on_done(
        self,
        writes: Sequence[Operation],
        reads: Sequence[_Read],
        results: tuple[Sequence[object], Sequence[object]],
    ) -> None:
        written, read = results
        try:
            self._keep_failed(writes, written)
            for write, result in zip(writes, written, strict=True):
                _resolve(write.waiter, result)
                if write.on_written is not None and not isinstance(result, _Failure):
                    write.on_written(result)
            for waiter, result in zip((read.waiter for read in reads), read, strict=True):
                _resolve(waiter, result)
        finally:
            self._continue(len(writes))

    def _keep_failed(self, writes: Sequence[Operation], results: Sequence[object]) -> None:
        failed = [
            (write, result)
            for write, result in zip(writes, results, strict=True)
            if write.is_kept and isinstance(result, _Failure)
        ]
        self._unwritten = [
            write._replace(waiter=None) for write, failure in failed if not failure.is_unstorable
        ]
        self._error = failed[-1][1].error if failed else None
        if failed and not self._is_closing and all(write.waiter is None for write in writes):
            _log.error("results could not be written yet: %s", self._error)

    def _continue(self, written: int) -> None:
        """Start the next trip if there is something to do."""
        if self._writes or self._reads:
            loop = asyncio.get_running_loop()
            if self._gather and written >= _BUSY:
                loop.call_later(self._gather, self._send, context=Context())
            else:
                loop.call_soon(self._send, context=Context())
            return
        self._is_busy = False
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None


def _write_and_read(
    writes: Sequence[Operation], reads: Sequence[_Read], tables: Tables
) -> tuple[Sequence[object], Sequence[object]]:
    """Make one trip; return the results of the writes and of the reads. It runs in the thread."""
    written: Sequence[object] = _commit(tables, [write.item for write in writes]) if writes else []
    for write, result in zip(writes, written, strict=True):
        if write.is_kept and isinstance(result, _Failure) and not result.is_unstorable:
            return written, [result] * len(reads)
    return written, [_attempt(tables, partial(read.work, tables)) for read in reads]


def _commit(tables: Tables, items: Sequence[object]) -> Sequence[object]:
    """Write items in one transaction; return the result of each, or why it failed."""
    results = _attempt(tables, partial(tables.execute, items))
    if not isinstance(results, _Failure):
        return results
    if results.is_unstorable and len(items) > 1:
        # One item cannot be stored. The others are written without it.
        return [result for item in items for result in _commit(tables, [item])]
    return [results] * len(items)


def _attempt(tables: Tables, work: Callable[[], R]) -> "R | _Failure":
    """Run ``work`` and commit; roll back if either fails."""
    connection = tables.connection
    try:
        try:
            result = work()
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
    except Exception as error:  # noqa: BLE001 the caller raises it
        return _Failure(tables.translate_error(error), tables.is_unstorable(error))
    return result


def _resolve(waiter: _Waiter | None, result: object) -> None:
    if waiter is None or waiter.done():
        return
    if isinstance(result, _Failure):
        waiter.set_exception(result.error)
    elif isinstance(result, Exception):
        waiter.set_exception(result)
    else:
        waiter.set_result(result)
