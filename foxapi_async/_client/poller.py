"""The one loop that looks at every task that somebody waits for."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Hashable
from copy import copy
from typing import Protocol
from weakref import WeakValueDictionary

from foxapi_async._clock import Clock, Timer
from foxapi_async._protocol.pacing import Look, Pacer
from foxapi_async._protocol.schedule import TICK, Schedule
from foxapi_async._protocol.verdict import (
    MISSES_BEFORE_LOST,
    Sight,
    State,
    judge,
    judge_fault,
    task_error,
)
from foxapi_async._wire.task import Task
from foxapi_async.config import Limits, PollPolicy
from foxapi_async.errors import (
    FoxAPIError,
    RateLimitError,
    SessionClosedError,
    TaskLostError,
    TaskTimeoutError,
)

_log = logging.getLogger("foxapi_async")

_HOLLOW_INTERVAL = 1.0


class Source(Protocol):
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

    async def look(self, task_id: str) -> Task:
        """Return the task as it is now, by one single attempt, or raise a ``FoxAPIError``."""
        ...


class Watched(Protocol):
    """A handle, as far as the poller knows it."""

    @property
    def id(self) -> str:
        """The task's id."""
        ...

    @property
    def born(self) -> float | None:
        """When the task was submitted on the session's clock; ``None`` if it was somewhere else."""
        ...

    def observe(self, task: Task) -> None:
        """Take in a snapshot, and the outcome if it is final."""
        ...


class Watch:
    """What is known of one task while it has handles. It is polled while it has waiters."""

    __slots__ = (
        "__weakref__",
        "born",
        "due",
        "failing_since",
        "hollow_since",
        "id",
        "last",
        "misses",
        "parked",
        "polled",
        "polls",
        "slot",
        "source",
        "unfinished_at",
        "waiters",
    )

    def __init__(self, task_id: str, source: Source, born: float | None) -> None:
        self.id: str = task_id
        self.source: Source = source
        self.born: float | None = born
        self.slot: int | None = None
        self.due: float | None = None
        self.last: Task | None = None
        self.polls: int = 0
        self.unfinished_at: float = 0.0  # the age at which it was last seen unfinished
        self.parked: int = 0  # so many follow its stream, which will tell sooner than a poll
        self.polled: bool = False  # a GET of it is under way, or it is queued for one
        self.misses: int = 0
        self.failing_since: float | None = None
        self.hollow_since: float | None = None
        self.waiters: dict[Waiter, None] = {}

    @property
    def needs_polls(self) -> bool:
        """Whether only polls can tell the waiters what they want to know."""
        if not self.parked:
            return bool(self.waiters)
        return any(waiter.wants_change for waiter in self.waiters)


class Waiter:
    """One ``await``. It owns its future, so that cancelling it can disturb no other."""

    __slots__ = ("handle", "slot", "wants_change", "watch", "woken")

    def __init__(self, handle: Watched, watch: Watch, *, wants_change: bool) -> None:
        self.handle = handle
        self.watch = watch
        self.wants_change = wants_change
        self.slot: int | None = None
        loop = asyncio.get_running_loop()
        self.woken: asyncio.Future[BaseException | None] = loop.create_future()

    def wake(self, error: BaseException | None = None) -> None:
        """End the wait; every waiter gets its own copy of an error, whose traceback would grow."""
        if not self.woken.done():
            self.woken.set_result(copy(error) if error is not None else None)


class Poller:
    """Polls the tasks that have waiters: one timer, bounded GETs, no work when nobody waits.

    A GET feeds every handle of its task. The first waiter starts the polling of a task, the last to
    leave stops it.
    """

    def __init__(
        self, clock: Clock, limits: Limits, *, roll: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._roll = roll
        self._watches: WeakValueDictionary[tuple[Hashable, str], Watch] = WeakValueDictionary()
        self._due: Schedule[Watch] = Schedule()
        self._deadlines: Schedule[Waiter] = Schedule()
        self._waiting: dict[Waiter, None] = {}
        self._ready: deque[Watch] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._timer: Timer | None = None
        self._armed = 0.0
        self._open_at = 0.0  # no GET starts earlier: the rate's ceiling, or a 429's pause
        self.gets: int = 0
        self.faults: int = 0
        self.closed: bool = False

    @property
    def waiting(self) -> int:
        """How many waits are under way."""
        return len(self._waiting)

    def watch(self, handle: Watched, source: Source) -> Watch:
        """Return the shared record of the handle's task."""
        key = (source.account, handle.id)
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch(handle.id, source, handle.born)
        return watch

    async def wait(
        self,
        handle: Watched,
        watch: Watch,
        *,
        timeout: float | None = None,
        wants_change: bool = False,
    ) -> None:
        """Wait until the task is final, or has changed, as ``handle.observe`` was told.

        Cancelling ends this wait alone. Raises ``TaskTimeoutError`` after ``timeout`` seconds and
        what ends the looking: ``TaskLostError``, ``EmptyResultError``, a refusal of the service.
        """
        if self.closed:
            raise SessionClosedError(_CLOSED)
        if watch.last is not None and judge(watch.last).is_final:
            handle.observe(watch.last)
            return
        waiter = Waiter(handle, watch, wants_change=wants_change)
        self._attach(waiter, timeout)
        try:
            error = await waiter.woken
        finally:
            self._detach(waiter)
        if error is not None:
            raise error

    def park(self, watch: Watch) -> None:
        """Leave the task alone: its stream is being followed."""
        watch.parked += 1
        if not watch.needs_polls:
            self._due.discard(watch)

    def unpark(self, watch: Watch) -> None:
        """Look at the task as soon as may be: its stream has ended, one way or another."""
        watch.parked -= 1
        self.nudge(watch)

    def nudge(self, watch: Watch) -> None:
        """Look at the task as soon as may be, if somebody waits: there is news."""
        watch.due = self._clock.time()
        if watch.needs_polls and not watch.polled and not self.closed:
            self._due.add(watch, watch.due)
            self._arm()

    async def aclose(self) -> None:
        """Wake every waiter with ``SessionClosedError`` and stop."""
        self.closed = True
        for waiter in list(self._waiting):
            waiter.wake(SessionClosedError(_CLOSED))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ready.clear()
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    # Who waits

    def _attach(self, waiter: Waiter, timeout: float | None) -> None:
        now = self._clock.time()
        watch = waiter.watch
        watch.waiters[waiter] = None
        self._waiting[waiter] = None
        if timeout is not None:
            self._deadlines.add(waiter, now + timeout)
        if watch.slot is None and not watch.polled and watch.needs_polls:
            self._plan_first(watch, now)
        self._arm()

    def _plan_first(self, watch: Watch, now: float) -> None:
        """Schedule a task that nobody was waiting for: where its pacing stands, or at once."""
        if watch.due is None and watch.born is not None:
            watch.due = watch.born + self._interval(watch, watch.born)
        if watch.born is None:
            watch.born = now
        self._due.add(watch, max(now, watch.due or now))

    def _detach(self, waiter: Waiter) -> None:
        watch = waiter.watch
        watch.waiters.pop(waiter, None)
        self._waiting.pop(waiter, None)
        self._deadlines.discard(waiter)
        if not watch.waiters:
            self._due.discard(watch)

    # When things happen

    def _arm(self) -> None:
        """Set the one timer to the next instant at which there is something to do."""
        instants = [self._due.next_due(), self._deadlines.next_due()]
        if self._ready and len(self._workers) < self._limits.polls_in_flight:
            instants.append(self._open_at)
        due = min((instant for instant in instants if instant is not None), default=None)
        if due is None or self.closed or (self._timer is not None and self._armed <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed = due
        self._timer = self._clock.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.time()
        for waiter in self._deadlines.pop_due(now):
            waiter.wake(_timed_out(waiter))
        for watch in self._due.pop_due(now):
            watch.polled = True
            self._ready.append(watch)
        room = min(len(self._ready), self._limits.polls_in_flight - len(self._workers))
        if now >= self._open_at - TICK / 2:
            for _ in range(room):
                worker = asyncio.get_running_loop().create_task(self._work())
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)
        self._arm()

    async def _work(self) -> None:
        while (watch := self._next()) is not None:
            await self._poll(watch)

    def _next(self) -> Watch | None:
        """Take the next task that may be polled now, within the rate's ceiling."""
        now = self._clock.time()
        while self._ready:
            if now < self._open_at - TICK / 2:
                self._arm()
                return None
            watch = self._ready.popleft()
            if not watch.waiters:
                watch.polled = False
                continue
            if self._limits.gets_per_second is not None:
                self._open_at = max(self._open_at, now - TICK) + 1 / self._limits.gets_per_second
            return watch
        return None

    # What was seen

    async def _poll(self, watch: Watch) -> None:
        self.gets += 1
        watch.polls += 1
        try:
            await self._look(watch)
        except Exception as crash:  # noqa: BLE001 logged, and told to those it concerns
            # Our own mistake, or a clock's: it must neither vanish nor stop the other tasks.
            _log.exception("looking at task %s crashed", watch.id)
            watch.polled = False
            self._end(watch, crash)

    async def _look(self, watch: Watch) -> None:
        try:
            task = await watch.source.look(watch.id)
        except FoxAPIError as fault:
            watch.polled = False
            self._failed(watch, fault)
        else:
            watch.polled = False
            self._saw(watch, task)

    def _saw(self, watch: Watch, task: Task) -> None:
        now = self._clock.time()
        before, watch.last = watch.last, task
        watch.misses = 0
        watch.failing_since = None
        for waiter in list(watch.waiters):
            waiter.handle.observe(task)
        state = judge(task)
        if state.is_final:
            watch.source.pacer.learn(task.model, _age(watch, now), watch.unfinished_at)
            self._end(watch, None)
        elif state is State.HOLLOW:
            self._saw_hollow(watch, task, now)
        else:
            watch.hollow_since = None
            watch.unfinished_at = _age(watch, now)
            changed = before is None or (before.status, before.progress) != (
                task.status,
                task.progress,
            )
            for waiter in list(watch.waiters):
                if changed and waiter.wants_change:
                    waiter.wake()
            self._plan(watch, now, self._interval(watch, now))

    def _saw_hollow(self, watch: Watch, task: Task, now: float) -> None:
        """Look again soon at a completed task whose results are not there yet (CONTRACT Q2)."""
        if watch.hollow_since is None:
            watch.hollow_since = now
        if now - watch.hollow_since >= watch.source.polling.hollow:
            watch.hollow_since = None
            self._end(watch, task_error(task))
        else:
            self._plan(watch, now, min(_HOLLOW_INTERVAL, self._interval(watch, now)))

    def _failed(self, watch: Watch, fault: FoxAPIError) -> None:
        now = self._clock.time()
        self.faults += 1
        sight = judge_fault(fault)
        if sight is Sight.FORBIDDEN:
            self._end(watch, fault)
            return
        watch.misses = watch.misses + 1 if sight is Sight.MISSING else 0
        if watch.failing_since is None:
            watch.failing_since = now
        failing = now - watch.failing_since
        if watch.misses >= MISSES_BEFORE_LOST or failing >= watch.source.polling.give_up_after:
            watch.misses = 0
            watch.failing_since = None
            self._end(watch, _lost(watch, fault))
            return
        delay = self._interval(watch, now)
        if isinstance(fault, RateLimitError):
            delay = max(delay, fault.retry_after or 0.0)
            self._open_at = max(self._open_at, now + delay)
        self._plan(watch, now, delay)

    def _interval(self, watch: Watch, now: float) -> float:
        last = watch.last
        look = Look(
            model=last.model if last is not None else "",
            age=_age(watch, now),
            polls=watch.polls,
            progress=last.progress if last is not None else 0,
            estimated=last.task_info.estimated_time if last and last.task_info else None,
        )
        return watch.source.pacer.interval(look, self._roll())

    def _plan(self, watch: Watch, now: float, delay: float) -> None:
        watch.due = now + delay
        if watch.needs_polls:
            self._due.add(watch, watch.due)
            self._arm()

    def _end(self, watch: Watch, error: BaseException | None) -> None:
        """Wake all who wait for the task; one who comes later starts the looking anew."""
        watch.due = None
        watch.born = None
        for waiter in list(watch.waiters):
            waiter.wake(error)


def _age(watch: Watch, now: float) -> float:
    return now - watch.born if watch.born is not None else 0.0


_CLOSED = "the session is closed; the task goes on at the service: keep its id"


def _timed_out(waiter: Waiter) -> TaskTimeoutError:
    task_id = waiter.watch.id
    return TaskTimeoutError(
        f"task {task_id} was not finished in time; it goes on at the service: "
        "await its handle again, or find it later by its id",
        task_id=task_id,
        task=waiter.watch.last,
    )


def _lost(watch: Watch, fault: FoxAPIError) -> TaskLostError:
    return TaskLostError(
        f"the state of task {watch.id} cannot be learnt: {fault}; it may still finish: "
        "ask again later with its id",
        task_id=watch.id,
        task=watch.last,
        fault=fault,
    )
