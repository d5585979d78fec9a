"""The workers that make a poller's GETs."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

# A healthy service answers in a fraction of it. A GET that takes longer is likely to hang.
SLOW_AFTER = 3.0


class Worker:
    """Makes one GET after the other in its ``task``; the present one began at ``started_at``."""

    __slots__ = ("started_at", "task")

    task: asyncio.Task[None]

    def __init__(self, started_at: float) -> None:
        self.started_at: float = started_at


class WorkerPool:
    """Starts workers while polls are due. A worker ends when there is nothing to do.

    A worker counts from its first step to its last. A GET older than ``SLOW_AFTER`` no longer
    counts against ``size``, so GETs that hang do not delay other tasks; at most ``2 * size`` run.
    Ages are compared only when all workers are busy.
    """

    __slots__ = ("_size", "_work", "_workers")

    def __init__(self, size: int, work: Callable[[Worker], Coroutine[Any, Any, None]]) -> None:
        self._size = size
        self._work = work
        self._workers: dict[Worker, None] = {}

    def __len__(self) -> int:
        return len(self._workers)

    def spawn(self, number: int, now: float) -> None:
        """Start ``number`` workers. Each calls ``register`` at its first step, unless cancelled.

        Each runs in an empty context, because it polls the tasks of many callers.
        """
        create_task = asyncio.get_running_loop().create_task
        for _ in range(number):
            worker = Worker(now)
            worker.task = create_task(self._work(worker), context=Context())

    def register(self, worker: Worker) -> None:
        """Count a worker as busy."""
        self._workers[worker] = None

    def unregister(self, worker: Worker) -> None:
        """Stop counting a worker."""
        self._workers.pop(worker, None)

    def capacity(self, now: float) -> int:
        """Return how many more workers may start; negative when there are too many."""
        capacity = self._size - len(self._workers)
        if capacity > 0:
            return capacity
        slow = sum(worker.started_at + SLOW_AFTER <= now for worker in self._workers)
        return capacity + min(slow, self._size)

    def next_free_at(self, now: float) -> float | None:
        """Return when a GET becomes slow, which frees its place; ``None`` if a GET has to end.

        Only meaningful without capacity.
        """
        if len(self._workers) >= 2 * self._size:
            return None
        slow_at = (worker.started_at + SLOW_AFTER for worker in self._workers)
        return min((instant for instant in slow_at if instant > now), default=None)

    def retire_if_surplus(self, worker: Worker, now: float) -> bool:
        """Tell a worker between two GETs whether it must end; unregister it if so.

        There are too many workers when slow GETs, which did not count, end.
        """
        if len(self._workers) <= self._size or self.capacity(now) >= 0:
            return False
        self.unregister(worker)
        return True

    async def aclose(self) -> None:
        """Cancel the GETs under way."""
        tasks = [worker.task for worker in self._workers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
