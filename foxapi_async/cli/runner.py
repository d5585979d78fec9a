"""Run a command: the event loop, the session, Ctrl-C, and an exit code for every error."""

import asyncio
import sys
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from foxapi_async.cli.errors import ExitCode, StdoutError, UsageError, exit_code, explain, one_line
from foxapi_async.cli.output import Screen, abandon_stdout
from foxapi_async.config import Limits
from foxapi_async.errors import NotFoundError

if TYPE_CHECKING:
    from foxapi_async import FoxSession, LLMHandle
    from foxapi_async.hooks import Event

Command = Callable[[], Coroutine[Any, Any, ExitCode]]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Session = AbstractAsyncContextManager["FoxSession"]


def fast_loop() -> LoopFactory | None:
    """Return the factory of uvloop's event loops if the extra ``speed`` is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run(screen: Screen, command: Command, *, loop_factory: LoopFactory | None = None) -> NoReturn:
    """Run ``command`` in an event loop and exit with its exit code.

    ``loop_factory`` makes the event loop, if it is not asyncio's own.

    Ctrl-C ends the command at once and prints the tasks that go on at the service. A closed pipe
    on stdout ends it without a message.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "task .* was accepted", RuntimeWarning)
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                code = runner.run(command())
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
        screen.print_pending()
    except BrokenPipeError:
        # Only stdout raises this: broken connections are errors of the SDK.
        abandon_stdout()
        code = ExitCode.OK
    except StdoutError as error:
        abandon_stdout()
        code = report_error(screen, error)
        screen.print_pending()
    except Exception as error:  # noqa: BLE001 users see no traceback
        code = report_error(screen, error)
        if exit_code(error) is None:
            screen.print_pending()
    raise typer.Exit(code)


def report_error(screen: Screen, error: Exception) -> ExitCode:
    """Print the error and what to do about it to stderr, and return its exit code."""
    code = exit_code(error)
    if code is None:
        if sys.flags.dev_mode:
            raise error
        # The message may hold anything, a prompt included.
        screen.note(
            f"foxapi: this is a bug in foxapi ({type(error).__name__}); "
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
    screen: Screen,
    *,
    wait_timeout: float | None = None,
    journal: str | None = None,
    limits: Limits = Limits(),  # noqa: B008 frozen
) -> Session:
    """Build the session of a command for the account in the environment.

    Call it before the event loop runs, because it imports the SDK, which blocks.

    Args:
        screen: Gets a message for each new reason why a task cannot be polled.
        wait_timeout: The most seconds of each wait for a result.
        journal: The file that records submissions.
        limits: The limits of the session.
    """
    from foxapi_async import FoxSession, Timeouts

    fox = FoxSession(
        timeouts=Timeouts(wait=wait_timeout),
        limits=limits,
        journal=journal,
        hooks=[_failure_hook(screen)],
    )
    return _entered(screen, fox)


async def submit(
    screen: Screen, fox: "FoxSession", params: dict[str, Any], *, stream: bool
) -> "LLMHandle":
    """Submit the generation. From then on, Ctrl-C prints its id."""
    for name in params.get("extra", ()):
        screen.note(f"--param {name}: not a parameter that foxapi knows, sent unchanged")
    try:
        handle = await fox.llm.submit(**params, stream=stream)
    except TypeError as error:
        raise UsageError(str(error)) from None
    screen.remember(handle.id)
    return handle


def _failure_hook(screen: Screen) -> Callable[["Event"], None]:
    """Return a hook that prints why a task cannot be polled, each reason once.

    The session polls again for minutes, which does not help if the address is wrong.
    """
    from foxapi_async.hooks import TaskCheckFailed

    printed: set[str] = set()

    def on_event(event: "Event") -> None:
        # An unknown task ends the command soon, with an error of its own.
        if not isinstance(event, TaskCheckFailed) or event.error == NotFoundError.__name__:
            return
        if event.message not in printed:
            printed.add(event.message)
            hint = "if it stays so, check the network and FOXAPI_BASE_URL"
            screen.note(f"{one_line(event.message)}; asking again: {hint}", "yellow")

    return on_event


@asynccontextmanager
async def _entered(screen: Screen, fox: "FoxSession") -> AsyncGenerator["FoxSession", None]:
    """Enter a session. A submit that Ctrl-C interrupts has a few seconds to return its id."""
    try:
        async with fox:
            try:
                yield fox
            except asyncio.CancelledError:
                if fox.stats().submits_in_flight:
                    screen.note(
                        "waiting for the task id, at most 5 s; Ctrl-C again exits without it",
                        "",
                    )
                raise
    finally:
        for handle in fox.unclaimed:
            screen.remember(handle.id)
