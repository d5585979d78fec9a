"""What a reader has of a stream: what came, what of it was read, and what that adds up to."""

from collections.abc import Iterator, Sequence
from operator import length_hint

from foxapi_async._protocol.accumulator import Accumulator
from foxapi_async._protocol.cursor import Cursor
from foxapi_async._wire.chunk import Delta


class DeltaBuffer:
    """Deltas between their stream and their reader.

    ``ready`` gives those that came and were not read. What it gave is what ``offset``,
    ``cursor_text`` and ``accumulated`` speak of. It is added up when somebody asks.

    ``stored_tail`` is what the stored result had beyond the chunks. It is ready as they are, and
    counts for nothing but the sum.
    """

    __slots__ = ("_accumulator", "_discarded", "cursor", "ready", "stored_tail")

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.ready: Iterator[Delta] = iter(())
        self.stored_tail: Delta | None = None
        self._accumulator = Accumulator()
        self._discarded = 0

    @property
    def missing_prefix(self) -> bool:
        """Whether there are chunks before the position that have not been seen here."""
        return not self.cursor.is_verified

    @property
    def unread(self) -> int:
        """How many chunks came and were not read."""
        return self._discarded + (length_hint(self.ready) if self.stored_tail is None else 0)

    @property
    def offset(self) -> int:
        """How many chunks of the stream have been read."""
        return self.cursor.offset - self.unread

    def cursor_text(self) -> str:
        """Return the position as a text from which another process can go on."""
        return self.cursor.as_text(unread=self.unread)

    def load(self, deltas: Sequence[Delta]) -> None:
        """Make ready what the cursor has let through, once all before it was read."""
        self.ready = iter(deltas)

    def skip(self) -> None:
        """Take all that came as read."""
        self.ready = iter(())

    def discard(self) -> None:
        """Give nothing more. The position stays that of the last delta that was read."""
        self.accumulated()
        self._discarded, self.stored_tail = self.unread, None
        self.skip()

    def accumulated(self) -> Accumulator:
        """Return what the chunks that were read add up to."""
        history, total = self.cursor.history, self._accumulator
        read = len(history.contents) - self.unread
        if read > total.chunks:
            total.add(*history.slice(total.chunks, read))
        if self.stored_tail is not None and not length_hint(self.ready):
            total.extend((self.stored_tail,))
            self.stored_tail = None
        return total
