"""Output of a command: JSON lines or text on stdout, messages on stderr."""

import errno
import io
import json
import os
import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from shutil import get_terminal_size
from typing import Any, Final, TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from foxapi_async.cli.errors import StdoutError

# Characters that a terminal obeys, hides or shows in another place: controls (except newline and
# tab), soft hyphens, fillers, zero-width characters, marks and overrides of the writing direction,
# line separators, tags, and halves of surrogate pairs.
_CONTROLS: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_INVISIBLE: Final = (
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff"
)
# Two joiners belong to the spelling of some languages and of emoji, but never beside ASCII.
_JOINERS: Final = r"\u200c\u200d"
_NOT_PRINTABLE: Final = re.compile(
    rf"[{_CONTROLS}{_INVISIBLE}]|(?<=[\x00-\x7f])[{_JOINERS}]|[{_JOINERS}](?=[\x00-\x7f])"
)
_NOT_IN_JSON: Final = re.compile(rf"[{_CONTROLS}{_INVISIBLE}{_JOINERS}]")
_MAX_WIDTH: Final = 10_000


def configure_output() -> None:
    """Make stdout and stderr write any text: in UTF-8, or in the encoding of the terminal.

    Characters that cannot be encoded are escaped. In JSON, the escape is the same character.

    Raises:
        StdoutError: stdout is closed.
    """
    _reserve_closed_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = None if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def _reserve_closed_descriptors() -> None:
    """Open the null device for closed standard streams, or later files get their descriptors."""
    # The system returns the lowest free descriptor, which is that of the first closed stream.
    reserved = {
        name: os.open(os.devnull, os.O_RDWR)
        for name in ("stdin", "stdout", "stderr")
        if getattr(sys, name) is None
    }
    if "stderr" in reserved:
        sys.stderr = os.fdopen(reserved["stderr"], "w", encoding="utf-8", closefd=False)
    if "stdout" in reserved:
        sys.stdout = os.fdopen(reserved["stdout"], "w", encoding="utf-8", closefd=False)
        raise _output_error(OSError(errno.EBADF, "it is closed"))


def abandon_stdout() -> None:
    """Point stdout to the null device, so that the interpreter can flush it at exit."""
    _redirect_to_null(sys.stdout)


def _redirect_to_null(stream: TextIO) -> None:
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)


def printable(text: str) -> str:
    """Return ``text`` with escapes in place of characters that a terminal obeys or hides."""
    return _NOT_PRINTABLE.sub(_escape, text.replace("\r\n", "\n"))


def json_line(members: dict[str, object]) -> str:
    """Return a line of JSON with escapes in place of characters that a terminal obeys or hides."""
    return _NOT_IN_JSON.sub(_json_escape, json.dumps(members, ensure_ascii=False)) + "\n"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _json_escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def write_stderr(text: str) -> None:
    """Write to stderr. A stderr that cannot be written does not change the exit code."""
    with _writing_stderr():
        sys.stderr.write(text)
        sys.stderr.flush()


@contextmanager
def _writing_stderr() -> Generator[None, None, None]:
    try:
        yield
    except OSError:
        # stdout and the exit code still show how the command ended.
        _redirect_to_null(sys.stderr)


@contextmanager
def writing_stdout() -> Generator[None, None, None]:
    """Turn an ``OSError`` other than a broken pipe into ``StdoutError``."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _output_error(error) from error


def _output_error(error: OSError) -> StdoutError:
    return StdoutError(
        f"stdout cannot be written: {error.strerror or 'the system gives no reason'}; "
        "send it to a file with room, to a pipe, or to /dev/null"
    )


class _Console(Console):
    """A console that prints text unchanged and raises ``BrokenPipeError``.

    The terminal wraps the lines itself, so lines can be copied whole.
    """

    def __init__(self, **options: Any) -> None:
        # With COLUMNS=0 rich would write nothing.
        size = get_terminal_size()
        super().__init__(
            width=min(size.columns, _MAX_WIDTH),
            height=size.lines,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
            **options,
        )

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class _Stdout(_Console):
    """The console of stdout."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, or raise ``StdoutError`` if stdout cannot be written."""
        with writing_stdout():
            super().print(*objects, **options)


class Screen:
    """Writes the results of a command to stdout: as JSON lines or as text.

    The screen also remembers the tasks whose results were not shown yet. A command that ends early
    prints how to get them.

    Args:
        json: Whether to write JSON lines. ``None`` chooses them when stdout is not a terminal.

    Raises:
        StdoutError: from every method that writes to stdout, if it cannot be written.
    """

    def __init__(self, *, json: bool | None = None) -> None:
        self.is_json: bool = not sys.stdout.isatty() if json is None else json
        self.out: Console = _Stdout(quiet=self.is_json)
        self.err: Console = _Console(stderr=True)
        self._pending: dict[str, Callable[[], str] | None] = {}

    def record(self, **members: object) -> None:
        """Write one line of JSON, unless the screen writes text."""
        if self.is_json:
            with writing_stdout():
                sys.stdout.write(json_line(members))
                sys.stdout.flush()

    def print(self, item: RenderableType = "") -> None:
        """Print a line or another rich object, unless the screen writes JSON."""
        self.out.print(self._safe(item))

    def write(self, text: str, style: str = "") -> None:
        """Print a piece of text without ending the line."""
        if text:
            self.out.print(self._safe(Text(text, style)), end="")

    def note(self, text: str, style: str = "dim") -> None:
        """Print a message to stderr."""
        with _writing_stderr():
            self.err.print(Text(printable(text), style))

    def remember(self, task_id: str, command: Callable[[], str] | None = None) -> None:
        """Remember a task whose result was not shown yet.

        ``command`` returns the command line that gets it; without one it is ``foxapi wait``.
        """
        self._pending[task_id] = command

    def forget_all(self) -> None:
        """Forget all tasks: the command says itself how to get their results."""
        self._pending.clear()

    def forget(self, task_id: str) -> None:
        """Forget a task whose result was shown."""
        self._pending.pop(task_id, None)

    def print_pending(self) -> None:
        """Print to stderr how to get each result that was not shown."""
        commands = [command() for command in self._pending.values() if command]
        waiting = [task_id for task_id, command in self._pending.items() if command is None]
        if waiting:
            commands.append(f"foxapi wait {' '.join(waiting)}")
        for command in commands:
            self.note(f"the task goes on, get its result by: {command}", "")

    def _safe(self, item: RenderableType) -> RenderableType:
        # A file gets the text unchanged.
        if not self.out.is_terminal:
            return item
        if isinstance(item, Text):
            shown = printable(item.plain)
            return item if shown == item.plain else Text(shown, item.style)
        return printable(item) if isinstance(item, str) else item


def local_time(seconds: float) -> str:
    """Return Unix seconds as local date and time, or as a number if they are out of range."""
    try:
        moment = datetime.fromtimestamp(int(seconds), UTC).astimezone()
    except (OverflowError, ValueError, OSError):
        return str(seconds)
    return moment.isoformat(sep=" ")
