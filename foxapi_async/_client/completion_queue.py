"""The handles that are waited for, and those that are done, in the order in which they finish."""
# pyright: reportPrivateUsage=false

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final, Generic, Protocol, TypeVar
from weakref import WeakSet

from msgspec import Struct

from foxapi_async._client.handle import TaskHandle
from foxapi_async._client.polling.tracked_task import Waiter
from foxapi_async._client.progress_bar import ProgressBar
from foxapi_async._client.steps import Steps
from foxapi_async._wire.display import html_card

H = TypeVar("H", bound=TaskHandle[Any])

_NO_HANDLE: Final = (
    "as_completed() needs handles, got {}: pass what `await fox.llm.submit(...)` returns"
)


class CompletionProgress(Struct, frozen=True, kw_only=True):
    """How far ``as_completed`` has come."""

    done: int
    """Handles whose wait has ended."""
    total: int | None
    """All handles; ``None`` if they come from an iterator, whose length is not known."""
    handle: TaskHandle[Any]
    """The handle whose wait ended last."""
    error: Exception | None
    """What ended its wait without an outcome, such as ``TaskTimeoutError``; ``None`` for a task
    that ended, failed ones included.
    """

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        total = self.total
        rows = [
            ("done", f"{self.done} of {total}" if total is not None else f"{self.done}"),
            ("handle", self.handle.id),
            ("error", type(self.error).__name__ if self.error is not None else None),
        ]
        part = self.done / max(total, 1) if total is not None else None
        return html_card("CompletionProgress", rows, part=part)


OnProgress = Callable[[CompletionProgress], object]


class HandleSource(Protocol):
    """What adds handles to a queue."""

    def fill(self) -> None:
        """Add handles, now or soon, if the queue has room."""
        ...

    def close(self) -> None:
        """Add no more handles."""
        ...


class CompletionQueue(Steps, Generic[H]):
    """The handles that are done, and the waits for the others.

    A source adds handles while there is room, and then calls ``end``. With a ``limit``, the queue
    holds the only reference to a handle, because the source is an iterator.
    """

    def __init__(
        self, *, total: int | None, limit: int | None, progress: OnProgress | None
    ) -> None:
        super().__init__()
        self._total = total
        self._limit = limit
        self._progress = progress
        # The poller wakes waiters in an empty context; `progress` runs in that of its caller.
        self._context = copy_context()
        self._done_count = 0
        # Handles that are added and not taken.
        self._held = 0
        self._known: WeakSet[H] = WeakSet()
        self._subscriptions: set[_Subscription[H]] = set()
        self._done: deque[H] = deque()
        self._changed = asyncio.Event()
        self._progress_error: Exception | None = None
        self._source_error: BaseException | None = None
        self._is_ended = False
        self.source: HandleSource | None = None

    @property
    def has_room(self) -> bool:
        """Whether another handle may be added."""
        return not self._is_ended and (self._limit is None or self._held < self._limit)

    @property
    def has_done(self) -> bool:
        """Whether a handle that is done can be taken."""
        return bool(self._done)

    def add(self, handle: H) -> None:
        """Wait for ``handle``, unless it is known; ``TypeError`` for what is no handle."""
        _check(handle)
        if handle in self._known:
            return
        self._known.add(handle)
        self._held += 1
        if handle.done():
            self._append(handle, None)
            return
        subscription = _Subscription(handle, self)
        self._subscriptions.add(subscription)
        try:
            handle._subscribe(subscription, handle._resolve_timeout())
        except BaseException:
            self._held -= 1
            self._subscriptions.discard(subscription)
            raise

    def end(self, error: BaseException | None = None) -> None:
        """Expect no more handles; ``next`` raises ``error`` after the last of those it has."""
        if not self._is_ended:
            self._is_ended = True
            self._source_error = error
            self._changed.set()

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
        self._fill()
        while self._held or not self._is_ended:
            if self._progress_error is not None:
                error, self._progress_error = self._progress_error, None
                raise error
            if self._done:
                handle = self._done.popleft()
                self._held -= 1
                self._fill()
                if not self._held:
                    self._changed.set()  # the other tasks that wait here must end too
                return handle
            self._changed.clear()
            await self._changed.wait()
        failure, self._source_error = self._source_error, None
        if failure is not None:
            raise failure
        raise StopAsyncIteration

    def leave(self) -> None:
        """End the waits that are under way; no more handles are returned.

        What came from an iterator may have no other reference, so it is kept in ``fox.unclaimed``.
        """
        self._is_ended = True
        if self.source is not None:
            self.source.close()
        if isinstance(self._progress, ProgressBar):
            self._progress.close()
        subscriptions, self._subscriptions = self._subscriptions, set()
        for subscription in subscriptions:
            subscription.handle._unsubscribe(subscription)
        if self._limit is not None:
            for handle in (*self._done, *(one.handle for one in subscriptions)):
                _keep(handle)
        self._done.clear()
        self._held = 0

    def _fill(self) -> None:
        if self.source is not None and self.has_room:
            self.source.fill()

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


def _check(handle: object) -> None:
    if not isinstance(handle, TaskHandle):
        raise TypeError(_NO_HANDLE.format(type(handle).__name__))


def _keep(handle: TaskHandle[Any]) -> None:
    """Keep a handle that was not taken, if its task was submitted in this session and is billed."""
    record = handle._record
    is_failed = record.outcome is not None and record.outcome.error is not None
    if record.submitted_at is not None and not is_failed:
        handle._bound().add_unclaimed(
            handle, task_id=handle.id, model=handle.model or "", key=handle.key
        )


class _Subscription(Waiter, Generic[H]):
    """Waits for one handle."""

    __slots__ = ("_queue", "handle")

    def __init__(self, handle: H, queue: CompletionQueue[H]) -> None:
        super().__init__(handle._find_tracked())
        self.handle: H = handle
        self._queue = queue

    def wake(self, error: Exception | None) -> None:
        """Queue the handle."""
        self._queue.on_done(self, error)
