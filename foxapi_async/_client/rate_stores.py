"""Where the rate of submissions is kept: in the process, or beside it for several processes."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable
from threading import Lock
from typing import Final, TypeVar

from foxapi_async._clock import Clock, LoopClock
from foxapi_async._protocol.submit_rate import Lease, RateCost, RateState, RateStore
from foxapi_async.errors import FoxAPIError

_log = logging.getLogger("foxapi_async")

T = TypeVar("T")

# A first call opens the journal.
_PATIENCE: Final = 10.0
_PATIENCE_IF_LOST: Final = 1.0
_RETRY_AFTER: Final = 5.0


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


class SharedRate:
    """A rate that several processes share. While it cannot be reached, this one keeps its own.

    Args:
        shared: The rate that is shared.
        local: That of this process.
    """

    def __init__(self, shared: RateStore, local: RateStore) -> None:
        self._shared = shared
        self._local = local
        self._is_lost = False
        self._retry_at = 0.0

    async def reserve(self, cost: RateCost) -> Lease:
        """Reserve for submissions; the lease says how long they wait."""
        if self._may_call and (lease := await self._call(self._shared.reserve(cost))) is not None:
            return lease
        return await self._local.reserve(cost)

    async def cancel(self, lease: Lease) -> bool:
        """Undo a reservation, unless there was a later one; tell whether it is undone."""
        if self._is_lost:
            return await self._local.cancel(lease)
        return bool(await self._call(self._shared.cancel(lease)))

    async def pause(self, seconds: float) -> None:
        """Grant nothing more for ``seconds``."""
        await self._local.pause(seconds)
        if self._may_call:
            await self._call(self._shared.pause(seconds))

    async def paused(self) -> float:
        """Return the seconds until the end of the pause; 0 without one."""
        seconds = await self._call(self._shared.paused()) if self._may_call else None
        return await self._local.paused() if seconds is None else seconds

    @property
    def _may_call(self) -> bool:
        return not self._is_lost or asyncio.get_running_loop().time() >= self._retry_at

    async def _call(self, call: Awaitable[T]) -> T | None:
        """Return the result of a call; ``None`` if it fails or takes long."""
        seconds = _PATIENCE_IF_LOST if self._is_lost else _PATIENCE
        try:
            async with asyncio.timeout(seconds):
                result = await call
        except (FoxAPIError, OSError) as error:
            # A timeout is one too, without a text.
            self._mark_lost(str(error) or f"no answer in {seconds:g} s")
            return None
        if self._is_lost:
            self._is_lost = False
            _log.info("the shared rate of submissions can be reached again")
        return result

    def _mark_lost(self, why: str) -> None:
        self._retry_at = asyncio.get_running_loop().time() + _RETRY_AFTER
        if not self._is_lost:
            self._is_lost = True
            _log.warning(
                "the shared rate of submissions cannot be reached, so this process keeps it by "
                "itself until then: %s",
                why,
            )
