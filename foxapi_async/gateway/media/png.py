"""Writes pictures as PNG (ISO/IEC 15948): one bit a pixel and a palette of two colours."""

from struct import pack
from zlib import compress, crc32

from foxapi_async.gateway.media.picture import Picture

PNG_CELL = 8
"""A cell is a byte of a row."""


def encode_png(picture: Picture) -> bytes:
    """Return the file of a picture whose cells have eight pixels a side."""
    inverted = bytes(255 * bit for bit in range(2)) + bytes(254)
    # Each row of pixels begins with the number of its filter.
    rows = b"".join((b"\0" + row.translate(inverted)) * PNG_CELL for row in picture.rows)
    length = (1 + len(picture.rows[0])) * picture.height
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", pack(">IIBBBBB", picture.width, picture.height, 1, 3, 0, 0, 0)),
            _chunk(b"PLTE", bytes(picture.ground) + bytes(picture.ink)),
            _chunk(b"IDAT", compress(rows[:length], 6)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return pack(">I", len(data)) + name + data + pack(">I", crc32(name + data))
