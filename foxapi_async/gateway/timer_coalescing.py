"""One timer for all who wait for nearly the same instant."""

import asyncio
from typing import Final

from foxapi_async._clock import Clock, Timer

# How much later than it asked a sleeper may wake, for the sake of sharing a timer.
_LATEST: Final = 0.004


class _Tick:
    __slots__ = ("sleepers", "timer", "when")

    def __init__(self, when: float) -> None:
        self.when = when
        self.sleepers: set[asyncio.Future[None]] = set()
        self.timer: Timer | None = None


class CoalescedTimer:
    """Wakes a thousand models that write twenty tokens a second by a few hundred timers a second.

    Nobody wakes early; who is alone wakes on time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._strokes: dict[int, _Tick] = {}

    async def sleep_until(self, when: float) -> None:
        """Wait until ``clock.time()`` has reached ``when``."""
        key = int(when / _LATEST)
        stroke = self._strokes.get(key)
        if stroke is None:
            stroke = self._new_stroke(key, when)
        elif stroke.when < when:
            # The second of a span waits for its end, and so does who comes after. The first wakes
            # its own sleepers all the same.
            stroke = self._new_stroke(key, max(when, (key + 1) * _LATEST))
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stroke.sleepers.add(woken)
        try:
            await woken
        except asyncio.CancelledError:
            stroke.sleepers.discard(woken)
            if not stroke.sleepers and stroke.timer is not None:
                stroke.timer.cancel()
                self._forget(key, stroke)
            raise

    def _new_stroke(self, key: int, when: float) -> _Tick:
        self._strokes[key] = stroke = _Tick(when)
        stroke.timer = self._clock.call_at(when, lambda: self._ring(key, stroke))
        return stroke

    def _ring(self, key: int, stroke: _Tick) -> None:
        self._forget(key, stroke)
        for sleeper in stroke.sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    def _forget(self, key: int, stroke: _Tick) -> None:
        if self._strokes.get(key) is stroke:
            del self._strokes[key]
