"""Rows of JSON lines and of CSV. A row that cannot be read never hides the rows after it."""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from foxapi_async._batch.rows import BatchFileError, InvalidRow, Row, is_object, shortened
from foxapi_async._batch.source import MAX_LINE, CutOffError, Line, Source

TOO_LONG: Final = f"the line is longer than {MAX_LINE // 1024**2} MiB"
_NO_UTF_8: Final = "the line is not UTF-8: convert the file, as with iconv -f latin1 -t utf-8"
_ARRAY: Final = re.compile(rb"\[\s*(?:\{|$)")
_LONE_RETURN: Final = re.compile(rb"\r(?!\n|$)")
_RETURNS: Final = (
    "a carriage return has no line feed after it: convert the line ends, as with tr '\\r' '\\n'"
)
_LONE_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_NO_JSON_NUMBER: Final = re.compile(rb"\b(?:NaN|-?Infinity)\b")
# A quote that is never closed would make one row of the rest of the file.
_MAX_RECORD: Final = 1024 * 1024

AnyRow = Row | InvalidRow


def read_jsonl(source: Source) -> Iterator[AnyRow]:
    """Iterate over the objects of a file that has one on each line.

    Raises:
        BatchFileError: The file has one JSON value on several lines.
    """
    decode = msgspec.json.Decoder().decode
    number, is_first = 0, True
    try:
        for number, data in source.lines():
            if data is None:
                yield InvalidRow(number, TOO_LONG)
            elif not data.isspace():
                if is_first:
                    _reject_one_value(source.name, data.strip())
                    is_first = False
                yield _row_of(number, data, decode)
    except CutOffError as error:
        yield InvalidRow(number + 1, str(error))


def _reject_one_value(name: str, start: bytes) -> None:
    if _ARRAY.match(start):
        raise BatchFileError(
            f"{name} is a JSON array, and no JSON lines: write each of its objects on a line of "
            "its own, as with jq -c '.[]'"
        )
    if start == b"{":
        raise BatchFileError(
            f"{name} has an object on several lines, and no JSON lines: write each object on one "
            "line, as with jq -c ."
        )


def _row_of(number: int, data: bytes, decode: Callable[[bytes], Any]) -> AnyRow:
    try:
        value: Any = decode(data)
    except (ValueError, RecursionError) as error:
        return InvalidRow(number, _json_fault(data, error))
    if not is_object(value):
        return InvalidRow(number, "the line is JSON, but no object: write {...} on one line")
    return Row(number, value)


def _json_fault(data: bytes, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return _NO_UTF_8
    if isinstance(error, RecursionError):
        return "the line is nested too deep"
    faults = (
        (
            _LONE_SURROGATE.search(data),
            "the line is not JSON: it may have half of a surrogate pair",
        ),
        (
            _NO_JSON_NUMBER.search(data),
            "the line is not JSON, which has no NaN and no Infinity: write null",
        ),
        (_LONE_RETURN.search(data), f"the line is not JSON: {_RETURNS}"),
        (
            "trailing characters" in str(error),
            "the line has more than one JSON value: write {...} on one line, and no comma after it",
        ),
        (not data.endswith(b"\n"), "the last line is not JSON: it may be cut off"),
    )
    fault = next((text for is_so, text in faults if is_so), None)
    return fault or shortened(f"the line is not JSON: {error}")


def read_csv(source: Source, delimiter: str) -> Iterator[AnyRow]:
    """Iterate over the rows of a CSV file with a header; all values are texts.

    A row has as many fields as the header, and quotes as RFC 4180 has them. If a row that takes
    several lines is wrong, only its first line is an invalid row, because a quote that is not
    closed would hide the rows after it.

    Raises:
        BatchFileError: The header is missing or has a column twice.
    """
    records = _Records(source, delimiter)
    header = records.header()
    width = len(header)
    for line, record, fault in records:
        if fault is None and len(record) != width:
            fault = f"the row has {len(record)} fields, and the header {width}"  # noqa: PLW2901
        if fault is not None:
            records.put_back()
            yield InvalidRow(line, fault)
        elif record:
            yield Row(line, dict(zip(header, record, strict=True)))


class _Records:
    """The records of a CSV file, and the lines that each one took."""

    def __init__(self, source: Source, delimiter: str) -> None:
        self._name = source.name
        self._delimiter = delimiter
        self._source = source.lines()
        self._returned: deque[Line] = deque()
        self._taken: list[Line] = []
        self._fault: str | None = None
        self._size = 0
        self._end: InvalidRow | None = None
        if csv.field_size_limit() < MAX_LINE:
            csv.field_size_limit(MAX_LINE)

    def header(self) -> list[str]:
        """Return the names of the columns."""
        first = next(iter(self), None)
        if first is None:
            raise BatchFileError(f"{self._name} is empty: its first line must name the columns")
        _, names, fault = first
        if fault is not None:
            raise BatchFileError(f"{self._name}: the header cannot be read: {fault}")
        if names.count("") > 1:
            raise BatchFileError(f"{self._name}: the header has several columns without a name")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise BatchFileError(f"{self._name}: the header has the column {twice[:80]!r} twice")
        return names

    def __iter__(self) -> Iterator[tuple[int, list[str], str | None]]:
        reader = csv.reader(self._feed(), delimiter=self._delimiter, strict=True)
        while True:
            self._taken.clear()
            self._fault, self._size = None, 0
            record: list[str] = []
            try:
                record = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                fault = _RETURNS if "new-line" in str(error) else error
                self._fault = self._fault or f"the row is not CSV: {fault}"
                reader = csv.reader(self._feed(), delimiter=self._delimiter, strict=True)
            if not self._taken:
                break
            if record or self._fault:
                yield self._taken[0].number, record, self._fault
        if self._end is not None:
            yield self._end.line, [], self._end.reason

    def put_back(self) -> None:
        """Let the lines of the last record but its first one be read again."""
        self._returned.extendleft(reversed(self._taken[1:]))
        self._taken.clear()

    def _feed(self) -> Iterator[str]:
        """Yield lines, and note which ones the record takes."""
        while True:
            if self._size > _MAX_RECORD:
                self._fault = "a quote is not closed"
                return
            line = self._returned.popleft() if self._returned else self._next_line()
            if line is None:
                return
            self._taken.append(line)
            if line.data is None:
                self._fault = TOO_LONG
                yield "\n"
                continue
            self._size += len(line.data)
            try:
                yield line.data.decode()
            except UnicodeDecodeError:
                self._fault = _NO_UTF_8
                yield line.data.decode("latin-1")

    def _next_line(self) -> Line | None:
        try:
            return next(self._source, None)
        except CutOffError as error:
            number = self._taken[-1].number if self._taken else 0
            self._end = InvalidRow(number + 1, str(error))
            return None
