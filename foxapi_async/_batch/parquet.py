"""Parquet as input and as output."""
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyarrow has no types.

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from foxapi_async._batch.output_file import write_whole
from foxapi_async._batch.rows import BatchFileError, Row, shortened
from foxapi_async._batch.source import STDIN
from foxapi_async.errors import ConfigError

_READ_ROWS: Final = 256
_WRITE_ROWS: Final = 4096
_TEXTS_IN_JSON: Final[dict[str, type]] = {
    "is_binary": bytes,
    "is_large_binary": bytes,
    "is_date": date,
    "is_decimal": Decimal,
    "is_duration": timedelta,
    "is_time": time,
    "is_timestamp": datetime,
}
"""Types that JSON has as texts: the name of pyarrow's test, and the type in Python."""


def _pyarrow() -> Any:
    try:
        import pyarrow  # noqa: ICN001 the name is the variable of its users
    except ImportError:
        raise ConfigError(
            "Parquet needs an extra: python -m pip install 'foxapi-async[batch]'"
        ) from None
    return pyarrow


class ParquetInput:
    """An open Parquet file.

    Raises:
        BatchFileError: It cannot be read.
        ConfigError: The extra is missing.
    """

    def __init__(self, path: str, stack: ExitStack) -> None:
        self._pyarrow = _pyarrow()
        from pyarrow.parquet import ParquetFile

        self._path = path
        if path == STDIN:
            raise BatchFileError("INPUT is stdin, where Parquet cannot be read: name a file")
        try:
            self._file: Any = stack.enter_context(ParquetFile(path))
        except (OSError, self._pyarrow.ArrowException) as error:
            raise self._unreadable(error) from None
        self._read = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._file.schema_arrow.names)

    @property
    def fraction(self) -> float | None:
        """The part of the rows that was read, 0 to 1."""
        rows: int = self._file.metadata.num_rows
        return min(self._read / rows, 1.0) if rows else 1.0

    def rows(self) -> Iterator[Row]:
        """Iterate over the rows.

        Raises:
            BatchFileError: The file is damaged.
        """
        try:
            for batch in self._file.iter_batches(batch_size=_READ_ROWS):
                for values in batch.to_pylist():
                    self._read += 1
                    yield Row(self._read, values)
        except (OSError, self._pyarrow.ArrowException) as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> BatchFileError:
        return BatchFileError(f"INPUT {self._path}: {shortened(str(error))}")


def input_schema(path: str) -> Any:
    """Return the schema of a Parquet input, or ``None`` if it is gone."""
    from pyarrow.parquet import read_schema

    try:
        return read_schema(path)
    except (OSError, _pyarrow().ArrowException):
        return None


def write_parquet(lines: Path, output: Path, schema: Any | None) -> None:
    """Write the JSON lines of answered rows as Parquet, at once.

    A column of the input keeps its type. The type of another column follows from its values; if
    they do not fit together, they become JSON texts.

    Args:
        lines: The file of JSON lines.
        output: The file to write.
        schema: The schema of the input if it is Parquet, or ``None``.

    Raises:
        OSError: The file cannot be written.
    """
    pyarrow = _pyarrow()
    from pyarrow.parquet import ParquetWriter

    fields = _checked(pyarrow, lines, _infer(pyarrow, lines, schema))

    def write(file: IO[bytes]) -> None:
        with ParquetWriter(file, fields) as writer:
            for rows in _blocks(lines):
                arrays = [_array(pyarrow, rows, field.name, field.type) for field in fields]
                writer.write_table(pyarrow.Table.from_arrays(arrays, schema=fields))

    write_whole(output, write)


def _infer(pyarrow: Any, lines: Path, schema: Any | None) -> dict[str, Any]:
    """Return the type of each column."""
    known: dict[str, Any] = (
        {name: schema.field(name).type for name in schema.names} if schema else {}
    )
    types = dict(known)
    for rows in _blocks(lines):
        for name in dict.fromkeys(name for row in rows for name in row):
            if name not in known:
                types[name] = _merged(pyarrow, types.get(name), [row.get(name) for row in rows])
    text = pyarrow.string()
    return {name: text if pyarrow.types.is_null(kind) else kind for name, kind in types.items()}


def _checked(pyarrow: Any, lines: Path, types: dict[str, Any]) -> Any:
    """Return the schema of all rows, with text for each column that its type does not fit."""
    for rows in _blocks(lines):
        for name, kind in types.items():
            try:
                _array(pyarrow, rows, name, kind)
            except (pyarrow.ArrowException, TypeError, ValueError):
                types[name] = pyarrow.string()
    return pyarrow.schema(list(types.items()))


def _merged(pyarrow: Any, known: Any, values: list[Any]) -> Any:
    """Return a type that fits the values so far and these; text if there is none."""
    try:
        new = pyarrow.infer_type(values)
        if known is None:
            return new
        both = [pyarrow.schema([("c", known)]), pyarrow.schema([("c", new)])]
        return pyarrow.unify_schemas(both, promote_options="permissive").field("c").type
    except pyarrow.ArrowException:
        return pyarrow.string()


def _array(pyarrow: Any, rows: list[dict[str, Any]], name: str, kind: Any) -> Any:
    values = [row.get(name) for row in rows]
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return pyarrow.array([_text(value) for value in values], kind)
    for is_kind, python_type in _TEXTS_IN_JSON.items():
        if getattr(pyarrow.types, is_kind)(kind):
            values = msgspec.convert(values, list[python_type | None])  # type: ignore[valid-type]
    return pyarrow.array(values, kind)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _blocks(lines: Path) -> Iterable[list[dict[str, Any]]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    rows: list[dict[str, Any]] = []
    with lines.open("rb") as file:
        for line in file:
            rows.append(decode(line))
            if len(rows) == _WRITE_ROWS:
                yield rows
                rows = []
    if rows:
        yield rows
