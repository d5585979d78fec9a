"""Rows of a data file as plain values: only the thread of the database knows SQL."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

ChunkRow = tuple[int, int, int, bytes]
"""The key of the task, the number of the chunk, the progress then, and the frame."""


class NewTask(NamedTuple):
    """A task that is to be inserted. The write results in whether its id was free."""

    key: int
    id: str
    owner: str
    answer: bytes
    request: bytes
    credits: float
    kind: str | None = None


class Snapshot(NamedTuple):
    """The newest snapshot of a task as JSON. Only the last one sets the other values."""

    key: int
    answer: bytes
    ended: float | None = None
    closing: bytes | None = None
    credits: float | None = None
    """What the task has cost; ``None`` leaves the stored value."""
    log: Sequence[bytes] = ()
    """All chunks of the task."""


class TaskChange(NamedTuple):
    """What one task writes at once."""

    snapshot: Snapshot | None
    chunks: Sequence[ChunkRow] = ()


class TaskRow(NamedTuple):
    """A stored task."""

    key: int
    owner: str
    answer: bytes
    ended: float | None
    closing: bytes | None


class UnfinishedRow(NamedTuple):
    """A task that had not ended when the file was closed, or its process was killed."""

    key: int
    id: str
    owner: str
    answer: bytes
    request: bytes
    kind: object
    """A text, or null, unless it is damaged."""


class RunningChunks(NamedTuple):
    """The chunks of the tasks that have not ended."""

    chunks: Mapping[int, Sequence[ChunkRow]]
    """The chunks of each task in their order, by its key."""
    is_whole: bool
    """Whether all rows could be read: of a damaged one it is unknown whose chunks it had."""


class StoredState(NamedTuple):
    """What a gateway needs to know of its file before it serves."""

    runs: int
    """The number of earlier runs of the gateway."""
    last_key: int
    """The highest key in use."""
    spent: Mapping[str, float]
    """The credits of the tasks of each owner, the expired ones included."""
    unfinished: Sequence[UnfinishedRow]
    """The tasks that have not ended, oldest first."""
