"""The plan of a run: its input, the settings that follow from it, and the rows to submit."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from enum import Enum
from itertools import chain
from pathlib import Path, PurePath
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from foxapi_async._batch.output_file import check_errors_file, mend
from foxapi_async._batch.output_lines import (
    BatchLines,
    CSVLines,
    LineFormat,
    OutputFormat,
    RowLines,
    WrittenRow,
    reject_answer_columns,
)
from foxapi_async._batch.parquet import ParquetInput
from foxapi_async._batch.readers import read_csv, read_jsonl
from foxapi_async._batch.requests import (
    PreparedRow,
    RequestMaker,
    RequestSettings,
    RowForm,
    form_of,
)
from foxapi_async._batch.row_ids import RowIds
from foxapi_async._batch.rows import BatchFileError, InvalidRow, InvalidRowError, Row, select
from foxapi_async._batch.source import STDIN, Source, uncompressed_name
from foxapi_async._batch.state import (
    BatchPaths,
    BatchSettings,
    InputFormat,
    UnknownPolicy,
    absolute,
    check_same_batch,
    load_state,
)
from foxapi_async._batch.totals import Totals

_INPUT_FORMATS: Final[dict[str, InputFormat]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_OUTPUT_FORMATS: Final[dict[str, OutputFormat]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}


class Earlier(Enum):
    """Stands for a row that the output has already."""

    ROW = "row"


class BatchOptions(Struct, frozen=True, kw_only=True):
    """What the user asks for; ``None`` follows from the files."""

    input: str
    output: str
    input_format: InputFormat | None = None
    format: OutputFormat | None = None
    delimiter: str | None = None
    errors: str | None = None
    journal: str | None = None
    request: RequestSettings = RequestSettings()
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    in_flight: int | Literal["auto"] = 256
    unknown: UnknownPolicy = "error"
    max_errors: str | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """What is known before the first row is submitted."""

    settings: BatchSettings
    """The settings."""
    lines: LineFormat
    """The format of the output."""
    size: int
    """The size of the output up to the end of its last whole line."""
    earlier: Totals
    """What the output has: its rows, tokens and credits."""
    fraction: Callable[[], float | None]
    """Returns the part of the input that was read, 0 to 1, or ``None``."""


class OpenInput(Struct, frozen=True, kw_only=True):
    """An input whose first row was read."""

    format: InputFormat
    form: RowForm
    columns: Sequence[str]
    rows: Iterator[Row | InvalidRow]
    fraction: Callable[[], float | None]


def plan_rows(
    options: BatchOptions, stack: ExitStack, *, is_dry: bool = False
) -> Iterator[Plan | PreparedRow | InvalidRow | Earlier]:
    """Yield the plan of a run, and then its rows.

    All files are read here, so run it in a thread. The output is only read.

    Args:
        options: What the user asks for.
        stack: Closes the files.
        is_dry: Leave out what the output has.

    Raises:
        BatchFileError: A file or an option cannot be used.
        ConfigError: An extra is missing.
    """
    opened = open_input(options, stack)
    settings = resolve(options, opened)
    maker = RequestMaker(settings.request, opened.form)
    if opened.columns:
        maker.check_columns(opened.columns, name=options.input)
    lines = _line_format(settings, opened.columns)
    row_ids = RowIds()
    stack.callback(row_ids.close)
    earlier = Totals()
    size = 0 if is_dry else _read_output(settings, lines, row_ids, earlier)
    yield Plan(settings=settings, lines=lines, size=size, earlier=earlier, fraction=opened.fraction)
    chosen = select(opened.rows, limit=settings.limit, sample=settings.sample, seed=settings.seed)
    for row in chosen:
        prepared = _prepare(row, maker, lines)
        if isinstance(prepared, InvalidRow):
            yield prepared
        elif row_ids.take(prepared.id):
            yield Earlier.ROW
        elif row_ids.is_new(prepared.key):
            yield prepared
        else:
            yield replace(prepared, is_repeated=True)


def _prepare(
    row: Row | InvalidRow, maker: RequestMaker, lines: LineFormat
) -> PreparedRow | InvalidRow:
    if isinstance(row, InvalidRow):
        return row
    try:
        lines.check(row.values)
    except InvalidRowError as error:
        return InvalidRow(row.line, str(error))
    return maker.prepare(row)


def open_input(options: BatchOptions, stack: ExitStack) -> OpenInput:
    """Open an input and read its first row."""
    path = options.input
    input_format = options.input_format or input_format_of(path)
    if input_format == "parquet":
        table = ParquetInput(path, stack)
        columns = table.columns
        return OpenInput(
            format="parquet",
            form=form_of(dict.fromkeys(columns)),
            columns=columns,
            rows=table.rows(),
            fraction=lambda: table.fraction,
        )
    source = stack.enter_context(Source(path))
    if input_format == "csv":
        rows = read_csv(source, _delimiter(options.delimiter, path))
    else:
        rows = read_jsonl(source)
    before: list[Row | InvalidRow] = []
    first: Row | None = None
    for row in rows:
        before.append(row)
        if isinstance(row, Row):
            first = row
            break
    return OpenInput(
        format=input_format,
        form="rows" if first is None else form_of(first.values),
        columns=() if first is None else tuple(first.values),
        rows=chain(before, rows),
        fraction=lambda: source.fraction,
    )


def input_format_of(path: str) -> InputFormat:
    """Return the format of an input by its name; stdin is JSONL."""
    if path == STDIN:
        return "jsonl"
    suffix = PurePath(uncompressed_name(path)).suffix.lower()
    if suffix not in _INPUT_FORMATS:
        raise BatchFileError(
            f"INPUT {path}: the name tells no format: pass --input-format jsonl, csv or parquet"
        )
    return _INPUT_FORMATS[suffix]


def resolve(options: BatchOptions, opened: OpenInput) -> BatchSettings:
    """Return the settings of a run.

    Raises:
        BatchFileError: Two options contradict each other.
    """
    paths = BatchPaths(options.output)
    suffix = paths.output.suffix.lower()
    default: OutputFormat = "batch" if opened.form == "batch" else "rows"
    output_format = options.format or _OUTPUT_FORMATS.get(suffix, default)
    if output_format == "batch" and opened.form != "batch":
        raise BatchFileError(
            "--format batch needs OpenAI Batch rows, which have a custom_id: use --format rows"
        )
    if options.output == STDIN or suffix in {".gz", ".zst"}:
        raise BatchFileError(f"-o {options.output}: the output must be a plain file")
    return BatchSettings(
        input=absolute(options.input),
        output=os.path.abspath(options.output),  # noqa: PTH100 no links are followed
        errors=absolute(options.errors or str(paths.errors)),
        journal=absolute(options.journal or str(paths.journal)),
        input_format=opened.format,
        form=opened.form,
        format=output_format,
        delimiter=options.delimiter,
        columns=tuple(opened.columns) if output_format == "csv" else (),
        request=options.request,
        limit=options.limit,
        sample=options.sample,
        seed=options.seed,
        in_flight=options.in_flight,
        unknown=options.unknown,
        max_errors=options.max_errors,
    )


def _delimiter(given: str | None, path: str) -> str:
    if given is not None:
        return given
    return "\t" if uncompressed_name(path).lower().endswith(".tsv") else ","


def line_format(settings: BatchSettings) -> LineFormat:
    """Return the format of the lines of an output."""
    if settings.format == "batch":
        return BatchLines()
    if settings.format == "csv":
        return CSVLines(settings.columns, _delimiter(settings.delimiter, settings.output))
    return RowLines()


def _line_format(settings: BatchSettings, columns: Sequence[str]) -> LineFormat:
    if settings.format != "batch":
        try:
            reject_answer_columns(columns)
        except InvalidRowError as error:
            raise BatchFileError(f"INPUT: {error}") from None
    return line_format(settings)


def _read_output(
    settings: BatchSettings, lines: LineFormat, row_ids: RowIds, earlier: Totals
) -> int:
    """Count what the output has, and return its size without a torn line."""
    paths = BatchPaths(settings.output)
    state = load_state(paths)
    file = paths.lines(settings.format)
    if state is None or state.settings.errors != settings.errors:
        check_errors_file(Path(settings.errors))
    if state is None:
        for path in {file, paths.output}:
            if path.exists() and (path.is_dir() or path.stat().st_size):
                raise BatchFileError(
                    f"{path} exists and is not an output of this command: use another -o"
                )
        return 0
    check_same_batch(state.settings, settings)

    def on_row(row: WrittenRow) -> None:
        row_ids.add(row.id)
        earlier.add_written(row.prompt_tokens, row.completion_tokens, row.credits)

    return mend(file, lines, on_row)
