"""The progress of files, as bars with sizes."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from foxapi_async.cli.output import Screen, printable

if TYPE_CHECKING:
    from foxapi_async import TransferProgress


class TransferBars:
    """Draws one bar for each file that is under way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @contextmanager
    def bar(self, name: str) -> Generator["Callable[[TransferProgress], None]", None, None]:
        """Draw a bar inside ``with``; the function that it gives moves it."""
        task = self._progress.add_task(printable(name), total=None)

        def update(event: "TransferProgress") -> None:
            self._progress.update(
                task, description=printable(event.name), completed=event.done, total=event.total
            )

        try:
            yield update
        finally:
            self._progress.remove_task(task)

    @contextmanager
    def bar_for_each(self) -> Generator["Callable[[TransferProgress], None]", None, None]:
        """Draw a bar for each name inside ``with``; the function that it gives moves them."""
        with ExitStack() as stack:
            moves: dict[str, Callable[[TransferProgress], None]] = {}

            def update(event: "TransferProgress") -> None:
                if event.name not in moves:
                    moves[event.name] = stack.enter_context(self.bar(event.name))
                moves[event.name](event)

            yield update


@contextmanager
def transfer_bars(screen: Screen) -> Generator[TransferBars, None, None]:
    """Draw bars on stderr if stderr is a terminal."""
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24, complete_style="cyan"),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=screen.err,
        transient=True,
        # A program may read stdout.
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not screen.err.is_terminal,
    )
    with progress:
        yield TransferBars(progress)
