"""Where a reader stands in a stream, and what may be delivered to it after a cut."""

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
    """What a cursor makes of a connection."""

    OK = auto()
    """All is well so far: deliver what `Cursor.accept` returns."""
    COMPLETE = auto()
    """The stream has ended, and everything was delivered."""
    TRUNCATED = auto()
    """The stream says that it has ended, and chunks are missing: the same as any cut."""
    AMBIGUOUS = auto()
    """What came may be new or a replay: reopen at once, at `Cursor.ask`, which settles it."""
    MISMATCH = auto()
    """What came cannot be the stream that was delivered, so nothing may follow: give up."""


class StreamEnd(Struct, frozen=True, gc=False):
    """What the normal end of a stream means: the last deltas to deliver, and then the verdict."""

    deltas: Sequence[Delta]
    state: CursorState


class Cursor:
    """Counts the delivered chunks and lets none through twice, or out of its place.

    A server may honour ``?offset=N``, ignore it and replay from 0 (contract §15 no. 9), or begin
    some chunks before ``N``. After a cut the cursor asks for ``N`` and holds what comes while it
    equals what was delivered from some place on. The first chunk that fits no place proves that the
    offset was honoured: what was held is new. Held chunks that reach the end of what was delivered
    are a replay, or new ones of a stream that repeats itself; then the cursor asks for 0, where
    every server must send the same, and skips ``N``. It asks for 0 too where it has nothing to
    compare with: after ``parse``, and with a bare ``offset``; and where `needs_full_replay` is set,
    because a chunk cannot be counted or read without those before it.

    So all that is delivered is right as long as the service replays what it sent. What it does not
    replay shows in the count at the end, or in the stored result; then ``doubtful_from`` tells
    which chunks cannot be relied on. Held and skipped chunks have been seen by nobody; a cut drops
    them.

    Every delivered chunk costs one entry of ``history``; it is compared only after a cut, once
    per connection. At most ``N`` chunks and those of one read are held.
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
            raise ConfigError(f"the offset of a stream counts chunks, it cannot be {offset}")
        self._expected = CursorToken(offset)
        # Whether the stored result has taken the place of all that was still to come.
        self.ended: bool = False
        # Whether every connection has to begin with the first chunk.
        self.needs_full_replay: bool = False
        # The first delivered chunk that no connection from the start has shown to be in its place.
        self.doubtful_from: int | None = None
        # What was delivered, and what came before the position that `parse` or a bare offset began
        # at, once it came by: never delivered, but part of what the stream said.
        self.history: ChunkHistory = ChunkHistory()
        self._digest = RunningDigest()
        # When a replay could last not be told from new chunks: how many chunks were delivered, and
        # what the connection began with.
        self._ambiguous_at: int | None = None
        self._first_received: ChunkContent | None = None
        self.begin_connection()

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Return a cursor at the position that `as_text` wrote, or raise ``ConfigError``."""
        position = CursorToken.parse(text)
        cursor = cls(position.offset)
        cursor._expected = position
        cursor.ended = position.ended
        return cursor

    def as_text(self, *, unread: int = 0) -> str:
        """Return the position, or the one ``unread`` chunks before it, as a short opaque text.

        O(n) over the whole stream, however often it is asked for a position that only grows.
        """
        position = self._expected
        if self.is_verified:
            said = self.history.contents
            position = self._digest.token_at(said, len(said) - unread)
        return replace(position, ended=self.ended).as_text()

    @property
    def offset(self) -> int:
        """How many chunks were delivered, by this reader and those whose position it took over."""
        return max(len(self.history.contents), self._expected.offset)

    @property
    def in_sync(self) -> bool:
        """Whether all that this connection brings from now on is new, and will be let through."""
        return self._in_sync

    @property
    def request_offset(self) -> int:
        """The ``?offset=`` of the next connection."""
        if self.needs_full_replay or not self.is_verified or self._expects_replay():
            return 0
        return len(self.history.contents)

    def begin_connection(self) -> None:
        """Begin a connection, opened with ``?offset=`` as `request_offset` said."""
        self._requested_offset = self.request_offset
        self._held: list[Delta] = []
        # Where in what was delivered the held chunks could come from.
        self._candidates: Sequence[int] = range(len(self.history.contents))
        self._skipped = 0
        self._in_sync = self.offset == 0
        self.state: CursorState = CursorState.OK

    def accept(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Take in what the connection brought and return what may be delivered.

        Then look at ``state``: unless it is ``OK``, the connection has nothing more to give
        but an end that came in the same read.
        """
        if self._in_sync:
            return self.history.extend(deltas)
        if not deltas:
            return ()
        return self._compare(deltas) if self._requested_offset else self._skip(deltas)

    def finish(self, done: StreamDone, *, blank_events: int = 0) -> StreamEnd:
        """Decide what the normal end means: is ``total_chunks`` what was received (contract §6)?

        ``blank_events`` are chunk events of this connection that had no chunk in them: the service
        may have counted them. Without a total the end is only the end of what it sent.
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
        """Return what a stored text has beyond the delivered one, ``None`` if they differ."""
        if self.is_verified:
            return missing_suffix("".join(map(chunk_text, self.history.contents)), stored)
        return stored[self._expected.text_length :] if self._expected.is_prefix_of(stored) else None

    def record_mismatch(self, stored: str) -> None:
        """Take in that a stored text does not continue the delivered one: some of it is wrong."""
        at = 0
        for number, text in enumerate(map(chunk_text, self.history.contents)):
            if not stored.startswith(text, at):
                doubtful = self.doubtful_from
                self.doubtful_from = number if doubtful is None else min(number, doubtful)
                return
            at += len(text)

    @property
    def is_verified(self) -> bool:
        """Whether every chunk before the position has been seen here."""
        return len(self.history.contents) >= self._expected.offset

    @property
    def _seen(self) -> int:
        """How many chunks of the stream came by, delivered or not, as this connection shows it."""
        if self._in_sync or self._requested_offset:
            return len(self.history.contents) + len(self._held)
        return self._skipped

    def _expects_replay(self) -> bool:
        """Tell whether to ask for 0: in doubt, or knowing since that the doubtful server replayed.

        Had it honoured the offset, the chunk that came next would be the one that it began with.
        """
        doubted, delivered = self._ambiguous_at, self.history.contents
        if doubted is None:
            return False
        return len(delivered) == doubted or delivered[doubted] != self._first_received

    def _compare(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Hold what equals delivered chunks; where it fits nowhere any more, release it."""
        delivered = self.history.contents
        first = len(self._held)
        self._held.extend(deltas)
        for number, said in enumerate(map(content_of, deltas), first):
            if not number:
                self._first_received = said
            self._candidates = [at for at in self._candidates if delivered[at + number] == said]
            if not self._candidates:
                return self._release()
            if self._candidates[-1] + number + 1 == len(delivered):
                self._mark_ambiguous()
                return ()
        return ()

    def _release(self) -> Sequence[Delta]:
        """Deliver what was held: the server honoured the offset."""
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
        """Let pass what was delivered before, comparing it; deliver what follows."""
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
        """Compare chunks with those that were delivered in their place."""
        delivered = self.history.contents
        for number, said in enumerate(map(content_of, again), self._skipped):
            if delivered[number] != said:
                self.doubtful_from = number
                return False
        return True

    def _adopt_skipped(self) -> bool:
        """Take the skipped chunks for those before the position, if its digest agrees."""
        past = list(map(content_of, self._held))
        claim = self._expected.chunks_digest
        if claim and claim != self._digest.token_at(past, len(past)).chunks_digest:
            return False
        self.history.extend(self._held)
        self._held = []
        return True

    def _end_state(self, total: int | None) -> CursorState:
        """Return the verdict at the end of a stream that was followed."""
        delivered = len(self.history.contents)
        if total is None or total == delivered:
            return CursorState.COMPLETE
        if self._requested_offset:
            # What looked new was not, or not the next; or the server counts one connection's.
            return self._mark_ambiguous()
        if total > delivered:
            return CursorState.TRUNCATED
        self.doubtful_from = max(total, 0)
        return CursorState.MISMATCH

    def _end_state_while_skipping(self, total: int | None) -> CursorState:
        """Return the verdict at an end before the position was reached."""
        if total is not None and total > self._skipped:
            return CursorState.TRUNCATED
        # Nothing is known of a bare offset but that the stream has nothing beyond it.
        return (
            CursorState.MISMATCH
            if self.history.contents or self._expected.chunks_digest
            else CursorState.COMPLETE
        )

    def _resolve_held(self, total: int | None) -> Sequence[Delta]:
        """Decide at the end about what is held."""
        if total == self._seen or (total is None and not self._held):
            self.state = CursorState.COMPLETE
            return self._release()
        self._mark_ambiguous()
        return ()
