"""A limited number of slots that the owners of waiting tasks take in turns."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from foxapi_async.gateway.stats import UpstreamStats


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
        self._waiters: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def slot(self, owner: str) -> AsyncGenerator[None]:
        """Wait for a slot, and hold it while the context is open."""
        self._stats.waiting += 1
        try:
            await self._acquire(owner)
        finally:
            self._stats.waiting -= 1
        self._stats.running += 1
        try:
            yield
        finally:
            self._stats.running -= 1
            self._release()

    async def _acquire(self, owner: str) -> None:
        # A free slot means that there are no waiters.
        if self._free:
            self._free -= 1
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(owner, deque()).append(granted)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.cancelled():
                self._forget(owner, granted)
            else:
                # The slot was given in the same iteration of the loop: pass it on.
                self._release()
            raise

    def _release(self) -> None:
        while self._waiters:
            owner, waiters = next(iter(self._waiters.items()))
            granted = waiters.popleft()
            if waiters:
                self._waiters.move_to_end(owner)
            else:
                del self._waiters[owner]
            # The task of a cancelled future has not run yet.
            if not granted.cancelled():
                granted.set_result(None)
                return
        self._free += 1

    def _forget(self, owner: str, granted: asyncio.Future[None]) -> None:
        waiters = self._waiters.get(owner, ())
        # `_release` may have removed it.
        if waiters and granted in waiters:
            waiters.remove(granted)
            if not waiters:
                del self._waiters[owner]
