"""The lines of an output and of an errors file."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import Raw, Struct

from foxapi_async._batch.answer_schema import AnswerMismatchError
from foxapi_async._batch.requests import PreparedRow
from foxapi_async._batch.rows import InvalidRow, InvalidRowError, shortened
from foxapi_async.errors import SubmitOutcomeUnknownError
from foxapi_async.types import ChatCompletion

OutputFormat = Literal["batch", "rows", "csv", "parquet"]

ANSWER_COLUMNS: Final = (
    "answer",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "credits",
    "task_id",
    "row_id",
)
"""The columns that the formats of rows add to those of the input."""

INVALID_ROW: Final = "invalid_row"
OUTCOME_UNKNOWN: Final = "outcome_unknown"
SCHEMA_MISMATCH: Final = "schema_mismatch"

_ID_PREFIX: Final = "batch_req_"
_MAX_CODE: Final = 80
_MAX_MESSAGE: Final = 1000
_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_encode = msgspec.json.Encoder(enc_hook=str).encode


class WrittenRow(Struct, frozen=True, gc=False):
    """What a line of an output says of its row."""

    id: str
    """The id of the row."""
    prompt_tokens: int = 0
    """The tokens of its request."""
    completion_tokens: int = 0
    """The tokens of its answer."""
    credits: float | None = None
    """The credits of its task; ``None`` if they are not known, or another row has the task too."""


class LineFormat(Protocol):
    """How answers become lines, and lines are read again."""

    is_quoted: bool
    """Whether a line break within quotes belongs to the record."""

    @property
    def header(self) -> bytes:
        """The first line of the file, or nothing."""
        ...

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise ``InvalidRowError`` if the row cannot be written."""
        ...

    def line(self, prepared: PreparedRow, completion: ChatCompletion, parsed: Any) -> bytes:
        """Return the line of an answered row; ``parsed`` is the answer as JSON data, if asked."""
        ...

    def read(self, line: bytes) -> WrittenRow:
        """Return what the line says of its row; ``ValueError`` if it is no line of this format."""
        ...


class BatchLines:
    """OpenAI's batch output."""

    is_quoted: bool = False
    header: bytes = b""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_BatchLine).decode

    def check(self, values: Mapping[str, Any]) -> None:
        """Accept every row."""

    def line(self, prepared: PreparedRow, completion: ChatCompletion, parsed: Any) -> bytes:
        """Return the line of an answered row."""
        del parsed
        members = batch_members(prepared, completion) | {"error": None}
        if (spent := _own_credits(prepared, completion)) is not None:
            members["credits"] = spent
        return _encode(members) + b"\n"

    def read(self, line: bytes) -> WrittenRow:
        """Return what the line says of its row."""
        members = self._decode(line)
        if not members.id.startswith(_ID_PREFIX):
            raise ValueError("the id is of another program")
        usage = members.response.body.usage or _Usage()
        return WrittenRow(
            members.id.removeprefix(_ID_PREFIX),
            usage.prompt_tokens,
            usage.completion_tokens,
            members.credits,
        )


class RowLines:
    """JSON lines of the input's columns and those of the answer."""

    is_quoted: bool = False
    header: bytes = b""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_RowLine).decode

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise ``InvalidRowError`` if the row has a column of the answer."""
        reject_answer_columns(values)

    def line(self, prepared: PreparedRow, completion: ChatCompletion, parsed: Any) -> bytes:
        """Return the line of an answered row."""
        return _encode(prepared.row.values | _answer_values(prepared, completion, parsed)) + b"\n"

    def read(self, line: bytes) -> WrittenRow:
        """Return what the line says of its row."""
        members = self._decode(line)
        return WrittenRow(
            members.row_id,
            members.prompt_tokens or 0,
            members.completion_tokens or 0,
            members.credits,
        )


class CSVLines:
    """CSV of the input's columns and those of the answer.

    Args:
        columns: The columns of the input.
        delimiter: What separates two fields.
    """

    is_quoted: bool = True

    def __init__(self, columns: Sequence[str], delimiter: str) -> None:
        self._columns = tuple(columns)
        self._known = frozenset(columns)
        self._delimiter = delimiter
        reject_answer_columns(self._known)

    @property
    def header(self) -> bytes:
        """The names of the columns."""
        return self._record([*self._columns, *ANSWER_COLUMNS])

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise ``InvalidRowError`` if the row has a column that the file has not."""
        if not self._known.issuperset(values):
            other = next(name for name in values if name not in self._known)
            raise InvalidRowError(f"the output has no column {other[:80]!r}: use --format rows")

    def line(self, prepared: PreparedRow, completion: ChatCompletion, parsed: Any) -> bytes:
        """Return the line of an answered row."""
        values = prepared.row.values
        answer = _answer_values(prepared, completion, parsed)
        cells = [values.get(name) for name in self._columns]
        return self._record([_cell(value) for value in (*cells, *answer.values())])

    def read(self, line: bytes) -> WrittenRow:
        """Return what the line says of its row."""
        [record] = csv.reader([line.decode()], delimiter=self._delimiter, strict=True)
        if len(record) != len(self._columns) + len(ANSWER_COLUMNS):
            raise ValueError("another number of fields")
        *_, prompt, completion, spent, _task_id, row_id = record
        return WrittenRow(
            row_id, int(prompt or 0), int(completion or 0), float(spent) if spent else None
        )

    def _record(self, cells: Sequence[str]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self._delimiter).writerow(cells)
        return text.getvalue().encode()


def batch_members(prepared: PreparedRow, completion: ChatCompletion) -> dict[str, Any]:
    """Return ``id``, ``custom_id`` and ``response`` of OpenAI's batch output."""
    task = completion.task
    request_id = (task.request_id or task.id) if task is not None else None
    response = {"status_code": 200, "request_id": request_id, "body": _body(completion)}
    return {
        "id": f"{_ID_PREFIX}{prepared.id}",
        "custom_id": prepared.custom_id,
        "response": response,
    }


def error_line(prepared: PreparedRow, error: Exception, completion: ChatCompletion | None) -> bytes:
    """Return the line of a row without an answer, or with one that its schema refuses."""
    members: dict[str, Any] = (
        batch_members(prepared, completion)
        if completion is not None
        else {"id": f"{_ID_PREFIX}{prepared.id}", "custom_id": prepared.custom_id, "response": None}
    )
    members["error"] = {"code": error_code(error), "message": error_message(error)}
    members |= {"line": prepared.row.line, "task_id": getattr(error, "task_id", None)}
    return _encode(members) + b"\n"


def invalid_line(row: InvalidRow) -> bytes:
    """Return the line of a row that could not be read."""
    members = {
        "id": None,
        "custom_id": row.custom_id,
        "response": None,
        "error": {"code": INVALID_ROW, "message": row.reason},
        "line": row.line,
        "task_id": None,
    }
    return _encode(members) + b"\n"


def error_code(error: Exception) -> str:
    """Return the code of the service for an error, or one that is made of its class."""
    if isinstance(error, SubmitOutcomeUnknownError):
        return OUTCOME_UNKNOWN
    if isinstance(error, AnswerMismatchError):
        return SCHEMA_MISMATCH
    code = getattr(error, "code", None)
    if isinstance(code, str) and code:
        return shortened(code)[:_MAX_CODE]
    return _CAPITAL.sub("_", type(error).__name__.removesuffix("Error")).lower()


def error_message(error: Exception) -> str:
    """Return the text of an error on one line."""
    return " ".join(str(error).split())[:_MAX_MESSAGE]


def reject_answer_columns(columns: Any) -> None:
    """Raise ``InvalidRowError`` for a column of the input that has the name of an answer's."""
    for name in ANSWER_COLUMNS:
        if name in columns:
            raise InvalidRowError(
                f"the column {name!r} of the input is one that the output adds: rename it"
            )


def _answer_values(
    prepared: PreparedRow, completion: ChatCompletion, parsed: Any
) -> dict[str, Any]:
    usage, task = completion.usage, completion.task
    values = (
        completion.text if parsed is None else parsed,
        completion.finish_reason,
        usage.prompt_tokens if usage is not None else None,
        usage.completion_tokens if usage is not None else None,
        _own_credits(prepared, completion),
        task.id if task is not None else None,
        prepared.id,
    )
    return dict(zip(ANSWER_COLUMNS, values, strict=True))


def _own_credits(prepared: PreparedRow, completion: ChatCompletion) -> float | None:
    """Return the credits of a row; none if the task is that of an earlier row."""
    return None if prepared.is_repeated else credits_of(completion)


def credits_of(completion: ChatCompletion) -> float | None:
    """Return the credits that the task of a completion cost, or reserved; ``None`` if unknown."""
    task = completion.task
    return task.usage.credits if task is not None and task.usage is not None else None


def _body(completion: ChatCompletion) -> Any:
    raw = completion.raw
    # A line break between two members would end the line.
    if completion.source == "task" and raw and b"\n" not in raw and b"\r" not in raw:
        return Raw(raw)
    return completion.to_dict()


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else _encode(value).decode()


class _Usage(Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Body(Struct, gc=False):
    usage: _Usage | None = None


class _Response(Struct, gc=False):
    body: _Body


class _BatchLine(Struct, gc=False):
    id: str
    response: _Response
    credits: float | None = None


class _RowLine(Struct, gc=False):
    row_id: str
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    credits: float | None = None
