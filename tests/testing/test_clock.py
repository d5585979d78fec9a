"""Laws of the manual clock."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._clock import sleep
from foxapi_async.testing import ManualClock, settle

SECONDS = st.floats(0, 1_000, allow_nan=False)


@given(times=st.lists(SECONDS), end=SECONDS)
def test_due_calls_come_in_the_order_of_time(times: list[float], end: float) -> None:
    """An advance makes all due calls, each at its own time, in the order of the times."""

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
    """Calls for the same time are made in the order in which they were scheduled."""
    clock = ManualClock()
    calls: list[int] = []
    for number in range(5):
        clock.call_at(1.0, lambda number=number: calls.append(number))  # type: ignore[misc]
    await clock.advance(1.0)
    assert calls == [0, 1, 2, 3, 4]


async def test_cancelled_call_never_comes() -> None:
    """A cancelled timer makes no call, even if a call at the same time cancels it."""
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
    """A call that a call schedules within the advance is made by it, at its own time."""
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
    """A task that sleeps several times within one advance wakes at each of its times."""
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
    """Cancelling a sleeping task cancels its timer."""
    clock = ManualClock()
    task = asyncio.create_task(sleep(clock, 5.0))
    await settle()
    assert clock.timers == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.timers == 0


async def test_unix_time_moves_with_the_clock() -> None:
    """The Unix time starts at the given value and grows with each advance."""
    clock = ManualClock(unix=1_000.0)
    await clock.advance(2.5)
    assert clock.unix() == 1_002.5
