"""Waiting for tasks where a person watches."""

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

if TYPE_CHECKING:
    from foxapi_async import LLMHandle

_BAR_WIDTH = 24


async def wait_for(screen: Screen, handles: "Sequence[LLMHandle]") -> ExitCode:
    """Show each result as its task finishes, and return the largest of the exit codes."""
    from foxapi_async import as_completed

    codes = [ExitCode.OK]
    for handle in handles:
        screen.owe(handle.id)
    with _watched(screen, handles) as watch:
        async for handle in as_completed(handles):
            # Both may be one terminal, where a line and the drawing would mix.
            watch.stop()
            codes.append(await _show_result(screen, handle, titled=len(handles) > 1))
            screen.settle(handle.id)
            if len(codes) <= len(handles):
                watch.start()
    return max(codes)


async def _show_result(screen: Screen, handle: "LLMHandle", *, titled: bool) -> ExitCode:
    try:
        completion = await handle
    except FoxAPIError as error:
        fault = {
            "type": type(error).__name__,
            "code": getattr(error, "code", None),
            "message": str(error),
        }
        screen.record(id=handle.id, status=handle.status, error=fault)
        return complain(screen, error)
    screen.record(id=handle.id, status=handle.status, **answer_members(completion))
    if titled:
        screen.note(handle.id)
    show_answer(screen, completion)
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
            bar = ProgressBar(total=100, completed=handle.progress, width=_BAR_WIDTH)
            return Text(printable(handle.status or "asking")), bar, Text(f"{handle.progress} %")
        done = sum(handle.done() for handle in self._handles)
        bar = ProgressBar(total=total, completed=done, width=_BAR_WIDTH)
        return Text("finished"), bar, Text(f"{done}/{total}")


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
