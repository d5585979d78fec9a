"""A limited number of slots that the owners of waiting tasks take in turns."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

from foxapi_async.gateway.models.model import ModelError
from foxapi_async.gateway.stats import UpstreamStats


class _Waiter(NamedTuple):
    entered: float
    granted: asyncio.Future[None]


class FairQueue:
    """Gives slots in order of arrival to each owner, and to the owners by turns.

    Args:
        slots: How many holders there are at a time.
        stats: Its ``waiting`` and ``running`` count the waiters and the holders.
    """

    def __init__(self, slots: int, stats: UpstreamStats) -> None:
        self._free = slots
        self._stats = stats
        # The first owner is the next one to get a slot.
        self._waiters: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    @property
    def oldest(self) -> float | None:
        """The time at which the oldest waiter has entered, ``None`` without waiters."""
        # The waiters of an owner are in the order of their arrival.
        return min((waiters[0].entered for waiters in self._waiters.values()), default=None)

    @asynccontextmanager
    async def slot(self, owner: str, entered: float = 0.0) -> AsyncGenerator[None]:
        """Wait for a slot, and hold it while the context is open.

        Args:
            owner: The owner of the task.
            entered: The time at which the task begins to wait.

        Raises:
            ModelError: The wait was ended by ``fail``.
        """
        self._stats.waiting += 1
        try:
            await self._acquire(owner, entered)
        finally:
            self._stats.waiting -= 1
        self._stats.running += 1
        try:
            yield
        finally:
            self._stats.running -= 1
            self._release()

    def fail(self, entered: float, error: ModelError) -> int:
        """End the wait of all waiters that have entered by then, and return their number."""
        failed: list[_Waiter] = []
        for owner, waiters in [*self._waiters.items()]:
            while waiters and waiters[0].entered <= entered:
                failed.append(waiters.popleft())
            if not waiters:
                del self._waiters[owner]
        for waiter in failed:
            if not waiter.granted.done():
                waiter.granted.set_exception(ModelError(error.code, error.message))
        return len(failed)

    async def _acquire(self, owner: str, entered: float) -> None:
        # A free slot means that there are no waiters.
        if self._free:
            self._free -= 1
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(entered, granted)
        self._waiters.setdefault(owner, deque()).append(waiter)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.cancelled():
                self._forget(owner, waiter)
            elif granted.exception() is None:
                # The slot was given in the same iteration of the loop: pass it on.
                self._release()
            raise

    def _release(self) -> None:
        while self._waiters:
            owner, waiters = next(iter(self._waiters.items()))
            granted = waiters.popleft().granted
            if waiters:
                self._waiters.move_to_end(owner)
            else:
                del self._waiters[owner]
            # The task of a cancelled future has not run yet.
            if not granted.cancelled():
                granted.set_result(None)
                return
        self._free += 1

    def _forget(self, owner: str, waiter: _Waiter) -> None:
        waiters = self._waiters.get(owner, ())
        # `_release` may have removed it.
        if waiters and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[owner]
