"""Handles: tasks as awaitable objects."""
# pyright: reportPrivateUsage=false

from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, Generic, Protocol, Self, TypeVar, final

from msgspec import UNSET, UnsetType

from foxapi_async._client.downloads import Downloads
from foxapi_async._client.polling.tracked_task import (
    ChangeWaiter,
    FutureWaiter,
    TrackedTask,
    Waiter,
)
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._client.task_record import TaskRecord
from foxapi_async._client.uncopied import Uncopied
from foxapi_async._journal import FINISHED, Entry
from foxapi_async._protocol.task_status import classify
from foxapi_async._wire.display import html_card
from foxapi_async._wire.media_request import Kind
from foxapi_async._wire.media_results import MediaResults, bind_results
from foxapi_async._wire.task import Task
from foxapi_async.config import normalize_timeout, validate_timeout
from foxapi_async.errors import UnboundHandleError

R = TypeVar("R")


class HasService(Protocol):
    """An object that a handle can be bound to: a ``FoxSession``."""

    @property
    def _service(self) -> ServiceClient: ...


class TaskHandle(Generic[R]):
    """One task at the service, which can be awaited anywhere and any number of times.

    ``await handle`` is ``await handle.result()``. The task is polled only while something waits for
    it. A wait that is cancelled or times out does not stop the task, which stays billed. All
    handles of a task in a session share its snapshot and its outcome. A handle is pickled as its id
    and kind; bind the copy to a session before you use it. ``copy`` returns the handle itself.
    """

    __slots__ = ("__weakref__", "_record", "_service", "_tracked")

    def __init__(
        self,
        service: ServiceClient | None,
        task_id: str,
        kind: Kind,
        *,
        submitted: Task | None = None,
        key: str | None = None,
    ) -> None:
        self._service: ServiceClient | None = None
        self._tracked: TrackedTask | None = None
        self._record: TaskRecord = (
            self._track(service, task_id, kind, submitted)
            if service is not None
            else TaskRecord(None, task_id, kind)
        )
        if self._record.key is None:
            self._record.key = key

    def _track(
        self, service: ServiceClient, task_id: str, kind: Kind, submitted: Task | None = None
    ) -> TrackedTask:
        """Bind the handle to the record that the handles of the task in the session share."""
        self._service = service
        self._tracked = service.runtime.poller.track(service, task_id, kind, submitted=submitted)
        if submitted is not None:
            service.count_usage(self._tracked)
        self._tracked.add_listener(service, service.event_context())
        return self._tracked

    # Known without a request

    @property
    def id(self) -> str:
        """The id of the task. With it, any process can await the result."""
        return self._record.id

    @property
    def kind(self) -> Kind:
        """What the task makes."""
        return self._record.kind

    @property
    def key(self) -> str | None:
        """The ``key`` of the submission, or ``None``."""
        return self._record.key

    @property
    def task(self) -> Task | None:
        """The last snapshot of the task in this session; ``None`` before the first."""
        return self._record.task

    @property
    def model(self) -> str | None:
        """The model, or ``None`` if no snapshot has it."""
        task = self._record.task
        return (task.model or None) if task else None

    @property
    def created(self) -> int | None:
        """When the service accepted the task, in Unix seconds; ``None`` if no snapshot has it."""
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
        """The status in the last snapshot; ``Status`` has the documented ones."""
        task = self._record.task
        return task.status if task else None

    @property
    def progress(self) -> int:
        """The progress in the last snapshot, 0 to 100."""
        task = self._record.task
        return min(max(task.progress, 0), 100) if task else 0

    def done(self) -> bool:
        """Return whether the outcome is known in this session, so that awaiting returns at once."""
        return self._record.outcome is not None

    # Waiting

    def __await__(self) -> Generator[Any, None, R]:
        """Wait for the result, for at most ``timeouts.wait``."""
        return self.result().__await__()

    async def result(self, timeout: float | None | UnsetType = UNSET) -> R:
        """Wait for the end of the task and return its result, by polling (unbilled).

        Args:
            timeout: Seconds to wait; ``Timeouts.wait`` by default. ``None`` waits without a limit.
                0 polls once, for as long as that poll takes.

        Returns:
            The result, at once if the outcome is known.

        Raises:
            TaskFailedError: The task failed.
            TaskCancelledError: The service cancelled the task.
            TaskTimeoutError: The timeout expired. The task goes on: await it again.
            TaskLostError: The service did not know the task at several polls, or all polls failed
                for ``PollPolicy.give_up_after``.
            EmptyResultError: The task is completed without results (contract Q2).
            InvalidResponseError: The results cannot be decoded.
            StreamInterruptedError: The stream was cut, and the stored completion lacks text of it.
            APIStatusError: The service rejects the key or the query.
            SessionClosedError: The session is closed.
            UnboundHandleError: The handle was unpickled and not bound.
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

        The task is polled only while you wait for the next snapshot. The end of a failed task ends
        the iteration too: see the last snapshot, or await the handle.

        Yields:
            The snapshots, the known one first.

        Raises:
            TaskTimeoutError: No change came within ``Timeouts.wait``.
            FoxAPIError: An error of ``result`` that is not the outcome of the task.
        """
        return _Updates(self, self._bound().options.timeouts.wait)

    async def refresh(self) -> Task:
        """Return the current snapshot of the task (unbilled). Failed attempts are retried.

        Returns:
            The snapshot, which all handles of the task then have.

        Raises:
            NotFoundError: The service does not know the task.
            FoxAPIError: The error of the last attempt.
        """
        service, tracked = self._bound(), self._find_tracked()
        task = await service.fetch_task(tracked.id)
        service.runtime.poller.publish(tracked, task)
        return task

    def _offer(self, task: Task) -> None:
        """Publish a snapshot of the user, unless the session has one that may be newer."""
        tracked = self._find_tracked()
        if tracked.task is None or classify(task).is_final:
            self._bound().runtime.poller.publish(tracked, task)

    def _resolve_timeout(self, timeout: float | None | UnsetType = UNSET) -> float | None:
        """Return the seconds of a wait; ``None`` for no limit."""
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
        """Start to wait for at most ``timeout`` seconds. Every wait starts here."""
        runtime = self._bound().runtime
        runtime.enter()
        runtime.poller.add_waiter(waiter, timeout)

    def _unsubscribe(self, waiter: Waiter) -> None:
        """End the wait that ``_subscribe`` started, whether or not the waiter was woken."""
        self._bound().runtime.poller.remove_waiter(waiter)

    # Pickling and copying

    def bind(self, fox: HasService) -> Self:
        """Bind an unpickled handle to a session. Sends nothing.

        Args:
            fox: The session that the handle is to use.

        Returns:
            The handle itself.
        """
        known = self._record
        tracked = self._track(fox._service, known.id, known.kind)
        if tracked is not known:
            tracked.adopt(known)
            self._record = tracked
        return self

    def _bound(self) -> ServiceClient:
        if self._service is None:
            raise UnboundHandleError(
                f"the handle of task {self.id} was unpickled: call handle.bind(fox) first"
            )
        return self._service

    def __copy__(self) -> Self:
        """Return the handle itself, which has no state of its own."""
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        """Return the handle itself, so that a copied structure still awaits the same tasks."""
        return self

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.id} model={self.model!r} "
            f"status={self.status!r} progress={self.progress}>"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the task, and its text if the outcome is known."""
        task, outcome = self.task, self._record.outcome
        rows = [
            ("id", self.id),
            ("model", self.model),
            ("status", self.status),
            ("key", self.key),
            ("error", type(outcome.error).__name__ if outcome and outcome.error else None),
        ]
        result = outcome.get() if outcome and outcome.error is None else None
        text = getattr(result, "text", None)
        part = self.progress / 100 if task is not None and outcome is None else None
        return html_card(type(self).__name__, rows, text=text, part=part)


@final
class MediaHandle(TaskHandle[MediaResults]):
    """A task that makes images, videos, audio or documents."""

    __slots__ = ()

    async def result(self, timeout: float | None | UnsetType = UNSET) -> MediaResults:
        """Wait as every handle does; the results know the session that downloads them."""
        results = await super().result(timeout)
        service = self._service
        return bind_results(results, None if service is None else Downloads(service))

    @classmethod
    def _from_journal(cls, service: ServiceClient, entry: Entry) -> Self:
        """Return the handle of the task of ``entry``: the existing one, while it is referenced.

        Raises:
            JournalError: The entry cannot be read.
        """
        known = service.handles.get(entry.task_id or "")
        if isinstance(known, cls):
            return known
        task = entry.read_task()
        handle = cls(service, entry.task_id or "", entry.kind, key=entry.key)
        handle._record.restore(
            task=task,
            has_stream=False,
            streamed=None,
            stream_error=None,
            is_finished=entry.stage in FINISHED,
        )
        service.handles[handle.id] = handle
        return handle

    def __getattr__(self, name: str) -> Any:
        """Raise ``AttributeError``, which says why there is no stream."""
        if name == "stream":
            raise AttributeError(
                f"a task of kind {self.kind!r} has no stream: await its handle, or iterate over "
                "handle.updates()"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Pickle the id, the kind and the key."""
        return _rebuild, (self.id, self.kind, self.key)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the task, and its images if the results are known."""
        outcome = self._record.outcome
        card = super()._repr_html_()
        return card if outcome is None or outcome.error else card + outcome.get()._repr_html_()


def _rebuild(task_id: str, kind: Kind, key: str | None) -> MediaHandle:
    return MediaHandle(None, task_id, kind, key=key)


class _Updates(Uncopied):
    """The iterator of ``updates``. A step that is cancelled or times out can be repeated."""

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
