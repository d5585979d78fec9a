"""Where a reader stands in a stream, and what may be delivered to it after a cut."""

from collections.abc import Sequence
from enum import Enum, auto

from msgspec import Struct
from msgspec.structs import replace

from foxapi_async._protocol.accumulator import missing_suffix
from foxapi_async._protocol.chunk_history import ChunkContent, ChunkHistory, content_of
from foxapi_async._protocol.cursor_token import CursorToken, RunningDigest, text_of
from foxapi_async._wire.chunk import Delta, StreamDone
from foxapi_async.errors import ConfigError


class CursorState(Enum):
    """What a cursor makes of a connection."""

    GOING = auto()
    """All is well so far: deliver what `Cursor.accept` returns."""
    COMPLETE = auto()
    """The stream has ended, and everything was delivered."""
    CUT = auto()
    """The stream says that it has ended, and chunks are missing: the same as any cut."""
    DOUBT = auto()
    """What came may be new or a replay: reopen at once, at `Cursor.ask`, which settles it."""
    CONFLICT = auto()
    """What came cannot be the stream that was delivered, so nothing may follow: give up."""


class StreamEnd(Struct, frozen=True, gc=False):
    """What the normal end of a stream means: the last deltas to deliver, and then the verdict."""

    deltas: Sequence[Delta]
    verdict: CursorState


class Cursor:
    """Counts the delivered chunks and lets none through twice, or out of its place.

    A server may honour ``?offset=N``, ignore it and replay from 0 (contract §15 no. 9), or begin
    some chunks before ``N``. After a cut the cursor asks for ``N`` and holds what comes while it
    equals what was delivered from some place on. The first chunk that fits no place proves that
    the offset was honoured: what was held is new. Held chunks that reach the end of what was
    delivered are a replay, or new ones of a stream that repeats itself; then the cursor asks for
    0, where every server must send the same, and skips ``N``. It asks for 0 too where it has
    nothing to compare with: after ``parse``, and with a bare ``offset``; and where `starts_over`
    is set, because a chunk cannot be counted or read without those before it.

    So all that is delivered is right as long as the service replays what it sent. What it does not
    replay shows in the count at the end, or in the stored result; then ``doubtful_from`` tells
    which chunks cannot be relied on. Held and skipped chunks have been seen by nobody; a cut drops
    them.

    Every delivered chunk costs one entry of ``transcript``; it is compared only after a cut, once
    per connection. At most ``N`` chunks and those of one read are held.
    """

    __slots__ = (
        "_asked",
        "_claim",
        "_doubted",
        "_first",
        "_following",
        "_held",
        "_places",
        "_skipped",
        "_surveyor",
        "doubtful_from",
        "ended",
        "starts_over",
        "transcript",
        "verdict",
    )

    def __init__(self, offset: int = 0) -> None:
        if offset < 0:
            raise ConfigError(f"the offset of a stream counts chunks, it cannot be {offset}")
        self._claim = CursorToken(offset)
        # Whether the stored result has taken the place of all that was still to come.
        self.ended: bool = False
        # Whether every connection has to begin with the first chunk.
        self.starts_over: bool = False
        # The first delivered chunk that no connection from the start has shown to be in its place.
        self.doubtful_from: int | None = None
        # What was delivered, and what came before the position that `parse` or a bare offset began
        # at, once it came by: never delivered, but part of what the stream said.
        self.transcript: ChunkHistory = ChunkHistory()
        self._surveyor = RunningDigest()
        # When a replay could last not be told from new chunks: how many chunks were delivered, and
        # what the connection began with.
        self._doubted: int | None = None
        self._first: ChunkContent | None = None
        self.reopened()

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Return a cursor at the position that `as_text` wrote, or raise ``ConfigError``."""
        position = CursorToken.parse(text)
        cursor = cls(position.offset)
        cursor._claim = position
        cursor.ended = position.ended
        return cursor

    def as_text(self, *, unread: int = 0) -> str:
        """Return the position, or the one ``unread`` chunks before it, as a short opaque text.

        O(n) over the whole stream, however often it is asked for a position that only grows.
        """
        position = self._claim
        if self.is_proved:
            said = self.transcript.said
            position = self._surveyor.position(said, len(said) - unread)
        return replace(position, ended=self.ended).as_text()

    @property
    def offset(self) -> int:
        """How many chunks were delivered, by this reader and those whose position it took over."""
        return max(len(self.transcript.said), self._claim.offset)

    @property
    def follows(self) -> bool:
        """Whether all that this connection brings from now on is new, and will be let through."""
        return self._following

    @property
    def ask(self) -> int:
        """The ``?offset=`` of the next connection."""
        if self.starts_over or not self.is_proved or self._expects_replay():
            return 0
        return len(self.transcript.said)

    def reopened(self) -> None:
        """Begin a connection, opened with ``?offset=`` as `ask` said."""
        self._asked = self.ask
        self._held: list[Delta] = []
        # Where in what was delivered the held chunks could come from.
        self._places: Sequence[int] = range(len(self.transcript.said))
        self._skipped = 0
        self._following = self.offset == 0
        self.verdict: CursorState = CursorState.GOING

    def accept(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Take in what the connection brought and return what may be delivered.

        Then look at ``verdict``: unless it is ``GOING``, the connection has nothing more to give
        but an end that came in the same read.
        """
        if self._following:
            return self.transcript.extend(deltas)
        if not deltas:
            return ()
        return self._compare(deltas) if self._asked else self._skip(deltas)

    def finish(self, done: StreamDone, *, blanks: int = 0) -> StreamEnd:
        """Decide what the normal end means: is ``total_chunks`` what was received (contract §6)?

        ``blanks`` are chunk events of this connection that had no chunk in them: the service may
        have counted them. Without a total the end is only the end of what it sent.
        """
        total = done.total_chunks
        if blanks and total == self._received + blanks:
            total = self._received
        last: Sequence[Delta] = ()
        if self._following:
            self.verdict = self._judge(total)
        elif self._asked:
            last = self._settle(total)
        elif self.verdict is CursorState.GOING:
            self.verdict = self._judge_skipped(total)
        return StreamEnd(last, self.verdict)

    def suffix(self, stored: str) -> str | None:
        """Return what a stored text has beyond the delivered one, ``None`` if they differ."""
        if self.is_proved:
            return missing_suffix("".join(map(text_of, self.transcript.said)), stored)
        return stored[self._claim.length :] if self._claim.begins(stored) else None

    def contradicted_by(self, stored: str) -> None:
        """Take in that a stored text does not continue the delivered one: some of it is wrong."""
        at = 0
        for number, text in enumerate(map(text_of, self.transcript.said)):
            if not stored.startswith(text, at):
                doubtful = self.doubtful_from
                self.doubtful_from = number if doubtful is None else min(number, doubtful)
                return
            at += len(text)

    @property
    def is_proved(self) -> bool:
        """Whether every chunk before the position has been seen here."""
        return len(self.transcript.said) >= self._claim.offset

    @property
    def _received(self) -> int:
        """How many chunks of the stream came by, delivered or not, as this connection shows it."""
        if self._following or self._asked:
            return len(self.transcript.said) + len(self._held)
        return self._skipped

    def _expects_replay(self) -> bool:
        """Tell whether to ask for 0: in doubt, or knowing since that the doubtful server replayed.

        Had it honoured the offset, the chunk that came next would be the one that it began with.
        """
        doubted, delivered = self._doubted, self.transcript.said
        if doubted is None:
            return False
        return len(delivered) == doubted or delivered[doubted] != self._first

    def _compare(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Hold what equals delivered chunks; where it fits nowhere any more, release it."""
        delivered = self.transcript.said
        first = len(self._held)
        self._held.extend(deltas)
        for number, said in enumerate(map(content_of, deltas), first):
            if not number:
                self._first = said
            self._places = [at for at in self._places if delivered[at + number] == said]
            if not self._places:
                return self._release()
            if self._places[-1] + number + 1 == len(delivered):
                self._doubt()
                return ()
        return ()

    def _release(self) -> Sequence[Delta]:
        """Deliver what was held: the server honoured the offset."""
        released, self._held = self._held, []
        self._following = True
        if self.doubtful_from is None:
            self.doubtful_from = len(self.transcript.said)
        return self.transcript.extend(released)

    def _doubt(self) -> CursorState:
        self._doubted = len(self.transcript.said)
        self.verdict = CursorState.DOUBT
        return self.verdict

    def _skip(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Let pass what was delivered before, comparing it; deliver what follows."""
        missing = self.offset - self._skipped
        again, new = deltas[:missing], deltas[missing:]
        if self.is_proved:
            is_same = self._is_replay(again)
        else:
            self._held.extend(again)
            is_same = len(again) < missing or self._recover()
        if not is_same:
            self.verdict = CursorState.CONFLICT
            return ()
        self._skipped += len(again)
        self._following = self._skipped == self.offset
        if self._following:
            self.doubtful_from = None
        return self.accept(new) if self._following else ()

    def _is_replay(self, again: Sequence[Delta]) -> bool:
        """Compare chunks with those that were delivered in their place."""
        delivered = self.transcript.said
        for number, said in enumerate(map(content_of, again), self._skipped):
            if delivered[number] != said:
                self.doubtful_from = number
                return False
        return True

    def _recover(self) -> bool:
        """Take the skipped chunks for those before the position, if its digest agrees."""
        past = list(map(content_of, self._held))
        claim = self._claim.chunks
        if claim and claim != self._surveyor.position(past, len(past)).chunks:
            return False
        self.transcript.extend(self._held)
        self._held = []
        return True

    def _judge(self, total: int | None) -> CursorState:
        """Return the verdict at the end of a stream that was followed."""
        delivered = len(self.transcript.said)
        if total is None or total == delivered:
            return CursorState.COMPLETE
        if self._asked:
            # What looked new was not, or not the next; or the server counts one connection's.
            return self._doubt()
        if total > delivered:
            return CursorState.CUT
        self.doubtful_from = max(total, 0)
        return CursorState.CONFLICT

    def _judge_skipped(self, total: int | None) -> CursorState:
        """Return the verdict at an end before the position was reached."""
        if total is not None and total > self._skipped:
            return CursorState.CUT
        # Nothing is known of a bare offset but that the stream has nothing beyond it.
        return (
            CursorState.CONFLICT
            if self.transcript.said or self._claim.chunks
            else CursorState.COMPLETE
        )

    def _settle(self, total: int | None) -> Sequence[Delta]:
        """Decide at the end about what is held."""
        if total == self._received or (total is None and not self._held):
            self.verdict = CursorState.COMPLETE
            return self._release()
        self._doubt()
        return ()
