"""Where the rate of submissions is kept."""

from collections import OrderedDict
from threading import Lock
from typing import Final

from foxapi_async._clock import Clock, LoopClock
from foxapi_async._protocol.submit_rate import Lease, RateCost, RateState


class ProcessRate:
    """A rate of this process, which the threads of several sessions may use."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._state = RateState()
        self._lock = Lock()

    async def reserve(self, cost: RateCost) -> Lease:
        """Reserve for submissions; the lease says how long they wait."""
        with self._lock:
            now = self._clock.time()
            self._state, at = self._state.reserve(now, cost)
            return Lease(at - now, self._state.submits_due, self._state.tokens_due)

    async def cancel(self, lease: Lease) -> bool:
        """Undo a reservation, unless there was a later one; tell whether it is undone."""
        with self._lock:
            before = self._state.cancel(lease)
            self._state = before or self._state
            return before is not None

    async def pause(self, seconds: float) -> None:
        """Grant nothing more for ``seconds``."""
        with self._lock:
            self._state = self._state.pause(self._clock.time(), seconds)

    async def paused(self) -> float:
        """Return the seconds until the end of the pause; 0 without one."""
        with self._lock:
            return max(self._state.paused_until - self._clock.time(), 0.0)


# They outlive their sessions: a program may open one after the other. The oldest is dropped.
_OF_PROCESS: "OrderedDict[str, ProcessRate]" = OrderedDict()
_MAX_RATES: Final = 1_000
_LOCK: Final = Lock()


def process_rate(name: str, clock: Clock) -> ProcessRate:
    """Return the rate of a name, which all sessions by the common clock share."""
    if not isinstance(clock, LoopClock):
        return ProcessRate(clock)
    with _LOCK:
        rate = _OF_PROCESS.setdefault(name, ProcessRate(clock))
        _OF_PROCESS.move_to_end(name)
        if len(_OF_PROCESS) > _MAX_RATES:
            _OF_PROCESS.popitem(last=False)
        return rate
