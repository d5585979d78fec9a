"""Admission: how many submissions may be under way, and how many tasks unfinished."""

import asyncio
import logging
from collections import OrderedDict, deque

from foxapi_async._client.polling.poller import Poller
from foxapi_async._client.polling.tracked_task import TaskSource, TrackedTask, Waiter
from foxapi_async._clock import Clock, Timer
from foxapi_async._protocol.rate_limiter import MAX_PAUSE
from foxapi_async._wire.task import Task
from foxapi_async.config import Limits
from foxapi_async.errors import SessionClosedError

_log = logging.getLogger("foxapi_async")


class AdmissionControl:
    """Admits submissions in the order of their calls, within the limits and after a pause.

    With ``limits.max_unfinished`` it tracks the unfinished tasks of the session. While a submission
    is blocked by them, all of them are polled, whether or not their handles are awaited.
    """

    def __init__(self, clock: Clock, limits: Limits, poller: Poller) -> None:
        self._clock = clock
        self._limits = limits
        self._poller = poller
        self._queue: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._in_flight = 0
        self._unfinished: dict[str, SlotWaiter] = {}
        # A task may finish before its submit has returned a handle that would keep its record.
        self._finished_early: deque[TrackedTask] = deque(maxlen=limits.submits_in_flight)
        self._watches_unfinished = False
        self._resumes_at = 0.0
        self._timer: Timer | None = None
        self.tasks: int = 0
        self.rate_limits: int = 0
        self.closed: bool = False

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return (
            f"<AdmissionControl{state} waiting={self.waiting} in_flight={self._in_flight} "
            f"unfinished={self.unfinished}>"
        )

    @property
    def waiting(self) -> int:
        """How many submissions wait for admission."""
        return len(self._queue)

    @property
    def unfinished(self) -> int:
        """How many tasks count for ``limits.max_unfinished``; 0 without that limit."""
        return len(self._unfinished)

    @property
    def paused(self) -> float:
        """The seconds until submissions are admitted again."""
        return max(self._resumes_at - self._clock.time(), 0.0) if self._resumes_at else 0.0

    async def enter(self) -> None:
        """Wait for admission. Each admitted submission has to ``leave``; cancelling gives up."""
        self.raise_if_closed()
        if not self._queue and self._has_free_slot:
            self._in_flight += 1
            return
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue[ticket] = None
        self._watch_unfinished()
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.cancelled():
                self._queue.pop(ticket, None)
                self._watch_unfinished()
            elif ticket.exception() is None:
                self.leave()  # it was admitted in the same turn of the loop
            raise
        try:
            self.raise_if_closed()
        except SessionClosedError:
            self.leave()
            raise

    def enter_at_once(self, most: int) -> int:
        """Admit up to ``most`` submissions that need not wait; return how many."""
        count = 0
        while count < most and not self._queue and self._has_free_slot:
            self._in_flight += 1
            count += 1
        return count

    def raise_if_closed(self) -> None:
        """Raise ``SessionClosedError`` if no submission is admitted any more."""
        if self.closed:
            raise _closed()

    def leave(self) -> None:
        """Free the slot of a POST."""
        self._in_flight -= 1
        self._admit()

    def accepted(self, task: Task, source: TaskSource) -> None:
        """Count a task of this session, as unfinished if such tasks are limited."""
        self.tasks += 1
        if self._limits.max_unfinished is None or task.id in self._unfinished:
            return  # two responses with one id stand for one task
        # Later handles of the task share this record.
        tracked = self._poller.track(source, task.id, "llm", submitted=task)
        waiter = self._unfinished[task.id] = SlotWaiter(tracked, self)
        if self._watches_unfinished:
            self._poller.add_waiter(waiter, None)

    def finished(self, task_id: str) -> None:
        """Stop counting a task; ids that are not counted are ignored."""
        waiter = self._unfinished.pop(task_id, None)
        if waiter is not None:
            self._poller.remove_waiter(waiter)
            if not waiter.tracked.has_listeners:
                self._finished_early.append(waiter.tracked)
            self._admit()

    def pause(self, seconds: float | None) -> None:
        """Admit no submission for ``seconds``, at most a minute, as the service has asked."""
        self.rate_limits += 1
        if not seconds or self.closed:
            return
        self._resumes_at = max(self._resumes_at, self._clock.time() + min(seconds, MAX_PAUSE))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_at(self._resumes_at, self._resume)

    def close(self) -> None:
        """Admit no more submissions; those that wait raise ``SessionClosedError``."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for ticket in self._queue:
            if not ticket.done():
                ticket.set_exception(_closed())
        self._queue.clear()
        self._watch_unfinished()

    def _resume(self) -> None:
        self._timer = None
        self._resumes_at = 0.0
        self._admit()

    @property
    def _is_full(self) -> bool:
        """Whether the limit of unfinished tasks is reached."""
        limit = self._limits.max_unfinished
        return limit is not None and self._in_flight + len(self._unfinished) >= limit

    @property
    def _has_free_slot(self) -> bool:
        return (
            not self._resumes_at
            and self._in_flight < self._limits.submits_in_flight
            and not self._is_full
        )

    def _admit(self) -> None:
        while self._queue and self._has_free_slot:
            ticket, _ = self._queue.popitem(last=False)
            # A ticket cancelled in this turn of the loop is still in the queue.
            if not ticket.done():
                self._in_flight += 1
                ticket.set_result(None)
        self._watch_unfinished()

    def _watch_unfinished(self) -> None:
        """Wait for the unfinished tasks while they block a submission, and only then."""
        is_needed = bool(self._queue) and self._is_full
        if is_needed == self._watches_unfinished:
            return
        self._watches_unfinished = is_needed
        for waiter in list(self._unfinished.values()):
            if self._watches_unfinished != is_needed:
                return  # a task turned out to be finished, and its slot is taken already
            if is_needed:
                self._poller.add_waiter(waiter, None)
            else:
                self._poller.remove_waiter(waiter)


class SlotWaiter(Waiter):
    """Waits for an unfinished task, whose end frees a slot."""

    __slots__ = ("_admission",)

    def __init__(self, tracked: TrackedTask, admission: AdmissionControl) -> None:
        super().__init__(tracked)
        self._admission = admission

    def wake(self, error: Exception | None) -> None:
        """Stop counting the task. Without an outcome too, or it would block for ever."""
        if isinstance(error, SessionClosedError):
            return
        if error is not None:
            _log.warning("task %s counts as finished: %s", self.tracked.id, error)
        self._admission.finished(self.tracked.id)


def _closed() -> SessionClosedError:
    return SessionClosedError("the session was closed before this submission was sent")
