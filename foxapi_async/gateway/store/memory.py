"""Tasks that are lost with the process."""

from collections import Counter, deque
from collections.abc import Sequence

from foxapi_async._clock import Clock
from foxapi_async._wire.base import encode
from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.task import UnifiedTask
from foxapi_async.gateway.chunk_log import ChunkLog
from foxapi_async.gateway.store.entry import Entry
from foxapi_async.gateway.store.protocol import Restored


class MemoryStore:
    """A store that lives as long as its process."""

    def __init__(self, clock: Clock, *, retention: float, task_retention: float) -> None:
        self._clock = clock
        self._retention = retention
        self._task_retention = task_retention
        self._entries: dict[str, Entry] = {}
        self._spent: Counter[str] = Counter()
        # Each retention has one length, so tasks expire in the order in which they end.
        self._finished_logs: deque[tuple[float, str]] = deque()
        self._finished_tasks: deque[tuple[float, str]] = deque()

    async def open(self) -> Restored:
        """Return an empty state."""
        return Restored()

    async def add(self, task: UnifiedTask, request: GenerationRequest, owner: str = "") -> bool:
        """Add a new task, and drop the expired ones."""
        del request
        self._expire()
        if task.id in self._entries:
            return False
        self._entries[task.id] = Entry(task, owner=owner)
        self._spent[owner] += 1
        return True

    async def advance(self, task: UnifiedTask, frames: Sequence[bytes] = ()) -> None:
        """Replace the snapshot and add chunks."""
        entry = self._entries[task.id]
        entry.advance(task)
        if entry.log is not None and frames:
            entry.log.extend(frames)

    async def finish(self, task: UnifiedTask, closing: bytes) -> None:
        """Replace the snapshot by the last one and end the log."""
        entry = self._entries[task.id]
        now = self._clock.time()
        entry.finish(encode(task), ended=now, closing=closing)
        self._finished_tasks.append((now + self._task_retention, task.id))
        if entry.log is not None:
            self._finished_logs.append((now + self._retention, task.id))

    async def snapshot(self, task_id: str, owner: str = "") -> bytes | None:
        """Return the newest snapshot as JSON."""
        entry = self._find(task_id, owner)
        return entry.json if entry is not None else None

    async def log(self, task_id: str, owner: str = "") -> ChunkLog | None:
        """Return the chunks while they are retained."""
        entry = self._find(task_id, owner)
        return entry.log if entry is not None else None

    async def spent(self, owner: str) -> int:
        """Return how many tasks the owner has made."""
        return self._spent[owner]

    def close_readers(self) -> None:
        """End the logs of running tasks: their readers get no more chunks."""
        for entry in self._entries.values():
            if entry.log is not None and not entry.log.ended:
                entry.log.end()

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""

    def _find(self, task_id: str, owner: str) -> Entry | None:
        self._expire()
        entry = self._entries.get(task_id)
        return entry if entry is not None and entry.owner == owner else None

    def _expire(self) -> None:
        """Drop what is too old, with constant work for each log and task that is dropped."""
        now = self._clock.time()
        while self._finished_logs and self._finished_logs[0][0] <= now:
            entry = self._entries.get(self._finished_logs.popleft()[1])
            if entry is not None:
                entry.log = None
        while self._finished_tasks and self._finished_tasks[0][0] <= now:
            self._entries.pop(self._finished_tasks.popleft()[1], None)
