"""The rows of an input: those that can be read, and those that cannot."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeGuard

from msgspec import Struct

_MAX_REASON: Final = 300


class BatchFileError(Exception):
    """A file of a batch cannot be used; the message names it and the fix."""


class OutputUnwritableError(Exception):
    """An output cannot be written; the message names the file and the reason."""


class InvalidRowError(Exception):
    """A row cannot be answered; the message gives the reason."""


class Row(Struct, frozen=True, gc=False):
    """One row of the input."""

    line: int
    """The line of the file on which the row starts, or its number in a Parquet file; from 1."""
    values: dict[str, Any]
    """The values by column."""


class InvalidRow(Struct, frozen=True, gc=False):
    """A row of the input that cannot be answered."""

    line: int
    """As in ``Row``."""
    reason: str
    """Why."""
    custom_id: str | None = None
    """The id that an OpenAI Batch row gives itself, as far as it can be read."""


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether ``value`` is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Tell whether ``value`` is a JSON array."""
    return isinstance(value, list)


def shortened(text: str) -> str:
    """Return ``text`` on one line of at most 300 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_REASON else f"{line[:_MAX_REASON]}…"


def select(
    rows: Iterable[Row | InvalidRow], *, limit: int | None, sample: int | None, seed: int
) -> Iterator[Row | InvalidRow]:
    """Return the first ``limit`` rows, or ``sample`` random ones of them in the order of the input.

    A sample is the same for the same input and seed. It is held in memory, and all rows are read
    before the first one is returned.
    """
    chosen = islice(rows, limit)
    return chosen if sample is None else iter(_reservoir(chosen, sample, seed))


def _reservoir(rows: Iterable[Row | InvalidRow], size: int, seed: int) -> list[Row | InvalidRow]:
    from random import Random

    random = Random(seed)  # noqa: S311 no secret
    kept: list[tuple[int, Row | InvalidRow]] = []
    for number, row in enumerate(rows):
        if number < size:
            kept.append((number, row))
        elif (place := random.randrange(number + 1)) < size:
            kept[place] = number, row
    return [row for _, row in sorted(kept, key=lambda item: item[0])]
