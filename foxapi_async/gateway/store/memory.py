"""Tasks that are lost with the process."""

from collections import defaultdict, deque
from collections.abc import Sequence
from itertools import islice

from foxapi_async._clock import Clock
from foxapi_async._wire.base import encode
from foxapi_async.gateway.chunk_log import ChunkLog
from foxapi_async.gateway.response_structs import UnifiedTask
from foxapi_async.gateway.store.protocol import (
    MAX_SCANNED,
    NumberedTask,
    Restored,
    StoredRequest,
)
from foxapi_async.gateway.store.stored_task import StoredTask


class MemoryStore:
    """A store that lives as long as its process."""

    def __init__(self, clock: Clock, *, retention: float, task_retention: float) -> None:
        self._clock = clock
        self._retention = retention
        self._task_retention = task_retention
        self._tasks: dict[str, StoredTask] = {}
        self._last_key = 0
        self._spent: defaultdict[str, float] = defaultdict(float)
        # Each retention has one length, so tasks expire in the order in which they end.
        self._finished_logs: deque[tuple[float, str]] = deque()
        self._finished_tasks: deque[tuple[float, str]] = deque()

    async def open(self) -> Restored:
        """Return an empty state."""
        return Restored()

    async def add(
        self,
        task: UnifiedTask,
        request: StoredRequest,
        owner: str = "",
        *,
        kind: str | None = None,
    ) -> bool:
        """Add a new task, and drop the expired ones."""
        del request, kind
        self._expire()
        if task.id in self._tasks:
            return False
        self._last_key += 1
        self._tasks[task.id] = StoredTask(task, owner=owner, key=self._last_key)
        self._spent[owner] += task.credits
        return True

    async def advance(self, task: UnifiedTask, frames: Sequence[bytes] = ()) -> None:
        """Replace the snapshot and add chunks."""
        stored = self._tasks[task.id]
        stored.advance(task)
        if stored.log is not None and frames:
            stored.log.extend(frames)

    async def finish(self, task: UnifiedTask, closing: bytes) -> None:
        """Replace the snapshot by the last one and end the log."""
        stored = self._tasks[task.id]
        self._spent[stored.owner] += stored.settle(task)
        now = self._clock.time()
        stored.finish(encode(task), ended=now, closing=closing)
        self._finished_tasks.append((now + self._task_retention, task.id))
        if stored.log is not None:
            self._finished_logs.append((now + self._retention, task.id))

    async def snapshot(self, task_id: str, owner: str = "") -> bytes | None:
        """Return the newest snapshot as JSON."""
        stored = self._find(task_id, owner)
        return stored.json if stored is not None else None

    async def log(self, task_id: str, owner: str = "") -> ChunkLog | None:
        """Return the chunks while they are retained."""
        stored = self._find(task_id, owner)
        return stored.log if stored is not None else None

    async def spent(self, owner: str) -> float:
        """Return the credits of the tasks of an owner."""
        return self._spent.get(owner, 0.0)

    async def newest(self, owner: str, limit: int) -> Sequence[NumberedTask]:
        """Return the newest tasks of an owner."""
        self._expire()
        tasks = islice(reversed(self._tasks.values()), MAX_SCANNED)
        own = (NumberedTask(task.key, task.json) for task in tasks if task.owner == owner)
        return list(islice(own, limit))

    def close_readers(self) -> None:
        """End the logs of running tasks: their readers get no more chunks."""
        for stored in self._tasks.values():
            if stored.log is not None and not stored.log.ended:
                stored.log.end()

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""

    def _find(self, task_id: str, owner: str) -> StoredTask | None:
        self._expire()
        stored = self._tasks.get(task_id)
        return stored if stored is not None and stored.owner == owner else None

    def _expire(self) -> None:
        """Drop what is too old, with constant work for each log and task that is dropped."""
        now = self._clock.time()
        while self._finished_logs and self._finished_logs[0][0] <= now:
            stored = self._tasks.get(self._finished_logs.popleft()[1])
            if stored is not None:
                stored.log = None
        while self._finished_tasks and self._finished_tasks[0][0] <= now:
            self._tasks.pop(self._finished_tasks.popleft()[1], None)
