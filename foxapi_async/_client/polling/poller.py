"""The one loop that looks at every task that somebody waits for."""
# pyright: reportPrivateUsage=false

import asyncio
import logging
import random
from collections.abc import Callable

from foxapi_async._client.poll_metrics import PollMetrics
from foxapi_async._client.polling.tracked_task import Phase, TaskSource, TrackedTask, TrackedTasks
from foxapi_async._client.polling.waiter import TaskObserver, Waiter
from foxapi_async._client.polling.worker_pool import Worker, WorkerPool
from foxapi_async._clock import Clock, Timer
from foxapi_async._protocol.bucket_queue import BucketQueue, next_tick, priority
from foxapi_async._protocol.pacing import MAX_INTERVAL
from foxapi_async._protocol.rate_limiter import RateLimiter
from foxapi_async._protocol.task_status import (
    FailureTracker,
    PollFailure,
    TaskState,
    classify,
    classify_error,
    is_known_status,
    task_error,
)
from foxapi_async._wire.task import Task
from foxapi_async.config import Limits
from foxapi_async.errors import (
    APIStatusError,
    FoxAPIError,
    RateLimitError,
)

_log = logging.getLogger("foxapi_async")

_EMPTY_RESULT_INTERVAL = 1.0
_QUIET_AFTER_WARNING = 60.0


class Poller:
    """Polls the tasks that have waiters: one timer, bounded GETs, no work when nobody waits.

    A GET feeds every handle of its task. The first waiter starts the polling of a task, the last to
    leave stops it.
    """

    def __init__(
        self, clock: Clock, limits: Limits, *, roll: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._roll = roll
        self._watches = TrackedTasks()
        self._due: BucketQueue[TrackedTask] = BucketQueue()
        self._ready: BucketQueue[TrackedTask] = BucketQueue()
        self._deadlines: BucketQueue[Waiter] = BucketQueue()
        self._crew = WorkerPool(limits.polls_in_flight, self._work)
        self._timer: Timer | None = None
        self._armed = 0.0
        self._warns_from = 0.0
        self._throttle: RateLimiter = RateLimiter(limits.polls_per_second)
        self.tally: PollMetrics = PollMetrics()
        self.waiting: int = 0
        self.closed: bool = False

    @property
    def in_flight(self) -> int:
        """How many workers are about their GETs."""
        return len(self._crew)

    @property
    def ready(self) -> int:
        """How many tasks are due and wait for a worker, or for the ceiling."""
        return len(self._ready)

    @property
    def polls_per_second(self) -> float | None:
        """How many GETs a second are allowed now, ``None`` for any number."""
        limit = self._throttle.ceiling
        # A session that was never used has no loop, and no time.
        return limit if not self.tally.gets else self._throttle.rate(self._clock.time())

    def watch(self, handle: TaskObserver, source: TaskSource) -> TrackedTask:
        """Return the shared record of the handle's task."""
        return self._watches.get(handle, source)

    def known(self, source: TaskSource, task_id: str) -> TrackedTask | None:
        """Return the shared record of a task of which there is one."""
        return self._watches.find(source.account, task_id)

    # Who waits

    def join(self, waiter: Waiter, patience: float | None) -> None:
        """Begin a wait: ``waiter`` is woken when its task is final, or has changed if it asked so.

        It is woken with an error after ``patience`` seconds (``TaskTimeoutError``), and when the
        looking ends: ``TaskLostError``, ``EmptyResultError``, a refusal of the service. With no
        patience at all it waits for one look, which begins as soon as the limits allow. Whoever was
        woken still has to ``leave``, and so has who would wait no longer.
        """
        if self.closed:
            raise waiter.watch.closed()
        watch, handle = waiter.watch, waiter.handle
        last = watch.last
        if last is not None and (classify(last).is_final or waiter.wants(last)):
            handle._observe(last)
            waiter.wake(None)
            return
        now = self._clock.time()
        watch.join(waiter)
        self.waiting += 1
        if patience is not None:
            waiter.deadline = now + patience
            waiter.is_glance = not patience
            if not waiter.is_glance:
                self._arm(self._deadlines.add(waiter, waiter.deadline))
        if watch.phase is Phase.IDLE:
            if watch.needs_polls:
                self._plan_first(watch, now, at_once=waiter.is_glance)
        elif watch.phase is Phase.READY and patience is not None:
            self._line_up(watch, now)
        elif waiter.is_glance:
            self.nudge(watch)

    def leave(self, waiter: Waiter) -> None:
        """End a wait, woken or not. The last one to leave stops the looking."""
        watch = waiter.watch
        if not watch.leave(waiter):
            return
        self.waiting -= 1
        self._deadlines.discard(waiter)
        if not watch.needs_polls:
            self._stop(watch)

    def park(self, watch: TrackedTask) -> None:
        """Leave the task alone: its stream is being followed."""
        watch.parked += 1
        if not watch.needs_polls:
            self._stop(watch)

    def unpark(self, watch: TrackedTask) -> None:
        """Look at the task as soon as may be: its stream has ended, one way or another."""
        watch.parked -= 1
        watch.unfinished_at = watch.age(self._clock.time())
        self.nudge(watch)

    def nudge(self, watch: TrackedTask) -> None:
        """Look at the task as soon as may be, if somebody waits: there is news."""
        now = watch.due = self._clock.time()
        if watch.phase is Phase.POLLED:
            watch.phase = Phase.OUTDATED
        elif watch.phase in {Phase.IDLE, Phase.DUE} and watch.needs_polls and not self.closed:
            self._schedule(watch, now)

    def learn(self, watch: TrackedTask, task: Task) -> None:
        """Take in a snapshot that somebody else has asked for."""
        if watch.last is not None and classify(watch.last).is_final:
            task = watch.last
        changed = watch.show(task)
        if classify(task).is_final:
            self._end(watch, None)
        for waiter in changed:
            waiter.wake(None)

    async def aclose(self) -> None:
        """Wake every waiter with ``SessionClosedError`` and stop."""
        self.closed = True
        for watch in self._watches:
            self._end(watch, watch.closed())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._crew.aclose()

    def book(self) -> float:
        """Take the next place of a GET for one that another makes; return the seconds until then.

        So it counts against ``limits.polls_per_second`` as a poll does.
        """
        now = self._clock.time()
        start = max(now, self._throttle.next_slot_at)
        self._throttle.acquire(start)
        return start - now

    # When things happen

    def _plan_first(self, watch: TrackedTask, now: float, *, at_once: bool) -> None:
        """Schedule a task that nobody was waiting for: where its pacing stands, or at once."""
        if watch.due is None:
            watch.due = now
            if watch.born is not None and not watch.polls:
                watch.due = watch.born + watch.interval(watch.born, self._roll())
        elif now - watch.due > MAX_INTERVAL:
            watch.trouble = None  # nobody has looked for so long that it is not unbroken
        if watch.since is None:
            watch.since = now
        if at_once:
            watch.due = now
        self._schedule(watch, max(now, watch.due))

    def _schedule(self, watch: TrackedTask, due: float) -> None:
        watch.phase = Phase.DUE
        self._arm(self._due.add(watch, due))

    def _line_up(self, watch: TrackedTask, now: float) -> None:
        watch.phase = Phase.READY
        self._ready.add(watch, priority(now, watch.deadline))

    def _stop(self, watch: TrackedTask) -> None:
        """Plan no poll any more; a GET under way goes on, because its answer is worth keeping."""
        if watch.phase is Phase.DUE:
            self._due.discard(watch)
        elif watch.phase is Phase.READY:
            self._ready.discard(watch)
        else:
            return
        watch.phase = Phase.IDLE

    def _arm(self, instant: float) -> None:
        """See to it that the one timer fires at ``instant``, or earlier."""
        if self._timer is not None:
            if self._armed <= instant:
                return
            self._timer.cancel()
        elif self.closed:
            return
        self._armed = instant
        self._timer = self._clock.call_at(instant, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            now = self._clock.time()
            for waiter in self._deadlines.pop_due(now):
                waiter.wake(waiter.watch.timed_out())
            for watch in self._due.pop_due(now):
                self._line_up(watch, now)
            self._hire(now)
            for schedule in (self._due, self._deadlines):
                if (instant := schedule.next_due()) is not None:
                    self._arm(instant)
        except Exception as crash:  # noqa: BLE001 logged, and told to all
            self._crashed(crash)

    def _hire(self, now: float) -> None:
        """Start as many workers as there are GETs to be made and allowed."""
        if ready := len(self._ready):
            number = min(ready, self._throttle.available(now), self._crew.room(now))
            self._crew.hire(number, now)
            # Even if these are all: one that is cancelled before it begins leaves its work behind.
            self._come_back(now)

    def _come_back(self, now: float) -> None:
        """See to it that what is ready and not allowed yet is started when it is."""
        opens = self._throttle.next_slot_at if self._crew.room(now) > 0 else self._crew.relief(now)
        if opens is not None:
            # A ceiling opens for one GET at a time; by whole ticks, they are started together.
            self._arm(next_tick(max(opens, now)))

    def _crashed(self, crash: Exception) -> None:
        """Tell everybody that waits: nobody else would ever wake them."""
        _log.error("the poller crashed", exc_info=crash)
        for watch in self._watches:
            self._stop(watch)
            self._end(watch, crash)

    # What the workers do

    async def _work(self, worker: Worker) -> None:
        self._crew.begin(worker)
        try:
            while (watch := self._next(worker)) is not None:
                await self._poll(watch, worker.began)
        except Exception as crash:  # noqa: BLE001 logged, and told to all
            self._crashed(crash)
        finally:
            self._crew.leave(worker)
            if len(self._ready):
                # One that is cancelled leaves some, and so does one that the ceiling held up.
                self._come_back(self._clock.time())

    def _next(self, worker: Worker) -> TrackedTask | None:
        """Take the next task that may be polled now, within the limits."""
        if self.closed or not len(self._ready):
            return None
        worker.began = now = self._clock.time()
        if not self._throttle.available(now) or self._crew.dismisses(worker, now):
            return None
        watch = self._ready.pop_first()
        if watch is not None:
            self._throttle.acquire(now)
            watch.phase = Phase.POLLED
            watch.polls += 1
            self.tally.started(now - watch.due if watch.due is not None else 0.0)
        return watch

    async def _poll(self, watch: TrackedTask, began: float) -> None:
        try:
            try:
                task, pause = await watch.source.look(
                    watch.id, hollow=watch.is_hollow, context=watch.context
                )
            except FoxAPIError as fault:
                self._failed(watch, fault, began)
            else:
                self._saw(watch, task, began, pause)
        except asyncio.CancelledError:
            # Whoever cancels every task of the loop must not cost the others their results.
            self._plan(watch, self._clock.time(), 0.0)
            raise
        except Exception as crash:  # noqa: BLE001 logged, and told to those it concerns
            # Our own mistake, or a clock's: it must neither vanish nor stop the other tasks.
            _log.exception("looking at task %s crashed", watch.id)
            watch.phase = Phase.IDLE
            self._end(watch, crash)

    # What was seen

    def _saw(self, watch: TrackedTask, task: Task, began: float, pause: float | None) -> None:
        now = self._clock.time()
        if pause:
            pause = self._throttle.back_off(now, started_at=began, pause=pause)
        changed = watch.show(task)
        state = classify(task)
        if state.is_final:
            self._finished(watch, task, now)
        elif state is TaskState.EMPTY:
            self._saw_hollow(watch, task, began, pause or 0.0)
        else:
            watch.trouble = None
            watch.unfinished_at = watch.age(now)
            if not is_known_status(task):
                watch.wonder(task)
            for waiter in changed:
                waiter.wake(None)
            self._end_glances(watch, began)
            self._plan(watch, now, max(watch.interval(now, self._roll()), pause or 0.0))

    def _finished(self, watch: TrackedTask, task: Task, now: float) -> None:
        age = watch.age(now)
        self.tally.saw_end(polls=watch.polls, delay=age - watch.unfinished_at)
        if watch.born is not None:
            watch.source.pacer.learn(task.model, age, watch.unfinished_at)
        watch.phase = Phase.IDLE
        self._end(watch, None)

    def _saw_hollow(self, watch: TrackedTask, task: Task, began: float, pause: float) -> None:
        """Look again soon at a completed task whose results are not there yet (contract Q2)."""
        now = self._clock.time()
        watch.trouble = watch.trouble or FailureTracker()
        if watch.trouble.record_empty_result(now, watch.source.polling.empty_result_grace):
            watch.phase = Phase.IDLE
            self._end(watch, task_error(task))
        else:
            self._end_glances(watch, began)
            interval = min(_EMPTY_RESULT_INTERVAL, watch.interval(now, self._roll()))
            self._plan(watch, now, max(interval, pause))

    def _failed(self, watch: TrackedTask, fault: FoxAPIError, began: float) -> None:
        now = self._clock.time()
        self.tally.faults += 1
        delay = watch.interval(now, self._roll())
        if isinstance(fault, APIStatusError) and (
            fault.retry_after is not None or isinstance(fault, RateLimitError)
        ):
            pause = self._throttle.back_off(now, started_at=began, pause=fault.retry_after)
            delay = max(delay, pause)
        sight = classify_error(fault)
        watch.trouble = watch.trouble or FailureTracker()
        if sight is PollFailure.FATAL:
            watch.phase = Phase.IDLE
            self._end(watch, fault)
            return
        self._warn(watch, fault, now)
        watch.failed(fault)
        if watch.trouble.record_failure(sight, now, watch.source.polling.give_up_after):
            watch.phase = Phase.IDLE
            if watch.trouble.is_not_found:
                for handle in {waiter.handle for waiter in watch.waiters}:
                    handle._missed(fault)
            self._end(watch, watch.lost(fault))
        else:
            self._end_glances(watch, began)
            self._plan(watch, now, delay)

    def _warn(self, watch: TrackedTask, fault: FoxAPIError, now: float) -> None:
        """Log the first fault in a row, once a minute at most: they may come by the thousand."""
        is_news = watch.fault is None and not isinstance(fault, RateLimitError)
        if is_news and now >= self._warns_from:
            self._warns_from = now + _QUIET_AFTER_WARNING
            _log.warning("a look at task %s failed and is tried again: %s", watch.id, fault)

    def _end_glances(self, watch: TrackedTask, began: float) -> None:
        """End the waits for a single look, if the one that ``began`` then was theirs."""
        for waiter in watch.waiters:
            if waiter.is_glance and waiter.deadline is not None and waiter.deadline <= began:
                waiter.wake(watch.timed_out())

    def _plan(self, watch: TrackedTask, now: float, delay: float) -> None:
        """Plan the next look, after one that has not ended the waiting."""
        watch.due = now if watch.phase is Phase.OUTDATED else now + delay
        watch.phase = Phase.IDLE
        if watch.needs_polls and not self.closed:
            self._schedule(watch, watch.due)

    def _end(self, watch: TrackedTask, error: Exception | None) -> None:
        """Wake all who wait for the task; one who comes later starts the looking anew."""
        watch.due = None
        watch.trouble = None
        for waiter in watch.waiters:
            waiter.wake(error)
