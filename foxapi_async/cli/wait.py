"""``foxapi wait``: wait for tasks, whichever process submitted them."""

import asyncio
from collections.abc import Coroutine, Generator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from foxapi_async._batch.rows import OutputUnwritableError
from foxapi_async.cli import options
from foxapi_async.cli.errors import ExitCode
from foxapi_async.cli.output import Screen, printable
from foxapi_async.cli.render import answer_members, show_answer
from foxapi_async.cli.runner import Session, open_session, report_error, run
from foxapi_async.cli.save import Saving, save_results, show_files
from foxapi_async.errors import FoxAPIError
from foxapi_async.types import ChatCompletion, MediaResults

if TYPE_CHECKING:
    from foxapi_async import CompletionProgress, FoxSession, TaskHandle

_BAR_WIDTH: Final = 24
_LLM_PREFIX: Final = "task-llm"


def command(
    *,
    task_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The ids of the tasks.")],
    output: options.OutputFolder = None,
    overwrite: options.Overwrite = False,
    open_files: options.OpenFiles = False,
    timeout: options.WaitTimeout = None,
    json: options.AsJSON = None,
) -> None:
    """Wait for tasks and show each result as its task finishes; `-o .` saves its files.

    The exit code is the largest of the exit codes of all tasks.
    """
    screen = Screen(json=json)

    def start() -> Coroutine[Any, Any, ExitCode]:
        saving = Saving.from_options(output, overwrite=overwrite, open_files=open_files)
        return _wait(screen, open_session(screen, wait_timeout=timeout), task_ids, saving)

    run(screen, start)


async def _wait(
    screen: Screen, session: Session, task_ids: Sequence[str], saving: Saving | None
) -> ExitCode:
    async with session as fox:
        handles = await asyncio.gather(*(_handle(fox, name) for name in dict.fromkeys(task_ids)))
        return await wait_for(screen, handles, saving)


async def _handle(fox: "FoxSession", task_id: str) -> "TaskHandle[Any]":
    """Return the handle of a task; what it makes is asked for if the id does not tell."""
    if task_id.startswith(_LLM_PREFIX):
        return fox.tasks.handle(task_id)
    try:
        return fox.tasks.handle(await fox.tasks.get(task_id))
    except FoxAPIError:
        # The wait asks again for minutes, and shows the error with the other results.
        return fox.tasks.handle(task_id)


async def wait_for(
    screen: Screen, handles: "Sequence[TaskHandle[Any]]", saving: Saving | None = None
) -> ExitCode:
    """Show or save each result as its task finishes, and return the largest of the exit codes."""
    from foxapi_async import as_completed

    codes = [ExitCode.OK]
    for handle in handles:
        screen.remember(handle.id)
    status = _WaitStatus(handles)
    with _live(screen, status) as live:
        async for handle in as_completed(handles, progress=status.on_progress):
            outcome = await _outcome(handle, status)
            # stdout and stderr may be the same terminal, where a line would break the drawing.
            live.stop()
            if len(handles) > 1:
                screen.note(handle.id)
            codes.append(await _show_or_save(screen, handle, outcome, saving))
            screen.forget(handle.id)
            if len(codes) <= len(handles):
                live.start()
    return max(codes)


async def _outcome(
    handle: "TaskHandle[Any]", status: "_WaitStatus"
) -> ChatCompletion | MediaResults | FoxAPIError:
    """Return the result of the task, or the error that ended it or the wait for it."""
    error = status.errors.pop(handle, None)
    if isinstance(error, FoxAPIError):
        return error
    if error is not None:
        raise error
    try:
        result: ChatCompletion | MediaResults = await handle
    except FoxAPIError as failure:
        return failure
    return result


async def _show_or_save(
    screen: Screen,
    handle: "TaskHandle[Any]",
    outcome: ChatCompletion | MediaResults | FoxAPIError,
    saving: Saving | None,
) -> ExitCode:
    if saving is None or not isinstance(outcome, MediaResults):
        return _show(screen, handle, outcome)
    try:
        paths = await save_results(screen, outcome, saving)
    except (FoxAPIError, OutputUnwritableError) as error:
        # The links are not lost with the download.
        _show(screen, handle, outcome)
        return report_error(screen, error)
    files = [str(path) for path in paths]
    screen.record(id=handle.id, status=handle.status, files=files, **answer_members(outcome))
    if not paths:
        show_answer(screen, outcome)
    # It reads pictures and runs programs.
    await asyncio.to_thread(show_files, screen, outcome, paths, saving)
    return ExitCode.OK


def _show(
    screen: Screen, handle: "TaskHandle[Any]", outcome: ChatCompletion | MediaResults | FoxAPIError
) -> ExitCode:
    if isinstance(outcome, FoxAPIError):
        error = {
            "type": type(outcome).__name__,
            "code": getattr(outcome, "code", None),
            "message": str(outcome),
        }
        screen.record(id=handle.id, status=handle.status, error=error)
        return report_error(screen, outcome)
    screen.record(id=handle.id, status=handle.status, **answer_members(outcome))
    show_answer(screen, outcome)
    return ExitCode.OK


def show_accepted(screen: Screen, handle: "TaskHandle[Any]", hint: str = "") -> None:
    """Show a task that was just submitted, and how to get its result."""
    task = handle.task
    try:
        screen.record(**(task.to_dict() if task is not None else {"id": handle.id}))
        screen.print(handle.id)
    except BrokenPipeError:
        # stdout is closed, so the id of the billed task goes to stderr.
        screen.note(handle.id, "")
        raise
    if not screen.is_json:
        screen.note(f"get the result: foxapi wait {handle.id}{hint}")


class _WaitStatus:
    """The line that a terminal shows during a wait."""

    def __init__(self, handles: "Sequence[TaskHandle[Any]]") -> None:
        self._handles = handles
        self._done = 0
        self._started_at = monotonic()
        self._spinner = Spinner("dots", style="cyan")
        self.errors: dict[TaskHandle[Any], Exception] = {}

    def on_progress(self, progress: "CompletionProgress") -> None:
        """Count a task that finished, or whose wait failed."""
        self._done = progress.done
        if progress.error is not None:
            self.errors[progress.handle] = progress.error

    def __rich__(self) -> Table:
        line = Table.grid(padding=(0, 1))
        seconds = Text(f"{monotonic() - self._started_at:.1f} s", "dim")
        line.add_row(self._spinner, *self._columns(), seconds)
        return line

    def _columns(self) -> tuple[Text, ProgressBar, Text]:
        total = len(self._handles)
        if total == 1:
            handle = self._handles[0]
            bar = _bar(handle.progress, 100)
            return Text(printable(handle.status or "asking")), bar, Text(f"{handle.progress} %")
        return Text("finished"), _bar(self._done, total), Text(f"{self._done}/{total}")


def _bar(completed: int, total: int) -> ProgressBar:
    return ProgressBar(total=total, completed=completed, width=_BAR_WIDTH, complete_style="cyan")


@contextmanager
def _live(screen: Screen, status: _WaitStatus) -> Generator[Live, None, None]:
    """Draw ``status`` on stderr if stderr is a terminal."""
    live = Live(
        status if screen.err.is_terminal else "",
        console=screen.err if screen.err.is_terminal else Console(quiet=True),
        auto_refresh=screen.err.is_terminal,
        refresh_per_second=10,
        transient=True,
        # A program may read stdout.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with live:
        yield live
