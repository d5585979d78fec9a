"""Options of ``foxapi batch``, and what they describe."""

from math import inf
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from foxapi_async._batch.answer_schema import parse_schema
from foxapi_async._batch.plan import BatchOptions
from foxapi_async._batch.requests import RequestSettings
from foxapi_async._batch.totals import ErrorLimit
from foxapi_async.cli.errors import UsageError
from foxapi_async.cli.options import named_values
from foxapi_async.config import Budget, Limits
from foxapi_async.errors import ConfigError

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="OpenAI Batch JSONL, JSONL, CSV or Parquet, also .gz and .zst; `-` is stdin.",
    ),
]
Output = Annotated[
    str, typer.Option("--output", "-o", metavar="OUT", help="The file of the answers.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="The model of all rows; see `foxapi models`."),
]
Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        metavar="TEMPLATE",
        help="The prompt of a row, as in 'Classify: {text}'; `{{` and `}}` are braces. By default "
        "the column `messages` or `prompt`.",
    ),
]
System = Annotated[
    str | None, typer.Option("--system", metavar="TEXT", help="The system message of all rows.")
]
ImageColumn = Annotated[
    str | None,
    typer.Option(
        "--image-column", metavar="COLUMN", help="The column with a URL, data URI or bytes."
    ),
]
Schema = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="FILE",
        help="A JSON schema: it is sent as the response format, and answers are checked.",
    ),
]
KeyColumn = Annotated[
    str | None,
    typer.Option(
        "--key-column",
        metavar="COLUMN",
        help="The column that names a row; by default a hash of the request.",
    ),
]
InputFormat = Annotated[
    Literal["jsonl", "csv", "parquet"] | None,
    typer.Option("--input-format", help="The format of INPUT, if its name does not tell."),
]
OutputFormat = Annotated[
    Literal["batch", "rows", "csv", "parquet"] | None,
    typer.Option(
        "--format",
        help="`batch` is OpenAI's batch output, `rows` the input's columns and those of the "
        "answer as JSONL; by default as the names of INPUT and OUT tell.",
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", metavar="CHARACTER", help="What separates the fields of CSV."),
]
Errors = Annotated[
    str | None,
    typer.Option(
        "--errors", metavar="FILE", help="The rows without an answer; OUT.errors.jsonl by default."
    ),
]
Journal = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="FILE|URL",
        help="Where submissions are recorded; OUT.journal.db by default.",
    ),
]
InFlight = Annotated[
    str,
    typer.Option(
        "--in-flight",
        metavar="N|auto",
        help="The most rows that are submitted and not finished; `auto` finds the number.",
    ),
]
SubmitsPerMinute = Annotated[
    float | None,
    typer.Option(
        "--submits-per-minute",
        metavar="N",
        help="The most submissions a minute, evenly spread; all commands with this API key and "
        "journal share it.",
    ),
]
TokensPerMinute = Annotated[
    float | None,
    typer.Option(
        "--tokens-per-minute",
        metavar="N",
        help="The most tokens of prompts and answers a minute, by an estimate and then by their "
        "usage.",
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Read the first N rows only.")
]
Sample = Annotated[
    int | None,
    typer.Option("--sample", metavar="N", min=1, help="Draw N random rows, always the same ones."),
]
BudgetText = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="UNIT=N,...",
        help="What the rows may cost in all, as in 'credits=20,tokens=100000,tasks=500'; the "
        "journal's earlier runs count.",
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", help="Another seed draws another sample.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show the number of rows, their tokens, their cost and the first requests; send "
        "nothing.",
    ),
]
MaxErrors = Annotated[
    str | None,
    typer.Option(
        "--max-errors",
        metavar="N|N%",
        help="Stop after more errors than this; a share counts from 100 rows on.",
    ),
]
Unknown = Annotated[
    Literal["error", "skip", "resubmit"],
    typer.Option(
        "--unknown",
        help="What to do with rows that an earlier run may have submitted: an error, nothing, or "
        "submit and maybe bill them again.",
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Submit rows again whose tasks failed.")
]
Progress = Annotated[
    Literal["auto", "bar", "json", "none"],
    typer.Option("--progress", help="A bar on a terminal, lines of JSON on stdout, or nothing."),
]
Report = Annotated[
    str | None, typer.Option("--report", metavar="FILE", help="Write a report as one HTML file.")
]
Target = Annotated[
    str, typer.Argument(metavar="OUT|JOURNAL", help="The output of a batch, or a journal.")
]
OutputArgument = Annotated[str, typer.Argument(metavar="OUT", help="The output of a batch.")]


def request_settings(
    texts: tuple[str | None, str | None, str | None, str | None, str | None],
    params: list[str] | None,
    schema: str | None,
) -> RequestSettings:
    """Return how requests are made.

    Args:
        texts: ``--model``, ``--prompt``, ``--system``, ``--image-column`` and ``--key-column``.
        params: Each ``--param``.
        schema: ``--schema``.

    Raises:
        UsageError: An option is wrong.
        BatchFileError: The schema cannot be read.
    """
    model, prompt, system, image_column, key_column = texts
    values: dict[str, Any] = {}
    for name, value in named_values(params or ()):
        if name in values:
            raise UsageError(f"--param {name}: given twice")
        if name in _OPTION_OF:
            raise UsageError(f"--param {name}: use {_OPTION_OF[name]}")
        values[name] = value
    if schema is not None and "response_format" in values:
        raise UsageError("--param response_format: it contradicts --schema")
    return RequestSettings(
        model=model,
        prompt=prompt,
        system=system,
        params=values,
        image_column=image_column,
        schema=None if schema is None else parse_schema(_read(schema), schema),
        schema_name="answer" if schema is None else _schema_name(schema),
        key_column=key_column,
    )


_OPTION_OF: Final = {
    "model": "--model",
    "messages": "--prompt and --system",
    "prompt": "--prompt",
    "stream": "`foxapi stream`: a batch does not stream",
    "key": "--key-column",
    "extra": "the name of the member",
}


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            # One byte more than a schema may have.
            return file.read(1024 * 1024 + 1)
    except OSError as error:
        raise UsageError(f"--schema {path}: {error.strerror or error}") from None


def _schema_name(path: str) -> str:
    stem = Path(path).name.partition(".")[0]
    name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in stem)
    return name[:64] or "answer"


def parse_in_flight(text: str) -> int | Literal["auto"]:
    """Return ``auto``, or a number of at least 1.

    Raises:
        UsageError: It is neither.
    """
    if text == "auto":
        return "auto"
    if not text.isascii() or not text.isdecimal() or not int(text[:9]) > 0:
        raise UsageError(f"--in-flight {text[:40]!r}: write a number of at least 1, or auto")
    return int(text[:9])


def parse_budget(text: str | None) -> Budget | None:
    """Return the budget of a text such as ``credits=20,tasks=500``.

    Raises:
        UsageError: The text is no budget.
    """
    if text is None:
        return None
    amounts: dict[str, float | int] = {}
    for part in text.split(","):
        name, equals, amount = part.strip().partition("=")
        if not equals or name not in {"credits", "tokens", "tasks"}:
            raise UsageError(
                f"--budget {part.strip()[:40]!r}: write credits=20, tokens=100000 or tasks=500"
            )
        if name in amounts:
            raise UsageError(f"--budget has {name} twice")
        try:
            amounts[name] = float(amount) if name == "credits" else int(amount)
        except ValueError:
            raise UsageError(f"--budget {name}={amount[:40]!r} is not a number") from None
    try:
        return Budget(**amounts)  # type: ignore[arg-type]  # checked by the struct
    except ConfigError as error:
        raise UsageError(f"--budget: {error}") from None


def parse_rates(submits: float | None, tokens: float | None) -> Limits:
    """Return the limits of a batch. A 429 is the only limit of its polls.

    Raises:
        UsageError: A rate is no positive number.
    """
    for name, value in (("submits", submits), ("tokens", tokens)):
        if value is not None and not 0 < value < inf:
            raise UsageError(f"--{name}-per-minute must be more than 0 and finite, got {value:g}")
    return Limits(polls_per_second=None, submits_per_minute=submits, tokens_per_minute=tokens)


def check_options(options: BatchOptions) -> BatchOptions:
    """Return the options.

    Raises:
        UsageError: One of them is wrong.
    """
    if options.max_errors is not None:
        try:
            ErrorLimit.parse(options.max_errors)
        except ValueError:
            raise UsageError(f"--max-errors {options.max_errors[:40]!r}: write 20, or 5%") from None
    delimiter = options.delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise UsageError("--delimiter must be one character, as in ';'; a tab is $'\\t'")
    return options
