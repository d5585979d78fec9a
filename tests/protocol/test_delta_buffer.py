"""Laws of the buffer between a stream and its reader."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from foxapi_async import Delta
from foxapi_async._protocol.cursor import Cursor
from foxapi_async._protocol.delta_buffer import DeltaBuffer
from foxapi_async._wire.chunk import DeltaChoice, DeltaMessage

# Per turn: received deltas, deltas that are read, and whether the position is checked.
TURNS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=30)


def numbered(number: int) -> Delta:
    """Return a delta with this number as its text."""
    message = DeltaMessage(content=f" {number}")
    return Delta(id="c", choices=(DeltaChoice(delta=message),))


def position(count: int) -> str:
    """Return the text of a cursor after ``count`` deltas."""
    cursor = Cursor()
    cursor.accept([numbered(number) for number in range(count)])
    return cursor.as_text()


@given(turns=TURNS, last=st.integers(0, 5))
def test_only_read_deltas_count_at_any_time(turns: list[tuple[int, int, bool]], last: int) -> None:
    """Offset, cursor and accumulated text cover the read deltas at any time."""
    buffer = DeltaBuffer(Cursor())
    received = read = 0
    for count, taken, asks in turns:
        # All deltas are read before the next ones are loaded.
        buffer.skip()
        read = received
        deltas = [numbered(number) for number in range(received, received + count)]
        received += count
        buffer.load(buffer.cursor.accept(deltas))
        read += len(list(islice(buffer.ready, taken)))
        assert buffer.offset == read
        if asks:
            assert buffer.accumulated().text == "".join(f" {number}" for number in range(read))
            assert buffer.cursor_text() == position(read)
    read += len(list(islice(buffer.ready, last)))
    buffer.discard()
    assert not list(buffer.ready)
    assert (buffer.offset, buffer.cursor_text()) == (read, position(read))
    assert buffer.accumulated().text == "".join(f" {number}" for number in range(read))
    assert buffer.accumulated().chunks == read


def test_the_tail_of_a_stored_result_is_not_a_chunk() -> None:
    """It is accumulated after it is read, and never advances the position."""
    buffer = DeltaBuffer(Cursor())
    buffer.load(buffer.cursor.accept([numbered(0), numbered(1)]))
    buffer.skip()
    for is_read in (False, True):
        buffer.stored_tail = numbered(2)
        buffer.load([buffer.stored_tail])
        if is_read:
            assert next(buffer.ready).text == " 2"
        assert (buffer.offset, buffer.cursor_text()) == (2, position(2))
        assert buffer.accumulated().text == (" 0 1 2" if is_read else " 0 1")
    buffer.discard()
    assert (buffer.offset, buffer.accumulated().text) == (2, " 0 1 2")
