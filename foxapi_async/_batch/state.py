"""The settings and the sums of a batch, in a file beside its output."""

import os
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from foxapi_async._batch.output_file import write_whole
from foxapi_async._batch.output_lines import OutputFormat
from foxapi_async._batch.requests import RequestSettings, RowForm
from foxapi_async._batch.rows import BatchFileError
from foxapi_async._batch.source import STDIN
from foxapi_async._batch.totals import Totals

InputFormat = Literal["jsonl", "csv", "parquet"]
UnknownPolicy = Literal["error", "skip", "resubmit"]

_MASK: Final = "***"
_MAX_STATE: Final = 4 * 1024 * 1024
_OPTIONS: Final = {
    "model": "--model",
    "prompt": "--prompt",
    "system": "--system",
    "params": "--param",
    "image_column": "--image-column",
    "schema": "--schema",
    "schema_name": "--schema",
    "key_column": "--key-column",
}


class BatchSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run does, as far as a later run needs it."""

    input: str
    """The path of the input; ``-`` for stdin."""
    output: str
    """The path of the output."""
    errors: str
    """The path of the errors file."""
    journal: str
    """The path or URL of the journal."""
    input_format: InputFormat
    """The format of the input."""
    form: RowForm = "rows"
    """Whether the rows are OpenAI Batch rows."""
    format: OutputFormat
    """The format of the output."""
    delimiter: str | None = None
    """What separates the fields of CSV; ``None`` for a comma, or a tab in ``.tsv`` files."""
    columns: tuple[str, ...] = ()
    """The columns of a CSV output, without those of the answer."""
    request: RequestSettings = RequestSettings()
    """How requests are made."""
    limit: int | None = None
    """The number of rows that are read."""
    sample: int | None = None
    """The number of rows that are drawn from them."""
    seed: int = 0
    """The seed of the sample."""
    in_flight: int | Literal["auto"] = 256
    """The most rows that are submitted and not finished."""
    unknown: UnknownPolicy = "error"
    """What is done with rows whose outcome an earlier run left unknown."""
    max_errors: str | None = None
    """``--max-errors`` as it was given."""


class BatchState(Struct, kw_only=True):
    """The content of the file."""

    version: Literal[1] = 1
    """The version of the layout."""
    settings: BatchSettings
    """What the last run did."""
    totals: Totals = field(default_factory=Totals)
    """How far it came."""


class BatchPaths:
    """The files of a batch, which stand beside its output."""

    def __init__(self, output: str) -> None:
        self.output: Path = Path(output)
        self.state: Path = self._beside(".batch.json")
        self.lock: Path = self._beside(".lock")
        self.errors: Path = self._beside(".errors.jsonl")
        self.journal: Path = self._beside(".journal.db")
        self.rows: Path = self._beside(".rows.jsonl")

    def lines(self, output_format: OutputFormat) -> Path:
        """Return the file to which answers are appended: Parquet is written at the end."""
        return self.rows if output_format == "parquet" else self.output

    def check_files(
        self, *, input_: str, errors: str | None, journal: str | None, report: str | None
    ) -> None:
        """Raise ``BatchFileError`` if a file cannot be an output, or would be written over."""
        if self.output.exists() and not (self.output.is_file() or self.output.is_dir()):
            raise BatchFileError(f"-o {self.output}: the output must be a plain file")
        database = _database(journal or str(self.journal))
        files = {
            "INPUT": None if input_ == STDIN else input_,
            "-o": self.output,
            "--journal": database,
            "the log of --journal": None if database is None else f"{database}-wal",
            "the index of --journal": None if database is None else f"{database}-shm",
            f"the file {self.state.name}": self.state,
            f"the file {self.lock.name}": self.lock,
            f"the file {self.rows.name}": self.rows,
            "--errors": errors or self.errors,
            "--report": report,
        }
        taken: dict[object, str] = {}
        for name, path in files.items():
            if path is None:
                continue
            other = taken.setdefault(_place(path), name)
            if other != name:
                raise BatchFileError(
                    f"{other} and {name} are one file, {path}: one would be written over the "
                    "other, so name another one"
                )

    def _beside(self, suffix: str) -> Path:
        return self.output.with_name(self.output.name + suffix)


def _database(journal: str) -> str | None:
    """Return the path of an SQLite journal; ``None`` if a server has it."""
    path = journal.removeprefix("sqlite:///").partition("?")[0]
    return None if "://" in path else path


def _place(path: str | Path) -> object:
    """Return what is equal for two names of one file, such as links."""
    try:
        found = os.stat(path)  # noqa: PTH116 a text or a path
    except (OSError, ValueError):
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def load_state(paths: BatchPaths) -> BatchState | None:
    """Return the state of a batch, or ``None`` if there is none.

    Raises:
        BatchFileError: The file cannot be read.
    """
    try:
        with paths.state.open("rb") as file:
            text = file.read(_MAX_STATE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BatchFileError(f"{paths.state}: {error.strerror or error}") from None
    try:
        # A longer file was cut, and is no JSON.
        return msgspec.json.decode(text[:_MAX_STATE], type=BatchState)
    except (ValueError, RecursionError):
        raise BatchFileError(
            f"{paths.state} is not a file of this command, or of another version: move it away, "
            "and the output with it"
        ) from None


def save_state(paths: BatchPaths, state: BatchState) -> None:
    """Write the state of a batch; a password in the URL of its journal is masked.

    Raises:
        OSError: It cannot be written.
    """
    settings = replace(state.settings, journal=masked_url(state.settings.journal))
    text = msgspec.json.encode(replace(state, settings=settings))
    write_whole(paths.state, lambda file: file.write(text))


def masked_url(journal: str) -> str:
    """Return a URL without its password."""
    if "://" not in journal:
        return journal
    try:
        parts = urlsplit(journal)
    except ValueError:
        return f"{journal.partition('://')[0]}://{_MASK}"
    userinfo, at, host = parts.netloc.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    members = [_masked_member(member) for member in parts.query.split("&")]
    netloc = f"{user}:{_MASK}@{host}" if colon else f"{userinfo}{at}{host}"
    masked = urlunsplit(parts._replace(netloc=netloc, query="&".join(members)))
    return masked if _MASK in masked else journal


def _masked_member(member: str) -> str:
    name = member.partition("=")[0]
    return f"{name}={_MASK}" if "password" in unquote(name).lower() else member


def is_masked(journal: str) -> bool:
    """Tell whether a password was masked in a URL."""
    return "://" in journal and _MASK in journal


def check_same_batch(before: BatchSettings, now: BatchSettings) -> None:
    """Raise ``BatchFileError`` if an output has answers to other requests than ``now`` makes."""
    changed = next(
        (
            option
            for name, option in _OPTIONS.items()
            if getattr(before.request, name) != getattr(now.request, name)
        ),
        None,
    )
    if changed is None and before.format != now.format:
        changed = "--format"
    if changed is None and before.form != now.form:
        changed = "INPUT, of another form,"
    if changed is None and before.delimiter != now.delimiter and now.format == "csv":
        changed = "--delimiter"
    if changed is not None:
        raise BatchFileError(
            f"{now.output} was begun with another {changed.rstrip(',')}: use another -o"
        )


def absolute(path: str) -> str:
    """Return the absolute path of an input; stdin stays as it is."""
    return path if path == STDIN or "://" in path else os.path.abspath(path)  # noqa: PTH100 no links are followed
