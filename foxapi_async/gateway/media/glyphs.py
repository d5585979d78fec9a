"""Letters of five by seven cells, for the text on simulated images."""

from collections.abc import Iterable, Mapping
from typing import Final

GLYPH_WIDTH: Final = 5
GLYPH_HEIGHT: Final = 7

# Seven rows of each letter; the bits of a row are its cells, the highest on the left.
_ROWS: Final = """
A 0E 11 11 1F 11 11 11|B 1E 11 11 1E 11 11 1E|C 0E 11 10 10 10 11 0E|D 1E 11 11 11 11 11 1E
E 1F 10 10 1E 10 10 1F|F 1F 10 10 1E 10 10 10|G 0E 11 10 17 11 11 0F|H 11 11 11 1F 11 11 11
I 0E 04 04 04 04 04 0E|J 07 02 02 02 02 12 0C|K 11 12 14 18 14 12 11|L 10 10 10 10 10 10 1F
M 11 1B 15 15 11 11 11|N 11 19 15 13 11 11 11|O 0E 11 11 11 11 11 0E|P 1E 11 11 1E 10 10 10
Q 0E 11 11 11 15 12 0D|R 1E 11 11 1E 14 12 11|S 0F 10 10 0E 01 01 1E|T 1F 04 04 04 04 04 04
U 11 11 11 11 11 11 0E|V 11 11 11 11 11 0A 04|W 11 11 11 15 15 1B 11|X 11 11 0A 04 0A 11 11
Y 11 11 0A 04 04 04 04|Z 1F 01 02 04 08 10 1F
0 0E 11 13 15 19 11 0E|1 04 0C 04 04 04 04 0E|2 0E 11 01 06 08 10 1F|3 1F 02 04 02 01 11 0E
4 02 06 0A 12 1F 02 02|5 1F 10 1E 01 01 11 0E|6 06 08 10 1E 11 11 0E|7 1F 01 02 04 08 08 08
8 0E 11 11 0E 11 11 0E|9 0E 11 11 0F 01 02 0C
. 00 00 00 00 00 0C 0C|, 00 00 00 00 0C 04 08|: 00 0C 0C 00 0C 0C 00|- 00 00 00 1F 00 00 00
! 04 04 04 04 04 00 04|? 0E 11 01 02 04 00 04|' 04 04 08 00 00 00 00|/ 01 02 02 04 08 08 10
( 02 04 08 08 08 04 02|) 08 04 02 02 02 04 08|+ 00 04 04 1F 04 04 00|= 00 00 1F 00 1F 00 00
"""
_SPACE: Final = (0,) * GLYPH_HEIGHT
# What has no letter here is a box.
_BOX: Final = (0x1F, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1F)


def _read(lines: Iterable[str]) -> Mapping[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {" ": _SPACE}
    for line in lines:
        for glyph in line.split("|"):
            letter, *rows = glyph.split()
            found[letter] = tuple(int(row, 16) for row in rows)
    return found


_GLYPHS: Final = _read(_ROWS.strip().splitlines())


def draw(text: str) -> list[bytes]:
    """Return the seven rows of a line of text; a cell is 1 where there is ink."""
    glyphs = [_GLYPHS.get(letter, _BOX) for letter in text.upper()]
    return [
        b"".join(
            bytes((glyph[row] >> (GLYPH_WIDTH - 1 - column)) & 1 for column in range(GLYPH_WIDTH))
            + b"\0"
            for glyph in glyphs
        )
        for row in range(GLYPH_HEIGHT)
    ]
