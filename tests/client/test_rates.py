"""Laws of the rates of submissions: evenly spread, in order, shared, and none is dropped."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from foxapi_async import (
    ConfigError,
    FoxSession,
    JournalError,
    Limits,
    PollPolicy,
    RateLimitError,
    RetryPolicy,
    SessionClosedError,
    Timeouts,
)
from foxapi_async._client.params import LLMParams, build_request
from foxapi_async._client.rate_stores import ProcessRate, SharedRate
from foxapi_async._protocol.submit_rate import Lease, RateCost
from foxapi_async.gateway import Gateway
from foxapi_async.testing import CannedResponse, FaultProxy, ManualClock, Stall

# No other test has this key, so that none shares its rate.
KEY = "sk-of-the-rates-0123456789"
PROMPT: LLMParams = {"model": "gpt-5.5", "messages": "count 1 to 3"}
SLOW = Limits(submits_per_minute=60)


def prompt(number: int) -> LLMParams:
    """Return a request that is recognised."""
    return {"model": "gpt-5.5", "messages": f"count 1 to {number}"}


def limited_to(tokens: int) -> LLMParams:
    """Return a request whose answer has at most so many tokens."""
    return {**PROMPT, "max_tokens": tokens}


class Posts:
    """What was submitted, in the order of its arrival."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.keys: list[str] = []

    @web.middleware
    async def keep(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Write down the prompt of each submission, and let the gateway answer."""
        if request.method == "POST":
            self.prompts.append(json.loads(await request.text())["messages"][0]["content"])
            self.keys.append(request.headers["Authorization"])
        return await handler(request)

    async def wait_for(self, count: int) -> None:
        """Run the loop until so many submissions have arrived."""
        while len(self.prompts) < count:
            await asyncio.sleep(0)


@pytest.fixture
def posts() -> Posts:
    """Return what arrives at the gateway."""
    return Posts()


@pytest.fixture
async def counted(posts: Posts) -> AsyncIterator[Gateway]:
    """Run a gateway whose submissions are written down."""
    gateway = Gateway()
    gateway.app.middlewares.append(posts.keep)
    async with gateway:
        yield gateway


Open = Callable[..., FoxSession]


@pytest.fixture
def open_fox(counted: Gateway, clock: ManualClock) -> Open:
    """Return what opens a session on the manual clock."""

    def make(limits: Limits = SLOW, **options: Any) -> FoxSession:
        settings: dict[str, Any] = {"base_url": counted.url, "clock": clock, "limits": limits}
        return FoxSession(KEY, **(settings | options))

    return make


def start(fox: FoxSession, *numbers: int) -> list[asyncio.Task[Any]]:
    """Submit in this order."""
    return [asyncio.create_task(fox.llm.submit(**prompt(number))) for number in numbers]


async def until(holds: Callable[[], bool]) -> None:
    """Run the loop until ``holds`` is true."""
    while not holds():
        await asyncio.sleep(0)


async def ended(*tasks: Awaitable[Any]) -> list[Any]:
    """Return the results or errors of tasks."""
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_submissions_are_spread_in_their_order(
    open_fox: Open, posts: Posts, clock: ManualClock
) -> None:
    """One a second at 60 a minute, in the order of the calls; the counters say what waits."""
    async with open_fox() as fox:
        tasks = start(fox, 2, 3, 4, 5)
        await posts.wait_for(1)
        await until(lambda: fox.stats().next_submit_in > 0)
        stats = fox.stats()
        assert (stats.submits_queued, stats.submits_waiting) == (3, 3)
        assert stats.next_submit_in == pytest.approx(0.8)
        for count in (2, 3, 4):
            await clock.advance(0.79 if count == 2 else 0.99)
            assert len(posts.prompts) == count - 1
            await clock.advance(0.01)
            await posts.wait_for(count)
            await until(lambda: fox.stats().submits_queued == 4 - len(posts.prompts))
        await ended(*tasks)
        assert posts.prompts == [f"count 1 to {number}" for number in (2, 3, 4, 5)]
        assert (fox.stats().submits_waiting, fox.stats().next_submit_in) == (0, 0)
        assert fox.stats().submits == 4


async def test_no_rate_is_no_queue(open_fox: Open) -> None:
    """A session without rates submits as if there were none."""
    async with open_fox(Limits()) as fox:
        assert fox._service.rate is None
        assert (await fox.llm.submit(**PROMPT)).id
        assert fox.stats().submits_queued == 0


async def test_the_place_of_a_cancelled_submission_is_the_next_ones(
    open_fox: Open, posts: Posts, clock: ManualClock
) -> None:
    """The next one goes at the time of the cancelled one; what nothing needs is given back."""
    async with open_fox() as fox:
        first, second, third = start(fox, 2, 3, 4)
        await posts.wait_for(1)
        await until(lambda: fox.stats().next_submit_in > 0)
        second.cancel()
        await clock.advance(0.8)
        await posts.wait_for(2)
        assert posts.prompts[1] == "count 1 to 4"
        await ended(first, third)
        (fourth,) = start(fox, 5)
        await until(lambda: fox.stats().next_submit_in > 0)
        due = clock.time() + fox.stats().next_submit_in
        await clock.advance(0.5)
        fourth.cancel()
        await ended(fourth)
        assert fox.stats().submits_queued == 0
        (fifth,) = start(fox, 6)
        await until(lambda: fox.stats().next_submit_in > 0)
        assert clock.time() + fox.stats().next_submit_in == pytest.approx(due)
        await clock.advance(0.5)
        await fifth
        assert second.cancelled()
        assert posts.prompts[-1] == "count 1 to 6"


async def test_a_submission_that_is_cancelled_when_it_is_admitted_lets_the_next_one_go(
    open_fox: Open, posts: Posts, clock: ManualClock
) -> None:
    """Cancelled in the same turn of the loop, it takes no slot and no place."""
    limits = Limits(submits_per_minute=60, submits_in_flight=1)
    async with open_fox(limits) as fox:
        queue = fox._service.rate
        assert queue is not None
        await queue.enter(0)
        fox._service.runtime.admission.leave()
        first = asyncio.create_task(queue.enter(0))
        second = asyncio.create_task(queue.enter(0))
        await until(lambda: queue.next_in > 0)
        queue._sleep.end(on_time=True)
        await until(lambda: queue.waiting == 1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        fox._service.runtime.admission.leave()
        assert queue.waiting == 0
        await clock.advance(2)
        await fox.llm.submit(**PROMPT)
        assert len(posts.prompts) == 1


async def test_closing_wakes_what_waits_for_the_rate(open_fox: Open, posts: Posts) -> None:
    """They raise, and nothing more is sent."""
    fox = open_fox()
    first, *others = start(fox, 2, 3, 4)
    await first
    await fox.aclose()
    assert [type(error) for error in await ended(*others)] == [SessionClosedError] * 2
    with pytest.raises(SessionClosedError):
        await fox.llm.submit(**PROMPT)
    assert len(posts.prompts) == 1


async def test_sessions_of_a_process_share_the_rate(counted: Gateway, posts: Posts) -> None:
    """Four sessions with one key and URL keep one rate, and another key has its own."""
    limits = Limits(submits_per_minute=1_200)
    begin = asyncio.get_running_loop().time()
    sessions = [FoxSession(f"{KEY}-4", base_url=counted.url, limits=limits) for _ in range(4)]
    await ended(*(fox.llm.submit(**PROMPT) for fox in sessions for _ in range(5)))
    # Twenty at 20 a second; five of them may come at once.
    assert asyncio.get_running_loop().time() - begin >= 15 / 20 - 0.01
    assert len(posts.prompts) == 20
    for fox in sessions:
        await fox.aclose()
    async with FoxSession(f"{KEY}-4", base_url=counted.url, limits=SLOW) as later:
        # A session that is opened after the others goes on with their rate.
        assert (await ended(*start(later, 2)))[0].id
        (task,) = start(later, 3)
        await until(lambda: later.stats().next_submit_in > 0)
        copy = later.with_options(api_key=f"{KEY}-5")
        assert (await copy.llm.submit(**prompt(4))).id
        assert later.stats().submits_queued == 1
        task.cancel()
        await ended(task)


async def test_tokens_count_by_an_estimate_and_then_by_their_usage(
    open_fox: Open, clock: ManualClock, fast_polling: PollPolicy
) -> None:
    """A submit reserves its prompt and ``max_tokens``; its end gives back what was not used."""
    limits = Limits(tokens_per_minute=6_000)
    async with open_fox(limits, polling=fast_polling) as fox:
        first, second = (asyncio.create_task(fox.llm.submit(**limited_to(1_000))) for _ in range(2))
        handle = await first
        await until(lambda: fox.stats().next_submit_in > 0)
        # About 7 tokens of the prompt and 1,000 of the answer, at 100 a second.
        assert fox.stats().next_submit_in == pytest.approx(10.07 - 0.2, abs=0.1)
        waiting = asyncio.create_task(handle.result())
        while not waiting.done():
            await clock.advance(0.05)
        used = waiting.result().usage
        assert used is not None
        # The second one need not wait for what the first one has not used.
        await clock.advance(0.1)
        await second
        assert clock.time() < 5
        # It has ten seconds of tokens, and the next ones those of a mean answer.
        (third,) = start(fox, 3)
        await until(lambda: fox.stats().next_submit_in > 8)
        queue = fox._service.rate
        assert queue is not None
        assert queue.estimate(build_request(PROMPT)) == 7 + used.completion_tokens
        third.cancel()
        await ended(third)


async def test_a_cancelled_submission_uses_no_tokens(open_fox: Open, clock: ManualClock) -> None:
    """The next one waits as if it had never been there."""
    limits = Limits(tokens_per_minute=6_000, submits_per_minute=600)
    async with open_fox(limits) as fox:
        await fox.llm.submit(**limited_to(100))
        second = asyncio.create_task(fox.llm.submit(**limited_to(10_000)))
        await until(lambda: fox.stats().next_submit_in > 0)
        left = fox.stats().next_submit_in
        second.cancel()
        await ended(second)
        third = asyncio.create_task(fox.llm.submit(**limited_to(16)))
        await until(lambda: fox.stats().next_submit_in > 0)
        assert fox.stats().next_submit_in == pytest.approx(left)
        await clock.advance(left)
        await third


@pytest.mark.parametrize("name", ["submits_per_minute", "tokens_per_minute"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "60"])
def test_a_rate_is_a_positive_number(name: str, value: Any) -> None:
    """Anything else is refused by its name."""
    with pytest.raises(ConfigError, match=f"Limits.{name}"):
        Limits(**{name: value})


async def test_the_wait_for_the_rate_is_in_no_timeout_of_the_post(counted: Gateway) -> None:
    """A POST has its whole timeout after a wait that is longer."""
    limits, timeouts = Limits(submits_per_minute=120), Timeouts(submit=0.4, read=0.4, call=0.4)
    async with FoxSession(
        f"{KEY}-6", base_url=counted.url, limits=limits, timeouts=timeouts
    ) as fox:
        found = await ended(*(fox.llm.submit(**PROMPT) for _ in range(4)))
        assert not [error for error in found if isinstance(error, BaseException)]


async def test_a_429_pauses_all_sessions_of_the_rate(
    fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """The Retry-After that one session gets holds back the others."""
    limits = Limits(submits_per_minute=60_000)
    options: Any = {"base_url": fault_proxy.url, "limits": limits}
    async with FoxSession(f"{KEY}-7", **options) as one, FoxSession(f"{KEY}-7", **options) as other:
        limited = CannedResponse.http(429, headers={"Retry-After": "0.5"})
        fault_proxy.on("POST", "*", limited, times=1)
        with pytest.raises(RateLimitError):
            await one.llm.submit(**PROMPT)
        begin = asyncio.get_running_loop().time()
        (task,) = start(other, 3)
        await until(lambda: other.stats().next_submit_in > 0)
        assert other.stats().next_submit_in == pytest.approx(0.5, abs=0.2)
        assert fault_proxy.count("POST") == 1
        await task
        assert asyncio.get_running_loop().time() - begin >= 0.3
    assert gateway.stats.tasks == 1


async def test_a_429_without_a_time_pauses_longer_each_time(
    fault_proxy: FaultProxy, clock: ManualClock
) -> None:
    """As the retry rule says; an accepted submission begins anew."""
    policy = RetryPolicy(initial=1, multiplier=3, max_delay=20)
    async with FoxSession(
        KEY,
        base_url=fault_proxy.url,
        limits=Limits(submits_per_minute=60_000),
        clock=clock,
        retry=policy,
    ) as fox:
        paused: list[float] = []
        for times in (3, 1):
            fault_proxy.on("POST", "*", CannedResponse.http(429), times=times)
            for _ in range(times):
                with pytest.raises(RateLimitError):
                    await fox.llm.submit(**PROMPT)
                paused.append(fox.stats().paused)
                await clock.advance(paused[-1])
            await fox.llm.submit(**PROMPT)
            await clock.advance(1)
        assert paused == [1, 3, 9, 1]


async def test_a_pause_holds_back_what_was_reserved_before_it(
    fault_proxy: FaultProxy, gateway: Gateway, clock: ManualClock
) -> None:
    """A 429 while others wait for their time makes them wait for the end of the pause."""
    async with FoxSession(KEY, base_url=fault_proxy.url, limits=SLOW, clock=clock) as fox:
        fault_proxy.on("POST", "*", Stall(response=0), times=1)
        (first,) = start(fox, 2)
        await fault_proxy.wait_for_stalls()
        (second,) = start(fox, 3)
        await until(lambda: fox.stats().next_submit_in > 0)
        queue = fox._service.rate
        assert queue is not None
        fox._service._pause(clock.time(), 30)
        await clock.advance(2)
        assert fault_proxy.count("POST") == 1
        assert fox.stats().submits_queued == 1
        fault_proxy.release()
        await first
        await clock.advance(28.1)
        await second
    assert gateway.stats.tasks == 2


async def test_the_limit_of_unfinished_tasks_holds_beside_the_rate(
    open_fox: Open, posts: Posts, clock: ManualClock, fast_polling: PollPolicy
) -> None:
    """What waits for a slot reserves nothing, so the rate holds after it too."""
    limits = Limits(submits_per_minute=60, max_unfinished=1)
    async with open_fox(limits, polling=fast_polling) as fox:
        tasks = start(fox, 2, 3, 4)
        times: list[float] = []
        while len(posts.prompts) < 3:
            await clock.advance(0.05)
            times += [clock.time()] * (len(posts.prompts) - len(times))
        await ended(*tasks)
        assert times[2] - times[0] >= 2 - 0.3


async def test_a_cancelled_wait_for_a_slot_leaves_nothing(open_fox: Open, posts: Posts) -> None:
    """Without waiters nothing waits for a slot any more."""
    limits = Limits(submits_per_minute=6_000, max_unfinished=1)
    async with open_fox(limits) as fox:
        await fox.llm.submit(**PROMPT)
        tasks = start(fox, 3, 4)
        await until(lambda: fox.stats().submits_waiting == 2)
        await until(lambda: fox._service.runtime.admission.waiting == 1)
        assert (fox.stats().submits_waiting, fox.stats().submits_queued) == (2, 2)
        for task in tasks:
            task.cancel()
        await ended(*tasks)
        await until(lambda: fox._service.runtime.admission.waiting == 0)
        assert fox.stats().submits_waiting == 0
        assert len(posts.prompts) == 1


class FailingStore:
    """A shared rate that can be lost, and counts what it is asked."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hangs = False
        self.calls = 0

    async def _answer(self) -> None:
        self.calls += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error

    async def reserve(self, cost: RateCost) -> Lease:
        """Grant at once."""
        del cost
        await self._answer()
        return Lease(0.0)

    async def cancel(self, lease: Lease) -> bool:
        """Undo nothing."""
        del lease
        await self._answer()
        return False

    async def pause(self, seconds: float) -> None:
        """Forget it."""
        del seconds
        await self._answer()

    async def paused(self) -> float:
        """Know of no pause."""
        await self._answer()
        return 0.0


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_process_keeps_the_rate_by_itself_while_the_shared_one_is_lost(
    clock: ManualClock,
    hangs: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It warns once, asks again later, and returns to the shared rate."""
    monkeypatch.setattr("foxapi_async._client.rate_stores._PATIENCE", 0.01)
    shared = FailingStore()
    rate = SharedRate(shared, ProcessRate(clock))
    assert (await rate.reserve(RateCost(30))).wait == 0
    shared.hangs, shared.error = hangs, JournalError("it is gone")
    waits = [(await rate.reserve(RateCost(30))).wait for _ in range(3)]
    assert waits == pytest.approx([0, 30 - 0.2, 60 - 0.2])
    await rate.pause(50)
    assert await rate.paused() == 50
    assert shared.calls == 2
    assert len(caplog.records) == 1
    shared.hangs, shared.error = False, None
    monkeypatch.setattr(rate, "_retry_at", 0.0)
    assert (await rate.reserve(RateCost(30))).wait == 0
    assert await rate.paused() == 0
    assert len(caplog.records) == 1
