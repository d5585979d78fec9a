"""A task as something to wait for."""
# pyright: reportPrivateUsage=false

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Generator
from contextvars import Context, copy_context
from typing import Any, Final, Generic, Literal, Protocol, Self, TypeVar

from msgspec import UNSET, DecodeError, UnsetType

from foxapi_async._client.outcome import Outcome
from foxapi_async._client.patience import normalize_timeout, validate_timeout
from foxapi_async._client.polling.tracked_task import TrackedTask
from foxapi_async._client.polling.waiter import FutureWaiter, Waiter
from foxapi_async._client.service import Service
from foxapi_async._client.updates import Updates
from foxapi_async._journal import FinalRecord, Stage
from foxapi_async._protocol.task_status import TaskState, classify, task_error
from foxapi_async._transport import excerpt
from foxapi_async._wire.task import Task
from foxapi_async.errors import (
    FoxAPIError,
    InvalidResponseError,
    UnboundHandleError,
)
from foxapi_async.hooks import TaskCheckFailed, TaskFinished, TaskUpdated

_log = logging.getLogger("foxapi_async")

R = TypeVar("R")

Kind = Literal["llm", "image", "video", "audio", "document"]
"""What a task makes; it decides the type of its result."""


_STAGES: Final = {
    TaskState.COMPLETED: Stage.COMPLETED,
    TaskState.FAILED: Stage.FAILED,
    TaskState.CANCELLED: Stage.CANCELLED,
}


class HasService(Protocol):
    """What a handle can be bound to: a ``FoxSession``."""

    @property
    def _service(self) -> Service: ...


class TaskHandle(ABC, Generic[R]):
    """One task at the service, as something that you can await from anywhere, as often as you like.

    ``await handle`` is ``await handle.result()``. Nothing is sent while nobody waits. Cancelling a
    wait, or letting it run out, ends that wait alone: the task goes on and stays billed. A handle
    pickles as its id and kind; bind the copy to a session before you use it. ``copy`` gives the
    handle itself.
    """

    __slots__ = (
        "__weakref__",
        "_born",
        "_context",
        "_id",
        "_key",
        "_outcome",
        "_service",
        "_task",
        "_watch",
    )

    def __init__(
        self,
        service: Service | None,
        task_id: str,
        *,
        task: Task | None = None,
        key: str | None = None,
    ) -> None:
        self._service = service
        self._id = task_id
        self._key = key
        self._task = task
        # A task from the submit of this session is as old as this handle; any other may be done.
        self._born = service.clock.time() if service is not None and task is not None else None
        self._context: Context | None = _listener_context(service)
        self._outcome: Outcome[R] | None = None
        self._watch: TrackedTask | None = None

    # What is known without asking

    @property
    def id(self) -> str:
        """The task's id: all that another process needs to find the result."""
        return self._id

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """What the task makes."""

    @property
    def key(self) -> str | None:
        """Your own key of the submission, if you gave one."""
        return self._key

    @property
    def task(self) -> Task | None:
        """The last snapshot that this handle has seen; ``None`` before the first."""
        return self._task

    @property
    def model(self) -> str | None:
        """The model, if a snapshot told it."""
        return (self._task.model or None) if self._task else None

    @property
    def created(self) -> int | None:
        """When the service accepted the task, in Unix seconds, if a snapshot told it."""
        return (self._task.created or None) if self._task else None

    @property
    def status(self) -> str | None:
        """The status in the last snapshot; see ``Status`` for those that the service names."""
        return self._task.status if self._task else None

    @property
    def progress(self) -> int:
        """The progress in the last snapshot, 0 to 100."""
        return min(max(self._task.progress, 0), 100) if self._task else 0

    def done(self) -> bool:
        """Tell whether the outcome is known here, so that awaiting returns at once."""
        return self._outcome is not None

    # Waiting

    def __await__(self) -> Generator[Any, None, R]:
        """Wait for the result, with ``timeouts.wait`` as the patience."""
        return self.result().__await__()

    async def result(self, timeout: float | None | UnsetType = UNSET) -> R:
        """Wait for the task and return its result, by polling while somebody waits (unbilled).

        ``timeout`` in seconds overrides ``timeouts.wait``, which holds where none is given;
        ``None`` waits without end; 0 looks once, for as long as that one
        answer takes, and returns the result of a finished task. Raises ``TaskFailedError`` or
        ``TaskCancelledError`` for the task's end, ``TaskTimeoutError`` when your patience ends
        (the task goes on, await it again), ``TaskLostError`` when its state cannot be learnt,
        ``EmptyResultError`` when it is completed without results (contract Q2),
        ``InvalidResponseError`` for results that cannot be read, ``StreamInterruptedError`` when a
        stream was cut and the stored answer lacks text that it had, and the ``APIStatusError`` of a
        key that may not look.
        """
        patience = self._patience(timeout)
        while self._outcome is None:
            waiter = FutureWaiter(self, self._find_watch())
            try:
                self._begin_wait(waiter, patience)
                error = await waiter
            finally:
                self._end_wait(waiter)
            if error is not None:
                raise error
        return self._outcome.get()

    def updates(self) -> AsyncIterator[Task]:
        """Yield a snapshot at each change of status or progress, the final one last.

        A failed task ends the iteration like any other: look at the last snapshot, or await the
        handle. Polls only while you wait for the next snapshot.
        """
        return Updates(self, self._bound().options.timeouts.wait)

    async def refresh(self) -> Task:
        """Ask for the task now, retrying as a read is, and return the snapshot (unbilled)."""
        service = self._bound()
        task = await service.fetch_task(self._id)
        self._learn(task)
        return task

    def _patience(self, timeout: float | None | UnsetType = UNSET) -> float | None:
        """Return how long to wait, ``None`` for ever."""
        if timeout is UNSET:
            timeout = self._bound().options.timeouts.wait
        validate_timeout(timeout)
        return normalize_timeout(timeout)

    def _find_watch(self) -> TrackedTask:
        """Return what the poller knows of the task."""
        if self._watch is None:
            service = self._bound()
            self._watch = service.core.poller.watch(self, service)
            self._watch.attach(self)
        return self._watch

    def _take_up(self) -> Self:
        """Share from now on, with those who watch the task already, what is known of it."""
        service = self._bound()
        if self._watch is None:
            self._watch = service.core.poller.known(service, self._id)
            if self._watch is not None:
                self._watch.attach(self)
                if (last := self._watch.last) is not None and classify(last).is_final:
                    self._observe(last)
        return self

    def _learn(self, task: Task) -> None:
        """Take in a snapshot that was asked for on behalf of this handle, and share it."""
        if self._watch is None:
            self._observe(task)
        else:
            self._bound().core.poller.learn(self._watch, task)

    def _begin_wait(self, waiter: Waiter, patience: float | None) -> None:
        """Let ``waiter`` wait for at most ``patience`` seconds. Whatever waits calls this."""
        core = self._bound().core
        core.enter()
        core.poller.join(waiter, patience)

    def _end_wait(self, waiter: Waiter) -> None:
        """End what ``_begin_wait`` began, woken or not."""
        self._bound().core.poller.leave(waiter)

    def _observe(self, task: Task) -> None:
        """Take in a snapshot. The poller calls this; the first final one settles the outcome."""
        if self._outcome is not None:
            return
        before, self._task = self._task, task
        state = classify(task)
        if not state.is_final:
            self._tell_updated(before, task)
        else:
            self._outcome = self._settle(task, state)
            if self._service is not None:
                self._service.core.room.finished(self._id)
            self._record_end(task, state)
            self._tell_finished(task)

    def _check_failed(self, fault: FoxAPIError) -> None:
        """Take in that a look failed. The poller calls this for the first fault in a row."""
        if self._service is None or (ear := self._service.ear_in(self._context)) is None:
            return
        ear(
            TaskCheckFailed(
                task_id=self._id,
                model=self.model or "",
                error=type(fault).__name__,
                message=str(fault),
            )
        )

    def _missed(self, fault: FoxAPIError) -> None:
        """Take in that the service does not know the task. The poller calls this; it may come back.

        The journal keeps the entry, and ``recover`` leaves it out from now on.
        """
        _log.warning(
            "the service does not know task %s: is this the account that submitted it? (%s)",
            self._id,
            fault,
        )
        if self._service is not None:
            journal, base = self._service.options.journal, self._service.account.base
            journal.lost(base, self._id, fault)

    def _settle(self, task: Task, state: TaskState) -> Outcome[R]:
        if state is not TaskState.COMPLETED:
            return Outcome(error=task_error(task))
        try:
            return Outcome(self._read(task))
        except DecodeError as error:
            account = self._bound().account
            return Outcome(
                error=InvalidResponseError(
                    f"the results of task {task.id} cannot be read: {account.redact(str(error))}",
                    body=excerpt(account, bytes(task.results[0])) if task.results else "",
                )
            )

    @abstractmethod
    def _read(self, task: Task) -> R:
        """Return the result of a completed task; ``msgspec.DecodeError`` if it is not one."""

    def _record_end(self, task: Task, state: TaskState) -> None:
        if self._service is not None:
            journal, base = self._service.options.journal, self._service.account.base
            ending = self._ending(base, _STAGES[state], task)
            journal.finished(self._service.account.mask.record(ending))

    def _ending(self, service: str, stage: Stage, task: Task) -> FinalRecord:
        """Return what a journal keeps of the end."""
        return FinalRecord(service=service, key=self._key, stage=stage, task=task)

    def _tell_updated(self, before: Task | None, task: Task) -> None:
        if self._service is None or (ear := self._service.ear_in(self._context)) is None:
            return
        if before is None or (before.status, before.progress) != (task.status, task.progress):
            ear(
                TaskUpdated(
                    task_id=self._id,
                    model=task.model,
                    status=task.status,
                    progress=task.progress,
                )
            )

    def _tell_finished(self, task: Task) -> None:
        service = self._service
        if service is None or self._outcome is None:
            return
        if (ear := service.ear_in(self._context)) is None:
            return
        error = self._outcome.error
        ear(
            TaskFinished(
                task_id=self._id,
                model=task.model,
                status=task.status,
                seconds=service.clock.time() - self._born if self._born is not None else 0.0,
                error=type(error).__name__ if error else None,
            )
        )

    # Moving to another process

    def bind(self, fox: HasService) -> Self:
        """Tie an unpickled handle to a session, and return it. Sends nothing."""
        self._service = fox._service
        self._context = _listener_context(self._service)
        self._watch = None
        return self

    def _bound(self) -> Service:
        if self._service is None:
            raise UnboundHandleError(
                f"the handle of task {self._id} was unpickled: call handle.bind(fox) first"
            )
        return self._service

    def __copy__(self) -> Self:
        """Return the handle itself: all that it knows is of one task, and it stays bound."""
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        """Return the handle itself, so that a copied structure still awaits the same tasks."""
        return self

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Pickle what finds the task again; the session and the snapshots stay here."""
        return _rebuild, (type(self), self._id, self._key)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self._id} model={self.model!r} "
            f"status={self.status!r} progress={self.progress}>"
        )


def _listener_context(service: Service | None) -> Context | None:
    """Return the caller's context for the events to come; ``None`` while nobody listens."""
    return copy_context() if service is not None and service.ear is not None else None


def _rebuild(kind: type["TaskHandle[Any]"], task_id: str, key: str | None) -> "TaskHandle[Any]":
    return kind(None, task_id, key=key)
