"""Buffers the deltas of a stream between its connection and its reader."""

from collections.abc import Iterator, Sequence
from operator import length_hint

from foxapi_async._protocol.accumulator import Accumulator
from foxapi_async._protocol.cursor import Cursor
from foxapi_async._wire.chunk import Delta


class DeltaBuffer:
    """The received deltas of a stream, and which of them were read.

    The iterator ``ready`` yields the unread deltas. ``offset``, ``cursor_text`` and ``accumulated``
    describe the position after the deltas that it has yielded.

    ``stored_tail`` is the part of the stored result that the stream did not deliver. It is read and
    accumulated like a chunk, but does not advance the offset.
    """

    __slots__ = ("_accumulator", "_discarded", "cursor", "ready", "stored_tail")

    def __init__(self, cursor: Cursor) -> None:
        self.cursor: Cursor = cursor
        self.ready: Iterator[Delta] = iter(())
        self.stored_tail: Delta | None = None
        self._accumulator = Accumulator()
        self._discarded = 0

    @property
    def missing_prefix(self) -> bool:
        """Whether this process has not seen all chunks before the position."""
        return not self.cursor.is_verified

    @property
    def unread(self) -> int:
        """The number of received chunks that were not read."""
        return self._discarded + (length_hint(self.ready) if self.stored_tail is None else 0)

    @property
    def offset(self) -> int:
        """The number of chunks of the stream that were read."""
        return self.cursor.offset - self.unread

    def cursor_text(self) -> str:
        """Return the position as a text with which another process can resume the stream."""
        return self.cursor.as_text(unread=self.unread)

    def load(self, deltas: Sequence[Delta]) -> None:
        """Make deltas that the cursor accepted readable, after all earlier ones were read."""
        self.ready = iter(deltas)

    def skip(self) -> None:
        """Count all received deltas as read."""
        self.ready = iter(())

    def discard(self) -> None:
        """Drop the unread deltas; the position stays after the last delta that was read."""
        self.accumulated()
        self._discarded, self.stored_tail = self.unread, None
        self.skip()

    def accumulated(self) -> Accumulator:
        """Return the accumulated chunks that were read."""
        history, total = self.cursor.history, self._accumulator
        read = len(history.contents) - self.unread
        if read > total.chunks:
            total.add(*history.slice(total.chunks, read))
        if self.stored_tail is not None and not length_hint(self.ready):
            total.extend((self.stored_tail,))
            self.stored_tail = None
        return total
