"""Polls every task that has waiters, with one timer and a bounded number of GETs."""

import asyncio
import logging
import random
from collections.abc import Callable

from foxapi_async._client.polling.tracked_task import (
    Phase,
    TaskSource,
    TrackedTask,
    TrackedTasks,
    Waiter,
)
from foxapi_async._client.polling.worker_pool import Worker, WorkerPool
from foxapi_async._client.stats import PollMetrics
from foxapi_async._clock import Clock, Timer
from foxapi_async._protocol.bucket_queue import BucketQueue, next_tick, priority
from foxapi_async._protocol.pacing import MAX_INTERVAL
from foxapi_async._protocol.rate_limiter import RateLimiter
from foxapi_async._protocol.task_status import (
    FailureTracker,
    PollFailure,
    TaskState,
    classify_error,
    task_error,
)
from foxapi_async._wire.media_request import Kind
from foxapi_async._wire.task import Task
from foxapi_async.config import Limits
from foxapi_async.errors import (
    APIStatusError,
    FoxAPIError,
    RateLimitError,
)

_log = logging.getLogger("foxapi_async")

_EMPTY_RESULT_INTERVAL = 1.0
_WARNING_INTERVAL = 60.0
# Seconds in which polls waited for the rate limit, after which a warning is logged.
_HELD_BACK_WARNING = 5.0


class Poller:
    """Polls the tasks that have waiters: one timer, bounded GETs, no work without waiters.

    A GET serves every handle of its task. The first waiter starts the polling of a task, the last
    one to leave stops it.
    """

    def __init__(
        self, clock: Clock, limits: Limits, *, rand: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._rand = rand
        self._tasks = TrackedTasks()
        self._scheduled: BucketQueue[TrackedTask] = BucketQueue()
        self._queued: BucketQueue[TrackedTask] = BucketQueue()
        self._deadlines: BucketQueue[Waiter] = BucketQueue()
        self._workers = WorkerPool(limits.polls_in_flight, self._work)
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._next_warning_at = 0.0
        self._has_warned = False
        self._rate_limiter: RateLimiter = RateLimiter(limits.polls_per_second)
        self.metrics: PollMetrics = PollMetrics()
        self.waiting: int = 0
        self.closed: bool = False

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return (
            f"<Poller{state} waiters={self.waiting} scheduled={len(self._scheduled)} "
            f"queued={self.queued} in_flight={self.in_flight}>"
        )

    @property
    def in_flight(self) -> int:
        """How many GETs are under way."""
        return len(self._workers)

    @property
    def queued(self) -> int:
        """How many polls are due and wait for a worker or for the rate limit."""
        return len(self._queued)

    @property
    def polls_per_second(self) -> float | None:
        """How many GETs a second are allowed now, ``None`` for any number."""
        limit = self._rate_limiter.ceiling
        # A session that was never used has no event loop, and so no time.
        return limit if not self.metrics.gets else self._rate_limiter.rate(self._clock.time())

    def track(
        self, source: TaskSource, task_id: str, kind: Kind, *, submitted: Task | None = None
    ) -> TrackedTask:
        """Return the record of a task, which all of its handles in this session share.

        ``submitted`` is the response to a submit of this session; then the task's age starts now.
        """
        tasks = self._tasks.of(source, kind)
        tracked = tasks.get(task_id)
        if tracked is None:
            submitted_at = None if submitted is None else self._clock.time()
            tracked = tasks[task_id] = TrackedTask(
                source, task_id, kind, task=submitted, submitted_at=submitted_at
            )
        return tracked

    # Waiters

    def add_waiter(self, waiter: Waiter, timeout: float | None) -> None:
        """Start a wait: ``waiter`` is woken when its task is final, or at a change that it matches.

        It is woken with ``TaskTimeoutError`` after ``timeout`` seconds, or with the error that
        ended polling: ``TaskLostError``, ``EmptyResultError``, a rejected key. With a timeout of 0
        it waits for one poll, which starts as soon as the limits allow. Every call must be paired
        with ``remove_waiter``, whether or not the waiter was woken.
        """
        tracked = waiter.tracked
        if self.closed:
            raise tracked.closed_error()
        last = tracked.task
        if last is not None and (tracked.state.is_final or waiter.matches(last)):
            tracked.settle(self._clock.time())
            waiter.wake(None)
            return
        now = self._clock.time()
        tracked.add_waiter(waiter)
        self.waiting += 1
        if timeout is not None:
            waiter.timeout, waiter.deadline = timeout, now + timeout
            waiter.is_single_poll = not timeout
            if not waiter.is_single_poll:
                self._arm(self._deadlines.add(waiter, waiter.deadline))
        if tracked.phase is Phase.IDLE:
            if tracked.needs_polls:
                self._schedule_first(tracked, now, at_once=waiter.is_single_poll)
        elif tracked.phase is Phase.QUEUED and timeout is not None:
            self._enqueue(tracked, now)
        elif waiter.is_single_poll:
            self.poll_now(tracked)

    def remove_waiter(self, waiter: Waiter) -> None:
        """End a wait, woken or not. Polling stops with the last waiter."""
        tracked = waiter.tracked
        if not tracked.remove_waiter(waiter):
            return
        self.waiting -= 1
        self._deadlines.discard(waiter)
        if not tracked.needs_polls:
            self._unschedule(tracked)

    def suspend(self, tracked: TrackedTask) -> None:
        """Stop polling the task for waiters of its end, because its stream is followed."""
        tracked.suspensions += 1
        if not tracked.needs_polls:
            self._unschedule(tracked)

    def resume(self, tracked: TrackedTask) -> None:
        """Poll the task as soon as the limits allow, because its stream has ended."""
        tracked.suspensions -= 1
        tracked.unfinished_at = tracked.age(self._clock.time())
        self.poll_now(tracked)

    def poll_now(self, tracked: TrackedTask) -> None:
        """Poll the task as soon as the limits allow, if it has waiters."""
        now = tracked.due = self._clock.time()
        if tracked.phase is Phase.IN_FLIGHT:
            tracked.phase = Phase.IN_FLIGHT_STALE
        elif (
            tracked.phase in {Phase.IDLE, Phase.SCHEDULED}
            and tracked.needs_polls
            and not self.closed
        ):
            self._schedule(tracked, now)

    def publish(self, tracked: TrackedTask, task: Task) -> None:
        """Record a snapshot of another request, and wake the waiters that it matches."""
        changed = tracked.publish(task, self._clock.time())
        if tracked.state.is_final:
            self._end(tracked, None)
        for waiter in changed:
            waiter.wake(None)

    async def aclose(self) -> None:
        """Wake every waiter with ``SessionClosedError``, and stop."""
        self.closed = True
        for tracked in self._tasks:
            self._end(tracked, tracked.closed_error())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._workers.aclose()

    def reserve_slot(self) -> float:
        """Reserve the next GET for a request made elsewhere; return the seconds until then.

        It counts against ``limits.polls_per_second`` as a poll does.
        """
        now = self._clock.time()
        start = max(now, self._rate_limiter.next_slot_at)
        self._rate_limiter.acquire(start)
        return start - now

    # Timing

    def _schedule_first(self, tracked: TrackedTask, now: float, *, at_once: bool) -> None:
        """Schedule a task that had no waiters: when its pacing says, or at once."""
        if tracked.due is None:
            tracked.due = now
            if tracked.submitted_at is not None and not tracked.polls:
                submitted_at = tracked.submitted_at
                tracked.due = submitted_at + tracked.interval(submitted_at, self._rand())
        elif now - tracked.due > MAX_INTERVAL:
            # After so long a pause, earlier failures do not count as consecutive.
            tracked.failures = None
        if tracked.age_origin is None:
            tracked.age_origin = now
        if at_once:
            tracked.due = now
        self._schedule(tracked, max(now, tracked.due))

    def _schedule(self, tracked: TrackedTask, due: float) -> None:
        tracked.phase = Phase.SCHEDULED
        self._arm(self._scheduled.add(tracked, due))

    def _enqueue(self, tracked: TrackedTask, now: float) -> None:
        tracked.phase = Phase.QUEUED
        self._queued.add(tracked, priority(now, tracked.deadline))

    def _unschedule(self, tracked: TrackedTask) -> None:
        """Cancel the next poll. A GET under way goes on, because its answer is worth keeping."""
        if tracked.phase is Phase.SCHEDULED:
            self._scheduled.discard(tracked)
        elif tracked.phase is Phase.QUEUED:
            self._queued.discard(tracked)
        else:
            return
        tracked.phase = Phase.IDLE

    def _arm(self, instant: float) -> None:
        """Set the timer to ``instant``, unless it is set to an earlier one."""
        if self._timer is not None:
            if self._timer_at <= instant:
                return
            self._timer.cancel()
        elif self.closed:
            return
        self._timer_at = instant
        self._timer = self._clock.call_at(instant, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            now = self._clock.time()
            for waiter in self._deadlines.pop_due(now):
                waiter.wake(waiter.tracked.timeout_error(waiter.timeout))
            for tracked in self._scheduled.pop_due(now):
                self._enqueue(tracked, now)
            self._spawn_workers(now)
            for queue in (self._scheduled, self._deadlines):
                if (instant := queue.next_due()) is not None:
                    self._arm(instant)
        except Exception as error:  # noqa: BLE001 logged, and raised by every waiter
            self._fail_all(error)

    def _spawn_workers(self, now: float) -> None:
        """Start as many workers as there are GETs that are due and allowed."""
        if queued := len(self._queued):
            number = min(queued, self._rate_limiter.available(now), self._workers.capacity(now))
            self._workers.spawn(number, now)
            # Always, because a worker that is cancelled before its first step leaves its task.
            self._rearm(now)

    def _rearm(self, now: float) -> None:
        """Set the timer for the polls that are queued and not allowed yet."""
        if self._workers.capacity(now) > 0:
            self._note_held_back(now)
            instant: float | None = self._rate_limiter.next_slot_at
        else:
            instant = self._workers.next_free_at(now)
        if instant is not None:
            # The rate limit allows one GET at a time; by whole ticks, several start together.
            self._arm(next_tick(max(instant, now)))

    def _note_held_back(self, now: float) -> None:
        """Count the time in which the rate limit holds polls back, and say so once."""
        metrics, limit = self.metrics, self._rate_limiter.ceiling
        metrics.polls_held_back(now, self._rate_limiter.next_slot_at)
        if metrics.held_back >= _HELD_BACK_WARNING and not self._has_warned and limit is not None:
            self._has_warned = True
            _log.warning(
                "polls have waited %.0f s for Limits(polls_per_second=%g): results come later than "
                "they could; raise the limit, or set it to None",
                metrics.held_back,
                limit,
            )

    def _fail_all(self, error: Exception) -> None:
        """Wake every waiter with an unexpected error: nothing else would wake them."""
        _log.error("the poller crashed", exc_info=error)
        for tracked in self._tasks:
            self._unschedule(tracked)
            self._end(tracked, error)

    # Workers

    async def _work(self, worker: Worker) -> None:
        self._workers.register(worker)
        try:
            while (tracked := self._next(worker)) is not None:
                await self._poll(tracked, worker.started_at)
        except Exception as error:  # noqa: BLE001 logged, and raised by every waiter
            self._fail_all(error)
        finally:
            self._workers.unregister(worker)
            if len(self._queued):
                # A worker that is cancelled or stopped by the rate limit leaves polls behind.
                self._rearm(self._clock.time())

    def _next(self, worker: Worker) -> TrackedTask | None:
        """Take the next task that may be polled now, within the limits."""
        if self.closed or not len(self._queued):
            return None
        worker.started_at = now = self._clock.time()
        if not self._rate_limiter.available(now) or self._workers.retire_if_surplus(worker, now):
            return None
        tracked = self._queued.pop_first()
        if tracked is not None:
            self._rate_limiter.acquire(now)
            tracked.phase = Phase.IN_FLIGHT
            tracked.polls += 1
            self.metrics.poll_started(now - tracked.due if tracked.due is not None else 0.0)
        return tracked

    async def _poll(self, tracked: TrackedTask, started_at: float) -> None:
        try:
            try:
                task, retry_after = await tracked.source.poll_once(
                    tracked.id, empty=tracked.is_empty, context=tracked.context
                )
            except FoxAPIError as error:
                self._on_error(tracked, error, started_at)
            else:
                self._on_task(tracked, task, started_at, retry_after)
        except asyncio.CancelledError:
            # Code that cancels every task of the loop must not cost the waiters their results.
            self._reschedule(tracked, self._clock.time(), 0.0)
            raise
        except Exception as error:  # noqa: BLE001 logged, and raised by the waiters of the task
            # A bug, here or in a clock: it must neither vanish nor stop the other tasks.
            _log.exception("polling task %s crashed", tracked.id)
            tracked.phase = Phase.IDLE
            self._end(tracked, error)

    # Results of polls

    def _on_task(
        self, tracked: TrackedTask, task: Task, started_at: float, retry_after: float | None
    ) -> None:
        now = self._clock.time()
        pause = 0.0
        if retry_after:
            pause = self._rate_limiter.back_off(now, started_at=started_at, pause=retry_after)
        changed = tracked.publish(task, now)
        state = tracked.state
        if state.is_final:
            self._on_final_task(tracked, task, now)
        elif state is TaskState.EMPTY:
            self._on_empty_result(tracked, task, started_at, pause)
        else:
            tracked.failures = None
            tracked.unfinished_at = tracked.age(now)
            if state is TaskState.UNKNOWN:
                tracked.report_unknown_status(task)
            for waiter in changed:
                waiter.wake(None)
            self._end_single_polls(tracked, started_at)
            self._reschedule(tracked, now, max(tracked.interval(now, self._rand()), pause))

    def _on_final_task(self, tracked: TrackedTask, task: Task, now: float) -> None:
        age = tracked.age(now)
        self.metrics.task_finished(polls=tracked.polls, delay=age - tracked.unfinished_at)
        if tracked.submitted_at is not None:
            tracked.source.pacer.learn(task.model, age, tracked.unfinished_at)
        tracked.phase = Phase.IDLE
        self._end(tracked, None)

    def _on_empty_result(
        self, tracked: TrackedTask, task: Task, started_at: float, pause: float
    ) -> None:
        """Poll soon again: the results of a completed task may come later (contract Q2)."""
        now = self._clock.time()
        tracked.failures = tracked.failures or FailureTracker()
        if tracked.failures.record_empty_result(now, tracked.source.polling.empty_result_grace):
            tracked.phase = Phase.IDLE
            self._end(tracked, task_error(task))
        else:
            self._end_single_polls(tracked, started_at)
            interval = min(_EMPTY_RESULT_INTERVAL, tracked.interval(now, self._rand()))
            self._reschedule(tracked, now, max(interval, pause))

    def _on_error(self, tracked: TrackedTask, error: FoxAPIError, started_at: float) -> None:
        now = self._clock.time()
        self.metrics.faults += 1
        delay = tracked.interval(now, self._rand())
        if isinstance(error, APIStatusError) and (
            error.retry_after is not None or isinstance(error, RateLimitError)
        ):
            pause = self._rate_limiter.back_off(now, started_at=started_at, pause=error.retry_after)
            delay = max(delay, pause)
        failure = classify_error(error)
        tracked.failures = tracked.failures or FailureTracker()
        if failure is PollFailure.FATAL:
            tracked.phase = Phase.IDLE
            self._end(tracked, error)
            return
        self._warn(tracked, error, now)
        tracked.record_error(error)
        if tracked.failures.record_failure(failure, now, tracked.source.polling.give_up_after):
            tracked.phase = Phase.IDLE
            if tracked.failures.is_not_found and tracked.waiters:
                tracked.not_found(error)
            self._end(tracked, tracked.lost_error(error))
        else:
            self._end_single_polls(tracked, started_at)
            self._reschedule(tracked, now, delay)

    def _warn(self, tracked: TrackedTask, error: FoxAPIError, now: float) -> None:
        """Log the first error in a row, at most one a minute: there may be thousands."""
        is_first = tracked.error is None and not isinstance(error, RateLimitError)
        if is_first and now >= self._next_warning_at:
            self._next_warning_at = now + _WARNING_INTERVAL
            _log.warning("a poll of task %s failed and is tried again: %s", tracked.id, error)

    def _end_single_polls(self, tracked: TrackedTask, started_at: float) -> None:
        """Wake the waiters for a single poll, if the poll that has ended was theirs."""
        for waiter in tracked.waiters:
            deadline = waiter.deadline
            if waiter.is_single_poll and deadline is not None and deadline <= started_at:
                waiter.wake(tracked.timeout_error(waiter.timeout))

    def _reschedule(self, tracked: TrackedTask, now: float, delay: float) -> None:
        """Schedule the next poll after one that did not end the task."""
        tracked.due = now if tracked.phase is Phase.IN_FLIGHT_STALE else now + delay
        tracked.phase = Phase.IDLE
        if tracked.needs_polls and not self.closed:
            self._schedule(tracked, tracked.due)

    def _end(self, tracked: TrackedTask, error: Exception | None) -> None:
        """Wake all waiters of the task. A later waiter starts the polling anew."""
        tracked.due = None
        tracked.failures = None
        for waiter in tracked.waiters:
            waiter.wake(error)
