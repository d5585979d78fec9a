"""Where a command writes: lines of JSON or words on stdout, messages on stderr."""

import errno
import io
import json
import os
import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import Any, Final, TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from foxapi_async.cli.exit_codes import OutputError

# What a terminal obeys, or does not show at all, or shows in another place than it stands: controls
# (newline and tab are none here), soft hyphens, fillers, zero-width characters, marks and overrides
# of the writing direction, separators of lines, tags, and halves of surrogate pairs.
_CONTROLS: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_UNSEEN: Final = (
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff"
)
# Two joiners belong to the spelling of some languages and of emoji, and never stand beside ASCII.
_JOINERS: Final = r"\u200c\u200d"
_NOT_SHOWN: Final = re.compile(
    rf"[{_CONTROLS}{_UNSEEN}]|(?<=[\x00-\x7f])[{_JOINERS}]|[{_JOINERS}](?=[\x00-\x7f])"
)
_NOT_IN_JSON: Final = re.compile(rf"[{_CONTROLS}{_UNSEEN}{_JOINERS}]")
_WIDEST: Final = 10_000


def configure_output() -> None:
    """Make stdout and stderr write any text: UTF-8 unless a terminal wants another encoding.

    What cannot be encoded is escaped, in a way that JSON reads as the same character.
    ``OutputError`` when stdout is closed.
    """
    _hold_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = None if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def _hold_closed_streams() -> None:
    """Keep the descriptors of closed standard streams from the files that are opened later."""
    # The system gives the lowest free descriptor, which is that of the first closed stream.
    held = {
        name: os.open(os.devnull, os.O_RDWR)
        for name in ("stdin", "stdout", "stderr")
        if getattr(sys, name) is None
    }
    if "stderr" in held:
        sys.stderr = os.fdopen(held["stderr"], "w", encoding="utf-8", closefd=False)
    if "stdout" in held:
        sys.stdout = os.fdopen(held["stdout"], "w", encoding="utf-8", closefd=False)
        raise _unwritable(OSError(errno.EBADF, "it is closed"))


def abandon_stdout() -> None:
    """Give the interpreter a stdout that it can flush: nobody reads the real one, or it is full."""
    _abandon(sys.stdout)


def _abandon(stream: TextIO) -> None:
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)


def printable(text: str) -> str:
    """Return ``text`` with escapes in place of what a terminal obeys or would not show."""
    return _NOT_SHOWN.sub(_escape, text.replace("\r\n", "\n"))


def json_line(members: dict[str, object]) -> str:
    """Return a line of JSON in which whatever a terminal obeys or would not show is escaped."""
    return _NOT_IN_JSON.sub(_json_escape, json.dumps(members, ensure_ascii=False)) + "\n"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _json_escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def tell(text: str) -> None:
    """Write to stderr; where it cannot be written, how the command ends stays what it was."""
    with _writing_stderr():
        sys.stderr.write(text)
        sys.stderr.flush()


@contextmanager
def _writing_stderr() -> Generator[None, None, None]:
    try:
        yield
    except OSError:
        # Nobody is left who could be told; stdout and the exit code say how it ended.
        _abandon(sys.stderr)


@contextmanager
def writing_stdout() -> Generator[None, None, None]:
    """Tell a stdout that cannot be written from all else that the system refuses."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(error) from error


def _unwritable(error: OSError) -> OutputError:
    return OutputError(
        f"stdout cannot be written: {error.strerror or 'the system gives no reason'}; "
        "send it to a file with room, to a pipe, or to /dev/null"
    )


class _Console(Console):
    """A console that shows text as it is, and leaves a broken pipe to whoever called.

    The terminal wraps the lines itself, so that what is copied from there is whole.
    """

    def __init__(self, **options: Any) -> None:
        # rich would believe COLUMNS=0, and then write nothing.
        size = get_terminal_size()
        super().__init__(
            width=min(size.columns, _WIDEST),
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
    """A console whose text is what the command is run for."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as every console; ``OutputError`` when stdout cannot be written."""
        with writing_stdout():
            super().print(*objects, **options)


class Screen:
    """Shows one of two things on stdout: records for programs, or words for people.

    ``json`` of ``None`` chooses records when stdout is no terminal. The screen also remembers which
    results it still owes, so that whoever leaves early is told how to get them. ``OutputError``
    where stdout cannot be written.
    """

    def __init__(self, *, json: bool | None = None) -> None:
        self.is_json: bool = not sys.stdout.isatty() if json is None else json
        self.out: Console = _Stdout(quiet=self.is_json)
        self.err: Console = _Console(stderr=True)
        self._owed: dict[str, Callable[[], str] | None] = {}

    def record(self, **members: object) -> None:
        """Write one line of JSON for a program that reads along."""
        if self.is_json:
            with writing_stdout():
                sys.stdout.write(json_line(members))
                sys.stdout.flush()

    def print(self, item: RenderableType = "") -> None:
        """Show a line, or something larger that rich can draw, to a person."""
        self.out.print(self._safe(item))

    def write(self, text: str, style: str = "") -> None:
        """Show a piece of text at once and stay on its line."""
        if text:
            self.out.print(self._safe(Text(text, style)), end="")

    def note(self, text: str, style: str = "dim") -> None:
        """Tell something beside the answer."""
        with _writing_stderr():
            self.err.print(Text(printable(text), style))

    def owe(self, task_id: str, how: Callable[[], str] | None = None) -> None:
        """Remember that a result is owed, and how to get it: by ``foxapi wait`` if not told."""
        self._owed[task_id] = how

    def settle(self, task_id: str) -> None:
        """Forget a result that was shown."""
        self._owed.pop(task_id, None)

    def note_owed(self) -> None:
        """Tell how to get each result that is still owed."""
        commands = [how() for how in self._owed.values() if how]
        awaited = [task_id for task_id, how in self._owed.items() if how is None]
        if awaited:
            commands.append(f"foxapi wait {' '.join(awaited)}")
        for command in commands:
            self.note(f"the task goes on, get its result by: {command}", "")

    def _safe(self, item: RenderableType) -> RenderableType:
        # A file gets the text as it is.
        if not self.out.is_terminal:
            return item
        if isinstance(item, Text):
            shown = printable(item.plain)
            return item if shown == item.plain else Text(shown, item.style)
        return printable(item) if isinstance(item, str) else item
