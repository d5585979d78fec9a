"""A ``TimeoutScheduler`` ends many blocks by one timer, as ``asyncio.timeout`` does."""

import asyncio

import pytest

from foxapi_async._clock import ManualClock, settle
from foxapi_async._transport.timeouts import TimeoutScheduler


async def wait(deadlines: TimeoutScheduler, seconds: float) -> None:
    """Wait without end in a block with a timeout."""
    with deadlines.after(seconds, "Timeouts.read"):
        await asyncio.Event().wait()


async def test_each_ends_at_its_own_time(clock: ManualClock) -> None:
    """All blocks share one timer, and each ends at its own deadline."""
    deadlines = TimeoutScheduler(clock)
    spans = [5.0, 1.0, 3.0, 1.0]
    tasks = [asyncio.ensure_future(wait(deadlines, span)) for span in spans]
    await settle()
    assert clock.timers == 1
    for now in (1.0, 2.0, 3.0, 4.0, 5.0):
        await clock.advance(1)
        assert [task.done() for task in tasks] == [span <= now for span in spans]
    assert clock.timers == 0
    for task, span in zip(tasks, spans, strict=True):
        with pytest.raises(TimeoutError, match=f"Timeouts.read, {span:g} s"):
            await task


async def test_what_ends_in_time_leaves_no_timer(clock: ManualClock) -> None:
    """The last block to end cancels the timer."""
    deadlines = TimeoutScheduler(clock)
    with deadlines.after(1, "a"), deadlines.after(2, "b"):
        assert clock.timers == 1
    assert clock.timers == 0


async def test_no_time_left_ends_at_once(clock: ManualClock) -> None:
    """A deadline in the past ends the block at its first wait."""
    task = asyncio.ensure_future(wait(TimeoutScheduler(clock), -1))
    await settle()
    await clock.advance(0)
    with pytest.raises(TimeoutError):
        await task


async def test_a_cancel_from_outside_goes_on(clock: ManualClock) -> None:
    """A cancellation stays one, also if the timeout fires in the same turn."""
    for together in (False, True):
        deadlines = TimeoutScheduler(clock)
        task = asyncio.ensure_future(wait(deadlines, 0))
        await settle()
        task.cancel()
        if together:
            deadlines._on_timer()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("expired", [False, True])
async def test_closing_ends_all(clock: ManualClock, expired: bool) -> None:
    """Closing ends each running block once and leaves no timer."""
    deadlines = TimeoutScheduler(clock)
    tasks = [asyncio.ensure_future(wait(deadlines, 0)) for _ in range(3)]
    await settle()
    if expired:
        clock.call_at(0, deadlines.close)
        await clock.advance(0)
    else:
        deadlines.close()
    deadlines.close()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ends} == {TimeoutError if expired else ConnectionError}
    assert {task.cancelling() for task in tasks} == {0}
    assert clock.timers == 0


async def test_an_expired_block_leaves_no_mark(clock: ManualClock) -> None:
    """After a timeout the task's cancellation count is as before."""

    async def twice(deadlines: TimeoutScheduler) -> int:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await wait(deadlines, 1)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    task = asyncio.ensure_future(twice(TimeoutScheduler(clock)))
    await settle()
    await clock.advance(1)
    await clock.advance(1)
    assert await task == 0


async def test_an_inner_error_is_kept(clock: ManualClock) -> None:
    """An error that the block raises in place of its cancellation is kept."""

    async def fail(deadlines: TimeoutScheduler) -> None:
        with deadlines.after(1, "a"):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise OSError("the wire broke") from None

    task = asyncio.ensure_future(fail(TimeoutScheduler(clock)))
    await settle()
    await clock.advance(1)
    with pytest.raises(OSError, match="the wire broke"):
        await task
