"""Rows from a thread of their own, so that reading them never blocks the event loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import ExitStack, suppress
from threading import Condition, Thread
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_AHEAD: Final = 256
_END_SECONDS: Final = 1.0


class RowThread(Generic[T]):
    """Runs an iterator in a thread, at most 256 rows ahead of its reader.

    Args:
        make: Called in the thread; returns the iterator. What it enters into the stack is left
            when the rows end.
    """

    def __init__(self, make: Callable[[ExitStack], Iterable[T]]) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        self._room = Condition()
        self._rows: list[T] = []
        self._error: BaseException | None = None
        self._is_closed = False
        self._is_over = False
        # A daemon, because it may wait for stdin when the process ends.
        self._thread = Thread(target=self._run, name="foxapi-batch-rows", daemon=True)

    async def blocks(self) -> AsyncGenerator[list[T], None]:
        """Yield the rows that are there, as blocks; close the generator to end the thread."""
        self._thread.start()
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                with self._room:
                    rows, self._rows = self._rows, []
                    is_over = self._is_over
                    self._room.notify()
                if rows:
                    yield rows
                if is_over:
                    break
            if self._error is not None:
                raise self._error
        finally:
            with self._room:
                self._is_closed = True
                self._room.notify()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _END_SECONDS)
                await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                for row in self._make(stack):
                    if not self._put(row):
                        break
        except BaseException as error:  # noqa: BLE001 raised by the reader
            self._error = error
        with self._room:
            self._is_over = True
        # The loop is closed if the rows came from stdin and their reader did not wait for them.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._changed.set()
        self._ended.set()

    def _put(self, row: T) -> bool:
        """Add a row once there is room; tell whether more are wanted."""
        with self._room:
            while len(self._rows) >= _AHEAD and not self._is_closed:
                self._room.wait()
            if self._is_closed:
                return False
            self._rows.append(row)
            is_first = len(self._rows) == 1
        if is_first:
            self._loop.call_soon_threadsafe(self._changed.set)
        return True
