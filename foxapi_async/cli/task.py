"""``foxapi task``: show the state of a task."""

from typing import TYPE_CHECKING, Annotated

import typer

from foxapi_async.cli import options
from foxapi_async.cli.errors import ExitCode
from foxapi_async.cli.output import Screen, local_time
from foxapi_async.cli.render import key_values, show_answer
from foxapi_async.cli.runner import Session, open_session, run

if TYPE_CHECKING:
    from foxapi_async import Task


def command(
    *,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the task.")],
    json: options.AsJSON = None,
) -> None:
    """Poll a task once and show its state."""
    screen = Screen(json=json)
    run(screen, lambda: _show(screen, open_session(screen), task_id))


async def _show(screen: Screen, session: Session, task_id: str) -> ExitCode:
    async with session as fox:
        task = await fox.tasks.get(task_id)
        handle = fox.tasks.handle(task)
        screen.record(**task.to_dict())
        screen.print(key_values(_fields(task)))
        if handle.done() and task.error is None:
            screen.print()
            show_answer(screen, await handle)
    return ExitCode.OK


def _fields(task: "Task") -> dict[str, str]:
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
