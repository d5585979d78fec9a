"""Where a command writes: lines of JSON or words on stdout, messages on stderr."""

import io
import json
import os
import re
import sys
from collections.abc import Callable
from typing import Final

from rich.console import Console, RenderableType
from rich.text import Text

# What a terminal obeys instead of showing: a model or a server may have written anything.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def tame_output() -> None:
    """Make stdout and stderr write any text: UTF-8 unless a terminal wants another encoding.

    What cannot be encoded is escaped, in a way that JSON reads as the same character.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = None if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def abandon_stdout() -> None:
    """Give the interpreter a stdout that it can flush: the reader of the real one has gone."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def printable(text: str) -> str:
    """Return ``text`` without what would steer a terminal."""
    return _CONTROLS.sub("", text)


class _Pen(Console):
    """A console that leaves a broken pipe to whoever called."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Screen:
    """Shows one of two things on stdout: records for programs, or words for people.

    ``json`` of ``None`` chooses records when stdout is no terminal. The screen also remembers which
    results it still owes, so that whoever leaves early is told how to get them.
    """

    def __init__(self, *, json: bool | None = None) -> None:
        self.is_json: bool = not sys.stdout.isatty() if json is None else json
        self.out: Console = _pen(stderr=False, quiet=self.is_json)
        self.err: Console = _pen(stderr=True)
        self._owed: dict[str, Callable[[], str] | None] = {}

    def record(self, **members: object) -> None:
        """Write one line of JSON for a program that reads along."""
        if self.is_json:
            sys.stdout.write(json.dumps(members, ensure_ascii=False) + "\n")
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
            return Text(printable(item.plain), item.style)
        return printable(item) if isinstance(item, str) else item


def _pen(*, stderr: bool, quiet: bool = False) -> Console:
    return _Pen(
        stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False, soft_wrap=True
    )
