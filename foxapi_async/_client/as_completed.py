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
from foxapi_async._client.progress_bar import ProgressBar
from foxapi_async._client.uncopied import Uncopied
from foxapi_async._wire.display import html_card

H = TypeVar("H", bound=TaskHandle[Any])


class CompletionProgress(Struct, frozen=True, kw_only=True):
    """How far ``as_completed`` has come."""

    done: int
    """Handles whose wait has ended."""
    total: int
    """All handles."""
    handle: TaskHandle[Any]
    """The handle whose wait ended last."""
    error: Exception | None
    """What ended its wait without an outcome, such as ``TaskTimeoutError``; ``None`` for a task
    that ended, failed ones included.
    """

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        rows = [
            ("done", f"{self.done} of {self.total}"),
            ("handle", self.handle.id),
            ("error", type(self.error).__name__ if self.error is not None else None),
        ]
        return html_card("CompletionProgress", rows, part=self.done / max(self.total, 1))


OnProgress = Callable[[CompletionProgress], object]


def as_completed(
    handles: Iterable[H], *, progress: OnProgress | bool | None = None
) -> AsyncIterator[H]:
    """Iterate over ``handles`` as their tasks finish, failed ones included.

    Await each handle for its result or its error: it returns at once. A handle whose wait ended
    without an outcome, such as by ``TaskTimeoutError``, is yielded too. No task of the event loop
    is created, so a hundred thousand handles are fine. Several tasks may iterate at once; each
    handle goes to one of them. Leaving the loop ends the remaining waits; the tasks go on at the
    service.

    Args:
        handles: The handles; repeated ones are yielded once.
        progress: Called for each handle as soon as it is done, even while the body of the loop
            runs. An error that it raises is raised by the loop. ``True`` shows a bar, in a terminal
            or a notebook (extra ``notebook``).

    Raises:
        ConfigError: ``progress=True``, and tqdm is not installed.
    """
    return _AsCompleted(handles, progress)


class _AsCompleted(Uncopied, Generic[H]):
    """Starts to wait for every handle at its first step."""

    _instead = "call as_completed() again"

    def __init__(self, handles: Iterable[H], progress: OnProgress | bool | None) -> None:  # noqa: FBT001 as given by the user
        self._handles = list(dict.fromkeys(handles))
        self._queue: _CompletionQueue[H] | None = None
        self._progress = _on_progress(progress, len(self._handles))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> H:
        queue = self._queue or self._begin()
        # The traceback of a cancelled step would keep the iterator, and so its waits, alive.
        del self
        return await queue.next()

    def _begin(self) -> "_CompletionQueue[H]":
        queue: _CompletionQueue[H] = _CompletionQueue(len(self._handles), self._progress)
        self._queue = queue
        try:
            for handle in self._handles:
                queue.add(handle)
        except BaseException:
            queue.close()
            raise
        return queue

    def __del__(self) -> None:
        # The waiters refer to the queue and not to this iterator, which is therefore freed when
        # its loop is left (by reference counts in CPython).
        queue = getattr(self, "_queue", None)
        if queue is not None:
            queue.close()


def _on_progress(progress: OnProgress | bool | None, total: int) -> OnProgress | None:  # noqa: FBT001 as given by the user
    if isinstance(progress, bool):
        return ProgressBar(total, "task") if progress else None
    return progress


class _CompletionQueue(Generic[H]):
    """The handles that are done, and the waits for the others."""

    def __init__(self, total: int, progress: OnProgress | None) -> None:
        self._total = total
        self._progress = progress
        # The poller wakes waiters in an empty context; `progress` runs in that of its caller.
        self._context = copy_context()
        self._done_count = 0
        self._left = total
        self._subscriptions: set[_Subscription[H]] = set()
        self._done: deque[H] = deque()
        self._changed = asyncio.Event()
        self._progress_error: Exception | None = None

    def add(self, handle: H) -> None:
        """Wait for ``handle``."""
        if handle.done():
            self._append(handle, None)
            return
        subscription = _Subscription(handle, self)
        self._subscriptions.add(subscription)
        handle._subscribe(subscription, handle._resolve_timeout())

    def on_done(self, subscription: "_Subscription[H]", error: Exception | None) -> None:
        """Queue the handle of a wait that has ended."""
        if subscription not in self._subscriptions:
            return
        self._subscriptions.discard(subscription)
        subscription.handle._unsubscribe(subscription)
        self._append(subscription.handle, error)

    async def next(self) -> H:
        """Return the next handle that is done; ``StopAsyncIteration`` after the last.

        Several tasks may wait here: each handle goes to one of them.
        """
        while self._left:
            if self._progress_error is not None:
                error, self._progress_error = self._progress_error, None
                raise error
            if self._done:
                self._left -= 1
                if not self._left:
                    self._changed.set()  # the other tasks that wait here must end too
                return self._done.popleft()
            self._changed.clear()
            await self._changed.wait()
        raise StopAsyncIteration

    def close(self) -> None:
        """End the waits that are under way; no more handles are returned."""
        self._left = 0
        if isinstance(self._progress, ProgressBar):
            self._progress.close()
        subscriptions, self._subscriptions = self._subscriptions, set()
        for subscription in subscriptions:
            subscription.handle._unsubscribe(subscription)

    def _append(self, handle: H, error: Exception | None) -> None:
        self._done_count += 1
        self._done.append(handle)
        if self._progress is not None:
            event = CompletionProgress(
                done=self._done_count, total=self._total, handle=handle, error=error
            )
            try:
                self._context.run(self._progress, event)
            except Exception as failure:  # noqa: BLE001 raised by `next`
                self._progress_error = failure
        self._changed.set()


class _Subscription(Waiter, Generic[H]):
    """Waits for one handle."""

    __slots__ = ("_queue", "handle")

    def __init__(self, handle: H, queue: _CompletionQueue[H]) -> None:
        super().__init__(handle._find_tracked())
        self.handle: H = handle
        self._queue = queue

    def wake(self, error: Exception | None) -> None:
        """Queue the handle."""
        self._queue.on_done(self, error)
