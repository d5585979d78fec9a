"""What holds for the poller whatever happens, and a wait under real faults."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from foxapi_async import FoxSession
from foxapi_async._client.poller import Poller
from foxapi_async._client.watch import Waiter, Watch, Watched
from foxapi_async._clock import ManualClock
from foxapi_async._protocol.pacing import ExponentialPacer
from foxapi_async.config import Exponential, Limits, PollPolicy
from foxapi_async.errors import (
    APIConnectionError,
    FoxAPIError,
    RateLimitError,
    TaskTimeoutError,
)
from foxapi_async.gateway import Gateway
from foxapi_async.testing import WHOLE, Answer, Reset, TCPCutter
from foxapi_async.types import Task


class Account:
    """Somebody whose tasks these are."""


class Service:
    """Tasks that finish at their time, with a fault now and then."""

    def __init__(self, clock: ManualClock, ends: list[float]) -> None:
        self.account = Account()
        self.polling = PollPolicy()
        self.pacer = ExponentialPacer(Exponential(first=0.5, factor=1.3, cap=8, jitter=0.3))
        self.clock = clock
        self.ends = ends
        self.looks: list[tuple[float, int]] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def look(self, task_id: str, *, hollow: bool = False) -> Task:
        """Answer a turn of the loop later."""
        assert not hollow
        self.looks.append((self.clock.time(), int(task_id)))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        if len(self.looks) % 11 == 7:
            raise APIConnectionError("reset")
        if len(self.looks) % 53 == 17:
            raise RateLimitError("slow", status=429, retry_after=2.0)
        if self.clock.time() < self.ends[int(task_id)]:
            return Task(id=task_id, status="processing")
        return Task(id=task_id, status="completed", results=(Raw(b"{}"),))


class Handle:
    """What the poller sees of a handle."""

    def __init__(self, task_id: str) -> None:
        self.id = task_id
        self.born = 0.0
        self.task: Task | None = None

    def observe(self, task: Task) -> None:
        """Keep the snapshot."""
        self.task = task

    def missed(self, fault: FoxAPIError) -> None:
        """Do nothing."""


class Counted(Waiter):
    """A waiter that leaves when it is woken, and counts."""

    __slots__ = ("errors", "poller", "wakes")

    def __init__(self, handle: Watched, watch: Watch, poller: Poller) -> None:
        super().__init__(handle, watch)
        self.poller = poller
        self.wakes: list[float] = []
        self.errors: list[Exception | None] = []

    def wake(self, error: Exception | None) -> None:
        """Note when and why."""
        self.wakes.append(self.poller._clock.time())
        self.errors.append(error)
        self.poller.leave(self)


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
        service = Service(clock, ends)
        poller = Poller(
            clock, Limits(gets_per_second=ceiling, polls_in_flight=workers), roll=lambda: 0.5
        )
        handles = [Handle(str(number)) for number in range(8)]
        waiters: list[tuple[Counted, float | None, float | None]] = []
        for number, patience, leaves in plan:
            handle = handles[number]
            waiter = Counted(handle, poller.watch(handle, service), poller)
            poller.join(waiter, patience)
            waiters.append((waiter, patience, leaves))
            if leaves is not None:
                clock.call_at(leaves, lambda waiter=waiter: poller.leave(waiter))  # type: ignore[misc]
        await clock.advance(700)
        for waiter, patience, leaves in waiters:
            assert len(waiter.wakes) <= 1
            if leaves is None:
                assert len(waiter.wakes) == 1
                timed_out = isinstance(waiter.errors[0], TaskTimeoutError)
                assert waiter.errors[0] is None or timed_out
                if timed_out:
                    assert patience is not None
                    assert patience <= waiter.wakes[0] <= patience + 0.011
        assert poller.waiting == 0
        assert service.most_in_flight <= workers
        assert max(Counter(int(when) for when, _ in service.looks).values(), default=0) <= ceiling
        made = len(service.looks)
        await clock.advance(100)
        assert len(service.looks) == made
        assert clock.timers == 0

    asyncio.run(run())


async def test_faults_of_the_network_in_a_wait_change_nothing(
    cut_fox: FoxSession, cutter: TCPCutter, gateway: Gateway
) -> None:
    """A 502, a reset, a page of HTML and a 429 between polls only delay the result a little."""
    handle = await cut_fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
    cutter.on("GET", "*", Answer.http(502), times=1)
    cutter.on("GET", "*", Reset(request=WHOLE), times=1)
    cutter.on("GET", "*", Answer.http(200, b"<html>"), times=1)
    cutter.on("GET", "*", Answer.http(429, headers={"Retry-After": "0.05"}), times=1)
    assert (await handle.result(timeout=15)).text == "1, 2, 3"
    # aiohttp makes a GET again by itself when a connection that it had kept turns out dead.
    assert cut_fox.stats().faults >= 3
    assert gateway.stats.tasks == 1
