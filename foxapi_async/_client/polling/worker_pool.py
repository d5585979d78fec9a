"""The workers that make a poller's GETs."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

# A service that is well answers within a fraction of it, and nobody likes to wait much longer.
SLOW_AFTER = 3.0


class Worker:
    """Makes one GET after the other in its ``task``; the present one ``began`` then."""

    __slots__ = ("began", "task")

    task: asyncio.Task[None]

    def __init__(self, began: float) -> None:
        self.began: float = began


class WorkerPool:
    """Starts workers while there is work, as many as may be about a GET. None is idle.

    A worker counts from its first step to its last. A GET older than ``SLOW_AFTER`` no longer
    counts against ``size``, so that GETs that hang do not hold up other tasks; at most ``2 * size``
    run.
    Ages are compared only when all workers are busy.
    """

    __slots__ = ("_size", "_work", "_workers")

    def __init__(self, size: int, work: Callable[[Worker], Coroutine[Any, Any, None]]) -> None:
        self._size = size
        self._work = work
        self._workers: dict[Worker, None] = {}

    def __len__(self) -> int:
        return len(self._workers)

    def hire(self, number: int, now: float) -> None:
        """Create so many workers, which ``begin`` in the loop's next turn unless cancelled.

        Each runs in an empty context: it serves tasks of many callers, and none of them is its own.
        """
        create_task = asyncio.get_running_loop().create_task
        for _ in range(number):
            worker = Worker(now)
            worker.task = create_task(self._work(worker), context=Context())

    def begin(self, worker: Worker) -> None:
        """Count a worker."""
        self._workers[worker] = None

    def leave(self, worker: Worker) -> None:
        """Count it no more."""
        self._workers.pop(worker, None)

    def room(self, now: float) -> int:
        """Return how many more may start; less than 0 when there are too many."""
        room = self._size - len(self._workers)
        if room > 0:
            return room
        long = sum(worker.began + SLOW_AFTER <= now for worker in self._workers)
        return room + min(long, self._size)

    def relief(self, now: float) -> float | None:
        """Return when there will be room, if no GET ends before; ``None`` if one has to.

        To be asked for when there is no room.
        """
        if len(self._workers) >= 2 * self._size:
            return None
        ends = (worker.began + SLOW_AFTER for worker in self._workers)
        return min((end for end in ends if end > now), default=None)

    def dismisses(self, worker: Worker, now: float) -> bool:
        """Tell one that is between two GETs whether it must go, and count it no more if so.

        There are too many when GETs end that did not count.
        """
        if len(self._workers) <= self._size or self.room(now) >= 0:
            return False
        self.leave(worker)
        return True

    async def aclose(self) -> None:
        """Cancel the GETs under way."""
        tasks = [worker.task for worker in self._workers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
