"""What a store of tasks must do."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.task import UnifiedTask


class StoreError(Exception):
    """What was to be kept could not be: the disk is full, or gone. Nothing of it is to be seen."""


class UnstorableError(Exception):
    """One task has a value that no row can hold. What belongs to other tasks is kept."""


class Log(Protocol):
    """The chunks of one task, as a stream reads them."""

    @property
    def closing(self) -> bytes:
        """The event that ends the stream; empty if none ever will. Ask once the chunks end."""
        ...

    async def read(self, offset: int) -> Sequence[bytes]:
        """Return some chunks from ``offset`` on once there are any; none means the end."""
        ...


class Unfinished(NamedTuple):
    """A task that was running when the store was last used."""

    task: UnifiedTask
    request: GenerationRequest | None
    """``None`` when it cannot be read any more."""

    frames: Sequence[bytes]
    """The chunks that it has written."""


class Restored(NamedTuple):
    """What a store has kept from earlier runs of the gateway."""

    runs: int = 0
    """How many runs there were."""

    unfinished: Sequence[Unfinished] = ()


class Store(Protocol):
    """Keeps what the gateway must not forget. What a call has returned from is there to be seen.

    Every task has an ``owner``, any text; to another owner the task is not there. A gateway that
    tells nobody apart uses the empty one. A task has one writer, which waits for each call before
    the next. ``add``, ``advance`` and ``finish`` raise ``StoreError`` and ``UnstorableError``.
    """

    async def open(self) -> Restored:
        """Begin; ``ConfigError`` when what was kept cannot be used. To be called first, once."""
        ...

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

    async def log(self, task_id: str, owner: str = "") -> Log | None:
        """Return the chunks; ``None`` when there is no such task, no stream, or no longer."""
        ...

    async def spent(self, owner: str) -> int:
        """Return how many tasks the owner has made, those that have expired included."""
        ...

    def cut(self) -> None:
        """Cut the readers of unfinished logs off: no more will be written."""
        ...

    async def aclose(self) -> None:
        """Keep what is still to be kept and let go of everything. May be called at any time."""
        ...
