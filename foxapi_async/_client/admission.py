"""Room for submissions: how many may be under way, and how many tasks unfinished."""
# pyright: reportPrivateUsage=false

import asyncio
import logging
from collections import OrderedDict, deque
from contextvars import Context, copy_context

from foxapi_async._client.polling.poller import Poller
from foxapi_async._client.polling.tracked_task import TaskSource, TrackedTask
from foxapi_async._client.polling.waiter import Waiter
from foxapi_async._clock import Clock, Timer
from foxapi_async._protocol.rate_limiter import MAX_PAUSE
from foxapi_async._wire.task import Task
from foxapi_async.config import Limits
from foxapi_async.errors import FoxAPIError, SessionClosedError

_log = logging.getLogger("foxapi_async")


class AdmissionControl:
    """Lets submissions in, first come first served, as far as the limits and a pause allow.

    Under ``limits.max_unfinished`` it knows the unfinished tasks of the session.
    While they leave no room for a submission that waits, that one waits for every one of them: so
    they are polled, whether or not their handles are awaited.
    """

    def __init__(self, clock: Clock, limits: Limits, poller: Poller) -> None:
        self._clock = clock
        self._limits = limits
        self._poller = poller
        self._queue: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._posts = 0
        self._unfinished: dict[str, UnfinishedTask] = {}
        # One may be known to be finished before its submit has returned a handle to tell it to.
        self._early: deque[TrackedTask] = deque(maxlen=limits.submits_in_flight)
        self._is_attended = False
        self._resumes = 0.0
        self._timer: Timer | None = None
        self.tasks: int = 0
        self.closed: bool = False

    @property
    def waiting(self) -> int:
        """How many submissions wait to be let in."""
        return len(self._queue)

    @property
    def unfinished(self) -> int:
        """How many tasks count for ``limits.max_unfinished``; 0 without that limit."""
        return len(self._unfinished)

    @property
    def paused(self) -> float:
        """For how many seconds nobody will be let in."""
        return max(self._resumes - self._clock.time(), 0.0) if self._resumes else 0.0

    async def enter(self) -> None:
        """Wait for one's turn. Cancelling gives it up. Whoever was let in has to ``leave``."""
        self._refuse_if_closed()
        if not self._queue and self._has_room:
            self._posts += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue[place] = None
        self._attend()
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._queue.pop(place, None)
                self._attend()
            elif place.exception() is None:
                self.leave()  # it had been let in when the cancel came
            raise
        try:
            self._refuse_if_closed()
        except SessionClosedError:
            self.leave()
            raise

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise _closed()

    def leave(self) -> None:
        """Make room for another POST."""
        self._posts -= 1
        self._admit()

    def accepted(self, task: Task, source: TaskSource) -> None:
        """Count a task of this session, as unfinished where such tasks are limited."""
        self.tasks += 1
        if self._limits.max_unfinished is None or task.id in self._unfinished:
            return  # a service that names one task twice has made one
        unfinished = UnfinishedTask(task, source, self._poller, born=self._clock.time())
        self._unfinished[task.id] = unfinished
        if self._is_attended:
            self._begin(unfinished)

    def finished(self, task_id: str) -> None:
        """Count a task no more; unknown ones do not matter."""
        unfinished = self._unfinished.pop(task_id, None)
        if unfinished is not None:
            self._end(unfinished)
            if not unfinished.watch.handles:
                self._early.append(unfinished.watch)
            self._admit()

    def pause(self, seconds: float | None) -> None:
        """Let nobody in for so long, at most a minute: the service has asked for it."""
        if not seconds or self.closed:
            return
        self._resumes = max(self._resumes, self._clock.time() + min(seconds, MAX_PAUSE))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_at(self._resumes, self._resume)

    def close(self) -> None:
        """Let nobody in any more; those who wait get ``SessionClosedError``."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for place in self._queue:
            if not place.done():
                place.set_exception(_closed())
        self._queue.clear()
        self._attend()

    def _resume(self) -> None:
        self._timer = None
        self._resumes = 0.0
        self._admit()

    @property
    def _is_full(self) -> bool:
        """Whether it is unfinished tasks that leave no room."""
        most = self._limits.max_unfinished
        return most is not None and self._posts + len(self._unfinished) >= most

    @property
    def _has_room(self) -> bool:
        return (
            not self._resumes and self._posts < self._limits.submits_in_flight and not self._is_full
        )

    def _admit(self) -> None:
        while self._queue and self._has_room:
            place, _ = self._queue.popitem(last=False)
            # One that was cancelled in this turn of the loop has not had its turn yet.
            if not place.done():
                self._posts += 1
                place.set_result(None)
        self._attend()

    def _attend(self) -> None:
        """Wait for the unfinished tasks while somebody waits for their room, and only then."""
        is_needed = bool(self._queue) and self._is_full
        if is_needed == self._is_attended:
            return
        self._is_attended = is_needed
        for unfinished in list(self._unfinished.values()):
            if self._is_attended != is_needed:
                return  # one was known to be finished, so that its place is taken already
            if is_needed:
                self._begin(unfinished)
            else:
                self._end(unfinished)

    def _begin(self, unfinished: "UnfinishedTask") -> None:
        unfinished.waiter = waiter = SlotWaiter(unfinished, self)
        self._poller.join(waiter, None)

    def _end(self, unfinished: "UnfinishedTask") -> None:
        if unfinished.waiter is not None:
            self._poller.leave(unfinished.waiter)
            unfinished.waiter = None


class UnfinishedTask:
    """A task that takes up room, as a handle that nobody holds."""

    __slots__ = ("_born", "_context", "id", "task", "waiter", "watch")

    def __init__(self, task: Task, source: TaskSource, poller: Poller, *, born: float) -> None:
        self.id: str = task.id
        self._context: Context | None = copy_context()
        self._born: float | None = born
        self.task: Task | None = task
        self.waiter: SlotWaiter | None = None
        # The handles of the task share it, and so learn what is learnt here.
        self.watch: TrackedTask = poller.watch(self, source)

    def _observe(self, task: Task) -> None:
        """Keep the snapshot; the end comes by the waiter."""
        self.task = task

    def _check_failed(self, fault: FoxAPIError) -> None:
        """Do nothing: nobody waits for this task itself."""

    def _missed(self, fault: FoxAPIError) -> None:
        """Do nothing: the waiter is told."""


class SlotWaiter(Waiter):
    """One who waits for a task to make room."""

    __slots__ = ("_room",)

    def __init__(self, unfinished: UnfinishedTask, room: AdmissionControl) -> None:
        super().__init__(unfinished, unfinished.watch)
        self._room = room

    def wake(self, error: Exception | None) -> None:
        """Count the task no more, even if its end cannot be learnt: else nobody would get in."""
        if isinstance(error, SessionClosedError):
            return
        if error is not None:
            _log.warning("task %s counts as finished: %s", self.watch.id, error)
        self._room.finished(self.watch.id)


def _closed() -> SessionClosedError:
    return SessionClosedError("the session was closed before this submission was sent")
