"""Writes pictures as JPEG (ISO/IEC 10918): blocks of one colour each, so no frequency is coded."""

from struct import pack
from typing import Final

from foxapi_async.gateway.media.bits import number, to_bytes
from foxapi_async.gateway.media.picture import Color, Picture, to_ycc

JPEG_CELL: Final = 8
"""A cell is a block."""

# A block of one colour has the coefficient 8 * (value - 128), so this step codes it exactly.
_QUANTIZATION: Final = bytes([8] * 64)
# How many codes have each length, and the categories in the order of their codes: the table of the
# standard for luminance.
_LENGTHS: Final = bytes((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0))
_CODES: Final = ("00", "010", "011", "100", "101", "110", "1110", "11110", "111110", "1111110")
_CATEGORIES: Final = bytes(range(12))
# The only code of the second table: there are no more coefficients.
_END_LENGTHS: Final = bytes((1, *[0] * 15))
_END: Final = "0"
_START: Final = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"


def encode_jpeg(picture: Picture) -> bytes:
    """Return the file of a picture whose cells have eight pixels a side."""
    colors = (to_ycc(picture.ground), to_ycc(picture.ink))
    codes = {
        (before, after): _block(colors[before], colors[after])
        for before in (0, 1)
        for after in (0, 1)
    }
    first = picture.rows[0][0]
    blocks = [_block((128, 128, 128), colors[first])]
    before = first
    for cell in b"".join(picture.rows)[1:]:
        blocks.append(codes[before, cell])
        before = cell
    scan = to_bytes("".join(blocks), fill="1").replace(b"\xff", b"\xff\0")
    size = pack(">BHHB", 8, picture.height, picture.width, 3)
    return b"".join(
        (
            _START,
            _segment(0xDB, b"\0" + _QUANTIZATION),
            _segment(0xC0, size + b"".join(bytes((part, 0x11, 0)) for part in (1, 2, 3))),
            _segment(0xC4, b"\0" + _LENGTHS + _CATEGORIES),
            _segment(0xC4, b"\x10" + _END_LENGTHS + b"\0"),
            _segment(0xDA, b"\3\1\0\2\0\3\0\0\x3f\0"),
            scan,
            b"\xff\xd9",
        )
    )


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + pack(">H", len(data) + 2) + data


def _block(before: Color, after: Color) -> str:
    """Return the bits of a block of the three components after another block."""
    return "".join(_difference(new - old) + _END for old, new in zip(before, after, strict=True))


def _difference(value: int) -> str:
    category = abs(value).bit_length()
    if not category:
        return _CODES[0]
    shown = value if value > 0 else value + (1 << category) - 1
    return _CODES[category] + number(shown, category)
