"""One task in memory."""

from foxapi_async._wire.base import encode
from foxapi_async._wire.task import UnifiedTask
from foxapi_async.gateway.chunk_log import ChunkLog


class Entry:
    """The newest snapshot of a task and its chunks.

    The JSON is made when it is asked for and kept until the next snapshot; of a task that has ended
    nothing but the JSON is left. ``key`` is the store's own name for the task.
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

    def advance(self, task: UnifiedTask) -> None:
        """Replace the snapshot."""
        self.task = task
        self._json = None

    def finish(self, json: bytes, *, ended: float, closing: bytes) -> None:
        """Keep the last snapshot, and that alone, and end the log."""
        self.task = None
        self._json = json
        self.ended = ended
        if self.log is not None:
            self.log.end(closing)
