"""What a reader has of a stream: what came, what of it was read, and what that adds up to."""

from collections.abc import Iterator, Sequence
from operator import length_hint
from typing import Final

from foxapi_async._protocol.accumulate import Accumulator
from foxapi_async._protocol.cursor import Cursor
from foxapi_async._wire.chunk import Delta

MANY: Final = 64
"""So many deltas are worth settling: to do it at once costs each of them half."""


class Intake:
    """Deltas between their stream and their reader.

    ``ready`` gives those that came and were not read. What it gave is what ``offset``,
    ``cursor_text`` and ``settled`` speak of.

    The cursor and the accumulator are told late, of many deltas at once. Until then these wait in
    ``backlog``: whoever follows a stream that goes on as usual may add to it, and has to `settle`
    before he asks the cursor anything.
    """

    __slots__ = (
        "_accumulator",
        "_counted",
        "_lacks_past",
        "_thrown_away",
        "backlog",
        "cursor",
        "ready",
    )

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.ready: Iterator[Delta] = iter(())
        self.backlog: list[Delta] = []
        # How many of the backlog the cursor counts already.
        self._counted = 0
        self._accumulator = Accumulator()
        self._lacks_past = cursor.offset > 0
        self._thrown_away = 0

    @property
    def lacks_past(self) -> bool:
        """Whether there are chunks before the position that have not been seen here."""
        return self._lacks_past

    @property
    def is_plain(self) -> bool:
        """Whether what comes next is new for certain, so that it may go into the backlog."""
        return self.cursor.follows and not self._lacks_past

    @property
    def unread(self) -> int:
        """How many deltas came and were not read."""
        return self._thrown_away + length_hint(self.ready)

    @property
    def offset(self) -> int:
        """How many chunks of the stream have been read."""
        return self.cursor.offset + len(self.backlog) - self._counted - self.unread

    def cursor_text(self) -> str:
        """Return the position as a text from which another process can go on."""
        self.settle()
        return self.cursor.as_text(unread=self.unread)

    def take(self, deltas: Sequence[Delta]) -> None:
        """Make ready what the cursor has let through, once all before it was read."""
        self.settle()
        if self._lacks_past and self.cursor.recovered:
            # What came before the position that this reader began at, now that it was replayed.
            self._lacks_past = False
            self._accumulator.extend(self.cursor.recovered)
            self.cursor.recovered = ()
        self.backlog += deltas
        self._counted = len(self.backlog)
        self.ready = iter(deltas)

    def skip(self) -> None:
        """Take all that came as read."""
        self.ready = iter(())

    def throw_away(self) -> None:
        """Give nothing more. The position stays that of the last delta that was read."""
        self.settle()
        self._thrown_away = self.unread
        self.backlog.clear()
        self._counted = 0
        self.skip()

    def settle(self) -> None:
        """Tell the cursor of all that came, and the accumulator of all that was read."""
        backlog = self.backlog
        if self._counted < len(backlog):
            self.cursor.accept(backlog[self._counted :])
        read = len(backlog) - length_hint(self.ready)
        self._accumulator.extend(backlog[:read])
        del backlog[:read]
        self._counted = len(backlog)

    def settled(self) -> Accumulator:
        """Return what the chunks that were read add up to."""
        self.settle()
        return self._accumulator
