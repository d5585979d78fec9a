"""Handles in the order in which their tasks finish."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from typing import Any, Final, Generic, Self, TypeVar

from foxapi_async._client.completion_queue import CompletionQueue, OnProgress
from foxapi_async._client.handle import TaskHandle
from foxapi_async._client.progress_bar import ProgressBar
from foxapi_async._client.uncopied import Uncopied
from foxapi_async.config import is_whole_number
from foxapi_async.errors import ConfigError

H = TypeVar("H", bound=TaskHandle[Any])

_CANCELLED: Final = "the source of as_completed() has raised CancelledError"


def as_completed(
    handles: Iterable[H] | AsyncIterable[H],
    *,
    in_flight: int = 256,
    progress: OnProgress | bool | None = None,
) -> AsyncIterator[H]:
    """Iterate over ``handles`` as their tasks finish, failed ones included.

    Await each handle for its result or its error: it returns at once. A handle whose wait ended
    without an outcome, such as by ``TaskTimeoutError``, is yielded too. No task of the event loop
    is created for a handle, so a hundred thousand of them are fine. Several tasks may iterate at
    once; each handle goes to one of them. Leaving the loop ends the remaining waits; the tasks go
    on at the service.

    All handles of a list, or of another collection, are waited for from the first step on. An
    iterator or async iterable is read as its handles are yielded, so it may be of any length, and
    an async generator may submit what it yields. Handles that are yielded are forgotten. If
    reading fails, the error is raised after the handles that were read. If the loop is left, those
    of an iterator that this session has submitted are in ``fox.unclaimed``.

    Args:
        handles: The handles; repeated ones are yielded once.
        in_flight: How many handles of an iterator or async iterable may be between it and the
            caller.
        progress: Called for each handle as soon as it is done, even while the body of the loop
            runs. An error that it raises is raised by the loop. ``True`` shows a bar, in a terminal
            or a notebook (extra ``notebook``).

    Raises:
        TypeError: ``handles`` is no source of handles; while iterating, an item is no handle.
        ConfigError: ``in_flight`` is not at least 1, or tqdm is missing for ``progress=True``.
    """
    check_source(handles)
    queue: CompletionQueue[H]
    if isinstance(handles, Sized) and isinstance(handles, Iterable):
        listed = list(dict.fromkeys(handles))
        queue = make_queue(len(listed), in_flight, progress)
        queue.source = _Collection(queue, listed)
    else:
        queue = make_queue(None, in_flight, progress)
        if isinstance(handles, AsyncIterable):
            queue.source = _AsyncSource(queue, handles)
        else:
            queue.source = _IteratorSource(queue, iter(handles))
    return take_from(queue)


def check_source(handles: object) -> None:
    """Raise ``TypeError`` for what is no source of handles."""
    if not isinstance(handles, Iterable | AsyncIterable) or isinstance(handles, str | bytes):
        advice = "call it" if callable(handles) else "pass a list or a generator of handles"
        raise TypeError(
            "as_completed() needs an iterable or async iterable of handles, got "
            f"{type(handles).__name__}: {advice}"
        )


def make_queue(
    total: int | None,
    in_flight: int,
    progress: OnProgress | bool | None,  # noqa: FBT001 as given by the user
) -> CompletionQueue[Any]:
    """Return a queue for ``total`` handles, or for those of an iterator."""
    if not (is_whole_number(in_flight) and in_flight >= 1):
        raise ConfigError(
            f"as_completed(in_flight=) must be a whole number of at least 1, got {in_flight!r}"
        )
    if isinstance(progress, bool):
        progress = ProgressBar(total, "task") if progress else None
    limit = int(in_flight) if total is None else None
    return CompletionQueue(total=total, limit=limit, progress=progress)


def take_from(queue: CompletionQueue[H]) -> AsyncIterator[H]:
    """Return an iterator of the handles of a queue, which is closed when that is dropped."""
    return _AsCompleted(queue)


class _AsCompleted(Uncopied, Generic[H]):
    """Takes handles from a queue, which is filled from the first step on."""

    _instead = "call as_completed() again"

    def __init__(self, queue: CompletionQueue[H]) -> None:
        self._queue = queue

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> H:
        queue = self._queue
        with queue:
            # The traceback of a cancelled step would keep the iterator, and so its waits, alive.
            del self
            return await queue.next()

    def __del__(self) -> None:
        # The waiters refer to the queue and not to this iterator, which is therefore freed when
        # its loop is left (by reference counts in CPython).
        queue = getattr(self, "_queue", None)
        if queue is not None:
            queue.drop()


class _Collection(Generic[H]):
    """Adds all handles at once."""

    def __init__(self, queue: CompletionQueue[H], handles: list[H]) -> None:
        self._queue = queue
        self._handles = handles

    def fill(self) -> None:
        """Add the handles, or none of them."""
        handles, self._handles = self._handles, []
        try:
            for handle in handles:
                self._queue.add(handle)
        except BaseException:
            self._queue.leave()
            raise
        self._queue.end()

    def close(self) -> None:
        """Forget the handles."""
        self._handles = []


class _IteratorSource(Generic[H]):
    """Adds the handles of an iterator while there is room."""

    def __init__(self, queue: CompletionQueue[H], handles: Iterator[H]) -> None:
        self._queue = queue
        self._handles = handles

    def fill(self) -> None:
        """Read handles while there is room."""
        queue = self._queue
        try:
            while queue.has_room:
                for handle in self._handles:
                    queue.add(handle)
                    break
                else:
                    queue.end()
        except BaseException as error:  # noqa: BLE001 raised by `next` after the last handle
            queue.end(error)

    def close(self) -> None:
        """Do nothing: nothing is under way."""


class _AsyncSource(Generic[H]):
    """Adds the handles of an async iterable while there is room, in one task of the event loop."""

    def __init__(self, queue: CompletionQueue[H], handles: AsyncIterable[H]) -> None:
        self._queue = queue
        self._handles = handles
        self._reader: asyncio.Task[None] | None = None
        self._room_made = asyncio.Event()

    def fill(self) -> None:
        """Let the task read on."""
        self._room_made.set()
        if self._reader is None:
            self._reader = asyncio.get_running_loop().create_task(self._read())
            self._reader.add_done_callback(self._on_done)

    def close(self) -> None:
        """End the task."""
        reader = self._reader
        # The loop of an iterator that is collected late may be closed.
        if reader is not None and not reader.get_loop().is_closed():
            reader.cancel()

    async def _read(self) -> None:
        queue = self._queue
        async for handle in self._handles:
            queue.add(handle)
            del handle
            while not queue.has_room:
                self._room_made.clear()
                await self._room_made.wait()

    def _on_done(self, reader: "asyncio.Task[None]") -> None:
        # If the loop was left, the queue has ended already.
        if reader.cancelled():
            self._queue.end(asyncio.CancelledError(_CANCELLED))
        else:
            self._queue.end(reader.exception())
