"""A picture of two colours, made of square cells: the text of a prompt on a plain ground."""

from collections.abc import Sequence
from typing import Final
from zlib import crc32

from msgspec import Struct

from foxapi_async.gateway.media.glyphs import GLYPH_HEIGHT, GLYPH_WIDTH, draw

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255 each."""

_ADVANCE: Final = GLYPH_WIDTH + 1
_LINE: Final = GLYPH_HEIGHT + 2


class Picture(Struct, frozen=True, kw_only=True):
    """What the encoders of images and videos take."""

    width: int
    """The width in pixels."""
    height: int
    """The height in pixels."""
    cell: int
    """The side of a cell in pixels."""
    ground: Color
    """The colour of the cells that are 0."""
    ink: Color
    """The colour of the cells that are 1."""
    rows: Sequence[bytes]
    """The cells: a byte of 0 or 1 each. The last row and column may be cut by the edge."""


def draw_picture(text: str, *, width: int, height: int, cell: int, seed: str = "") -> Picture:
    """Draw a text; the same arguments give the same picture.

    Args:
        text: The text, of which as much is drawn as there is room for.
        width: The width in pixels.
        height: The height in pixels.
        cell: The side of a cell in pixels.
        seed: Chooses the colours, together with the text.
    """
    columns, lines = -(-width // cell), -(-height // cell)
    cells = [bytearray(columns) for _ in range(lines)]
    per_line = max(1, (columns - 1) // _ADVANCE)
    top = 1
    for line in _wrap(text, per_line):
        if top + GLYPH_HEIGHT > lines:
            break
        for row, drawn in enumerate(draw(line), top):
            cells[row][1 : 1 + len(drawn)] = drawn[: columns - 1]
        top += _LINE
    ground = _color(crc32(f"{seed}\0{text}".encode()))
    ink = (255, 255, 255) if _luminance(ground) < 128 else (0, 0, 0)  # noqa: PLR2004 the middle
    return Picture(
        width=width,
        height=height,
        cell=cell,
        ground=ground,
        ink=ink,
        rows=[bytes(row[:columns]) for row in cells],
    )


def _wrap(text: str, length: int) -> list[str]:
    """Split a text into lines at its spaces, and a longer word anywhere."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= length:
            lines[-1] += f" {word}"
        else:
            lines += [word[start : start + length] for start in range(0, len(word), length)]
    return lines


def _color(number: int) -> Color:
    return number & 255, number >> 8 & 255, number >> 16 & 255


def _luminance(color: Color) -> float:
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def to_ycc(color: Color) -> Color:
    """Return luminance, blue difference and red difference, 0 to 255 each, as JPEG has them."""
    red, _, blue = color
    luminance = _luminance(color)
    return (
        round(luminance),
        min(255, round(128 + 0.564 * (blue - luminance))),
        min(255, round(128 + 0.713 * (red - luminance))),
    )
