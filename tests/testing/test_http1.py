"""Ends of HTTP/1.1 messages and positions of faults, whatever the reads of TCP are."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async.testing import HALF, WHOLE, Close, Fraction, Position, Reset, Stall
from foxapi_async.testing._http1 import FaultCursor, MessageReader, Placed, strip_query

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"
    b"5\r\n01234\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"
)
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED
BODILESS = b"HTTP/1.1 204 No Content\r\n\r\n"
MESSAGES = [SIZED, CHUNKED, CONTINUED, BODILESS]
CUTS = st.lists(st.integers(0, 200))


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """Split bytes at these positions."""
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(message=st.sampled_from(MESSAGES), after=st.binary(max_size=20), cuts=CUTS)
def test_any_split_finds_the_same_end(message: bytes, after: bytes, cuts: list[int]) -> None:
    """The ends of messages do not depend on how TCP splits the bytes."""
    reader = MessageReader(response_to="GET")
    used = sum(reader.feed(piece) for piece in split(message + after, cuts))
    assert used == reader.size == len(message)
    assert reader.complete
    assert reader.body_at is not None
    assert message[: reader.body_at].endswith(b"\r\n\r\n")


@given(
    message=st.sampled_from(MESSAGES),
    places=st.lists(
        st.one_of(
            st.integers(0, 120).map(lambda at: Stall(response=at)),
            st.integers(0, 60).map(lambda at: Close(body=at)),
            st.sampled_from([b"\n", b"012", b"789\r\n0", b"OK\r\nC"]).map(
                lambda at: Reset(response=at)
            ),
            st.just(Reset(body=b"234")),
            st.just(Stall(body=WHOLE)),
        ),
        max_size=4,
    ),
    cuts=CUTS,
)
def test_any_split_finds_the_same_faults(
    message: bytes, places: list[Placed], cuts: list[int]
) -> None:
    """The faults of a message and their positions do not depend on how TCP splits the bytes."""

    def walk(pieces: list[bytes]) -> list[tuple[int, Placed]]:
        course, found, at = FaultCursor(MessageReader(response_to="GET"), places), [], 0
        for piece in pieces:
            used, points = course.feed(piece)
            found += [(at + place, fault) for place, fault in points]
            at += used
        return found

    assert walk(split(message, cuts)) == walk([message])


@pytest.mark.parametrize(
    ("fault", "place"),
    [
        (Reset(response=0), 0),
        (Reset(response=3), 3),
        (Reset(body=0), SIZED.index(b"0123")),
        (Reset(body=4), SIZED.index(b"456")),
        (Reset(body=b"1"), SIZED.index(b"2345")),
        (Reset(response=b"1"), 6),
        (Reset(body=HALF), len(SIZED) - 5),
        (Reset(body=WHOLE), len(SIZED)),
        (Reset(response=len(SIZED) + 1), None),
        (Reset(body=b"nowhere"), None),
    ],
)
def test_places_are_counted_as_they_say(fault: Reset, place: int | None) -> None:
    """A position is a count, a text or a fraction in the part that the fault names."""
    _, points = FaultCursor(MessageReader(response_to="GET"), [fault]).feed(SIZED)
    assert points == ([] if place is None else [(place, fault)])


def test_answer_to_head_has_no_body() -> None:
    """The response to a HEAD ends with its headers, whatever their Content-Length."""
    reader = MessageReader(response_to="HEAD")
    assert reader.feed(SIZED) == SIZED.index(b"0123")
    assert reader.complete


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01",
        b"<html>",
        b"GET /\r\n",
        b"GET / SPDY/3\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_has_no_end(data: bytes) -> None:
    """Bytes that are not HTTP are one message, which ends with the connection."""
    reader = MessageReader()
    assert reader.feed(data + b"more\r\n\r\n") == len(data) + 8
    assert reader.opaque
    assert not reader.complete


def test_share_of_a_body_of_unknown_length_is_an_error() -> None:
    """A fraction of a body without a known length is an error."""
    course = FaultCursor(MessageReader(response_to="GET"), [Reset(body=HALF)])
    with pytest.raises(ValueError, match="needs a Content-Length"):
        course.feed(CHUNKED[:60])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/s?offset=3", "/s"),
        ("/s?a=1&offset=3&b=2", "/s?a=1&b=2"),
        ("/s?offset", "/s"),
        ("/s?my_offset=3", "/s?my_offset=3"),
        ("/s", "/s"),
    ],
)
def test_one_parameter_is_stripped(before: str, after: str) -> None:
    """Only the named parameter is removed from a query."""
    head = "GET {} HTTP/1.1\r\nX: offset=3\r\n\r\n"
    assert strip_query(head.format(before).encode(), "offset") == head.format(after).encode()


@pytest.mark.parametrize(
    "wrong",
    [{}, {"request": 1, "body": 2}, {"body": -1}, {"response": b""}, {"response": HALF}],
)
def test_a_fault_has_one_place(wrong: dict[str, Position]) -> None:
    """A fault without a position, with two or with an impossible one is refused."""
    with pytest.raises(
        ValueError, match=r"needs exactly one of|is not a position|no Fraction except"
    ):
        Reset(**wrong)


def test_a_share_is_part_of_the_whole() -> None:
    """A fraction outside 0 to 1 is refused."""
    with pytest.raises(ValueError, match=r"between 0\.0 and 1\.0"):
        Fraction(1.5)
