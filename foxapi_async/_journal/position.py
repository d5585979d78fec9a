"""Positions in the results of a journal, in the order in which their tasks ended."""

import math
from typing import Final

from msgspec import Struct

from foxapi_async._journal.records import Entry, EntryId

# Machines have clocks that differ, and what has ended is written a little later.
_OVERLAP: Final = 60.0


class FinishedEntry(Struct, frozen=True, kw_only=True):
    """An entry whose task has ended, and the position after it."""

    entry: Entry
    """The entry, with its request's key and its task's result."""
    position: str
    """Where a later ``results(after=...)`` goes on. Its text has no meaning for programs."""


class Position(Struct, frozen=True, order=True):
    """The place of an entry among those that have ended; ``str`` gives its text."""

    ended_at: float
    run: str = ""
    number: int = 0

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read what ``str`` wrote; ``ValueError`` for another text."""
        time, _, name = text.partition("@")
        entry_id = EntryId.parse(name)
        try:
            ended_at = float.fromhex(time)
        except (ValueError, OverflowError):
            ended_at = math.nan
        if entry_id is None or "\0" in name or not math.isfinite(ended_at):
            raise ValueError("after: take the position of an entry of an earlier results()")
        return cls(ended_at, entry_id.run, entry_id.number)

    def __str__(self) -> str:
        """Return the text of this position."""
        return f"{self.ended_at.hex()}@{self.run}-{self.number}"


START: Final = Position(0.0)
"""The position before all entries."""


def settled(now: float) -> Position:
    """Return the position up to which no more entries will appear."""
    return Position(now - _OVERLAP)
