"""Sleepers that share a timer."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._clock import ManualClock, settle
from foxapi_async.gateway.timer_coalescing import CoalescedTimer


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_no_sleeper_wakes_early_or_over_4_ms_late(milliseconds: list[int]) -> None:
    """A sleeper wakes at its time or at most 4 ms later, whatever other sleepers there are."""

    async def play() -> None:
        clock = ManualClock()
        timer = CoalescedTimer(clock)
        woken: list[tuple[float, float]] = []

        async def sleep(when: float) -> None:
            await timer.sleep_until(when)
            woken.append((when, clock.time()))

        sleepers = [asyncio.create_task(sleep(number / 1000)) for number in milliseconds]
        await settle(2)
        await clock.advance(1)
        await asyncio.gather(*sleepers)
        assert clock.timers == 0
        assert all(0 <= now - when < 0.0041 for when, now in woken)
        if len(set(milliseconds)) == 1:
            assert woken[0][0] == woken[0][1]

    asyncio.run(play())


async def test_a_thousand_sleepers_share_a_timer() -> None:
    """Sleepers of one instant share one timer, and cancelling the last of them cancels it."""
    clock = ManualClock()
    timer = CoalescedTimer(clock)
    sleepers = [asyncio.create_task(timer.sleep_until(5)) for _ in range(1000)]
    await settle(2)
    assert clock.timers == 1
    for sleeper in sleepers[1:]:
        sleeper.cancel()
    await settle(3)
    assert clock.timers == 1
    sleepers[0].cancel()
    await settle(3)
    assert clock.timers == 0
