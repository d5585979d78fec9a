"""Laws of the poller, on a clock that is turned by hand and a service without sockets."""

import asyncio
from collections.abc import Callable

import pytest
from msgspec import Raw

from foxapi_async._client.admission import AdmissionControl
from foxapi_async._client.polling.poller import Poller
from foxapi_async._client.polling.tracked_task import ChangeWaiter, FutureWaiter, TrackedTask
from foxapi_async._client.polling.worker_pool import SLOW_AFTER
from foxapi_async._clock import ManualClock, settle
from foxapi_async._protocol.pacing import create_pacer
from foxapi_async._transport import Account
from foxapi_async.config import Exponential, Limits, PollPolicy
from foxapi_async.errors import (
    APIConnectionError,
    AuthenticationError,
    EmptyResultError,
    FoxAPIError,
    NotFoundError,
    RateLimitError,
    SessionClosedError,
    TaskLostError,
    TaskTimeoutError,
)
from foxapi_async.hooks import TaskStatusUnknown
from foxapi_async.types import Task

PACING = Exponential(initial=1, multiplier=1, max_delay=1, jitter=0)


def task(task_id: str, status: str = "processing", progress: int = 0) -> Task:
    """Return a snapshot; a completed one holds a result."""
    results = (Raw(b"{}"),) if status == "completed" else None
    return Task(id=task_id, status=status, progress=progress, results=results)


ACCOUNT = Account("sk-x", "http://127.0.0.1", allow_http=False)


class ServiceClient:
    """Answers polls from a script, and counts them."""

    def __init__(self, answer: Callable[[str, int], Task | FoxAPIError]) -> None:
        self.account = ACCOUNT
        self.answer = answer
        self.polling = PollPolicy(give_up_after=10, empty_result_grace=3)
        self.pacer = create_pacer(PACING)
        self.polls: dict[str, int] = {}
        self.empty: list[bool] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.gate: asyncio.Event | None = None
        self.hangs: Callable[[str], bool] = lambda _task_id: True
        self.pause: float | None = None
        self.events: list[object] = []

    def event_context(self) -> None:
        """Call hooks in no context."""

    def emit_in(self, context: object, event: object) -> None:
        """Keep what hooks would be called with."""
        assert context is None
        self.events.append(event)

    async def poll_once(
        self, task_id: str, *, empty: bool = False, context: object = None
    ) -> tuple[Task, float | None]:
        """Answer one poll, after the gate has opened if there is one and the task hangs."""
        self.polls[task_id] = number = self.polls.get(task_id, 0) + 1
        assert context is None
        self.empty.append(empty)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.gate is not None and self.hangs(task_id):
                await self.gate.wait()
        finally:
            self.in_flight -= 1
        answer = self.answer(task_id, number)
        if isinstance(answer, FoxAPIError):
            raise answer
        return answer, self.pause


class Bench:
    """A poller with its clock and service."""

    def __init__(
        self,
        answer: Callable[[str, int], Task | FoxAPIError],
        limits: Limits = Limits(polls_per_second=None),  # noqa: B008 frozen
    ) -> None:
        self.clock = ManualClock()
        self.service = ServiceClient(answer)
        self.poller = Poller(self.clock, limits, rand=lambda: 0.5)

    def track(self, task_id: str) -> TrackedTask:
        """Return the record of a task that was submitted elsewhere."""
        return self.poller.track(self.service, task_id, "llm")

    def submit(self, task_id: str) -> TrackedTask:
        """Return the record of a task that is submitted now."""
        return self.poller.track(self.service, task_id, "llm", submitted=task(task_id))

    def wait(
        self, tracked: TrackedTask | str, timeout: float | None = None, *, change: bool = False
    ) -> asyncio.Task[None]:
        """Begin to wait."""
        tracked = self.track(tracked) if isinstance(tracked, str) else tracked
        waiter = ChangeWaiter(tracked, tracked.task) if change else FutureWaiter(tracked)
        return asyncio.create_task(self._wait(waiter, timeout))

    async def _wait(self, waiter: FutureWaiter, timeout: float | None) -> None:
        try:
            self.poller.add_waiter(waiter, timeout)
            error = await waiter
        finally:
            self.poller.remove_waiter(waiter)
        if error is not None:
            raise error


def finishes_at(number: int) -> Callable[[str, int], Task]:
    """Answer that the task is completed at poll ``number``."""
    return lambda task_id, poll: task(task_id, "completed" if poll >= number else "processing")


async def test_a_task_that_is_not_awaited_is_never_polled() -> None:
    """No waiter, no GET and no timer."""
    bench = Bench(finishes_at(1))
    bench.track("a")
    await bench.clock.advance(100)
    assert bench.service.polls == {}
    assert bench.clock.timers == 0


async def test_the_first_poll_follows_the_age_of_the_task() -> None:
    """A task of this session is first polled an interval after its submit, others at once."""
    bench = Bench(finishes_at(1))
    old = bench.submit("old")
    await bench.clock.advance(5)
    fresh, foreign = bench.submit("fresh"), bench.track("foreign")
    waits = [bench.wait(tracked) for tracked in (fresh, old, foreign)]
    await bench.clock.advance(0.02)
    assert set(bench.service.polls) == {"old", "foreign"}
    await bench.clock.advance(1)
    assert set(bench.service.polls) == {"old", "foreign", "fresh"}
    await asyncio.gather(*waits)


async def test_one_get_serves_every_waiter_of_a_task() -> None:
    """Ten waits of one task cost one GET an interval, all wake, and all share one record."""
    bench = Bench(finishes_at(3))
    waits = [bench.wait("a") for _ in range(10)]
    await settle()
    tracked = bench.track("a")
    assert len(tracked.waiters) == 10
    await bench.clock.advance(10)
    await asyncio.gather(*waits)
    assert bench.service.polls == {"a": 3}
    assert tracked.state.is_final
    assert tracked.outcome is not None


async def test_two_hundred_waits_use_one_timer_and_bounded_gets() -> None:
    """However many wait, one timer is set and no more GETs are under way than allowed."""
    bench = Bench(finishes_at(4), Limits(polls_in_flight=7, polls_per_second=None))
    bench.service.gate = asyncio.Event()
    waits = [bench.wait(bench.submit(f"t{number}")) for number in range(200)]
    await settle()
    assert bench.clock.timers == 1
    await bench.clock.advance(1.0)
    assert bench.service.in_flight == 7
    bench.service.gate.set()
    for _ in range(20):
        await bench.clock.advance(1.0)
        assert bench.clock.timers <= 1
    await asyncio.gather(*waits)
    assert bench.service.most_in_flight == 7
    assert bench.clock.timers == 0


async def test_the_rate_of_gets_has_a_ceiling() -> None:
    """No second sees more GETs than limits.polls_per_second, and none is starved for it."""
    bench = Bench(finishes_at(1), Limits(polls_per_second=10))
    waits = [bench.wait(f"t{number}") for number in range(35)]
    seen = 0
    for second in range(1, 5):
        await bench.clock.advance(1.0)
        assert sum(bench.service.polls.values()) - seen <= 11, second
        seen = sum(bench.service.polls.values())
    assert seen == 35
    await asyncio.gather(*waits)


async def test_polls_that_the_ceiling_holds_back_are_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A ceiling that makes results late is seen in the statistics and in the log."""
    bench = Bench(finishes_at(1), Limits(polls_per_second=10))
    waits = [bench.wait(f"t{number}") for number in range(100)]
    await bench.clock.advance(4.0)
    assert 3.5 <= bench.poller.metrics.held_back <= 4.5
    assert "polls_per_second=10" not in caplog.text
    await bench.clock.advance(7.0)
    await asyncio.gather(*waits)
    assert 9.0 <= bench.poller.metrics.held_back <= 10.5
    assert caplog.text.count("Limits(polls_per_second=10)") == 1
    held_back = bench.poller.metrics.held_back
    waits = [bench.wait(f"later{number}") for number in range(2)]
    await bench.clock.advance(5.0)
    await asyncio.gather(*waits)
    assert bench.poller.metrics.held_back <= held_back + 0.3


async def test_no_poll_is_held_back_without_a_ceiling() -> None:
    """A hundred polls at once are no reason to warn."""
    bench = Bench(finishes_at(2))
    waits = [bench.wait(f"t{number}") for number in range(100)]
    await bench.clock.advance(20.0)
    await asyncio.gather(*waits)
    assert bench.poller.metrics.held_back == 0


async def test_cancelling_one_waiter_leaves_the_others() -> None:
    """A cancelled wait ends alone; without waiters, polling stops."""
    bench = Bench(finishes_at(100))
    tracked = bench.track("a")
    first, second = bench.wait(tracked), bench.wait(tracked)
    await bench.clock.advance(1.5)
    first.cancel()
    await bench.clock.advance(2)
    assert not second.done()
    polls = bench.service.polls["a"]
    second.cancel()
    await bench.clock.advance(50)
    assert bench.service.polls["a"] == polls
    assert bench.clock.timers == 0
    assert (await asyncio.gather(first, second, return_exceptions=True))[0].__class__ is (
        asyncio.CancelledError
    )


async def test_coming_back_goes_on_where_the_pacing_stood() -> None:
    """Short waits one after another do not poll more often than one long wait."""
    bench = Bench(finishes_at(100))
    tracked = bench.track("a")
    for _ in range(100):
        wait = bench.wait(tracked, timeout=0.05)
        await bench.clock.advance(0.1)
        with pytest.raises(TaskTimeoutError):
            await wait
    assert bench.service.polls["a"] <= 11
    assert tracked.waiters == ()


async def test_a_deadline_is_kept_even_if_a_get_hangs() -> None:
    """A wait raises when its timeout expires, whatever its GET does, and has the last task."""
    bench = Bench(lambda task_id, _: task(task_id, progress=40))
    wait = bench.wait("a", timeout=2.5)
    await bench.clock.advance(1.5)
    bench.service.gate = asyncio.Event()
    await bench.clock.advance(0.99)
    assert not wait.done()
    await bench.clock.advance(0.02)
    with pytest.raises(TaskTimeoutError) as caught:
        await wait
    assert caught.value.task is not None
    assert caught.value.task.progress == 40
    bench.service.gate.set()
    await settle()


async def test_faults_in_the_middle_of_a_wait_change_nothing() -> None:
    """A reset, a 502 and a 429 between polls only delay the result."""
    faults: dict[int, FoxAPIError] = {
        1: APIConnectionError("reset"),
        2: NotFoundError("not yet", status=404),
        3: RateLimitError("slow", status=429, retry_after=4.0),
    }
    bench = Bench(lambda task_id, number: faults.get(number) or task(task_id, "completed"))
    wait = bench.wait("a")
    await bench.clock.advance(5.9)
    assert not wait.done()
    await bench.clock.advance(0.2)
    await wait
    assert bench.poller.metrics.faults == 3


async def test_a_429_slows_everybody() -> None:
    """During a pause that the service asked for, no task is polled."""
    bench = Bench(
        lambda task_id, _: (
            RateLimitError("slow", status=429, retry_after=5.0)
            if task_id == "a" and not bench.clock.time()
            else task(task_id, "completed")
        )
    )
    first = bench.wait("a")
    await settle()
    await bench.clock.advance(0)
    other = bench.wait("b")
    await bench.clock.advance(4.9)
    assert bench.service.polls == {"a": 1}
    await bench.clock.advance(0.2)
    await asyncio.gather(first, other)


async def test_a_retry_after_of_a_success_slows_all_polls() -> None:
    """A Retry-After on an answer without fault is heeded as on a refusal: for all, then less."""

    def answer(task_id: str, number: int) -> Task:
        bench.service.pause = 5.0 if task_id == "a" and number == 1 else None
        return task(task_id, "processing" if number == 1 else "completed")

    bench = Bench(answer, Limits(polls_per_second=100))
    first = bench.wait("a")
    await bench.clock.advance(0.02)
    others = [bench.wait(f"b{number}") for number in range(100)]
    await bench.clock.advance(4.9)
    assert bench.service.polls == {"a": 1}
    await bench.clock.advance(0.2)
    assert 0 < sum(bench.service.polls.values()) <= 20
    assert bench.poller.polls_per_second is not None
    assert 50 <= bench.poller.polls_per_second < 60
    await bench.clock.advance(40)
    assert bench.poller.polls_per_second == 100
    await asyncio.gather(first, *others)
    assert bench.poller.metrics.faults == 0


async def test_a_pause_of_zero_seconds_delays_no_poll() -> None:
    """A Retry-After of 0 on a success asks for nothing."""
    bench = Bench(finishes_at(2), Limits(polls_per_second=100))
    bench.service.pause = 0.0
    wait = bench.wait("a")
    await bench.clock.advance(1.1)
    await wait
    assert bench.poller.polls_per_second == 100


async def test_tasks_that_hang_do_not_stall_the_others() -> None:
    """If all GETs hang, other tasks are still polled after a few seconds."""
    bench = Bench(finishes_at(4), Limits(polls_in_flight=4, polls_per_second=None))
    bench.service.gate = asyncio.Event()
    bench.service.hangs = lambda task_id: task_id.startswith("stuck")
    stuck = [bench.wait(f"stuck{number}") for number in range(4)]
    await bench.clock.advance(0.02)
    assert bench.service.in_flight == 4
    well = [bench.wait(f"well{number}") for number in range(20)]
    await bench.clock.advance(SLOW_AFTER - 0.1)
    assert sum(bench.service.polls.values()) == 4
    assert bench.clock.timers == 1
    await bench.clock.advance(0.2)
    assert sum(bench.service.polls.values()) == 24
    await bench.clock.advance(3.1)
    await asyncio.gather(*well)
    assert bench.poller.in_flight == 4
    assert bench.clock.timers == 0
    bench.service.gate.set()
    await bench.clock.advance(10)
    await asyncio.gather(*stuck)


async def test_hanging_gets_are_at_most_twice_the_limit() -> None:
    """However many tasks hang, no more GETs are under way, and their end lets the rest go on."""
    bench = Bench(finishes_at(2), Limits(polls_in_flight=4, polls_per_second=None))
    bench.service.gate = asyncio.Event()
    waits = [bench.wait(f"t{number}") for number in range(50)]
    await bench.clock.advance(100)
    assert bench.service.in_flight == bench.poller.in_flight == 8
    assert bench.clock.timers == 0
    waits.append(bench.wait("one more"))
    await bench.clock.advance(SLOW_AFTER)
    assert bench.service.in_flight == 8
    bench.service.gate.set()
    await bench.clock.advance(10)
    await asyncio.gather(*waits)
    assert bench.service.most_in_flight == 8
    assert bench.poller.in_flight == 0


@pytest.mark.parametrize("turns", range(4))
async def test_a_worker_that_is_cancelled_leaves_its_work_to_another(turns: int) -> None:
    """Cancelling all tasks of the loop, at any moment of a GET, loses no result."""
    bench = Bench(finishes_at(1), Limits(polls_in_flight=1, polls_per_second=None))
    bench.service.gate = asyncio.Event()
    waits = [bench.wait(f"t{number}") for number in range(3)]
    await settle()
    before = asyncio.all_tasks()
    bench.poller._tick()
    await settle(turns)
    workers = asyncio.all_tasks() - before
    assert len(workers) == 1
    for worker in workers:
        worker.cancel()
    await settle()
    bench.service.gate.set()
    await bench.clock.advance(0.1)
    await asyncio.gather(*waits)
    assert bench.poller.in_flight == 0
    assert bench.service.most_in_flight == 1


async def test_those_that_do_not_hang_stay_within_the_limit() -> None:
    """Once GETs that hung have ended, no more than the limit are under way."""
    bench = Bench(finishes_at(9), Limits(polls_in_flight=4, polls_per_second=None))
    bench.service.gate = first = asyncio.Event()
    waits = [bench.wait(f"t{number}") for number in range(50)]
    await bench.clock.advance(SLOW_AFTER + 0.1)
    assert bench.service.in_flight == 8
    bench.service.gate = asyncio.Event()
    first.set()
    await settle()
    assert bench.service.in_flight == 4
    bench.service.gate.set()
    await bench.clock.advance(20)
    await asyncio.gather(*waits)


async def test_unbroken_failure_ends_as_lost() -> None:
    """After polling.give_up_after seconds of faults alone the wait ends, with the last one."""
    bench = Bench(lambda _task_id, _number: APIConnectionError("reset"))
    wait = bench.wait("a")
    await bench.clock.advance(9.5)
    assert not wait.done()
    await bench.clock.advance(1.6)
    with pytest.raises(TaskLostError) as caught:
        await wait
    assert isinstance(caught.value.fault, APIConnectionError)
    assert caught.value.task_id == "a"


async def test_three_misses_in_a_row_are_a_lost_task() -> None:
    """A task that the service does not know three times running is lost."""
    bench = Bench(lambda _task_id, _number: NotFoundError("no", status=404))
    wait = bench.wait("a")
    await bench.clock.advance(5)
    with pytest.raises(TaskLostError):
        await wait
    assert bench.service.polls == {"a": 3}


async def test_a_refusal_ends_every_wait_at_once() -> None:
    """A rejected key raises an error in each waiter, each with its own instance."""
    bench = Bench(lambda _task_id, _number: AuthenticationError("who", status=401))
    tracked = bench.track("a")
    waits = [bench.wait(tracked), bench.wait(tracked)]
    await bench.clock.advance(0.1)
    errors = await asyncio.gather(*waits, return_exceptions=True)
    assert all(isinstance(error, AuthenticationError) for error in errors)
    assert errors[0] is not errors[1]


async def test_a_task_without_results_is_polled_again_and_in_the_end_empty() -> None:
    """An empty result is polled again quickly, and is an error after ``empty_result_grace``."""
    bench = Bench(lambda task_id, _: Task(id=task_id, status="completed"))
    wait = bench.wait("a")
    await bench.clock.advance(2.9)
    assert not wait.done()
    await bench.clock.advance(1.2)
    with pytest.raises(EmptyResultError):
        await wait


@pytest.mark.parametrize("status", ["aborted", "", "x" * 1000])
async def test_an_unknown_status_is_reported_once(
    caplog: pytest.LogCaptureFixture, status: str
) -> None:
    """It is polled on, and the log, one event and the end of the wait say what it is."""
    bench = Bench(lambda task_id, _: task(task_id, status))
    waits = [bench.wait("a", timeout=5) for _ in range(2)]
    await bench.clock.advance(6)
    for wait in waits:
        with pytest.raises(TaskTimeoutError, match=repr(status[:80])):
            await wait
    assert bench.service.polls["a"] > 3
    assert bench.service.events == [TaskStatusUnknown(task_id="a", model="", status=status[:80])]
    assert sum("has the unknown status" in record.message for record in caplog.records) == 1


async def test_watchers_wake_at_each_change_and_only_then() -> None:
    """A wait for a change ends when status or progress differ from before."""
    bench = Bench(lambda task_id, number: task(task_id, progress=10 * (number // 3)))
    tracked = bench.track("a")
    first = bench.wait(tracked, change=True)
    await bench.clock.advance(0.1)
    await first
    second = bench.wait(tracked, change=True)
    await bench.clock.advance(1.05)
    assert not second.done()
    await bench.clock.advance(1.0)
    await second
    assert tracked.task is not None
    assert tracked.task.progress == 10


async def test_a_crash_is_raised_in_the_waiters_of_its_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An unforeseen exception fails the waits of its task, is logged, and stops no other."""

    def answer(task_id: str, _number: int) -> Task:
        if task_id == "bad":
            raise ZeroDivisionError("a bug")
        return task(task_id, "completed")

    bench = Bench(answer)
    bad, good = bench.wait("bad"), bench.wait("good")
    await bench.clock.advance(0.1)
    await good
    with pytest.raises(ZeroDivisionError):
        await bad
    assert "crashed" in caplog.text


async def test_closing_wakes_everybody() -> None:
    """Closing wakes every waiter, ends GETs under way and refuses new waits."""
    bench = Bench(finishes_at(1))
    bench.service.gate = asyncio.Event()
    wait = bench.wait("a")
    await bench.clock.advance(0.1)
    assert bench.service.in_flight == 1
    await bench.poller.aclose()
    with pytest.raises(SessionClosedError):
        await wait
    with pytest.raises(SessionClosedError):
        await bench.wait("b")
    assert bench.service.in_flight == 0
    assert bench.clock.timers == 0


async def test_a_final_task_is_not_polled_again() -> None:
    """A second wait for a finished task ends without a GET."""
    bench = Bench(finishes_at(1))
    tracked = bench.track("a")
    wait = bench.wait(tracked)
    await bench.clock.advance(0.1)
    await wait
    outcome = tracked.outcome
    assert bench.track("a") is tracked
    await bench.wait(tracked)
    assert bench.service.polls == {"a": 1}
    assert tracked.state.is_final
    assert tracked.outcome is outcome is not None


async def test_no_task_is_polled_once_there_is_a_free_slot() -> None:
    """A task that is found to be finished lets the submission in, and the others are left alone."""
    bench = Bench(finishes_at(1), Limits(polls_per_second=None))
    bench.service.gate = asyncio.Event()
    admission = AdmissionControl(bench.clock, Limits(max_unfinished=3), bench.poller)
    known = bench.track("a")
    wait = bench.wait(known)
    await settle()
    await bench.clock.advance(0.02)
    wait.cancel()  # with its GET under way, whose answer is kept
    bench.service.gate.set()
    await settle()
    for task_id in "abc":
        admission.accepted(task(task_id), bench.service)
    await admission.enter()
    await bench.clock.advance(5)
    assert bench.service.polls == {"a": 1}
    assert bench.poller.waiting == 0


async def test_a_task_that_is_named_twice_takes_one_place() -> None:
    """Two answers with one id leave no wait behind once that task has ended."""
    bench = Bench(finishes_at(1), Limits(polls_per_second=None))
    admission = AdmissionControl(bench.clock, Limits(max_unfinished=1), bench.poller)
    admission.accepted(task("a"), bench.service)
    entering = asyncio.create_task(admission.enter())
    await settle()
    admission.accepted(task("a"), bench.service)
    await bench.clock.advance(5)
    await entering
    assert (admission.unfinished, bench.poller.waiting) == (0, 0)
    assert bench.service.polls == {"a": 1}
