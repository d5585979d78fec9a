"""Runs a command to its end: the event loop, Ctrl-C, and every error as a line and an exit code."""

import asyncio
import sys
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from foxapi_async.cli.error_report import explain, shortened
from foxapi_async.cli.exit_codes import ExitCode, OutputError, exit_code
from foxapi_async.cli.output import Screen, abandon_stdout
from foxapi_async.errors import NotFoundError

if TYPE_CHECKING:
    from foxapi_async import FoxSession
    from foxapi_async.hooks import Event

Command = Callable[[], Coroutine[Any, Any, ExitCode]]
Session = AbstractAsyncContextManager["FoxSession"]


def run(screen: Screen, command: Command) -> NoReturn:
    """Run ``command`` in an event loop and leave with its exit code.

    Ctrl-C leaves at once and names the tasks that go on at the service. A reader of stdout that has
    gone ends the command quietly.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "task .* was accepted", RuntimeWarning)
            code = asyncio.run(command())
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
        screen.note_owed()
    except BrokenPipeError:
        # The reader has what it wanted. What the network breaks is an error of the SDK's own.
        abandon_stdout()
        code = ExitCode.OK
    except OutputError as error:
        abandon_stdout()
        code = report_error(screen, error)
        screen.note_owed()
    except Exception as error:  # noqa: BLE001 the border: a user is never shown a traceback
        code = report_error(screen, error)
        if exit_code(error) is None:
            screen.note_owed()
    raise typer.Exit(code)


def report_error(screen: Screen, error: Exception) -> ExitCode:
    """Say what went wrong and what to do about it, and return the exit code that says the same."""
    code = exit_code(error)
    if code is None:
        if sys.flags.dev_mode:
            raise error
        # Its text may hold anything, a prompt included.
        screen.note(
            f"foxapi: a mistake in foxapi itself ({type(error).__name__}); "
            "`python -X dev -m foxapi_async` shows where",
            "red",
        )
        return ExitCode.UNREACHABLE
    first, *others = explain(error)
    screen.note(f"foxapi: {first}", "red")
    for line in others:
        screen.note(f"        {line}", "")
    return code


def open_session(
    screen: Screen, *, patience: float | None = None, journal: str | None = None
) -> Session:
    """Build the session of a command, for the account in the environment; enter it to use it.

    Call it before the loop runs, because importing the SDK takes its time. ``patience`` bounds each
    wait for a result; ``journal`` names the file in which submissions are written down.
    """
    from foxapi_async import FoxSession, Timeouts

    fox = FoxSession(
        timeouts=Timeouts(wait=patience), journal=journal, hooks=[_tell_faults(screen)]
    )
    return _opened(screen, fox)


def _tell_faults(screen: Screen) -> Callable[["Event"], None]:
    """Return a hook that tells at once why nothing is learnt of a task, each reason once.

    The session asks again for minutes, and a wrong address is never mended by patience.
    """
    from foxapi_async.hooks import TaskCheckFailed

    told: set[str] = set()

    def hear(event: "Event") -> None:
        # That a task is not known is said at the end, which comes soon.
        if not isinstance(event, TaskCheckFailed) or event.error == NotFoundError.__name__:
            return
        if event.message not in told:
            told.add(event.message)
            hint = "if it stays so, check the network and FOXAPI_BASE_URL"
            screen.note(f"{shortened(event.message)}; asking again: {hint}", "yellow")

    return hear


@asynccontextmanager
async def _opened(screen: Screen, fox: "FoxSession") -> AsyncGenerator["FoxSession", None]:
    """Use a session; a submission that Ctrl-C overtakes gets a few seconds to tell its id."""
    try:
        async with fox:
            try:
                yield fox
            except asyncio.CancelledError:
                if fox.stats().submits_in_flight:
                    screen.note("waiting for the task id, at most 5 s; Ctrl-C again to lose it", "")
                raise
    finally:
        for handle in fox.unclaimed:
            screen.owe(handle.id)
