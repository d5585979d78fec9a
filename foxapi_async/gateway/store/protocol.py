"""The interface of the stores, and the values that they return."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from foxapi_async._wire.media_request import MediaRequest
from foxapi_async._wire.request import GenerationRequest
from foxapi_async.gateway.response_structs import UnifiedTask

MAX_SCANNED: Final = 100_000
"""How many tasks ``Store.newest`` searches. A search holds up the writes of other tasks."""

MEDIA: Final = "media"
"""The kind of tasks that make images, videos, audio and documents."""

StoredRequest = GenerationRequest | MediaRequest
"""A request as it is stored."""


class StoreError(Exception):
    """Nothing can be written or read, for example because the disk is full."""


class UnstorableError(Exception):
    """One task has a value that no row can hold. Other tasks are stored."""


class Log(Protocol):
    """The chunks of one task, as a stream reads them."""

    @property
    def closing(self) -> bytes:
        """The event that ends the stream, or nothing. It is known once the chunks end."""
        ...

    async def read(self, offset: int) -> Sequence[bytes]:
        """Return some chunks from ``offset`` on once there are any; none at the end."""
        ...


class Unfinished(NamedTuple):
    """A task that had not ended when the store was last used."""

    task: UnifiedTask
    request: StoredRequest | None
    """``None`` if it cannot be read any more."""

    frames: Sequence[bytes]
    """The chunks that were written."""

    owner: str = ""
    """The owner of the task."""

    kind: str | None = None
    """What answers the task (`ModelKind` or `MEDIA`); ``None`` if it is unknown."""


class Restored(NamedTuple):
    """What earlier runs of the gateway have left in a store."""

    runs: int = 0
    """The number of earlier runs."""

    unfinished: Sequence[Unfinished] = ()


class NumberedTask(NamedTuple):
    """A task in the order in which tasks were added."""

    number: int
    """The number of the task, higher than those of all earlier tasks."""

    snapshot: bytes
    """A snapshot as JSON."""


class Store(Protocol):
    """Stores the tasks of a gateway. When a call returns, its data is stored and visible.

    Each task has an ``owner``, which is any text; it is invisible to other owners. Without keys the
    owner is empty. Only one caller writes a task, and it awaits each call before the next.
    ``add``, ``advance`` and ``finish`` raise ``StoreError`` and ``UnstorableError``.
    """

    async def open(self) -> Restored:
        """Open the store, first and once. ``ConfigError`` if its data cannot be used."""
        ...

    async def add(
        self,
        task: UnifiedTask,
        request: StoredRequest,
        owner: str = "",
        *,
        kind: str | None = None,
    ) -> bool:
        """Add a new task, with a log of chunks if it streams; ``False`` if its id is taken.

        ``kind`` is what answers the task; ``open`` of a later run returns it.
        """
        ...

    async def advance(self, task: UnifiedTask, frames: Sequence[bytes] = ()) -> None:
        """Replace the snapshot of a task and add chunks to its log, both at once."""
        ...

    async def finish(self, task: UnifiedTask, closing: bytes) -> None:
        """Store the last snapshot and end the log. Retention begins now."""
        ...

    async def snapshot(self, task_id: str, owner: str = "") -> bytes | None:
        """Return the newest snapshot as JSON; ``None`` if the owner has no such task."""
        ...

    async def log(self, task_id: str, owner: str = "") -> Log | None:
        """Return the chunks; ``None`` if the owner has no such task, or it has no stream now."""
        ...

    async def spent(self, owner: str) -> float:
        """Return the credits of the tasks of an owner, the expired ones included."""
        ...

    async def newest(self, owner: str, limit: int) -> Sequence[NumberedTask]:
        """Return the newest tasks of an owner, at most ``limit``, the newest first.

        They are found among the last ``MAX_SCANNED`` tasks of all owners.
        """
        ...

    def close_readers(self) -> None:
        """End the logs of running tasks: their readers get no more chunks."""
        ...

    async def aclose(self) -> None:
        """Write what is still waiting, and close the store. It may be called at any time."""
        ...
