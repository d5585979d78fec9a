"""Waiting for tasks where a person watches."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from foxapi_async.cli.exit_codes import ExitCode
from foxapi_async.cli.output import Screen, printable
from foxapi_async.cli.render import answer_members, show_answer
from foxapi_async.cli.runner import report_error
from foxapi_async.errors import FoxAPIError
from foxapi_async.types import ChatCompletion

if TYPE_CHECKING:
    from foxapi_async import CompletionProgress, LLMHandle, TaskHandle

_BAR_WIDTH = 24


async def wait_for(screen: Screen, handles: "Sequence[LLMHandle]") -> ExitCode:
    """Show each result as its task finishes, and return the largest of the exit codes."""
    from foxapi_async import as_completed

    codes = [ExitCode.OK]
    for handle in handles:
        screen.owe(handle.id)
    state = _Watch(handles)
    with _watched(screen, state) as watch:
        async for handle in as_completed(handles, progress=state.take):
            outcome = await _outcome(handle, state)
            # Both may be one terminal, where a line and the drawing would mix.
            watch.stop()
            if len(handles) > 1:
                screen.note(handle.id)
            codes.append(_show(screen, handle, outcome))
            screen.settle(handle.id)
            if len(codes) <= len(handles):
                watch.start()
    return max(codes)


async def _outcome(handle: "LLMHandle", state: "_Watch") -> ChatCompletion | FoxAPIError:
    """Return the end of a task, or of the patience with it."""
    error = state.errors.pop(handle, None)
    if isinstance(error, FoxAPIError):
        return error
    if error is not None:
        raise error
    try:
        return await handle
    except FoxAPIError as failure:
        return failure


def _show(screen: Screen, handle: "LLMHandle", outcome: ChatCompletion | FoxAPIError) -> ExitCode:
    if isinstance(outcome, FoxAPIError):
        fault = {
            "type": type(outcome).__name__,
            "code": getattr(outcome, "code", None),
            "message": str(outcome),
        }
        screen.record(id=handle.id, status=handle.status, error=fault)
        return report_error(screen, outcome)
    screen.record(id=handle.id, status=handle.status, **answer_members(outcome))
    show_answer(screen, outcome)
    return ExitCode.OK


class _Watch:
    """The state of some handles, as they are at each look."""

    def __init__(self, handles: "Sequence[LLMHandle]") -> None:
        self._handles = handles
        self._done = 0
        self._since = monotonic()
        self._spinner = Spinner("dots", style="cyan")
        self.errors: dict[TaskHandle[Any], Exception] = {}

    def take(self, progress: "CompletionProgress") -> None:
        """Take in that one more is done, or waited for in vain."""
        self._done = progress.done
        if progress.error is not None:
            self.errors[progress.handle] = progress.error

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
        return Text("finished"), _bar(self._done, total), Text(f"{self._done}/{total}")


def _bar(completed: int, total: int) -> ProgressBar:
    return ProgressBar(total=total, completed=completed, width=_BAR_WIDTH, complete_style="cyan")


@contextmanager
def _watched(screen: Screen, state: _Watch) -> Generator[Live, None, None]:
    """Draw ``state`` on stderr if a terminal is there to see it."""
    watch = Live(
        state if screen.err.is_terminal else "",
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
