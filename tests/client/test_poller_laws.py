"""What holds for the poller whatever happens, and a wait under real faults."""

import asyncio
from collections import Counter
from functools import partial
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from foxapi_async import FoxSession
from foxapi_async._client.polling.poller import Poller
from foxapi_async._client.polling.tracked_task import TaskSource, TrackedTask, Waiter
from foxapi_async._client.polling.worker_pool import SLOW_AFTER
from foxapi_async._clock import ManualClock, sleep
from foxapi_async._protocol.bucket_queue import TICK
from foxapi_async._protocol.pacing import ExponentialPacer, FixedPacer
from foxapi_async._transport import Account
from foxapi_async.config import Exponential, Fixed, Limits, PollPolicy
from foxapi_async.errors import (
    APIConnectionError,
    APITimeoutError,
    RateLimitError,
    TaskTimeoutError,
)
from foxapi_async.gateway import Gateway
from foxapi_async.testing import WHOLE, CannedResponse, FaultProxy, Reset, Stall
from foxapi_async.types import Task

ACCOUNT = Account("sk-x", "http://127.0.0.1", allow_http=False)


class ServiceClient:
    """Tasks that finish at their time, with a fault now and then."""

    def __init__(self, clock: ManualClock, ends: list[float]) -> None:
        self.account = ACCOUNT
        self.polling = PollPolicy()
        self.pacer = ExponentialPacer(
            Exponential(initial=0.5, multiplier=1.3, max_delay=8, jitter=0.3)
        )
        self.clock = clock
        self.ends = ends
        self.polls: list[tuple[float, int]] = []
        self.in_flight = 0
        self.most_in_flight = 0

    def event_context(self) -> None:
        """Call hooks in no context."""

    def emit_in(self, context: object, event: object) -> None:
        """Emit no event."""
        raise AssertionError((event, context))

    async def poll_once(
        self, task_id: str, *, empty: bool = False, context: object = None
    ) -> tuple[Task, float | None]:
        """Answer a turn of the loop later."""
        assert not empty
        assert context is None
        self.polls.append((self.clock.time(), int(task_id)))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        if len(self.polls) % 11 == 7:
            raise APIConnectionError("reset")
        if len(self.polls) % 53 == 17:
            raise RateLimitError("slow", status=429, retry_after=2.0)
        if self.clock.time() < self.ends[int(task_id)]:
            return Task(id=task_id, status="processing"), None
        return Task(id=task_id, status="completed", results=(Raw(b"{}"),)), None


def submit(poller: Poller, source: TaskSource, task_id: str) -> TrackedTask:
    """Return the record of a task that is submitted now."""
    return poller.track(source, task_id, "llm", submitted=Task(id=task_id, status="pending"))


class Counted(Waiter):
    """A waiter that leaves when it is woken, and counts."""

    __slots__ = ("errors", "poller", "wakes")

    def __init__(self, tracked: TrackedTask, poller: Poller) -> None:
        super().__init__(tracked)
        self.poller = poller
        self.wakes: list[float] = []
        self.errors: list[Exception | None] = []

    def wake(self, error: Exception | None) -> None:
        """Note when and why."""
        self.wakes.append(self.poller._clock.time())
        self.errors.append(error)
        self.poller.remove_waiter(self)


waits = st.tuples(st.integers(0, 7), st.none() | st.floats(0, 40), st.none() | st.floats(0, 30))


@settings(max_examples=30)
@given(
    ends=st.lists(st.floats(0, 600), min_size=8, max_size=8),
    plan=st.lists(waits, min_size=1, max_size=25),
    ceiling=st.integers(2, 20),
    workers=st.integers(1, 5),
)
def test_ten_minutes_of_waiting_in_no_time(
    ends: list[float],
    plan: list[tuple[int, float | None, float | None]],
    ceiling: int,
    workers: int,
) -> None:
    """Every waiter wakes once and in time unless cancelled, within the limits, and none starves."""

    async def run() -> None:
        clock = ManualClock()
        service = ServiceClient(clock, ends)
        poller = Poller(
            clock, Limits(polls_per_second=ceiling, polls_in_flight=workers), rand=lambda: 0.5
        )
        tasks = [submit(poller, service, str(number)) for number in range(8)]
        waiters: list[tuple[Counted, float | None, float | None]] = []
        for number, timeout, leaves in plan:
            waiter = Counted(tasks[number], poller)
            poller.add_waiter(waiter, timeout)
            waiters.append((waiter, timeout, leaves))
            if leaves is not None:
                clock.call_at(leaves, lambda waiter=waiter: poller.remove_waiter(waiter))  # type: ignore[misc]
        await clock.advance(700)
        for waiter, timeout, leaves in waiters:
            assert len(waiter.wakes) <= 1
            if leaves is None:
                assert len(waiter.wakes) == 1
                timed_out = isinstance(waiter.errors[0], TaskTimeoutError)
                assert waiter.errors[0] is None or timed_out
                if timed_out:
                    assert timeout is not None
                    # A timeout of 0 is one poll, as soon as the ceiling and a 429 allow.
                    slack = 0.011 if timeout else 10
                    assert timeout <= waiter.wakes[0] <= timeout + slack
        assert poller.waiting == 0
        assert service.most_in_flight <= workers
        assert max(Counter(int(when) for when, _ in service.polls).values(), default=0) <= ceiling
        made = len(service.polls)
        await clock.advance(100)
        assert len(service.polls) == made
        assert clock.timers == 0

    asyncio.run(run())


class Hanging:
    """Tasks that never finish; polls of the first ``stuck`` of them hang until they time out."""

    def __init__(self, clock: ManualClock, stuck: int) -> None:
        self.account = ACCOUNT
        self.polling = PollPolicy(give_up_after=1e6)
        self.pacer = FixedPacer(Fixed(1.0))
        self.clock = clock
        self.stuck = stuck
        self.polls: dict[str, list[float]] = {}
        self.in_flight = 0
        self.most_in_flight = 0

    def event_context(self) -> None:
        """Call hooks in no context."""

    def emit_in(self, context: object, event: object) -> None:
        """Emit no event."""
        raise AssertionError((event, context))

    async def poll_once(
        self, task_id: str, *, empty: bool = False, context: object = None
    ) -> tuple[Task, float | None]:
        """Answer at once, or never."""
        assert not empty
        assert context is None
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if int(task_id) < self.stuck:
                await sleep(self.clock, 30)
                raise APITimeoutError("Timeouts.read, 30 s, ran out")
        finally:
            self.in_flight -= 1
        self.polls.setdefault(task_id, []).append(self.clock.time())
        return Task(id=task_id, status="processing"), None


@settings(max_examples=25)
@given(
    st.integers(1, 4).flatmap(
        lambda size: st.tuples(
            st.just(size), st.sampled_from([2 * size - 1, size, size - 1, 2 * size])
        )
    ),
    st.lists(st.floats(0, 10), min_size=12, max_size=12),
)
def test_polls_that_hang_make_others_late_by_seconds(
    sizes: tuple[int, int], joins: list[float]
) -> None:
    """While fewer than twice the limit hang, none else waits longer than a long GET may count."""
    size, stuck = sizes

    async def run() -> None:
        clock = ManualClock()
        service = Hanging(clock, stuck)
        poller = Poller(clock, Limits(polls_in_flight=size, polls_per_second=None), rand=lambda: 0)
        waiters: list[Counted] = []

        def wait(tracked: TrackedTask) -> None:
            waiters.append(Counted(tracked, poller))
            poller.add_waiter(waiters[-1], None)

        for number, when in enumerate(joins):
            clock.call_at(when, partial(wait, submit(poller, service, str(number))))
        await clock.advance(80)
        assert service.most_in_flight <= 2 * size
        if stuck < 2 * size:
            assert len(service.polls) == len(joins) - stuck
            longest = 1 + SLOW_AFTER + 3 * TICK
            for times in service.polls.values():
                gaps = [later - first for first, later in pairwise([*times, 80.0])]
                assert max(gaps) <= longest
        await poller.aclose()
        assert clock.timers == 0

    asyncio.run(run())


async def test_faults_of_the_network_in_a_wait_change_nothing(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """A 502, a reset, a page of HTML and a 429 between polls only delay the result a little."""
    handle = await session_via_proxy.llm.submit(model="gpt-5.5", messages="count 1 to 3")
    fault_proxy.on("GET", "*", CannedResponse.http(502), times=1)
    fault_proxy.on("GET", "*", Reset(request=WHOLE), times=1)
    fault_proxy.on("GET", "*", CannedResponse.http(200, b"<html>"), times=1)
    fault_proxy.on("GET", "*", CannedResponse.http(429, headers={"Retry-After": "0.05"}), times=1)
    assert (await handle.result(timeout=15)).text == "1, 2, 3"
    # aiohttp makes a GET again by itself when a connection that it had kept turns out dead.
    assert session_via_proxy.stats().faults >= 3
    assert gateway.stats.tasks == 1


async def test_a_success_may_have_a_retry_after(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """A Retry-After with a 200 is no fault and pauses every poll, as the statistics tell."""
    handle = await session_via_proxy.llm.submit(model="gpt-5.5", messages="count 1 to 3")
    news = b'{"id":"%b","status":"processing"}' % handle.id.encode()
    fault_proxy.on(
        "GET", "*", CannedResponse.http(200, news, headers={"Retry-After": "0.05"}), times=1
    )
    assert (await handle.result(timeout=15)).text == "1, 2, 3"
    stats = session_via_proxy.stats()
    assert stats.polls_per_second is not None
    assert stats.polls_per_second < 200
    assert stats.faults == 0


async def test_half_of_the_tasks_hang_and_the_others_finish(
    fault_proxy: FaultProxy, clock: ManualClock
) -> None:
    """Polls that never answer take all places, and after a few seconds the others have theirs."""
    limits = Limits(polls_in_flight=3)
    polling = PollPolicy(pacing=Exponential(initial=0.01, max_delay=0.05))
    async with FoxSession(
        "sk-x", base_url=fault_proxy.url, clock=clock, limits=limits, polling=polling
    ) as fox:
        handles = [await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3") for _ in range(6)]
        stuck, well = handles[:3], handles[3:]
        for handle in stuck:
            fault_proxy.on("GET", f"/v1/tasks/{handle.id}", Stall(response=0))
        waits = [asyncio.ensure_future(handle.result()) for handle in stuck]
        await clock.advance(0.1)
        await fault_proxy.wait_for_stalls(3)
        finished = asyncio.gather(*(handle.result() for handle in well))
        await clock.advance(SLOW_AFTER - 0.2)
        assert fox.stats().polls == 3
        await clock.advance(0.2)
        while not finished.done():
            await clock.advance(0.01)
        assert [completion.text for completion in await finished] == ["1, 2, 3"] * 3
        assert clock.time() < 2 * SLOW_AFTER
        assert not any(wait.done() for wait in waits)
        fault_proxy.clear()
        fault_proxy.release()
        done = asyncio.gather(*waits)
        while not done.done():
            await clock.advance(0.01)
        assert fox.stats().faults == 0
