"""Writes pictures as WebP, in its lossless form (RFC 9649): a palette of two colours."""

from struct import pack
from typing import Final

from foxapi_async.gateway.media.bits import number_reversed, to_bytes_reversed
from foxapi_async.gateway.media.picture import Picture

WEBP_CELL: Final = 8
"""Eight pixels of two colours are one symbol, so a cell is a symbol of 0 or 255."""

_SIGNATURE: Final = b"\x2f"
_PALETTE: Final = number_reversed(3, 2)
_OPAQUE: Final = 255


def encode_webp(picture: Picture) -> bytes:
    """Return the file of a picture whose cells have eight pixels a side."""
    head = number_reversed(picture.width - 1, 14) + number_reversed(picture.height - 1, 14)
    transform = "1" + _PALETTE + number_reversed(2 - 1, 8) + _palette(picture)
    # No cache of colours, one group of codes: green has the symbols, the others have none.
    codes = _code(0, 255) + _code(0) + _code(0) + _code(_OPAQUE) + _code(0)
    digits = bytes.maketrans(b"\0\1", b"01")
    rows = [row.translate(digits).decode() * WEBP_CELL for row in picture.rows]
    symbols = "".join(rows)[: len(picture.rows[0]) * picture.height]
    stream = _SIGNATURE + to_bytes_reversed(
        f"{head}0{number_reversed(0, 3)}{transform}0" + "00" + codes + symbols
    )
    stream += b"\0" * (len(stream) % 2)
    chunk = b"VP8L" + pack("<I", len(stream)) + stream
    return b"RIFF" + pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _palette(picture: Picture) -> str:
    """Return the two colours as an image of two pixels; the second is a difference."""
    red, green, blue = picture.ground
    first = (green, red, blue, _OPAQUE)
    ink_red, ink_green, ink_blue = picture.ink
    others = (ink_green, ink_red, ink_blue, _OPAQUE)
    second = tuple((new - old) % 256 for old, new in zip(first, others, strict=True))
    codes = "".join(_code(*sorted({a, b})) for a, b in zip(first, second, strict=True))
    # A code of one symbol has no bits; of two, the smaller one is 0.
    pixels = "".join(
        "" if a == b else "1" if value == max(a, b) else "0"
        for pixel in (first, second)
        for value, a, b in zip(pixel, first, second, strict=True)
    )
    return "0" + codes + _code(0) + pixels


def _code(*symbols: int) -> str:
    """Return a code of one or two symbols, which are in ascending order."""
    listed = number_reversed(len(symbols) - 1, 1) + "1" + number_reversed(symbols[0], 8)
    return "1" + listed + "".join(number_reversed(symbol, 8) for symbol in symbols[1:])
