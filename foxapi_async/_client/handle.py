"""Handles: tasks as awaitable objects."""
# pyright: reportPrivateUsage=false

from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, Generic, Protocol, Self, TypeVar, final

from msgspec import UNSET, UnsetType

from foxapi_async._client.polling.tracked_task import (
    ChangeWaiter,
    FutureWaiter,
    TrackedTask,
    Waiter,
)
from foxapi_async._client.service import Service
from foxapi_async._client.task_record import Kind, TaskRecord
from foxapi_async._client.uncopied import Uncopied
from foxapi_async._protocol.task_status import classify
from foxapi_async._wire.results import MediaResult
from foxapi_async._wire.task import Task
from foxapi_async.config import normalize_timeout, validate_timeout
from foxapi_async.errors import UnboundHandleError

R = TypeVar("R")


class HasService(Protocol):
    """What a handle can be bound to: a ``FoxSession``."""

    @property
    def _service(self) -> Service: ...


class TaskHandle(Generic[R]):
    """One task at the service, which can be awaited from anywhere, any number of times.

    ``await handle`` is ``await handle.result()``. Nothing is sent while nothing waits. Cancelling a
    wait, or letting it time out, ends that wait alone: the task goes on and stays billed. All
    handles of a task in a session share its snapshot and its outcome. A handle pickles as its id
    and kind; bind the copy to a session before you use it. ``copy`` gives the handle itself.
    """

    __slots__ = ("__weakref__", "_record", "_service", "_tracked")

    def __init__(
        self,
        service: Service | None,
        task_id: str,
        kind: Kind,
        *,
        submitted: Task | None = None,
        key: str | None = None,
    ) -> None:
        self._service: Service | None = None
        self._tracked: TrackedTask | None = None
        self._record: TaskRecord = (
            self._track(service, task_id, kind, submitted)
            if service is not None
            else TaskRecord(None, task_id, kind)
        )
        if self._record.key is None:
            self._record.key = key

    def _track(
        self, service: Service, task_id: str, kind: Kind, submitted: Task | None = None
    ) -> TrackedTask:
        """Bind the handle to the record that all handles of the task in the session share."""
        self._service = service
        self._tracked = service.runtime.poller.track(service, task_id, kind, submitted=submitted)
        self._tracked.add_listener(service, service.event_context())
        return self._tracked

    # What is known without a request

    @property
    def id(self) -> str:
        """The task's id: all that another process needs to find the result."""
        return self._record.id

    @property
    def kind(self) -> Kind:
        """What the task makes."""
        return self._record.kind

    @property
    def key(self) -> str | None:
        """Your own key of the submission, if you gave one."""
        return self._record.key

    @property
    def task(self) -> Task | None:
        """The last snapshot that the session has seen; ``None`` before the first."""
        return self._record.task

    @property
    def model(self) -> str | None:
        """The model, if a snapshot names it."""
        task = self._record.task
        return (task.model or None) if task else None

    @property
    def created(self) -> int | None:
        """When the service accepted the task, in Unix seconds, if a snapshot says it."""
        task = self._record.task
        return (task.created or None) if task else None

    @property
    def request_id(self) -> str | None:
        """The id of the HTTP request that submitted the task, for support questions.

        ``None`` for a task submitted elsewhere, and where the service sent no ``x-request-id``.
        """
        return self._record.request_id

    @property
    def status(self) -> str | None:
        """The status in the last snapshot; see ``Status`` for those that the service names."""
        task = self._record.task
        return task.status if task else None

    @property
    def progress(self) -> int:
        """The progress in the last snapshot, 0 to 100."""
        task = self._record.task
        return min(max(task.progress, 0), 100) if task else 0

    def done(self) -> bool:
        """Tell whether the outcome is known here, so that awaiting returns at once."""
        return self._record.outcome is not None

    # Waiting

    def __await__(self) -> Generator[Any, None, R]:
        """Wait for the result, for at most ``timeouts.wait``."""
        return self.result().__await__()

    async def result(self, timeout: float | None | UnsetType = UNSET) -> R:
        """Wait for the task and return its result, by polling while something waits (unbilled).

        ``timeout`` in seconds overrides ``timeouts.wait``, which holds where none is given;
        ``None`` waits without end; 0 looks once, for as long as that one
        answer takes, and returns the result of a finished task. Raises ``TaskFailedError`` or
        ``TaskCancelledError`` for the task's end, ``TaskTimeoutError`` when the timeout runs out
        (the task goes on, await it again), ``TaskLostError`` when its state cannot be learnt,
        ``EmptyResultError`` when it is completed without results (contract Q2),
        ``InvalidResponseError`` for results that cannot be read, ``StreamInterruptedError`` when a
        stream was cut and the stored answer lacks text that it had, and the ``APIStatusError`` of a
        key that may not look.
        """
        seconds = self._resolve_timeout(timeout)
        record = self._record
        while (outcome := record.outcome) is None:
            waiter = FutureWaiter(self._find_tracked())
            try:
                self._subscribe(waiter, seconds)
                error = await waiter
            finally:
                self._unsubscribe(waiter)
            if error is not None:
                raise error
        result: R = outcome.get()
        return result

    def updates(self) -> AsyncIterator[Task]:
        """Yield a snapshot at each change of status or progress, the final one last.

        A failed task ends the iteration like any other: look at the last snapshot, or await the
        handle. Polls only while you wait for the next snapshot.
        """
        return _Updates(self, self._bound().options.timeouts.wait)

    async def refresh(self) -> Task:
        """Ask for the task now, retrying as a read is, and return the snapshot (unbilled)."""
        service, tracked = self._bound(), self._find_tracked()
        task = await service.fetch_task(tracked.id)
        service.runtime.poller.publish(tracked, task)
        return task

    def _offer(self, task: Task) -> None:
        """Publish a snapshot from elsewhere, unless the session has one that may be newer."""
        tracked = self._find_tracked()
        if tracked.task is None or classify(task).is_final:
            self._bound().runtime.poller.publish(tracked, task)

    def _resolve_timeout(self, timeout: float | None | UnsetType = UNSET) -> float | None:
        """Return the seconds to wait, ``None`` for no limit."""
        if timeout is UNSET:
            timeout = self._bound().options.timeouts.wait
        validate_timeout(timeout)
        return normalize_timeout(timeout)

    def _find_tracked(self) -> TrackedTask:
        """Return the record with its polling; ``UnboundHandleError`` for an unpickled handle."""
        if self._tracked is None:
            self._bound()
            raise RuntimeError("a bound handle has a tracked task")
        return self._tracked

    def _subscribe(self, waiter: Waiter, timeout: float | None) -> None:
        """Let ``waiter`` wait for at most ``timeout`` seconds. Every wait begins here."""
        runtime = self._bound().runtime
        runtime.enter()
        runtime.poller.add_waiter(waiter, timeout)

    def _unsubscribe(self, waiter: Waiter) -> None:
        """End what ``_subscribe`` began, whether or not the waiter was woken."""
        self._bound().runtime.poller.remove_waiter(waiter)

    # Moving to another process

    def bind(self, fox: HasService) -> Self:
        """Tie an unpickled handle to a session, and return it. Sends nothing."""
        known = self._record
        tracked = self._track(fox._service, known.id, known.kind)
        if tracked is not known:
            tracked.adopt(known)
            self._record = tracked
        return self

    def _bound(self) -> Service:
        if self._service is None:
            raise UnboundHandleError(
                f"the handle of task {self.id} was unpickled: call handle.bind(fox) first"
            )
        return self._service

    def __copy__(self) -> Self:
        """Return the handle itself: it holds nothing of its own."""
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        """Return the handle itself, so that a copied structure still awaits the same tasks."""
        return self

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.id} model={self.model!r} "
            f"status={self.status!r} progress={self.progress}>"
        )


@final
class MediaHandle(TaskHandle[MediaResult]):
    """A task that makes images, videos, audio or documents."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return MediaHandle, (None, self.id, self.kind)


class _Updates(Uncopied):
    """Yields a snapshot at each change. A step that is cancelled or times out can be repeated."""

    _instead = "call handle.updates() again"

    def __init__(self, handle: TaskHandle[Any], timeout: float | None) -> None:
        self._handle = handle
        self._timeout = timeout
        self._seen: tuple[str, int, bool] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Task:
        handle = self._handle
        while True:
            task = handle.task
            if task is not None:
                # A completed task without results has the same status as one with (contract Q2).
                state = (task.status, task.progress, handle.done())
                if state != self._seen:
                    self._seen = state
                    return task
            if handle.done():
                raise StopAsyncIteration
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        handle = self._handle
        waiter = ChangeWaiter(handle._find_tracked(), handle.task)
        try:
            handle._subscribe(waiter, self._timeout)
            error = await waiter
        finally:
            handle._unsubscribe(waiter)
        if error is not None:
            raise error
