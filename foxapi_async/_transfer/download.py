"""Downloads a link to a file."""

import os
from pathlib import Path
from typing import Final

from msgspec import Struct

from foxapi_async._protocol.file_name import safe_file_name
from foxapi_async._transfer.link_reader import LinkReader
from foxapi_async._transfer.part_file import PartFile, already_exists
from foxapi_async._transfer.threads import in_thread
from foxapi_async._wire.transfer_progress import OnTransfer, TransferProgress
from foxapi_async.errors import DownloadError

_BATCH: Final = 2 * 1024 * 1024


class Target(Struct, frozen=True, kw_only=True):
    """Where a file is to be stored."""

    folder: Path
    """The folder."""
    name: str | None = None
    """The name; ``None`` for a name from the link."""
    overwrite: bool = False
    """Whether a file of that name is replaced."""


def find_target(path: str | os.PathLike[str], *, overwrite: bool) -> Target:
    """Return where ``path`` leads: a folder if it is one or ends with a separator. It blocks.

    Raises:
        FileExistsError: The file exists, and ``overwrite`` is false.
    """
    text = os.fspath(path)
    found = Path(text)
    if text.endswith(("/", os.sep)) or found.is_dir():
        return Target(folder=found, overwrite=overwrite)
    if not overwrite and os.path.lexists(found):
        raise already_exists(found)
    return Target(folder=found.parent, name=found.name, overwrite=overwrite)


class Fetched(Struct, frozen=True):
    """A whole file under its temporary name."""

    part: PartFile
    target: Target
    name: str

    def place(self) -> Path:
        """Give the file its name and return its path. It blocks."""
        target = self.target
        return self.part.place(
            target.folder, self.name, overwrite=target.overwrite, numbered=target.name is None
        )


async def fetch(
    reader: LinkReader, target: Target, filename: str | None, progress: OnTransfer | None
) -> Fetched:
    """Read the whole file behind a link into a temporary file. Closes the reader.

    Args:
        reader: The reader of the link.
        target: Where the file is to be stored.
        filename: The name that the result has for it.
        progress: Gets the progress.

    Raises:
        DownloadError: The file cannot be had, or not whole. No part of it is left.
        OSError: The file cannot be written. No part of it is left.
    """
    part: PartFile | None = None
    try:
        await reader.open()
        name = target.name or reader.file_name(filename)
        # The name of a temporary file must be safe, also if the caller's own is not.
        part = PartFile(target.folder, safe_file_name(name) or "download")
        await in_thread(part.create)
        await _fill(part, reader, name, progress)
    except BaseException:
        reader.close()
        if part is not None:
            await in_thread(part.discard)
        raise
    return Fetched(part, target, name)


async def _fill(part: PartFile, reader: LinkReader, name: str, progress: OnTransfer | None) -> None:
    chunks: list[bytes] = []
    start = end = 0
    checked: int | None = None
    while True:
        if reader.size is not None and reader.size != checked:
            checked = reader.size
            try:
                await in_thread(part.check_room, checked)
            except DownloadError as error:
                error.url = reader.shown_url
                raise
        piece = await reader.read()
        moved = piece is not None and piece.offset != end
        if chunks and (piece is None or moved or end - start >= _BATCH):
            await in_thread(part.write, start, chunks)
            chunks, start = [], end
            if progress is not None:
                progress(TransferProgress(name=name, done=end, total=reader.size))
        if piece is None:
            break
        if moved:
            start = piece.offset
        chunks.append(piece.data)
        end = piece.offset + len(piece.data)
    # An empty file, or one that is empty since it has changed, has no chunk.
    await in_thread(part.write, reader.received, [])
    if progress is not None and not reader.received:
        progress(TransferProgress(name=name, done=0, total=reader.size))


async def download(
    reader: LinkReader,
    path: str | os.PathLike[str],
    *,
    filename: str | None,
    overwrite: bool,
    progress: OnTransfer | None,
) -> Path:
    """Download the file behind a link to a path or into a folder, and return its path."""
    target = await in_thread(lambda: find_target(path, overwrite=overwrite))
    fetched = await fetch(reader, target, filename, progress)
    return await place(fetched)


async def place(fetched: Fetched) -> Path:
    """Give a file its name; delete it if that cannot be."""
    try:
        return await in_thread(fetched.place)
    except BaseException:
        await in_thread(fetched.part.discard)
        raise
