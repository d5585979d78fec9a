"""Laws of the cursor: each chunk once and in order, from any server, after any disconnects."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.chunk_history import content_of
from foxapi_async._protocol.cursor import Cursor, CursorState
from foxapi_async._wire.chunk import Delta, DeltaChoice, DeltaMessage, StreamDone
from foxapi_async.errors import ConfigError


def chunk(text: str, *, stamp: int = 0) -> Delta:
    """Build a chunk; a server changes ``stamp`` at each connection."""
    message = DeltaMessage(content=text)
    return Delta(id=f"c{stamp}", created=stamp, choices=(DeltaChoice(delta=message),))


def texts(deltas: Sequence[Delta]) -> str:
    """Join the texts."""
    return "".join(delta.text for delta in deltas)


class Connection(NamedTuple):
    """One connection: its first chunk, its end, and the number of chunks in a read.

    The server begins ``early`` chunks before the offset; with ``None`` it ignores the offset.
    """

    early: int | None
    cut: int | None
    group: int


class ReplayServer:
    """A service that replays one stream; the last connection is not cut."""

    def __init__(self, stream: str, connections: Sequence[Connection], totals: str) -> None:
        self.stream = stream
        self.connections = list(connections)
        self.totals = totals
        self.opened: list[int] = []

    def open(self, offset: int) -> tuple[list[list[Delta]], StreamDone | None]:
        """Return the reads of one connection, and its "done" event if it is not cut."""
        early, cut, group = self.connections.pop(0) if self.connections else Connection(0, None, 3)
        self.opened.append(offset)
        text = self.stream[0 if early is None else max(offset - early, 0) :]
        chunks = [chunk(letter, stamp=len(self.opened)) for letter in text[:cut]]
        reads = [chunks[at : at + group] for at in range(0, len(chunks), group)]
        if cut is not None:
            return reads, None
        totals = {"task": len(self.stream), "connection": len(text), "none": None}
        return reads, StreamDone(total_chunks=totals[self.totals])


def follow(cursor: Cursor, server: ReplayServer, delivered: list[Delta]) -> CursorState:
    """Read to the end as the client does; check the delivered text after every read."""
    start = cursor.offset

    def deliver(deltas: Sequence[Delta]) -> None:
        delivered.extend(deltas)
        assert server.stream[start:].startswith(texts(delivered))
        assert cursor.offset == start + len(delivered)

    for _ in range(4 * len(server.stream) + 4 * len(server.connections) + 8):
        asked = cursor.request_offset
        cursor.begin_connection()
        reads, done = server.open(asked)
        deltas: Sequence[Delta] = ()
        for deltas in reads:
            deliver(cursor.accept(deltas))
            if cursor.state is not CursorState.OK:
                break
        if cursor.state is CursorState.MISMATCH:
            return cursor.state
        is_last = cursor.state is CursorState.OK or deltas is reads[-1]
        if done is not None and is_last:
            ending = cursor.finish(done)
            deliver(ending.deltas)
            if ending.state in {CursorState.COMPLETE, CursorState.MISMATCH}:
                return ending.state
    raise AssertionError("the stream did not end")


early = st.sampled_from([0, 0, 1, 2, 3, None])
connections = st.lists(
    st.builds(Connection, early, st.integers(0, 12), st.integers(1, 5)), max_size=6
)
repetitive = st.one_of(
    st.text("ab", max_size=14),
    st.builds(lambda part, times: part * times, st.text("abc", max_size=4), st.integers(0, 5)),
)
totals = st.sampled_from(["task", "connection", "none"])


@given(repetitive, connections, totals, early, st.integers(1, 5))
def test_each_chunk_once_and_in_order(
    stream: str, cuts: list[Connection], total: str, early: int | None, group: int
) -> None:
    """All chunks are delivered if servers use the offset, ignore it, or begin before it."""
    server = ReplayServer(stream, [*cuts, *[Connection(early, None, group)] * 4], total)
    delivered: list[Delta] = []
    assert follow(Cursor(), server, delivered) is CursorState.COMPLETE
    assert texts(delivered) == stream


@given(repetitive, connections, connections, totals, st.integers(0, 14), st.integers(0, 3))
def test_another_process_resumes_the_stream(
    stream: str,
    before: list[Connection],
    after: list[Connection],
    total: str,
    read: int,
    unread: int,
) -> None:
    """A cursor that is resumed from its text delivers exactly the chunks that were not read."""
    cursor = Cursor()
    first = [chunk(letter) for letter in stream[:read]]
    cursor.accept(first)
    unread = min(unread, len(first))
    seen = texts(first[: len(first) - unread])
    resumed = Cursor.parse(cursor.as_text(unread=unread))
    assert resumed.offset == len(seen)
    assert resumed.as_text() == cursor.as_text(unread=unread)
    delivered: list[Delta] = []
    server = ReplayServer(stream, before + after, total)
    assert follow(resumed, server, delivered) is CursorState.COMPLETE
    assert seen + texts(delivered) == stream
    assert resumed.history.contents == [content_of(chunk(letter)) for letter in stream]
    assert resumed.suffix(stream + "!") == "!"


@given(repetitive, connections, totals, st.integers(0, 14))
def test_a_bare_offset_skips_chunks(
    stream: str, cuts: list[Connection], total: str, offset: int
) -> None:
    """A cursor with only an offset delivers each chunk after the offset once."""
    delivered: list[Delta] = []
    server = ReplayServer(stream, cuts, total)
    cursor = Cursor(offset)
    start = min(offset, len(stream))
    if offset <= len(stream):
        assert follow(cursor, server, delivered) is CursorState.COMPLETE
        assert texts(delivered) == stream[start:]
    else:
        _, done = ReplayServer(stream, [], total).open(0)
        cursor.accept([chunk(letter) for letter in stream])
        assert cursor.finish(done or StreamDone()).state is CursorState.COMPLETE


@given(st.text("ab", min_size=1, max_size=8), st.text("ab", max_size=8), totals)
def test_another_stream_is_a_mismatch(stream: str, other: str, total: str) -> None:
    """A cursor delivers no chunk of a stream that begins with other chunks."""
    cursor = Cursor()
    cursor.accept([chunk(letter) for letter in stream])
    resumed = Cursor.parse(cursor.as_text())
    delivered: list[Delta] = []
    state = follow(resumed, ReplayServer(other, [], total), delivered)
    assert (state is CursorState.COMPLETE) == other.startswith(stream)
    assert texts(delivered) == (other[len(stream) :] if other.startswith(stream) else "")


def reopened(delivered: str, *, offset: int) -> Cursor:
    """Return a cursor that has delivered chunks and begins its second connection."""
    cursor = Cursor()
    cursor.accept([chunk(letter) for letter in delivered])
    assert cursor.request_offset == offset
    cursor.begin_connection()
    return cursor


def test_an_uncut_stream_passes_as_it_is() -> None:
    """Without a disconnect, ``accept`` returns its argument: no copy, no comparison."""
    cursor = Cursor()
    deltas = [chunk("a"), chunk("a")]
    assert cursor.accept(deltas) is deltas
    assert cursor.finish(StreamDone(total_chunks=2)).state is CursorState.COMPLETE


def test_the_first_difference_releases_the_held_chunks() -> None:
    """The first chunk that differs from a replay proves that the server used the offset."""
    cursor = reopened("abc", offset=3)
    assert cursor.accept([chunk("a", stamp=9)]) == ()
    assert texts(cursor.accept([chunk("b"), chunk("x")])) == "abx"
    assert cursor.offset == 6


def test_a_chunk_that_repeats_the_last_one_waits_for_the_start() -> None:
    """The chunk may be new, or the server began one chunk early, so it is not delivered yet."""
    cursor = reopened("db", offset=2)
    assert cursor.accept([chunk("b"), chunk("e")]) == ()
    assert (cursor.state, cursor.request_offset) == (CursorState.AMBIGUOUS, 0)
    cursor.begin_connection()
    assert texts(cursor.accept([chunk(letter) for letter in "dbef"])) == "ef"
    assert cursor.request_offset == 0
    assert cursor.finish(StreamDone(total_chunks=4)).state is CursorState.COMPLETE


def test_another_total_is_checked_from_the_start() -> None:
    """The total reveals that chunks were skipped; a replay finds the first wrong chunk."""
    cursor = reopened("ab", offset=2)
    assert texts(cursor.accept([chunk("d")])) == "d"
    assert cursor.doubtful_from == 2
    assert cursor.finish(StreamDone(total_chunks=4)).state is CursorState.AMBIGUOUS
    assert cursor.request_offset == 0
    cursor.begin_connection()
    assert cursor.accept([chunk(letter) for letter in "abcd"]) == ()
    assert (cursor.state, cursor.doubtful_from) == (CursorState.MISMATCH, 2)


def test_blank_events_may_count_as_chunks() -> None:
    """The total of a service may include events without a chunk."""
    for total, state in (
        (2, CursorState.COMPLETE),
        (5, CursorState.COMPLETE),
        (4, CursorState.TRUNCATED),
    ):
        cursor = Cursor()
        cursor.accept([chunk("a"), chunk("b")])
        assert cursor.finish(StreamDone(total_chunks=total), blank_events=3).state is state


def test_a_full_replay_is_requested_from_offset_0() -> None:
    """If chunks depend on earlier ones, every connection starts at 0 and skips known chunks."""
    cursor = Cursor()
    cursor.accept([chunk("a"), chunk("b")])
    cursor.needs_full_replay = True
    assert cursor.request_offset == 0
    cursor.begin_connection()
    assert texts(cursor.accept([chunk(letter) for letter in "abc"])) == "c"


def test_a_stored_text_finds_the_first_wrong_chunk() -> None:
    """The first chunk that differs from the stored text is the first doubtful one."""
    cursor = Cursor()
    cursor.accept([chunk("one"), chunk(" two"), chunk(" four")])
    cursor.record_mismatch("one two three")
    assert cursor.doubtful_from == 2


def test_an_ambiguous_replay_is_repeated_from_the_start() -> None:
    """Equal chunks prove nothing; from offset 0 every server sends the same chunks."""
    cursor = reopened("ab", offset=2)
    assert cursor.accept([chunk("a"), chunk("b"), chunk("c")]) == ()
    assert (cursor.state, cursor.request_offset) == (CursorState.AMBIGUOUS, 0)
    cursor.begin_connection()
    assert texts(cursor.accept([chunk("a"), chunk("b"), chunk("c")])) == "c"
    # "c" and not the repeated "a" followed, which proves the replay.
    assert cursor.request_offset == 0


def test_a_repetitive_stream_is_requested_at_its_offset_again() -> None:
    """After an ambiguity that was no replay, later connections use the offset again."""
    cursor = reopened("ab", offset=2)
    cursor.accept([chunk("a"), chunk("b")])
    cursor.begin_connection()
    assert texts(cursor.accept([chunk(letter) for letter in "ababx"])) == "abx"
    assert cursor.request_offset == 5


@pytest.mark.parametrize(
    ("held", "total", "state", "text"),
    [
        ("aa", 5, CursorState.COMPLETE, "aa"),
        ("aa", None, CursorState.AMBIGUOUS, ""),
        ("", None, CursorState.COMPLETE, ""),
        ("", 3, CursorState.COMPLETE, ""),
        ("aaa", 6, CursorState.COMPLETE, "aaa"),
        ("aaaa", 7, CursorState.COMPLETE, "aaaa"),
        ("aaa", 3, CursorState.AMBIGUOUS, ""),
        ("aaaa", 4, CursorState.AMBIGUOUS, ""),
        ("aaa", None, CursorState.AMBIGUOUS, ""),
        ("aa", 3, CursorState.AMBIGUOUS, ""),
        ("a", 9, CursorState.AMBIGUOUS, ""),
    ],
)
def test_the_total_decides_about_held_chunks(
    held: str, total: int | None, state: CursorState, text: str
) -> None:
    """At the end of a repetitive stream only the total distinguishes new chunks from a replay."""
    cursor = reopened("aaa", offset=3)
    assert cursor.accept([chunk(letter) for letter in held]) == ()
    ending = cursor.finish(StreamDone(total_chunks=total))
    assert (ending.state, texts(ending.deltas)) == (state, text)
    assert cursor.request_offset == (0 if state is CursorState.AMBIGUOUS else 3 + len(text))


def test_missing_chunks_are_a_cut() -> None:
    """A stream that ends before its total is resumed at the cursor."""
    cursor = Cursor()
    cursor.accept([chunk("a")])
    assert cursor.finish(StreamDone(total_chunks=2)).state is CursorState.TRUNCATED
    assert cursor.request_offset == 1


def test_more_chunks_than_the_total_are_a_mismatch() -> None:
    """More chunks than the total on one connection are a mismatch."""
    cursor = Cursor()
    cursor.accept([chunk("a"), chunk("b")])
    assert cursor.finish(StreamDone(total_chunks=1)).state is CursorState.MISMATCH


def test_a_disconnect_drops_the_held_chunks() -> None:
    """Held chunks were not delivered, so the next connection sends them again."""
    cursor = reopened("abc", offset=3)
    assert cursor.accept([chunk("a")]) == ()
    assert cursor.request_offset == 3
    cursor.begin_connection()
    assert texts(cursor.accept([chunk("a"), chunk("x")])) == "ax"


def test_the_suffix_continues_the_delivered_text() -> None:
    """The suffix exists only if the stored text begins with the delivered text."""
    cursor = Cursor()
    cursor.accept([chunk("你好"), chunk(", fox")])
    resumed = Cursor.parse(cursor.as_text())
    for each in (cursor, resumed):
        assert each.suffix("你好, fox!") == "!"
        assert each.suffix("你好") is None
        assert each.suffix("") is None
    assert Cursor(3).suffix("abc") is None
    assert Cursor().suffix("abc") == "abc"


@given(st.text(max_size=60))
def test_a_text_that_is_no_cursor_is_rejected(text: str) -> None:
    """Any text that is not the text of a cursor raises ``ConfigError``."""
    with pytest.raises(ConfigError):
        Cursor.parse(text)


@given(st.integers(0, 50), st.integers(1, 40))
def test_a_cursor_is_short_and_whole(chunks: int, cut: int) -> None:
    """The text of a cursor fits in a URL, and a truncated text is rejected."""
    cursor = Cursor()
    cursor.accept([chunk("hello ")] * chunks)
    text = cursor.as_text()
    assert len(text) <= 48
    assert text.isascii()
    with pytest.raises(ConfigError):
        Cursor.parse(text[: -min(cut, len(text))])


def test_a_negative_offset_is_rejected() -> None:
    """A negative offset raises ``ConfigError``."""
    with pytest.raises(ConfigError, match="-1"):
        Cursor(-1)
