"""How far a batch is, from its files."""

from collections import Counter
from pathlib import Path

import msgspec
from msgspec import Struct, field

from foxapi_async._batch.output_file import FileLock, mend
from foxapi_async._batch.output_lines import WrittenRow
from foxapi_async._batch.plan import BatchOptions, line_format
from foxapi_async._batch.rows import BatchFileError
from foxapi_async._batch.source import STDIN
from foxapi_async._batch.state import BatchPaths, BatchState, is_masked, load_state
from foxapi_async._batch.totals import Totals

_SQLITE = b"SQLite format 3\0"


class BatchStatus(Struct, kw_only=True):
    """How far a batch is."""

    state: BatchState
    """What the last run wrote, at most two seconds old."""
    is_running: bool
    """Whether a run holds the output."""
    written: Totals = field(default_factory=Totals)
    """What the output has: its rows, tokens and credits."""
    errors: Counter[str] = field(default_factory=Counter[str])
    """The rows of the errors file by code."""


def is_journal(target: str) -> bool:
    """Tell whether ``target`` is a journal and no output, by its first bytes."""
    if "://" in target:
        return True
    try:
        with Path(target.partition("?")[0]).open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def require_state(output: str) -> BatchState:
    """Return the state of a batch.

    Raises:
        BatchFileError: There is none.
    """
    paths = BatchPaths(output)
    state = load_state(paths)
    if state is None:
        raise BatchFileError(
            f"{output} is neither the output of `foxapi batch run` nor a journal: "
            f"{paths.state.name} is missing"
        )
    return state


def read_status(output: str) -> BatchStatus:
    """Return how far a batch is. It reads all of its files, so run it in a thread.

    Raises:
        BatchFileError: It is no output of this command.
    """
    state = require_state(output)
    paths = BatchPaths(output)
    status = BatchStatus(state=state, is_running=FileLock.is_held(paths.lock))
    settings = state.settings

    def on_row(row: WrittenRow) -> None:
        status.written.add_written(row.prompt_tokens, row.completion_tokens, row.credits)

    mend(paths.lines(settings.format), line_format(settings), on_row)
    _count_errors(Path(settings.errors), status.errors)
    return status


def options_of(state: BatchState, journal: str | None) -> BatchOptions:
    """Return the options by which a batch is run again.

    Args:
        state: The state of the batch.
        journal: The journal, if its URL is to be another than the one in the state.

    Raises:
        BatchFileError: Its input was stdin, or the password of its journal is missing.
    """
    settings = state.settings
    if settings.input == STDIN:
        raise BatchFileError(
            "the rows came from stdin: pipe them into `foxapi batch run - --retry-failed` again"
        )
    if journal is None and is_masked(settings.journal):
        raise BatchFileError("the password of the journal is not stored: pass --journal")
    return BatchOptions(
        input=settings.input,
        output=settings.output,
        input_format=settings.input_format,
        format=settings.format,
        delimiter=settings.delimiter,
        errors=settings.errors,
        journal=journal or settings.journal,
        request=settings.request,
        limit=settings.limit,
        sample=settings.sample,
        seed=settings.seed,
        in_flight=settings.in_flight,
        unknown=settings.unknown,
        max_errors=settings.max_errors,
    )


class _Code(Struct, gc=False):
    code: str = ""


class _ErrorLine(Struct, gc=False):
    error: _Code


def _count_errors(path: Path, codes: Counter[str]) -> None:
    decode = msgspec.json.Decoder(_ErrorLine).decode
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        for line in file:
            try:
                codes[decode(line).error.code] += 1
            except (ValueError, RecursionError):
                # The last line may be torn, by a kill.
                continue
