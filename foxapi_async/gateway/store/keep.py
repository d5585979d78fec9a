"""What a store of tasks must do."""

from collections.abc import Sequence
from typing import Protocol

from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.task import UnifiedTask
from foxapi_async.gateway.log import ChunkLog


class Store(Protocol):
    """Keeps what the gateway must not forget. What a call has returned from is there to be seen.

    Every task has an ``owner``, any text; to another owner the task is not there. A gateway that
    tells nobody apart uses the empty one.
    """

    async def add(self, task: UnifiedTask, request: GenerationRequest, owner: str = "") -> bool:
        """Keep a new task, with a log of chunks if it streams; ``False`` when its id is taken."""
        ...

    async def advance(self, task: UnifiedTask, frames: Sequence[bytes] = ()) -> None:
        """Replace the snapshot of a task and add chunks to its log, both at once."""
        ...

    async def finish(self, task: UnifiedTask, closing: bytes) -> None:
        """Keep the last snapshot and end the log. Retention is counted from here."""
        ...

    async def answer(self, task_id: str, owner: str = "") -> bytes | None:
        """Return the newest snapshot as JSON; ``None`` when the owner has no such task."""
        ...

    async def log(self, task_id: str, owner: str = "") -> ChunkLog | None:
        """Return the chunks; ``None`` when there is no such task, no stream, or no longer."""
        ...

    async def spent(self, owner: str) -> int:
        """Return how many tasks the owner has made, those that have expired included."""
        ...

    async def aclose(self) -> None:
        """Cut the readers of unfinished logs off, and let go of what the store holds."""
        ...
