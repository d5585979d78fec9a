"""``foxapi task``: look at a task."""

from typing import TYPE_CHECKING, Annotated

import typer

from foxapi_async.cli import options
from foxapi_async.cli.exit_codes import ExitCode
from foxapi_async.cli.moment import local_time
from foxapi_async.cli.output import Screen
from foxapi_async.cli.render import show_answer
from foxapi_async.cli.runner import Session, open_session, run
from foxapi_async.cli.table import sheet

if TYPE_CHECKING:
    from foxapi_async import Task


def command(
    *,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The task's id.")],
    json: options.AsJSON = None,
) -> None:
    """Look at a task once and show it as it is now."""
    screen = Screen(json=json)
    run(screen, lambda: _look(screen, open_session(screen), task_id))


async def _look(screen: Screen, session: Session, task_id: str) -> ExitCode:
    async with session as fox:
        handle = fox.tasks.handle(task_id)
        task = await handle.refresh()
        screen.record(**task.to_dict())
        screen.print(sheet(_shown(task)))
        if handle.done() and task.error is None:
            screen.print()
            show_answer(screen, await handle)
    return ExitCode.OK


def _shown(task: "Task") -> dict[str, str]:
    return {
        "id": task.id,
        "model": task.model,
        "status": f"{task.status} {task.progress} %",
        "created": local_time(task.created) if task.created else "",
        "streamed": "yes" if task.stream else "",
        "credits": _credits(task),
        "error": " ".join(filter(None, (task.error.code, task.error.message)))
        if task.error
        else "",
    }


def _credits(task: "Task") -> str:
    usage = task.usage
    if usage is None:
        return ""
    named = {"consumed": usage.credits_consumed, "reserved": usage.credits_reserved}
    return ", ".join(f"{value:g} {name}" for name, value in named.items() if value is not None)
