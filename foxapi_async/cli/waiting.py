"""Waiting for tasks where a person watches."""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from foxapi_async.cli.answer import answer_members, show_answer
from foxapi_async.cli.exits import ExitCode
from foxapi_async.cli.running import complain
from foxapi_async.cli.screen import Screen, printable
from foxapi_async.errors import FoxAPIError
from foxapi_async.types import ChatCompletion

if TYPE_CHECKING:
    from foxapi_async import LLMHandle

_BAR_WIDTH = 24


async def wait_for(screen: Screen, handles: "Sequence[LLMHandle]") -> ExitCode:
    """Show each result as its task finishes, and return the largest of the exit codes."""
    codes = [ExitCode.OK]
    for handle in handles:
        screen.owe(handle.id)
    waits = [asyncio.ensure_future(_ended(handle)) for handle in handles]
    try:
        with _watched(screen, handles) as watch:
            for ended in asyncio.as_completed(waits):
                handle, outcome = await ended
                # Both may be one terminal, where a line and the drawing would mix.
                watch.stop()
                if len(handles) > 1:
                    screen.note(handle.id)
                codes.append(_show(screen, handle, outcome))
                screen.settle(handle.id)
                if len(codes) <= len(handles):
                    watch.start()
    finally:
        for wait in waits:
            wait.cancel()
    return max(codes)


async def _ended(handle: "LLMHandle") -> "tuple[LLMHandle, ChatCompletion | FoxAPIError]":
    """Wait for the end of a task, or of the patience with it."""
    try:
        return handle, await handle
    except FoxAPIError as error:
        return handle, error


def _show(screen: Screen, handle: "LLMHandle", outcome: ChatCompletion | FoxAPIError) -> ExitCode:
    if isinstance(outcome, FoxAPIError):
        fault = {
            "type": type(outcome).__name__,
            "code": getattr(outcome, "code", None),
            "message": str(outcome),
        }
        screen.record(id=handle.id, status=handle.status, error=fault)
        return complain(screen, outcome)
    screen.record(id=handle.id, status=handle.status, **answer_members(outcome))
    show_answer(screen, outcome)
    return ExitCode.OK


class _Watch:
    """The state of some handles, as they are at each look."""

    def __init__(self, handles: "Sequence[LLMHandle]") -> None:
        self._handles = handles
        self._since = monotonic()
        self._spinner = Spinner("dots", style="cyan")

    def __rich__(self) -> Table:
        line = Table.grid(padding=(0, 1))
        seconds = Text(f"{monotonic() - self._since:.1f} s", "dim")
        line.add_row(self._spinner, *self._state(), seconds)
        return line

    def _state(self) -> tuple[Text, ProgressBar, Text]:
        total = len(self._handles)
        if total == 1:
            handle = self._handles[0]
            bar = _bar(handle.progress, 100)
            return Text(printable(handle.status or "asking")), bar, Text(f"{handle.progress} %")
        done = sum(handle.done() for handle in self._handles)
        bar = _bar(done, total)
        return Text("finished"), bar, Text(f"{done}/{total}")


def _bar(completed: int, total: int) -> ProgressBar:
    return ProgressBar(total=total, completed=completed, width=_BAR_WIDTH, complete_style="cyan")


@contextmanager
def _watched(screen: Screen, handles: "Sequence[LLMHandle]") -> Generator[Live, None, None]:
    """Draw the state of ``handles`` on stderr if a terminal is there to see it."""
    watch = Live(
        _Watch(handles) if screen.err.is_terminal else "",
        console=screen.err if screen.err.is_terminal else Console(quiet=True),
        auto_refresh=screen.err.is_terminal,
        refresh_per_second=10,
        transient=True,
        # stdout is left alone: a program may read what goes there.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with watch:
        yield watch
