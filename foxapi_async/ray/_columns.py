"""Reads rows from the batches of Ray Data, and adds the columns of the answers."""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final, cast

from msgspec import Struct

from foxapi_async.errors import ConfigError

COLUMNS: Final = ("answer", "error", "task_id", "usage")

# Without a value: `pandas.NA` and `pandas.NaT`, whose comparisons are no booleans.
_MISSING_TYPES: Final = frozenset({"NAType", "NaTType"})
_USAGE: Final = ("prompt_tokens", "completion_tokens", "total_tokens")


class AnswerColumns(Struct, frozen=True, kw_only=True):
    """What the columns of one row say."""

    answer: Any = None
    """The text of the answer, or its JSON value; ``None`` with an error."""
    error: str | None = None
    """The class and text of the error."""
    task_id: str | None = None
    """The id of the task, if one is known."""
    usage: dict[str, int] | None = None
    """The counted tokens."""
    is_skipped: bool = False
    """Whether the row is left out."""


def check_columns(names: Sequence[str], prefix: str, needed: Sequence[str]) -> None:
    """Raise ``ConfigError`` if a column is missing, or one of the answers exists already."""
    for name in needed:
        if name not in names:
            raise ConfigError(f"no column {name!r}: the data set has {', '.join(names) or 'none'}")
    for name in COLUMNS:
        if prefix + name in names:
            raise ConfigError(
                f"the data set has a column {prefix + name!r} already, so the answers need other "
                "names: pass prefix='fox_', or rename the column"
            )


def names_of(batch: Any) -> list[str]:
    """Return the names of the columns of a batch."""
    names: Any = batch
    if not isinstance(batch, dict):
        names = batch.column_names if _is_arrow(batch) else batch.columns
    return [str(name) for name in names]


def rows_of(batch: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of a batch with these columns; a missing value is ``None``.

    Args:
        batch: A dictionary of arrays, a data frame of pandas, or a table of Arrow.
        names: The columns to read.
    """
    columns = [_values(batch, name) for name in names]
    return [
        dict(zip(names, map(_plain, values), strict=True)) for values in zip(*columns, strict=True)
    ] or [{} for _ in range(size_of(batch))]


def size_of(batch: Any) -> int:
    """Return the number of rows of a batch."""
    if isinstance(batch, dict):
        columns = cast("dict[str, Any]", batch)
        return max(map(len, columns.values()), default=0)
    return int(batch.num_rows if _is_arrow(batch) else len(batch))


def with_answers(batch: Any, answers: Sequence[AnswerColumns], prefix: str, *, parsed: bool) -> Any:
    """Return a batch of the same format with the columns of the answers, without skipped rows.

    ``batch`` stays as it is.

    Args:
        batch: The batch.
        answers: One for each of its rows.
        prefix: What the names of the new columns begin with.
        parsed: Whether the answers are JSON values and no texts.
    """
    if any(answer.is_skipped for answer in answers):
        kept = [place for place, answer in enumerate(answers) if not answer.is_skipped]
        batch, answers = _take(batch, kept), [answers[place] for place in kept]
    if _is_arrow(batch):
        arrays = arrow_columns(answers, parsed=parsed)
        for name, values in arrays.items():
            batch = batch.append_column(prefix + name, values)
        return batch
    lists = {prefix + name: [getattr(answer, name) for answer in answers] for name in COLUMNS}
    added = {name: _object_array(values) for name, values in lists.items()}
    if isinstance(batch, dict):
        return {**cast("dict[str, Any]", batch), **added}
    return batch.assign(**added)


def arrow_columns(answers: Sequence[AnswerColumns], *, parsed: bool) -> dict[str, Any]:
    """Return the columns of the answers as arrays of Arrow, whose types do not depend on them.

    Only the type of parsed answers does. Values that have no common type become their JSON texts.
    """
    arrow: Any = import_module("pyarrow")
    text: Any = arrow.string()
    usage: Any = arrow.struct([(name, arrow.int64()) for name in _USAGE])
    types = {"answer": None if parsed else text, "error": text, "task_id": text, "usage": usage}
    lists = {name: [getattr(answer, name) for answer in answers] for name in COLUMNS}
    made: dict[str, Any] = {}
    for name, values in lists.items():
        try:
            made[name] = arrow.array(values, type=types[name])
        except (arrow.ArrowInvalid, arrow.ArrowTypeError, OverflowError):
            made[name] = arrow.array([None if v is None else json.dumps(v) for v in values], text)
    return made


def usage_of(usage: object) -> dict[str, int] | None:
    """Return the token counts of a completion."""
    return None if usage is None else {name: getattr(usage, name) for name in _USAGE}


def _is_arrow(batch: Any) -> bool:
    return hasattr(batch, "column_names") and hasattr(batch, "append_column")


def _take(batch: Any, places: list[int]) -> Any:
    if isinstance(batch, dict):
        columns = cast("dict[str, Any]", batch)
        return {name: values[places] for name, values in columns.items()}
    return batch.take(places) if _is_arrow(batch) else batch.iloc[places]


def _values(batch: Any, name: str) -> Sequence[Any]:
    column: Any = batch[name]
    if _is_arrow(batch):
        return cast("list[Any]", column.to_pylist())
    return cast("list[Any]", column.tolist() if hasattr(column, "iloc") else list(column))


def _plain(value: Any) -> Any:
    """Return a value without the types of numpy; ``None`` if it is missing."""
    if type(value).__module__ == "numpy":
        value = value.tolist()
    if type(value).__name__ in _MISSING_TYPES or (isinstance(value, float) and value != value):  # noqa: PLR0124 NaN alone
        return None
    return value


def without_nulls(value: Any) -> Any:
    """Return a value without the members that are ``None``.

    A column has one type for all rows: what only some messages have is null in the others.
    """
    if isinstance(value, Mapping):
        members = cast("Mapping[str, Any]", value).items()
        return {name: without_nulls(member) for name, member in members if member is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(item) for item in cast("Sequence[Any]", value)]
    return _plain(value)


def _object_array(values: list[Any]) -> Any:
    array: Any = import_module("numpy").empty(len(values), dtype=object)
    # One by one: lists of one length would become a second dimension.
    for number, value in enumerate(values):
        array[number] = value
    return array
