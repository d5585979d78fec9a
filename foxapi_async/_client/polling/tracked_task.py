"""One task as the poller knows it."""
# pyright: reportPrivateUsage=false

import logging
from collections.abc import Hashable, Iterator
from contextvars import Context
from enum import Enum, auto
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary, ref

from foxapi_async._client.polling.waiter import TaskObserver, Waiter
from foxapi_async._protocol.pacing import Pacer, PollContext
from foxapi_async._protocol.task_status import FailureTracker
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

_LONGEST_STATUS: Final = 80


class TaskSource(Protocol):
    """Where the poller looks for a task."""

    @property
    def account(self) -> Hashable:
        """Whose tasks these are: the same id under another key is another task."""
        ...

    @property
    def polling(self) -> PollPolicy:
        """How patient the looking is."""
        ...

    @property
    def pacer(self) -> Pacer:
        """When to look."""
        ...

    async def look(
        self, task_id: str, *, hollow: bool = False, context: Context | None = None
    ) -> tuple[Task, float | None]:
        """Return the task as it is now, by one single attempt, or raise a ``FoxAPIError``.

        With it come the seconds for which the service asks to be left alone, if it does. It ends in
        bounded time, whatever the network does. ``hollow`` says that the task was completed without
        results at the last look: then asking upstream would do harm (contract Q2). It tells events
        in ``context``.
        """
        ...

    def tell(self, event: Event, context: Context | None) -> None:
        """Tell the hooks of ``event`` in ``context``."""
        ...


class Phase(Enum):
    """What becomes of a task that has a watch."""

    IDLE = auto()  # nobody needs a poll of it
    DUE = auto()  # it is scheduled
    READY = auto()  # its time has come, and it waits for its turn
    POLLED = auto()  # a GET of it is under way
    OUTDATED = auto()  # the same, but there has been news since the GET began


class TrackedTask:
    """What is known of one task while it has handles. It is polled while it has waiters."""

    __slots__ = (
        "__weakref__",
        "_first",
        "_handle",
        "_handles",
        "_others",
        "born",
        "bucket",
        "context",
        "due",
        "fault",
        "id",
        "last",
        "parked",
        "phase",
        "polls",
        "since",
        "source",
        "trouble",
        "unfinished_at",
        "wondered",
    )

    def __init__(self, handle: TaskObserver, source: TaskSource) -> None:
        self.id: str = handle.id
        self.source: TaskSource = source
        self.born: float | None = handle._born
        self.context: Context | None = handle._context
        self.since: float | None = handle._born  # its age counts from here, or from the first wait
        self.last: Task | None = handle.task
        self.phase: Phase = Phase.IDLE
        self.bucket: list[Any] | None = None
        self.due: float | None = None
        self.polls: int = 0
        self.unfinished_at: float = 0.0  # the age at which it was last seen unfinished
        self.trouble: FailureTracker | None = None
        self.fault: FoxAPIError | None = None  # of the last look, unless that was answered
        self.wondered: bool = False  # whether a status that nobody knows was told
        self.parked: int = 0  # so many follow its stream, which will tell sooner than a poll
        # Nearly every task has one waiter, and a dictionary for it would double what it takes.
        self._first: Waiter | None = None
        self._others: dict[Waiter, None] | None = None
        # So does nearly every task have one handle. They are told what is learnt, waiting or not.
        self._handle: ref[TaskObserver] | None = None
        self._handles: WeakSet[TaskObserver] | None = None

    @property
    def waiters(self) -> tuple[Waiter, ...]:
        """Those who wait for it."""
        if self._others is not None:
            return (*self._others,) if self._first is None else (self._first, *self._others)
        return () if self._first is None else (self._first,)

    @property
    def needs_polls(self) -> bool:
        """Whether only polls can tell the waiters what they want to know."""
        if not self.parked:
            return self._first is not None or self._others is not None
        return any(waiter.wants_change or waiter.is_glance for waiter in self.waiters)

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
    def is_hollow(self) -> bool:
        """Whether it was completed without results when it was last seen."""
        return self.trouble is not None and self.trouble.has_empty_result

    def join(self, waiter: Waiter) -> None:
        """Add one who waits."""
        if self._first is None:
            self._first = waiter
        elif self._others is None:
            self._others = {waiter: None}
        else:
            self._others[waiter] = None

    def leave(self, waiter: Waiter) -> bool:
        """Take one who waits away; tell whether it was there."""
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

    def attach(self, handle: TaskObserver) -> None:
        """Tell ``handle`` from now on whatever is learnt of the task, while it lives."""
        if self._handle is None or self._handle() is None:
            self._handle = ref(handle)
        else:
            self._handles = self._handles or WeakSet()
            self._handles.add(handle)

    @property
    def handles(self) -> list[TaskObserver]:
        """The handles of the task, and whatever else waits for it."""
        found = dict.fromkeys(waiter.handle for waiter in self.waiters)
        if self._handle is not None and (handle := self._handle()) is not None:
            found[handle] = None
        if self._handles is not None:
            found |= dict.fromkeys(self._handles)
        return list(found)

    def show(self, task: Task) -> list[Waiter]:
        """Hand the snapshot to every handle; return the waiters whom it wakes as a change."""
        self.last = task
        self.fault = None
        # Two of them may wait for one handle, which sees the change but once.
        changed = [waiter for waiter in self.waiters if waiter.wants(task)]
        for handle in self.handles:
            handle._observe(task)
        return changed

    def failed(self, fault: FoxAPIError) -> None:
        """Keep the fault of a look; the first in a row is told to those who wait."""
        is_first, self.fault = self.fault is None, fault
        if is_first:
            for handle in {waiter.handle for waiter in self.waiters}:
                handle._check_failed(fault)

    def wonder(self, task: Task) -> None:
        """Tell, once, that nobody here knows what the status of ``task`` means."""
        if self.wondered:
            return
        self.wondered = True
        status = task.status[:_LONGEST_STATUS]
        _log.warning(
            "task %s has the status %r, which is not known here: it is taken for unfinished",
            self.id,
            status,
        )
        event = TaskStatusUnknown(task_id=self.id, model=task.model, status=status)
        self.source.tell(event, self.context)

    def age(self, now: float) -> float:
        """Return the seconds since it was submitted, or first waited for."""
        return 0.0 if self.since is None else now - self.since

    def interval(self, now: float, roll: float) -> float:
        """Return the seconds until its next look, by its pacing."""
        last = self.last
        look = PollContext(
            model=last.model if last is not None else "",
            age=self.age(now),
            polls=self.polls,
            progress=last.progress if last is not None else 0,
            estimated=last.task_info.estimated_time if last and last.task_info else None,
        )
        return self.source.pacer.interval(look, roll)

    def lost(self, fault: FoxAPIError) -> TaskLostError:
        """Return the error for one whose state cannot be learnt, because of ``fault``."""
        return TaskLostError(
            f"the state of task {self.id} cannot be learnt: {fault}; it may still finish: "
            "ask again later with its id",
            task_id=self.id,
            task=self.last,
            fault=fault,
        )

    def closed(self) -> SessionClosedError:
        """Return the error for a wait that the end of the session ends."""
        return SessionClosedError(
            f"the session is closed; task {self.id} goes on at the service: keep its id"
        )

    def timed_out(self) -> TaskTimeoutError:
        """Return the error for a wait that has lasted too long."""
        return TaskTimeoutError(
            _timeout_text(self.id, self.last, self.fault),
            task_id=self.id,
            task=self.last,
            fault=self.fault,
        )


def _timeout_text(task_id: str, last: Task | None, fault: FoxAPIError | None) -> str:
    """Say why a wait ended without an outcome, from what was seen of the task during it."""
    bound = "within timeout= of this wait, or Timeouts.wait"
    if last is None and fault is None:
        return (
            f"the service gave no answer about task {task_id} {bound}; "
            "await its handle again, or find it later by its id"
        )
    if last is None:
        what = "was never reached" if isinstance(fault, APIConnectionError) else "was never seen"
        check = (
            "its id and the key" if isinstance(fault, NotFoundError) else "base_url, the network"
        )
        return (
            f"task {task_id} {what} {bound}: {fault}; whether it goes on is not known: "
            f"check {check}, then await its handle again"
        )
    status = f"; its last known status is {last.status[:_LONGEST_STATUS]!r}"
    failed = "" if fault is None else f", and the last look at it failed: {fault}"
    return (
        f"task {task_id} was not finished {bound}{status}{failed}; it goes on at the service: "
        "await its handle again, or find it later by its id"
    )


class TrackedTasks:
    """One watch for each task that has handles, whatever their number."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[Hashable, WeakValueDictionary[str, TrackedTask]] = (
            WeakKeyDictionary()
        )

    def __iter__(self) -> Iterator[TrackedTask]:
        # What is done with one may end others.
        return iter([watch for watches in self._of.values() for watch in watches.values()])

    def find(self, account: Hashable, task_id: str) -> TrackedTask | None:
        """Return the watch of a task that has one."""
        watches = self._of.get(account)
        return None if watches is None else watches.get(task_id)

    def get(self, handle: TaskObserver, source: TaskSource) -> TrackedTask:
        """Return the watch of the handle's task."""
        watches = self._of.get(source.account)
        if watches is None:
            watches = self._of[source.account] = WeakValueDictionary()
        watch = watches.get(handle.id)
        if watch is None:
            watch = watches[handle.id] = TrackedTask(handle, source)
        return watch
