"""Saving the files of a result, and opening or showing them."""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import typer
from msgspec import Struct

from foxapi_async._batch.rows import OutputUnwritableError
from foxapi_async.cli.errors import UsageError
from foxapi_async.cli.output import Screen
from foxapi_async.cli.transfer_bar import transfer_bars
from foxapi_async.types import MediaResults

_PICTURES: Final = frozenset({".gif", ".jpeg", ".jpg", ".png", ".webp"})
_MAX_COLUMNS: Final = 80


class Saving(Struct, frozen=True, kw_only=True):
    """What becomes of the files of a result."""

    folder: Path | None
    """Where they are saved; ``None`` for nowhere."""
    overwrite: bool
    """Whether files of the same name are replaced."""
    open_files: bool
    """Whether they, or else their links, are opened with the programs of the desktop."""

    @classmethod
    def from_options(cls, folder: str | None, *, overwrite: bool, open_files: bool) -> Self | None:
        """Return what the options ask for; ``None`` if they ask for nothing.

        Raises:
            UsageError: The options contradict each other, or the folder is a file.
        """
        if folder is None:
            if overwrite:
                raise UsageError("--overwrite needs -o: without a folder nothing is saved")
            return cls(folder=None, overwrite=False, open_files=True) if open_files else None
        path = Path(folder)
        if path.exists() and not path.is_dir():
            raise UsageError(f"-o {folder}: is a file, name a folder")
        return cls(folder=path, overwrite=overwrite, open_files=open_files)


async def save_results(screen: Screen, results: MediaResults, saving: Saving) -> list[Path]:
    """Save the files of a result, and return their paths.

    Raises:
        OutputUnwritableError: A file cannot be written.
        FoxAPIError: A file cannot be had. Others may be saved.
    """
    if saving.folder is None or not results.urls:
        return []
    folder = saving.folder
    with writing_files(folder), transfer_bars(screen) as bars, bars.bar_for_each() as update:
        return await results.save(folder, overwrite=saving.overwrite, progress=update)


@contextmanager
def writing_files(folder: Path) -> Generator[None, None, None]:
    """Turn an ``OSError`` into ``OutputUnwritableError``, which names the file."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        reason = error.strerror or "cannot be written"
        raise OutputUnwritableError(f"{where}: {reason}") from None


def show_files(
    screen: Screen, results: MediaResults, paths: Sequence[Path], saving: Saving
) -> None:
    """Print the paths, draw the pictures that the terminal can show, and open what is to be."""
    for path in paths:
        screen.print(str(path))
        _draw(screen, path)
    if saving.open_files:
        for target in paths or results.urls:
            _open(screen, str(target))


def _open(screen: Screen, target: str) -> None:
    # A link comes from the network, and the desktop opens more than web pages.
    if "://" in target and not target.startswith(("http://", "https://")):
        screen.note(f"not opened, because it is no http(s) link: {target}")
    elif typer.launch(target) != 0:
        screen.note(f"no program of this desktop opens {target}")


def _draw(screen: Screen, path: Path) -> None:
    """Draw a picture if the terminal is one and the extra ``images`` is installed."""
    # The library asks the terminal what it can draw, and reads the answer from stdin.
    is_terminal = screen.out.is_terminal and sys.stdin is not None and sys.stdin.isatty()
    if not is_terminal or path.suffix.lower() not in _PICTURES:
        return
    try:
        from PIL import Image
        from textual_image.renderable import Image as Picture
    except ImportError:
        return
    try:
        with Image.open(path) as image:
            width = min(screen.out.width, _MAX_COLUMNS)
            screen.out.print(Picture(image, width=width, height="auto"))
    except (OSError, ValueError, ArithmeticError, Image.DecompressionBombError) as error:
        screen.note(f"{path} cannot be drawn here: {type(error).__name__}")
