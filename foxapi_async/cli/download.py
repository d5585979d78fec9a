"""``foxapi download``: download the results of tasks, or any links."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foxapi_async._batch.rows import OutputUnwritableError
from foxapi_async.cli import options
from foxapi_async.cli.errors import ExitCode, UsageError
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import Session, open_session, report_error, run
from foxapi_async.cli.save import writing_files
from foxapi_async.cli.transfer_bar import transfer_bars
from foxapi_async.errors import FoxAPIError

if TYPE_CHECKING:
    from foxapi_async import FoxSession


def command(
    *,
    sources: Annotated[
        list[str], typer.Argument(metavar="ID|URL...", help="Ids of finished tasks, or links.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="The folder for the files."),
    ] = Path(),
    overwrite: options.Overwrite = False,
    json: options.AsJSON = None,
) -> None:
    """Download the files of finished tasks, or any links, and print their paths.

    The exit code is the largest of the exit codes of all files.
    """
    screen = Screen(json=json)
    session = open_session(screen)
    run(screen, lambda: _download_all(screen, session, sources, output, overwrite=overwrite))


async def _download_all(
    screen: Screen, session: Session, sources: Sequence[str], folder: Path, *, overwrite: bool
) -> ExitCode:
    codes = [ExitCode.OK]
    async with session as fox:
        for source in sources:
            try:
                for link in await _links(fox, source):
                    path = await _download(screen, fox, link, folder, overwrite=overwrite)
                    size = (await asyncio.to_thread(path.stat)).st_size
                    screen.record(source=source, path=str(path), size=size)
                    screen.print(str(path))
            except (FoxAPIError, UsageError, OutputUnwritableError) as error:
                codes.append(report_error(screen, error))
    return max(codes)


async def _download(
    screen: Screen, fox: "FoxSession", link: str, folder: Path, *, overwrite: bool
) -> Path:
    name = link.rpartition("/")[2]
    with writing_files(folder), transfer_bars(screen) as bars, bars.bar(name) as update:
        # The slash makes a folder that does not exist one.
        return await fox.files.download(link, f"{folder}/", overwrite=overwrite, progress=update)


async def _links(fox: "FoxSession", source: str) -> Sequence[str]:
    """Return the link itself, or those in the results of a task."""
    if source.lower().startswith(("http://", "https://")):
        return [source]
    task = await fox.tasks.get(source)
    if task.type in {"llm", "text"}:
        raise UsageError(f"task {source} has a text and no file: foxapi wait {source}")
    handle = fox.tasks.handle(task, "image" if not task.type else None)
    if not handle.done():
        raise UsageError(f"task {source} is {task.status}: foxapi wait {source}")
    links: Sequence[str] = getattr(await handle, "urls", ())
    if not links:
        raise UsageError(f"task {source} has no file: foxapi task {source}")
    return links
