"""Tracks the position in a stream, and which chunks may be delivered after a reconnect."""

from collections.abc import Sequence
from enum import Enum, auto

from msgspec import Struct
from msgspec.structs import replace

from foxapi_async._protocol.chunk_history import ChunkContent, ChunkHistory, content_of
from foxapi_async._protocol.completion_merge import missing_suffix
from foxapi_async._protocol.cursor_token import CursorToken, RunningDigest, chunk_text
from foxapi_async._wire.chunk import Delta, StreamDone
from foxapi_async.errors import ConfigError


class CursorState(Enum):
    """The state of a connection, as the cursor sees it."""

    OK = auto()
    """Deliver what `Cursor.accept` returns."""
    COMPLETE = auto()
    """The stream has ended, and all chunks were delivered."""
    TRUNCATED = auto()
    """The stream has ended with chunks missing; reconnect as after any lost connection."""
    AMBIGUOUS = auto()
    """The chunks may be new or a replay: reconnect at once, at `Cursor.request_offset`."""
    MISMATCH = auto()
    """The chunks contradict the delivered ones, so that no chunk may follow: give up."""


class StreamEnd(Struct, frozen=True, gc=False):
    """What the normal end of a stream means: the last deltas to deliver, and the final state."""

    deltas: Sequence[Delta]
    state: CursorState


class Cursor:
    """Counts the delivered chunks; delivers every chunk once and in its place.

    A server may honour ``?offset=N``, ignore it and replay from 0 (contract §15 no. 9), or begin a
    few chunks before ``N``. So after a reconnect at ``N`` the cursor holds the received chunks
    while they equal a run of delivered ones. The first chunk that continues no such run proves that
    the server honoured the offset: the held chunks are new. If the held chunks reach the end of the
    delivered ones, they are a replay, or new chunks of a stream that repeats itself. Then the
    cursor requests offset 0, where every server must send the same chunks, and skips ``N`` of them.
    It also requests 0 if it has no chunks to compare with (after ``parse``, or with a bare
    ``offset``), and if `needs_full_replay` is set.

    The delivered chunks are right if the service replays what it sent. If it does not, the count at
    the end or the stored result shows it, and ``doubtful_from`` is the first chunk that cannot be
    relied on. Held and skipped chunks are never delivered before that is decided; a lost connection
    drops them.

    Every delivered chunk adds one entry to ``history``, and is compared at most once per connection
    after a reconnect. At most ``N`` chunks and those of one read are held.
    """

    __slots__ = (
        "_ambiguous_at",
        "_candidates",
        "_digest",
        "_expected",
        "_first_received",
        "_held",
        "_in_sync",
        "_requested_offset",
        "_skipped",
        "doubtful_from",
        "ended",
        "history",
        "needs_full_replay",
        "state",
    )

    def __init__(self, offset: int = 0) -> None:
        if offset < 0:
            raise ConfigError(f"the offset of a stream counts chunks, so it cannot be {offset}")
        self._expected = CursorToken(offset)
        # Whether the stored result has replaced the rest of the stream.
        self.ended: bool = False
        # Whether every connection has to begin with the first chunk.
        self.needs_full_replay: bool = False
        # The first delivered chunk that no full replay has confirmed; `None` if all are confirmed.
        self.doubtful_from: int | None = None
        # The delivered chunks, and before them those that precede the position of `parse` or a bare
        # offset, once they were received: never delivered, but part of the stream.
        self.history: ChunkHistory = ChunkHistory()
        self._digest = RunningDigest()
        # Number of delivered chunks at the last ambiguous reconnect, and the first chunk after it.
        self._ambiguous_at: int | None = None
        self._first_received: ChunkContent | None = None
        self.begin_connection()

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Return a cursor at the position of ``text``; raise ``ConfigError`` for a wrong text."""
        token = CursorToken.parse(text)
        cursor = cls(token.offset)
        cursor._expected = token
        cursor.ended = token.ended
        return cursor

    def as_text(self, *, unread: int = 0) -> str:
        """Return the position ``unread`` chunks before the current one, as an opaque text.

        All calls together take O(n) for a stream of n chunks, if the position only grows.
        """
        token = self._expected
        if self.is_verified:
            contents = self.history.contents
            token = self._digest.token_at(contents, len(contents) - unread)
        return replace(token, ended=self.ended).as_text()

    @property
    def offset(self) -> int:
        """The number of delivered chunks, those before the parsed position included."""
        return max(len(self.history.contents), self._expected.offset)

    @property
    def in_sync(self) -> bool:
        """Whether all further chunks of this connection are new and will be accepted."""
        return self._in_sync

    @property
    def request_offset(self) -> int:
        """The ``?offset=`` of the next connection."""
        if self.needs_full_replay or not self.is_verified or self._expects_replay():
            return 0
        return len(self.history.contents)

    def begin_connection(self) -> None:
        """Begin a connection that was opened with ``?offset=`` `request_offset`."""
        self._requested_offset = self.request_offset
        self._held: list[Delta] = []
        # The offsets in the delivered chunks at which the held ones could have begun.
        self._candidates: Sequence[int] = range(len(self.history.contents))
        self._skipped = 0
        self._in_sync = self.offset == 0
        self.state: CursorState = CursorState.OK

    def accept(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Add received chunks and return those to deliver.

        Check ``state`` afterwards: unless it is ``OK``, the connection is of no further use, except
        for an end that arrived in the same read.
        """
        if self._in_sync:
            return self.history.extend(deltas)
        if not deltas:
            return ()
        return self._compare(deltas) if self._requested_offset else self._skip(deltas)

    def finish(self, done: StreamDone, *, blank_events: int = 0) -> StreamEnd:
        """Decide what the normal end means, by comparing ``total_chunks`` (contract §6).

        Args:
            done: The end of the stream. Without ``total_chunks``, the stream counts as complete.
            blank_events: Chunk events of this connection without a chunk. The service may have
                counted them.

        Returns:
            The last deltas to deliver, and the final state.
        """
        total = done.total_chunks
        if blank_events and total == self._seen + blank_events:
            total = self._seen
        last: Sequence[Delta] = ()
        if self._in_sync:
            self.state = self._end_state(total)
        elif self._requested_offset:
            last = self._resolve_held(total)
        elif self.state is CursorState.OK:
            self.state = self._end_state_while_skipping(total)
        return StreamEnd(last, self.state)

    def suffix(self, stored: str) -> str | None:
        """Return the rest of a stored text after the delivered one; ``None`` if they differ."""
        if self.is_verified:
            return missing_suffix("".join(map(chunk_text, self.history.contents)), stored)
        return stored[self._expected.text_length :] if self._expected.is_prefix_of(stored) else None

    def record_mismatch(self, stored: str) -> None:
        """Set ``doubtful_from`` to the first delivered chunk that ``stored`` contradicts."""
        at = 0
        for number, text in enumerate(map(chunk_text, self.history.contents)):
            if not stored.startswith(text, at):
                first = self.doubtful_from
                self.doubtful_from = number if first is None else min(number, first)
                return
            at += len(text)

    @property
    def is_verified(self) -> bool:
        """Whether this process has seen all chunks before the position."""
        return len(self.history.contents) >= self._expected.offset

    @property
    def _seen(self) -> int:
        """The number of chunks of the stream up to now, as this connection counts them."""
        if self._in_sync or self._requested_offset:
            return len(self.history.contents) + len(self._held)
        return self._skipped

    def _expects_replay(self) -> bool:
        """Tell whether to request offset 0.

        That is while the state is ambiguous, and afterwards if the server had replayed: then the
        chunk after the ambiguous position is not the one that the connection began with.
        """
        at, delivered = self._ambiguous_at, self.history.contents
        if at is None:
            return False
        return len(delivered) == at or delivered[at] != self._first_received

    def _compare(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Hold chunks while they equal delivered ones; release them at the first difference."""
        delivered = self.history.contents
        first = len(self._held)
        self._held.extend(deltas)
        for number, content in enumerate(map(content_of, deltas), first):
            if not number:
                self._first_received = content
            self._candidates = [at for at in self._candidates if delivered[at + number] == content]
            if not self._candidates:
                return self._release()
            if self._candidates[-1] + number + 1 == len(delivered):
                self._mark_ambiguous()
                return ()
        return ()

    def _release(self) -> Sequence[Delta]:
        """Deliver the held chunks, because the server honoured the offset."""
        released, self._held = self._held, []
        self._in_sync = True
        if self.doubtful_from is None:
            self.doubtful_from = len(self.history.contents)
        return self.history.extend(released)

    def _mark_ambiguous(self) -> CursorState:
        self._ambiguous_at = len(self.history.contents)
        self.state = CursorState.AMBIGUOUS
        return self.state

    def _skip(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Compare and skip chunks that were delivered before; deliver the ones after them."""
        missing = self.offset - self._skipped
        again, new = deltas[:missing], deltas[missing:]
        if self.is_verified:
            is_same = self._is_replay(again)
        else:
            self._held.extend(again)
            is_same = len(again) < missing or self._adopt_skipped()
        if not is_same:
            self.state = CursorState.MISMATCH
            return ()
        self._skipped += len(again)
        self._in_sync = self._skipped == self.offset
        if self._in_sync:
            self.doubtful_from = None
        return self.accept(new) if self._in_sync else ()

    def _is_replay(self, again: Sequence[Delta]) -> bool:
        """Tell whether the chunks equal the delivered ones at the same offsets."""
        delivered = self.history.contents
        for number, content in enumerate(map(content_of, again), self._skipped):
            if delivered[number] != content:
                self.doubtful_from = number
                return False
        return True

    def _adopt_skipped(self) -> bool:
        """Use the skipped chunks as those before the position, if their digest matches."""
        contents = list(map(content_of, self._held))
        expected = self._expected.chunks_digest
        if expected and expected != self._digest.token_at(contents, len(contents)).chunks_digest:
            return False
        self.history.extend(self._held)
        self._held = []
        return True

    def _end_state(self, total: int | None) -> CursorState:
        """Return the state at the end of a connection that was in sync."""
        delivered = len(self.history.contents)
        if total is None or total == delivered:
            return CursorState.COMPLETE
        if self._requested_offset:
            # The chunks were a replay, or some are missing, or the server counts one connection.
            return self._mark_ambiguous()
        if total > delivered:
            return CursorState.TRUNCATED
        self.doubtful_from = max(total, 0)
        return CursorState.MISMATCH

    def _end_state_while_skipping(self, total: int | None) -> CursorState:
        """Return the state at an end before the position was reached."""
        if total is not None and total > self._skipped:
            return CursorState.TRUNCATED
        # Of a bare offset it is known only that the stream has no chunk after it.
        return (
            CursorState.MISMATCH
            if self.history.contents or self._expected.chunks_digest
            else CursorState.COMPLETE
        )

    def _resolve_held(self, total: int | None) -> Sequence[Delta]:
        """Decide at the end whether the held chunks are delivered."""
        if total == self._seen or (total is None and not self._held):
            self.state = CursorState.COMPLETE
            return self._release()
        self._mark_ambiguous()
        return ()
