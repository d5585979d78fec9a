"""Laws of what stands between a stream and its reader."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from foxapi_async import Delta
from foxapi_async._protocol.cursor import Cursor
from foxapi_async._protocol.delta_buffer import DeltaBuffer
from foxapi_async._wire.chunk import DeltaChoice, DeltaMessage

# How many deltas come, how many of them are read before the next, whether somebody asks.
TURNS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=30)


def said(number: int) -> Delta:
    """Return the delta with this number, which is its text."""
    message = DeltaMessage(content=f" {number}")
    return Delta(id="c", choices=(DeltaChoice(delta=message),))


def position(count: int) -> str:
    """Return the cursor's text after so many deltas."""
    cursor = Cursor()
    cursor.accept([said(number) for number in range(count)])
    return cursor.as_text()


@given(turns=TURNS, last=st.integers(0, 5))
def test_what_was_read_counts_whenever_somebody_asks(
    turns: list[tuple[int, int, bool]], last: int
) -> None:
    """Offset, cursor and sum speak of the deltas that were read, whether or not they were asked."""
    intake = DeltaBuffer(Cursor())
    came = read = 0
    for count, taken, asks in turns:
        # Nothing may come before all was read.
        intake.skip()
        read = came
        deltas = [said(number) for number in range(came, came + count)]
        came += count
        intake.load(intake.cursor.accept(deltas))
        read += len(list(islice(intake.ready, taken)))
        assert intake.offset == read
        if asks:
            assert intake.accumulated().text == "".join(f" {number}" for number in range(read))
            assert intake.cursor_text() == position(read)
    read += len(list(islice(intake.ready, last)))
    intake.discard()
    assert not list(intake.ready)
    assert (intake.offset, intake.cursor_text()) == (read, position(read))
    assert intake.accumulated().text == "".join(f" {number}" for number in range(read))
    assert intake.accumulated().chunks == read


def test_the_rest_of_a_stored_result_is_no_chunk() -> None:
    """It adds to the sum once it was read, and never to the position."""
    intake = DeltaBuffer(Cursor())
    intake.load(intake.cursor.accept([said(0), said(1)]))
    intake.skip()
    for is_read in (False, True):
        intake.stored_tail = said(2)
        intake.load([intake.stored_tail])
        if is_read:
            assert next(intake.ready).text == " 2"
        assert (intake.offset, intake.cursor_text()) == (2, position(2))
        assert intake.accumulated().text == (" 0 1 2" if is_read else " 0 1")
    intake.discard()
    assert (intake.offset, intake.accumulated().text) == (2, " 0 1 2")
