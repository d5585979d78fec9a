"""Clocks that are passed as arguments: the clock of the loop, or a manual one for tests."""

import asyncio
import heapq
import time
from collections.abc import Callable
from contextvars import Context
from itertools import count
from typing import Protocol


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call."""
        ...


class Clock(Protocol):
    """The time source of a session or a gateway."""

    def time(self) -> float:
        """Return monotonic seconds from an arbitrary zero."""
        ...

    def unix(self) -> float:
        """Return Unix seconds."""
        ...

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` from the running loop as soon as ``time()`` reaches ``when``."""
        ...


def is_clock(value: object) -> bool:
    """Tell whether ``value`` has the methods of a clock."""
    return all(callable(getattr(value, name, None)) for name in ("time", "unix", "call_at"))


class LoopClock:
    """The clock of the running event loop."""

    __slots__ = ()

    def time(self) -> float:
        """Return the loop's monotonic seconds."""
        # The clock that the loops use. Asking for the running loop would cost a system call.
        return time.monotonic()

    def unix(self) -> float:
        """Return Unix seconds."""
        return time.time()

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Schedule on the running loop, in an empty context, because many users share one timer."""
        return asyncio.get_running_loop().call_at(when, callback, context=Context())


class _ManualTimer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that only moves when a test advances it, so hours pass in milliseconds."""

    def __init__(self, *, unix: float = 1_776_874_565.0) -> None:
        self._now = 0.0
        self._unix_at_zero = unix
        self._timers: list[tuple[float, int, _ManualTimer]] = []
        self._order = count()

    def time(self) -> float:
        """Return the seconds by which this clock was advanced."""
        return self._now

    def unix(self) -> float:
        """Return the simulated Unix seconds."""
        return self._unix_at_zero + self._now

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` during the `advance` that reaches ``when``."""
        timer = _ManualTimer(callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    @property
    def timers(self) -> int:
        """The number of scheduled calls."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    async def advance(self, seconds: float) -> None:
        """Advance the time; run each due call at its own instant, then let the loop settle."""
        end = self._now + seconds
        await settle()
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            if timer.callback is None:
                continue
            self._now = max(self._now, when)
            Context().run(timer.callback)
            await settle()
        self._now = end
        await settle()


async def settle(turns: int = 25) -> None:
    """Let the loop run all callbacks that are ready now."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait ``seconds`` on ``clock``."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    timer = clock.call_at(clock.time() + seconds, wake)
    try:
        await woken
    finally:
        timer.cancel()
