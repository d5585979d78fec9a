"""A task as the poller tracks it, and the waiters that wait for it."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextvars import Context
from copy import copy
from enum import Enum, auto
from typing import Any, ClassVar, Final, Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

from foxapi_async._client.task_record import TaskRecord, add_delivered
from foxapi_async._protocol.pacing import Pacer, PollContext
from foxapi_async._protocol.task_status import FailureTracker
from foxapi_async._transport import Account
from foxapi_async._wire.media_request import Kind
from foxapi_async._wire.task import Task
from foxapi_async.config import PollPolicy
from foxapi_async.errors import (
    APIConnectionError,
    FoxAPIError,
    NotFoundError,
    SessionClosedError,
    TaskLostError,
    TaskTimeoutError,
)
from foxapi_async.hooks import Event, TaskStatusUnknown

_log = logging.getLogger("foxapi_async")

_MAX_STATUS_LENGTH: Final = 80


class TaskSource(Protocol):
    """What polls tasks: a ``ServiceClient``."""

    @property
    def account(self) -> Account:
        """The account of the tasks: the same id under another key is another task."""
        ...

    @property
    def polling(self) -> PollPolicy:
        """The policy of polls."""
        ...

    @property
    def pacer(self) -> Pacer:
        """Computes the times of polls."""
        ...

    async def poll_once(
        self, task_id: str, *, empty: bool = False, context: Context | None = None
    ) -> tuple[Task, float | None]:
        """Poll the task once, within bounded time.

        Args:
            task_id: The id of the task.
            empty: Whether the task was completed without results at the last poll; then it is not
                queried upstream (contract Q2).
            context: The context for hooks.

        Returns:
            The snapshot, and the ``Retry-After`` of the response in seconds.

        Raises:
            FoxAPIError: The poll failed.
        """
        ...

    def event_context(self) -> Context | None:
        """Return a copy of the current context for later events; None without hooks."""
        ...

    def emit_in(self, context: Context | None, event: Event) -> None:
        """Call the hooks in ``context``."""
        ...


class Waiter(ABC):
    """Waits for a task. Each call of ``Poller.add_waiter`` is paired with ``remove_waiter``."""

    __slots__ = ("bucket", "deadline", "is_single_poll", "timeout", "tracked")

    # Whether a change of status or progress wakes it, and not only the end of the task.
    wants_changes: ClassVar[bool] = False

    def __init__(self, tracked: "TrackedTask") -> None:
        self.tracked: TrackedTask = tracked
        self.timeout: float | None = None
        self.deadline: float | None = None
        # Whether it waits for one poll, which starts at its deadline or later.
        self.is_single_poll: bool = False
        self.bucket: list[Any] | None = None

    def matches(self, task: Task) -> bool:
        """Tell whether ``task`` is a change that wakes this waiter."""
        del task
        return False

    @abstractmethod
    def wake(self, error: Exception | None) -> None:
        """End the wait. Without ``error``, the record has the outcome or the change."""


class FutureWaiter(Waiter):
    """An ``await``. It owns its future, so cancelling it affects no other waiter."""

    __slots__ = ("_future",)

    def __init__(self, tracked: "TrackedTask") -> None:
        super().__init__(tracked)
        loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Exception | None] = loop.create_future()

    def __await__(self) -> Generator[Any, None, Exception | None]:
        """Wait until ``wake`` is called, and return its error."""
        return self._future.__await__()

    def wake(self, error: Exception | None) -> None:
        """End the wait with a copy of ``error``: each raise adds frames to a traceback."""
        if not self._future.done():
            self._future.set_result(None if error is None else _copy_error(error))


class ChangeWaiter(FutureWaiter):
    """An ``await`` that also ends when status or progress differ from those of ``seen``."""

    __slots__ = ("_seen",)

    wants_changes = True

    def __init__(self, tracked: "TrackedTask", seen: Task | None) -> None:
        super().__init__(tracked)
        self._seen = seen

    def matches(self, task: Task) -> bool:
        """Tell whether status or progress have changed."""
        seen = self._seen
        return seen is None or seen.status != task.status or seen.progress != task.progress


def _copy_error(error: Exception) -> Exception:
    try:
        return copy(error)
    except Exception:  # noqa: BLE001 errors of other libraries need not be copyable
        return error


class Phase(Enum):
    """Where a tracked task stands in the poller."""

    IDLE = auto()  # it needs no poll
    SCHEDULED = auto()  # its next poll has a time
    QUEUED = auto()  # its poll is due and waits for a worker
    IN_FLIGHT = auto()  # a GET is under way
    IN_FLIGHT_STALE = auto()  # a GET is under way, and something happened since it started


class TrackedTask(TaskRecord):
    """The record of a task with the state of its polling. It is polled while it has waiters."""

    __slots__ = (
        "__weakref__",
        "_first",
        "_others",
        "_unknown_status_reported",
        "age_origin",
        "bucket",
        "due",
        "error",
        "failures",
        "phase",
        "polls",
        "source",
        "suspensions",
        "unfinished_at",
    )

    def __init__(
        self,
        source: TaskSource,
        task_id: str,
        kind: Kind,
        *,
        task: Task | None = None,
        submitted_at: float | None = None,
    ) -> None:
        super().__init__(
            source.account,
            task_id,
            kind,
            task=task,
            submitted_at=submitted_at,
            context=source.event_context(),
        )
        self.source: TaskSource = source
        # The age counts from the submit, or from the first wait for a task of another session.
        self.age_origin: float | None = submitted_at
        self.phase: Phase = Phase.IDLE
        self.bucket: list[Any] | None = None
        self.polls: int = 0
        # The time of the next poll, also while no waiter needs it; None before the first wait.
        self.due: float | None = None
        self.error: FoxAPIError | None = None  # of the last poll, if it failed
        self.failures: FailureTracker | None = None
        self.unfinished_at: float = 0.0  # the age at which it was last seen unfinished
        # The number of followers of its stream. While there is one, no poll is needed for the end.
        self.suspensions: int = 0
        self._unknown_status_reported = False
        # Most tasks have one waiter, which needs no collection.
        self._first: Waiter | None = None
        self._others: dict[Waiter, None] | None = None

    @property
    def waiters(self) -> tuple[Waiter, ...]:
        """The waiters of the task."""
        if self._others is not None:
            return (*self._others,) if self._first is None else (self._first, *self._others)
        return () if self._first is None else (self._first,)

    @property
    def needs_polls(self) -> bool:
        """Whether a waiter needs polls."""
        if not self.suspensions:
            return self._first is not None or self._others is not None
        return any(waiter.wants_changes or waiter.is_single_poll for waiter in self.waiters)

    @property
    def deadline(self) -> float | None:
        """The nearest deadline of its waiters."""
        if self._others is None:
            return None if self._first is None else self._first.deadline
        return min(
            (waiter.deadline for waiter in self.waiters if waiter.deadline is not None),
            default=None,
        )

    @property
    def is_empty(self) -> bool:
        """Whether the task was completed without results at the last poll."""
        return self.failures is not None and self.failures.has_empty_result

    def add_waiter(self, waiter: Waiter) -> None:
        """Add a waiter."""
        if self._first is None:
            self._first = waiter
        elif self._others is None:
            self._others = {waiter: None}
        else:
            self._others[waiter] = None

    def remove_waiter(self, waiter: Waiter) -> bool:
        """Remove a waiter; tell whether it was there."""
        if self._first is waiter:
            self._first = None
            return True
        others = self._others
        if others is None or waiter not in others:
            return False
        del others[waiter]
        if not others:
            self._others = None
        return True

    def publish(self, task: Task, now: float) -> list[Waiter]:
        """Record a snapshot; return the waiters that it wakes because it is a change."""
        self.error = None
        changed = [
            waiter for waiter in self.waiters if waiter.wants_changes and waiter.matches(task)
        ]
        self.observe(task, now)
        return changed

    def record_error(self, error: FoxAPIError) -> None:
        """Keep the error of a poll; report the first in a row if there are waiters."""
        is_first, self.error = self.error is None, error
        if is_first and (self._first is not None or self._others is not None):
            self.poll_failed(error)

    def report_unknown_status(self, task: Task) -> None:
        """Log once that the status of ``task`` is not a known one, and emit the event."""
        if self._unknown_status_reported:
            return
        self._unknown_status_reported = True
        status = task.status[:_MAX_STATUS_LENGTH]
        _log.warning(
            "task %s has the unknown status %r: it counts as unfinished",
            self.id,
            status,
        )
        event = TaskStatusUnknown(task_id=self.id, model=task.model, status=status)
        self.source.emit_in(self.context, event)

    def age(self, now: float) -> float:
        """Return the seconds since the submit, or since the first wait."""
        return 0.0 if self.age_origin is None else now - self.age_origin

    def interval(self, now: float, rand: float) -> float:
        """Return the seconds until the next poll by the pacing policy."""
        last = self.task
        context = PollContext(
            model=last.model if last is not None else "",
            age=self.age(now),
            polls=self.polls,
            progress=last.progress if last is not None else 0,
            estimated=last.task_info.estimated_time if last and last.task_info else None,
        )
        return self.source.pacer.interval(context, rand)

    def lost_error(self, error: FoxAPIError) -> TaskLostError:
        """Return the ``TaskLostError`` of this task; ``error`` is its last poll error."""
        error_of_task = TaskLostError(
            f"the state of task {self.id} is not known: {error}; it may still finish: "
            "await its handle again later",
            task_id=self.id,
            task=self.task,
            fault=error,
        )
        if self.stream_error is not None:
            add_delivered(error_of_task, self.stream_error)
        return error_of_task

    def closed_error(self) -> SessionClosedError:
        """Return the error for a wait that ends because the session is closed."""
        return SessionClosedError(
            f"the session is closed; task {self.id} goes on at the service: await it by its id"
        )

    def timeout_error(self, timeout: float | None) -> TaskTimeoutError:
        """Return the error for a wait whose timeout, in seconds, has expired."""
        return TaskTimeoutError(
            _timeout_text(self.id, self.task, self.error, timeout),
            task_id=self.id,
            task=self.task,
            fault=self.error,
        )


def _timeout_text(
    task_id: str, last: Task | None, error: FoxAPIError | None, timeout: float | None
) -> str:
    """Return the text of a timeout, with the last known state of the task."""
    seconds = "the timeout" if timeout is None else f"{timeout:g} s"
    bound = f"within {seconds} (timeout= or Timeouts.wait)"
    if last is None and error is None:
        return (
            f"the service gave no answer about task {task_id} {bound}; "
            "await its handle again, or find it later by its id"
        )
    if last is None:
        what = "was never reached" if isinstance(error, APIConnectionError) else "was never seen"
        check = (
            "its id and the key" if isinstance(error, NotFoundError) else "base_url, the network"
        )
        return (
            f"task {task_id} {what} {bound}: {error}; whether it goes on is not known: "
            f"check {check}, then await its handle again"
        )
    status = f"; its last known status is {last.status[:_MAX_STATUS_LENGTH]!r}"
    failed = "" if error is None else f", and the last poll failed: {error}"
    return (
        f"task {task_id} was not finished {bound}{status}{failed}; it goes on at the service: "
        "await its handle again, or find it later by its id"
    )


class TrackedTasks:
    """One ``TrackedTask`` for each task that has handles, whatever their number."""

    __slots__ = ("_by_account",)

    def __init__(self) -> None:
        self._by_account: WeakKeyDictionary[
            Account, dict[Kind, WeakValueDictionary[str, TrackedTask]]
        ] = WeakKeyDictionary()

    def __iter__(self) -> Iterator[TrackedTask]:
        # A copy, because the caller may remove tasks during the iteration.
        kinds = [tasks for kinds in self._by_account.values() for tasks in kinds.values()]
        return iter([tracked for tasks in kinds for tracked in tasks.values()])

    def of(self, source: TaskSource, kind: Kind) -> WeakValueDictionary[str, TrackedTask]:
        """Return the tasks of an account and a kind, by their ids."""
        kinds = self._by_account.get(source.account)
        if kinds is None:
            kinds = self._by_account[source.account] = {}
        tasks = kinds.get(kind)
        if tasks is None:
            tasks = kinds[kind] = WeakValueDictionary()
        return tasks
