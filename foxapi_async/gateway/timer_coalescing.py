"""One timer for all sleepers that are due at nearly the same time."""

import asyncio
from typing import Final

from foxapi_async._clock import Clock, Timer

# A sleeper may wake this many seconds late, so that it can share a timer.
_MAX_DELAY: Final = 0.002


class _Tick:
    __slots__ = ("sleepers", "timer", "when")

    def __init__(self, when: float) -> None:
        self.when = when
        self.sleepers: set[asyncio.Future[None]] = set()
        self.timer: Timer | None = None


class CoalescedTimer:
    """Groups sleepers into ticks: a thousand models at 20 tokens/s need a few hundred timers/s.

    No sleeper wakes early. A sleeper that shares its tick with no other wakes on time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ticks: dict[int, _Tick] = {}

    async def sleep_until(self, when: float) -> None:
        """Wait until ``clock.time()`` has reached ``when``."""
        key = int(when / _MAX_DELAY)
        tick = self._ticks.get(key)
        if tick is None:
            tick = self._new_tick(key, when)
        elif tick.when < when:
            # The second sleeper of an interval waits for the end of the interval, and later ones
            # join it. The first tick still fires for its own sleepers.
            tick = self._new_tick(key, max(when, (key + 1) * _MAX_DELAY))
        wakeup: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tick.sleepers.add(wakeup)
        try:
            await wakeup
        except asyncio.CancelledError:
            tick.sleepers.discard(wakeup)
            if not tick.sleepers and tick.timer is not None:
                tick.timer.cancel()
                self._remove(key, tick)
            raise

    def _new_tick(self, key: int, when: float) -> _Tick:
        self._ticks[key] = tick = _Tick(when)
        tick.timer = self._clock.call_at(when, lambda: self._fire(key, tick))
        return tick

    def _fire(self, key: int, tick: _Tick) -> None:
        self._remove(key, tick)
        for wakeup in tick.sleepers:
            if not wakeup.done():
                wakeup.set_result(None)

    def _remove(self, key: int, tick: _Tick) -> None:
        if self._ticks.get(key) is tick:
            del self._ticks[key]
