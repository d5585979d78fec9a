"""What is written in one transaction."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]
# The key of the task, the number of the chunk in it, the progress then, and the frame.
ChunkRow = tuple[int, int, int, bytes]


class Batch:
    """Rows that are to be written together, and those who wait for it."""

    __slots__ = ("chunks", "tasks", "updates", "waiters")

    def __init__(self) -> None:
        self.tasks: list[Row] = []
        self.chunks: list[ChunkRow] = []
        self.updates: list[Row] = []
        self.waiters: list[tuple[int, asyncio.Future[bool]]] = []
        """The key of the task that each of them waits for."""

    def split(self) -> Iterable["Batch"]:
        """Return the same rows and waiters as one batch for each task."""
        parts: defaultdict[int, Batch] = defaultdict(Batch)
        for row in self.tasks:
            parts[row["key"]].tasks.append(row)
        for chunk in self.chunks:
            parts[chunk[0]].chunks.append(chunk)
        for row in self.updates:
            parts[row["of"]].updates.append(row)
        for key, waiter in self.waiters:
            parts[key].waiters.append((key, waiter))
        return parts.values()
