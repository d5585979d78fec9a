"""The manual clock: time passes when, and only when, a test says so."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._clock import sleep
from foxapi_async.testing import ManualClock, settle

SECONDS = st.floats(0, 1_000, allow_nan=False)


@given(times=st.lists(SECONDS), end=SECONDS)
def test_due_calls_come_in_the_order_of_time(times: list[float], end: float) -> None:
    """An advance makes every call that is due, at its own instant, earlier ones first."""

    async def run() -> None:
        clock = ManualClock()
        calls: list[tuple[float, float]] = []
        for when in times:
            clock.call_at(when, lambda when=when: calls.append((when, clock.time())))  # type: ignore[misc]
        await clock.advance(end)
        assert [when for when, _ in calls] == sorted(when for when in times if when <= end)
        assert all(when == now for when, now in calls)
        assert clock.time() == end
        assert clock.timers == len(times) - len(calls)

    asyncio.run(run())


async def test_equal_times_keep_the_order_of_asking() -> None:
    """Calls for one instant are made in the order in which they were asked for."""
    clock = ManualClock()
    calls: list[int] = []
    for number in range(5):
        clock.call_at(1.0, lambda number=number: calls.append(number))  # type: ignore[misc]
    await clock.advance(1.0)
    assert calls == [0, 1, 2, 3, 4]


async def test_cancelled_call_never_comes() -> None:
    """A timer that is cancelled makes no call, even when an earlier call of its instant does it."""
    clock = ManualClock()
    calls: list[str] = []
    clock.call_at(1.0, lambda: second.cancel())  # noqa: PLW0108  `second` is made below
    second = clock.call_at(1.0, lambda: calls.append("second"))
    clock.call_at(2.0, lambda: calls.append("third")).cancel()
    assert clock.timers == 2
    await clock.advance(3.0)
    assert calls == []
    assert clock.timers == 0


async def test_call_asked_for_on_the_way_comes_in_the_same_advance() -> None:
    """A call that a call asks for inside the window is made in that advance, at its instant."""
    clock = ManualClock()
    calls: list[float] = []

    def again() -> None:
        calls.append(clock.time())
        clock.call_at(clock.time() + 10.0, again)

    clock.call_at(10.0, again)
    await clock.advance(35.0)
    assert calls == [10.0, 20.0, 30.0]
    assert clock.timers == 1


async def test_tasks_that_a_call_wakes_run_before_time_goes_on() -> None:
    """A sleeper that wakes and sleeps again inside the window sees each instant of its own."""
    clock = ManualClock()
    seen: list[float] = []

    async def sleeper() -> None:
        for _ in range(3):
            await sleep(clock, 1.5)
            seen.append(clock.time())

    task = asyncio.create_task(sleeper())
    await clock.advance(10.0)
    assert seen == [1.5, 3.0, 4.5]
    await task


async def test_cancelled_sleep_leaves_no_timer() -> None:
    """Cancelling who sleeps takes the timer away."""
    clock = ManualClock()
    task = asyncio.create_task(sleep(clock, 5.0))
    await settle()
    assert clock.timers == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.timers == 0


async def test_unix_time_moves_with_the_clock() -> None:
    """Unix seconds begin where the test says and grow with each advance."""
    clock = ManualClock(unix=1_000.0)
    await clock.advance(2.5)
    assert clock.unix() == 1_002.5
