"""Rows of text in columns, which are as wide as they must be: nothing is cut or wrapped."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from foxapi_async.cli.output import printable

_GAP: Final = 2


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Text:
    """Return a line for the header and one for each row; what stands in a cell is whole.

    A terminal that is too narrow wraps the lines itself, so that a cell can still be copied.
    """
    head, *lines = _aligned([header, *rows])
    return Text("\n").join([Text(head, "bold"), *map(Text, lines)])


def sheet(members: Mapping[str, str]) -> Text:
    """Return a line for each member that is not empty, its name dimmed and its value whole."""
    width = max(map(cell_len, members), default=0) + _GAP
    named = {name: _cell(value) for name, value in members.items()}
    return Text("\n").join(
        Text.assemble((name.ljust(width), "dim"), value) for name, value in named.items() if value
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) + _GAP for column in zip(*cells, strict=True)]
    return [
        "".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def _cell(text: str) -> str:
    """Return ``text`` on one line, safe to show."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")
