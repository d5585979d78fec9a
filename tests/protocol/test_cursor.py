"""A reader gets each chunk once and in order, from any server, through any cuts."""

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
    """Build a chunk; ``stamp`` stands for what a server writes anew each time."""
    message = DeltaMessage(content=text)
    return Delta(id=f"c{stamp}", created=stamp, choices=(DeltaChoice(delta=message),))


def texts(deltas: Sequence[Delta]) -> str:
    """Join the texts."""
    return "".join(delta.text for delta in deltas)


class Connection(NamedTuple):
    """How one connection goes: who answers, where it is cut, how its chunks are grouped.

    The server begins so many chunks before the offset; with ``None`` it ignores the offset.
    """

    early: int | None
    cut: int | None
    group: int


class Network:
    """Servers that replay one stream; the last connection is not cut."""

    def __init__(self, stream: str, connections: Sequence[Connection], totals: str) -> None:
        self.stream = stream
        self.connections = list(connections)
        self.totals = totals
        self.opened: list[int] = []

    def open(self, offset: int) -> tuple[list[list[Delta]], StreamDone | None]:
        """Return the reads that one connection gives, and its end if it was not cut."""
        early, cut, group = self.connections.pop(0) if self.connections else Connection(0, None, 3)
        self.opened.append(offset)
        text = self.stream[0 if early is None else max(offset - early, 0) :]
        chunks = [chunk(letter, stamp=len(self.opened)) for letter in text[:cut]]
        reads = [chunks[at : at + group] for at in range(0, len(chunks), group)]
        if cut is not None:
            return reads, None
        totals = {"task": len(self.stream), "connection": len(text), "none": None}
        return reads, StreamDone(total_chunks=totals[self.totals])


def follow(cursor: Cursor, network: Network, delivered: list[Delta]) -> CursorState:
    """Read to the end as the client does; check after every step that nothing was spliced."""
    start = cursor.offset

    def deliver(deltas: Sequence[Delta]) -> None:
        delivered.extend(deltas)
        assert network.stream[start:].startswith(texts(delivered))
        assert cursor.offset == start + len(delivered)

    for _ in range(4 * len(network.stream) + 4 * len(network.connections) + 8):
        asked = cursor.request_offset
        cursor.begin_connection()
        reads, done = network.open(asked)
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
    raise AssertionError("the stream never came to its end")


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
    """Whoever honours the offset, ignores it, begins too early or does all in turn: all comes."""
    network = Network(stream, [*cuts, *[Connection(early, None, group)] * 4], total)
    delivered: list[Delta] = []
    assert follow(Cursor(), network, delivered) is CursorState.COMPLETE
    assert texts(delivered) == stream


@given(repetitive, connections, connections, totals, st.integers(0, 14), st.integers(0, 3))
def test_another_process_goes_on(
    stream: str,
    before: list[Connection],
    after: list[Connection],
    total: str,
    read: int,
    unread: int,
) -> None:
    """A cursor's text carries the guarantee over, and what was recovered is what had been read."""
    cursor = Cursor()
    first = [chunk(letter) for letter in stream[:read]]
    cursor.accept(first)
    unread = min(unread, len(first))
    seen = texts(first[: len(first) - unread])
    resumed = Cursor.parse(cursor.as_text(unread=unread))
    assert resumed.offset == len(seen)
    assert resumed.as_text() == cursor.as_text(unread=unread)
    delivered: list[Delta] = []
    network = Network(stream, before + after, total)
    assert follow(resumed, network, delivered) is CursorState.COMPLETE
    assert seen + texts(delivered) == stream
    assert resumed.history.contents == [content_of(chunk(letter)) for letter in stream]
    assert resumed.suffix(stream + "!") == "!"


@given(repetitive, connections, totals, st.integers(0, 14))
def test_a_bare_offset_skips_chunks(
    stream: str, cuts: list[Connection], total: str, offset: int
) -> None:
    """Without any proof, the chunks after the offset come once, and none beyond the end."""
    delivered: list[Delta] = []
    network = Network(stream, cuts, total)
    cursor = Cursor(offset)
    start = min(offset, len(stream))
    if offset <= len(stream):
        assert follow(cursor, network, delivered) is CursorState.COMPLETE
        assert texts(delivered) == stream[start:]
    else:
        _, done = Network(stream, [], total).open(0)
        cursor.accept([chunk(letter) for letter in stream])
        assert cursor.finish(done or StreamDone()).state is CursorState.COMPLETE


@given(st.text("ab", min_size=1, max_size=8), st.text("ab", max_size=8), totals)
def test_another_stream_is_a_conflict(stream: str, other: str, total: str) -> None:
    """A cursor delivers nothing of another stream that does not begin with the same chunks."""
    cursor = Cursor()
    cursor.accept([chunk(letter) for letter in stream])
    resumed = Cursor.parse(cursor.as_text())
    delivered: list[Delta] = []
    verdict = follow(resumed, Network(other, [], total), delivered)
    assert (verdict is CursorState.COMPLETE) == other.startswith(stream)
    assert texts(delivered) == (other[len(stream) :] if other.startswith(stream) else "")


def reopened(delivered: str, *, ask: int) -> Cursor:
    """Return a cursor that delivered chunks, was cut, and reopened."""
    cursor = Cursor()
    cursor.accept([chunk(letter) for letter in delivered])
    assert cursor.request_offset == ask
    cursor.begin_connection()
    return cursor


def test_an_uncut_stream_passes_as_it_is() -> None:
    """Without a cut, what is accepted is returned: no copy, no comparison."""
    cursor = Cursor()
    deltas = [chunk("a"), chunk("a")]
    assert cursor.accept(deltas) is deltas
    assert cursor.finish(StreamDone(total_chunks=2)).state is CursorState.COMPLETE


def test_the_first_difference_releases_what_was_held() -> None:
    """A server that honours the offset is known by the first chunk that a replay would not have."""
    cursor = reopened("abc", ask=3)
    assert cursor.accept([chunk("a", stamp=9)]) == ()
    assert texts(cursor.accept([chunk("b"), chunk("x")])) == "abx"
    assert cursor.offset == 6


def test_a_chunk_that_repeats_the_last_one_waits_for_the_start() -> None:
    """It may be new, or the server's offset may be one short: nothing of it is delivered yet."""
    cursor = reopened("db", ask=2)
    assert cursor.accept([chunk("b"), chunk("e")]) == ()
    assert (cursor.state, cursor.request_offset) == (CursorState.AMBIGUOUS, 0)
    cursor.begin_connection()
    assert texts(cursor.accept([chunk(letter) for letter in "dbef"])) == "ef"
    assert cursor.request_offset == 0
    assert cursor.finish(StreamDone(total_chunks=4)).state is CursorState.COMPLETE


def test_an_end_that_counts_otherwise_is_checked_from_the_start() -> None:
    """Chunks that an offset skipped show in the count; from which chunk on, the replay tells."""
    cursor = reopened("ab", ask=2)
    assert texts(cursor.accept([chunk("d")])) == "d"
    assert cursor.doubtful_from == 2
    assert cursor.finish(StreamDone(total_chunks=4)).state is CursorState.AMBIGUOUS
    assert cursor.request_offset == 0
    cursor.begin_connection()
    assert cursor.accept([chunk(letter) for letter in "abcd"]) == ()
    assert (cursor.state, cursor.doubtful_from) == (CursorState.MISMATCH, 2)


def test_blank_events_may_count_as_chunks() -> None:
    """A service may have counted the events of a connection that had no chunk in them."""
    for total, verdict in (
        (2, CursorState.COMPLETE),
        (5, CursorState.COMPLETE),
        (4, CursorState.TRUNCATED),
    ):
        cursor = Cursor()
        cursor.accept([chunk("a"), chunk("b")])
        assert cursor.finish(StreamDone(total_chunks=total), blank_events=3).state is verdict


def test_a_stream_that_starts_over_is_asked_from_its_first_chunk() -> None:
    """Where chunks cannot be read alone, a connection brings all, and what is known is skipped."""
    cursor = Cursor()
    cursor.accept([chunk("a"), chunk("b")])
    cursor.needs_full_replay = True
    assert cursor.request_offset == 0
    cursor.begin_connection()
    assert texts(cursor.accept([chunk(letter) for letter in "abc"])) == "c"


def test_a_stored_text_tells_which_chunks_are_wrong() -> None:
    """The first chunk that the stored text does not have is the first that is in doubt."""
    cursor = Cursor()
    cursor.accept([chunk("one"), chunk(" two"), chunk(" four")])
    cursor.record_mismatch("one two three")
    assert cursor.doubtful_from == 2


def test_a_replay_is_settled_from_the_start() -> None:
    """``N`` equal chunks prove nothing; asked from 0, every server sends the same."""
    cursor = reopened("ab", ask=2)
    assert cursor.accept([chunk("a"), chunk("b"), chunk("c")]) == ()
    assert (cursor.state, cursor.request_offset) == (CursorState.AMBIGUOUS, 0)
    cursor.begin_connection()
    assert texts(cursor.accept([chunk("a"), chunk("b"), chunk("c")])) == "c"
    # That "c" followed, and not the repeated "a", proves the replay: no second doubt is needed.
    assert cursor.request_offset == 0


def test_a_repeating_stream_is_asked_at_its_offset_again() -> None:
    """A doubt that nothing confirmed does not make every later reopening start from 0."""
    cursor = reopened("ab", ask=2)
    cursor.accept([chunk("a"), chunk("b")])
    cursor.begin_connection()
    assert texts(cursor.accept([chunk(letter) for letter in "ababx"])) == "abx"
    assert cursor.request_offset == 5


@pytest.mark.parametrize(
    ("held", "total", "verdict", "text"),
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
def test_the_total_decides_about_what_is_held(
    held: str, total: int | None, verdict: CursorState, text: str
) -> None:
    """At the end of a stream that repeats itself, only the total tells new chunks from a replay."""
    cursor = reopened("aaa", ask=3)
    assert cursor.accept([chunk(letter) for letter in held]) == ()
    ending = cursor.finish(StreamDone(total_chunks=total))
    assert (ending.state, texts(ending.deltas)) == (verdict, text)
    assert cursor.request_offset == (0 if verdict is CursorState.AMBIGUOUS else 3 + len(text))


def test_missing_chunks_are_a_cut() -> None:
    """A stream that ends before its total is taken up again at the cursor."""
    cursor = Cursor()
    cursor.accept([chunk("a")])
    assert cursor.finish(StreamDone(total_chunks=2)).state is CursorState.TRUNCATED
    assert cursor.request_offset == 1


def test_more_chunks_than_the_stream_has_are_a_conflict() -> None:
    """Chunks beyond the total cannot be explained on a connection from the start."""
    cursor = Cursor()
    cursor.accept([chunk("a"), chunk("b")])
    assert cursor.finish(StreamDone(total_chunks=1)).state is CursorState.MISMATCH


def test_a_cut_drops_what_was_held() -> None:
    """Held chunks were seen by nobody: the next connection brings them again."""
    cursor = reopened("abc", ask=3)
    assert cursor.accept([chunk("a")]) == ()
    assert cursor.request_offset == 3
    cursor.begin_connection()
    assert texts(cursor.accept([chunk("a"), chunk("x")])) == "ax"


def test_the_suffix_continues_the_delivered_text() -> None:
    """The stored text is only continued if it begins with what was delivered, here or elsewhere."""
    cursor = Cursor()
    cursor.accept([chunk("你好"), chunk(", fox")])
    resumed = Cursor.parse(cursor.as_text())
    for reader in (cursor, resumed):
        assert reader.suffix("你好, fox!") == "!"
        assert reader.suffix("你好") is None
        assert reader.suffix("") is None
    assert Cursor(3).suffix("abc") is None
    assert Cursor().suffix("abc") == "abc"


@given(st.text(max_size=60))
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    """Nothing but the text of a cursor is one."""
    with pytest.raises(ConfigError):
        Cursor.parse(text)


@given(st.integers(0, 50), st.integers(1, 40))
def test_a_cursor_is_short_and_whole(chunks: int, cut: int) -> None:
    """A position fits in a URL, and half of its text is refused."""
    cursor = Cursor()
    cursor.accept([chunk("hello ")] * chunks)
    text = cursor.as_text()
    assert len(text) <= 48
    assert text.isascii()
    with pytest.raises(ConfigError):
        Cursor.parse(text[: -min(cut, len(text))])


def test_a_negative_offset_is_refused() -> None:
    """An offset counts chunks."""
    with pytest.raises(ConfigError, match="-1"):
        Cursor(-1)
