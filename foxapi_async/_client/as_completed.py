"""Handles in the order in which their tasks finish."""
# pyright: reportPrivateUsage=false

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextvars import copy_context
from typing import Any, Generic, Self, TypeVar

from msgspec import Struct

from foxapi_async._client.handle import TaskHandle
from foxapi_async._client.polling.tracked_task import Waiter
from foxapi_async._client.uncopied import Uncopied

H = TypeVar("H", bound=TaskHandle[Any])


class CompletionProgress(Struct, frozen=True, kw_only=True):
    """How far ``as_completed`` has come."""

    done: int
    """Handles whose wait has ended."""
    total: int
    """All handles."""
    handle: TaskHandle[Any]
    """The last of them."""
    error: Exception | None
    """What ended its wait without an outcome, such as ``TaskTimeoutError``; ``None`` for a task
    that ended, failed ones included.
    """


OnProgress = Callable[[CompletionProgress], object]


def as_completed(handles: Iterable[H], *, progress: OnProgress | None = None) -> AsyncIterator[H]:
    """Iterate over ``handles`` as their tasks finish, failed ones included.

    Await each handle that comes for its result or its error: it answers at once. A handle whose
    wait ended without an outcome, such as ``TaskTimeoutError``, comes too. ``progress`` is called
    with a ``CompletionProgress`` for each handle, as soon as it is done and however long the loop
    takes; what it raises comes out of the loop. No task of the event loop is made, so a hundred
    thousand handles are fine. Several tasks may take from one iterator; each handle goes to one of
    them. Leaving the loop ends the remaining waits; the tasks go on at the service.
    """
    return _AsCompleted(handles, progress)


class _AsCompleted(Uncopied, Generic[H]):
    """Waits for every handle at once, from the first step on."""

    _instead = "call as_completed() again"

    def __init__(self, handles: Iterable[H], progress: OnProgress | None) -> None:
        self._handles = list(dict.fromkeys(handles))
        self._arrivals: _CompletionQueue[H] | None = None
        self._progress = progress

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> H:
        arrivals = self._arrivals or self._begin()
        # The traceback of a cancelled step would keep the iterator, and so its waits, alive.
        del self
        return await arrivals.next()

    def _begin(self) -> "_CompletionQueue[H]":
        arrivals: _CompletionQueue[H] = _CompletionQueue(len(self._handles), self._progress)
        self._arrivals = arrivals
        try:
            for handle in self._handles:
                arrivals.expect(handle)
        except BaseException:
            arrivals.leave()
            raise
        return arrivals

    def __del__(self) -> None:
        # Nothing that waits knows this iterator, so it goes as soon as its loop is left.
        arrivals = getattr(self, "_arrivals", None)
        if arrivals is not None:
            arrivals.leave()


class _CompletionQueue(Generic[H]):
    """The handles that are done, and those that are waited for."""

    def __init__(self, total: int, progress: OnProgress | None) -> None:
        self._total = total
        self._progress = progress
        # The poller tells of arrivals, in no context of anybody's; progress is its caller's.
        self._context = copy_context()
        self._done = 0
        self._left = total
        self._expected: set[_Subscription[H]] = set()
        self._arrived: deque[H] = deque()
        self._news = asyncio.Event()
        self._failure: Exception | None = None

    def expect(self, handle: H) -> None:
        """Wait for ``handle``."""
        if handle.done():
            self._arrive(handle, None)
            return
        waiter = _Subscription(handle, self)
        self._expected.add(waiter)
        handle._subscribe(waiter, handle._resolve_timeout())

    def arrived(self, waiter: "_Subscription[H]", error: Exception | None) -> None:
        """Take in that a wait is over."""
        if waiter not in self._expected:
            return
        self._expected.discard(waiter)
        waiter.awaited._unsubscribe(waiter)
        self._arrive(waiter.awaited, error)

    async def next(self) -> H:
        """Return the next handle that is done; ``StopAsyncIteration`` after the last.

        Several tasks may wait here: each handle goes to one of them.
        """
        while self._left:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if self._arrived:
                self._left -= 1
                if not self._left:
                    self._news.set()  # for whoever else waits, and would wait for ever
                return self._arrived.popleft()
            self._news.clear()
            await self._news.wait()
        raise StopAsyncIteration

    def leave(self) -> None:
        """End the waits that are under way; nothing more comes."""
        self._left = 0
        expected, self._expected = self._expected, set()
        for waiter in expected:
            waiter.awaited._unsubscribe(waiter)

    def _arrive(self, handle: H, error: Exception | None) -> None:
        self._done += 1
        self._arrived.append(handle)
        if self._progress is not None:
            try:
                self._context.run(
                    self._progress,
                    CompletionProgress(
                        done=self._done, total=self._total, handle=handle, error=error
                    ),
                )
            except Exception as failure:  # noqa: BLE001 raised in the loop that it belongs to
                self._failure = failure
        self._news.set()


class _Subscription(Waiter, Generic[H]):
    """One handle that is waited for."""

    __slots__ = ("_arrivals", "awaited")

    def __init__(self, handle: H, arrivals: _CompletionQueue[H]) -> None:
        super().__init__(handle._find_tracked())
        self.awaited: H = handle
        self._arrivals = arrivals

    def wake(self, error: Exception | None) -> None:
        """Let the handle arrive."""
        self._arrivals.arrived(self, error)
