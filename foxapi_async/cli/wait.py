"""``foxapi wait``: wait for tasks that were submitted anywhere."""

from collections.abc import Sequence
from typing import Annotated

import typer

from foxapi_async.cli import options
from foxapi_async.cli.exit_codes import ExitCode
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import Session, open_session, run
from foxapi_async.cli.waiting import wait_for


def command(
    *,
    task_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The tasks' ids.")],
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", min=0, help="The most seconds to wait."),
    ] = None,
    json: options.AsJSON = None,
) -> None:
    """Wait for tasks and show each result as its task finishes.

    With several tasks the exit code is the largest of theirs.
    """
    screen = Screen(json=json)
    run(screen, lambda: _wait(screen, open_session(screen, patience=timeout), task_ids))


async def _wait(screen: Screen, session: Session, task_ids: Sequence[str]) -> ExitCode:
    async with session as fox:
        handles = [fox.tasks.handle(task_id) for task_id in dict.fromkeys(task_ids)]
        return await wait_for(screen, handles)
