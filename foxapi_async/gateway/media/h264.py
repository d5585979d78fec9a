"""Encodes pictures as H.264 (ITU-T H.264, Constrained Baseline).

A macroblock has one colour, which is coded as the difference to the prediction from its neighbours.
The frames after the first one repeat it.
"""

import re
from typing import Final

from foxapi_async.gateway.media.bits import number, to_bytes
from foxapi_async.gateway.media.picture import Picture, to_ycc

H264_CELL: Final = 16
"""A cell is a macroblock."""

PROFILE: Final = 66
COMPATIBILITY: Final = 0xC0
_LEVEL: Final = 40
_LARGE_LEVEL: Final = 51
_MAX_MACROBLOCKS: Final = 8192
# With this parameter a level of the transform is a difference of 1.
_QP: Final = 28
_FRAME_NUMBERS: Final = 256
_GREY: Final = 128
_EMULATED: Final = re.compile(rb"\0\0(?=[\0-\3])")


def level(picture: Picture) -> int:
    """Return the level of the standard that a picture needs, times ten."""
    macroblocks = len(picture.rows) * len(picture.rows[0])
    return _LEVEL if macroblocks <= _MAX_MACROBLOCKS else _LARGE_LEVEL


def parameter_sets(picture: Picture) -> tuple[bytes, bytes]:
    """Return the parameter sets of the sequence and of the pictures."""
    columns, lines = len(picture.rows[0]), len(picture.rows)
    right, bottom = columns * H264_CELL - picture.width, lines * H264_CELL - picture.height
    sequence = (
        number(PROFILE, 8) + number(COMPATIBILITY, 8) + number(level(picture), 8) + _unsigned(0)
        # Frame numbers of eight bits, an order that is that of decoding, one reference frame.
        + _unsigned(4) + _unsigned(2) + _unsigned(1) + "0"
        + _unsigned(columns - 1) + _unsigned(lines - 1)
        # Whole frames, and what the last macroblocks have beyond the edge.
        + "11" + "1" + _unsigned(0) + _unsigned(right // 2) + _unsigned(0) + _unsigned(bottom // 2)
        + "0"
    )  # fmt: skip
    pictures = (
        _unsigned(0) + _unsigned(0) + "00" + _unsigned(0) * 3 + "000" + _signed(_QP - 26)
        + _signed(0) * 2
        # Slices say themselves that their edges are not smoothed.
        + "100"
    )  # fmt: skip
    return _unit(0x67, sequence), _unit(0x68, pictures)


def key_frame(picture: Picture, count: int) -> bytes:
    """Return a frame that needs no other one; ``count`` is how many of its kind came before."""
    head = (
        _unsigned(0) + _unsigned(7) + _unsigned(0) + number(0, 8) + _unsigned(count % 2)
        + "00" + _signed(0) + _unsigned(1)
    )  # fmt: skip
    return _unit(0x65, head + _macroblocks(picture))


def repeated_frame(picture: Picture, count: int) -> bytes:
    """Return a frame that is the one before; ``count`` is its number since the key frame."""
    macroblocks = len(picture.rows) * len(picture.rows[0])
    head = (
        _unsigned(0) + _unsigned(5) + _unsigned(0) + number(count % _FRAME_NUMBERS, 8)
        + "000" + _signed(0) + _unsigned(1)
    )  # fmt: skip
    return _unit(0x41, head + _unsigned(macroblocks))


def _macroblocks(picture: Picture) -> str:
    ground, ink = to_ycc(picture.ground), to_ycc(picture.ink)
    values = (ground[0], ink[0])
    # All macroblocks have the blue and red of the ground; the first one says which.
    first = True
    bits: list[str] = []
    above: bytes | None = None
    for row in picture.rows:
        left: int | None = None
        for column, cell in enumerate(row):
            value = values[cell]
            top = None if above is None else values[above[column]]
            bits.append(_macroblock(value - _prediction(left, top), ground if first else None))
            left, first = value, False
        above = row
    return "".join(bits)


def _prediction(left: int | None, top: int | None) -> int:
    """Return the mean of the neighbours, as the standard rounds it."""
    if left is None and top is None:
        return _GREY
    if left is None or top is None:
        return left if top is None and left is not None else top or 0
    return (16 * left + 16 * top + 16) >> 5


def _macroblock(difference: int, chroma: tuple[int, int, int] | None) -> str:
    """Return a macroblock of one colour, with the two chroma values if they are given."""
    kind = _unsigned(3 if chroma is None else 7)
    bits = kind + _unsigned(0) + _signed(0) + _coefficient(difference, "1", "01", "000101")
    if chroma is None:
        return bits
    # A level is a difference of 2 here.
    return bits + "".join(
        _coefficient((value - _GREY) // 2, "01", "1", "000111") for value in chroma[1:]
    )


def _coefficient(level: int, none: str, one: str, other: str) -> str:
    """Return the bits of a block of which at most the first coefficient is not zero.

    Args:
        level: The coefficient.
        none: The code of a block without coefficients.
        one: The code of a block with one coefficient, which is 1 or -1.
        other: The code of a block with one coefficient of another value.
    """
    if not level:
        return none
    if abs(level) == 1:
        return one + ("1" if level < 0 else "0") + "1"
    # A level of 1 or -1 would have the other code, so numbers begin with 2 and -2.
    code = 2 * level - 4 if level > 0 else -2 * level - 3
    if code < 14:  # noqa: PLR2004 a prefix without a suffix
        bits = "0" * code + "1"
    elif code < 30:  # noqa: PLR2004 a suffix of four bits
        bits = "0" * 14 + "1" + number(code - 14, 4)
    else:
        bits = "0" * 15 + "1" + number(code - 30, 12)
    return other + bits + "1"


def _unsigned(value: int) -> str:
    """Return a number as an Exp-Golomb code."""
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _signed(value: int) -> str:
    return _unsigned(2 * value - 1 if value > 0 else -2 * value)


def _unit(head: int, bits: str) -> bytes:
    """Return a unit of the stream: the bits, their end, and no code of a start among them."""
    return bytes((head,)) + _EMULATED.sub(b"\0\0\3", to_bytes(bits + "1"))
