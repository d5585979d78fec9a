"""Tasks in memory, and the cache of ended tasks."""

from collections import OrderedDict
from typing import Final

from foxapi_async._wire.base import encode
from foxapi_async.gateway.chunk_log import ChunkLog
from foxapi_async.gateway.response_structs import UnifiedTask

# Bytes that a Python object takes beside its content.
_OVERHEAD: Final = 64


class StoredTask:
    """The newest snapshot of a task and its chunks.

    The JSON is encoded on demand and kept until the next snapshot. When the task has ended, only
    the JSON is kept. ``key`` is the store's own number of the task.
    """

    __slots__ = ("_json", "ended", "key", "log", "owner", "task")

    def __init__(self, task: UnifiedTask, *, owner: str, key: int = 0) -> None:
        self.task: UnifiedTask | None = task
        self._json: bytes | None = None
        self.owner: str = owner
        self.key: int = key
        self.log: ChunkLog | None = ChunkLog() if task.stream else None
        self.ended: float | None = None

    @property
    def json(self) -> bytes:
        """The newest snapshot."""
        if self._json is None:
            self._json = encode(self.task)
        return self._json

    def settle(self, task: UnifiedTask) -> float:
        """Return the credits that ``task``, the last snapshot, costs more than this one."""
        return task.credits - self.task.credits if self.task is not None else 0.0

    def advance(self, task: UnifiedTask) -> None:
        """Replace the snapshot."""
        self.task = task
        self._json = None

    def finish(self, json: bytes, *, ended: float, closing: bytes) -> None:
        """Replace the snapshot by the JSON of the last one, and end the log."""
        self.task = None
        self._json = json
        self.ended = ended
        if self.log is not None:
            self.log.end(closing)


class LRUCache:
    """Ended tasks of up to ``capacity`` bytes; the least recently used is dropped first."""

    def __init__(self, capacity: int) -> None:
        self._free = capacity
        self._tasks: OrderedDict[str, tuple[StoredTask, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tasks)

    def get(self, task_id: str) -> StoredTask | None:
        """Return a stored task, which is the most recently used one then."""
        found = self._tasks.get(task_id)
        if found is None:
            return None
        self._tasks.move_to_end(task_id)
        return found[0]

    def put(self, task_id: str, stored: StoredTask) -> None:
        """Add a stored task, and drop others to make room for it."""
        size = _size(stored)
        self._free -= size
        self._tasks[task_id] = stored, size
        while self._free < 0:
            _, (_, dropped) = self._tasks.popitem(last=False)
            self._free += dropped


def _size(stored: StoredTask) -> int:
    size = len(stored.json) + 8 * _OVERHEAD
    if stored.log is not None:
        size += stored.log.size + _OVERHEAD * len(stored.log)
    return size
