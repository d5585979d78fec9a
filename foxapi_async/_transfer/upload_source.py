"""What can be uploaded: bytes, files, open files and asynchronous iterators, read in pieces."""

import hashlib
import io
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, Protocol, cast, runtime_checkable

from foxapi_async._protocol.file_name import safe_file_name, suffix_for
from foxapi_async._transfer.threads import in_thread
from foxapi_async._wire.media_type import find_media_type

PIECE: Final = 1024 * 1024
"""How many bytes are read at once."""
Update = Callable[[bytes], object]
_HEAD: Final = 64 * 1024
_TELLING: Final = 64


@runtime_checkable
class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class UploadSource(Protocol):
    """A file to upload."""

    name: str
    """Its name, ``""`` if it has none."""
    size: int | None
    """Its size in bytes, ``None`` if only its end will tell."""
    head: bytes
    """Its first bytes."""

    async def digest(self) -> str | None:
        """Return the SHA-256 of all of it; ``None`` if it can be read once only."""
        ...

    def pieces(self, update: Update | None) -> AsyncGenerator[bytes, None]:
        """Read it from its start, and call ``update`` with each piece, in a thread."""
        ...

    async def aclose(self) -> None:
        """Close what was opened here."""
        ...


class BytesSource:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.name: str = ""
        self.size: int | None = len(data)
        self.head: bytes = data[:_HEAD]
        self._data = data

    async def digest(self) -> str | None:
        """Return the SHA-256."""
        return await in_thread(lambda: hashlib.sha256(self._data).hexdigest())

    async def pieces(self, update: Update | None) -> AsyncGenerator[bytes, None]:
        """Hand out the bytes."""
        for start in range(0, len(self._data), PIECE):
            piece = self._data[start : start + PIECE]
            if update is not None:
                await in_thread(update, piece)
            yield piece

    async def aclose(self) -> None:
        """Do nothing."""


class FileSource:
    """An open file. It is read in threads."""

    def __init__(self, source: Any) -> None:
        self._path = (
            Path(cast("os.PathLike[str]", source)) if isinstance(source, os.PathLike) else None
        )
        self._file: Any = source if self._path is None else None
        self._is_seekable = False
        name: object = self._path or getattr(self._file, "name", "")
        self.name: str = Path(name).name if isinstance(name, str | Path) else ""
        self.size: int | None = None
        self.head: bytes = b""

    def open(self) -> None:
        """Open it, and read its first bytes. It blocks."""
        if self._path is not None:
            self._file = self._path.open("rb")
        self._is_seekable = _is_seekable(self._file)
        if self._is_seekable:
            self.size = self._file.seek(0, os.SEEK_END)
            self._rewind()
        self.head = self._read(_HEAD)

    async def digest(self) -> str | None:
        """Return the SHA-256, for a file that can be rewound."""
        return await in_thread(self._digest) if self._is_seekable else None

    def _digest(self) -> str:
        self._rewind()
        found = hashlib.sha256()
        while piece := self._read(PIECE):
            found.update(piece)
        return found.hexdigest()

    async def pieces(self, update: Update | None) -> AsyncGenerator[bytes, None]:
        """Read the file from its start; from where it stands if it cannot be rewound."""

        def first() -> bytes:
            if self._is_seekable:
                self._rewind()
                return following()
            if update is not None:
                update(self.head)
            return self.head

        def following() -> bytes:
            piece = self._read(PIECE)
            if update is not None:
                update(piece)
            return piece

        piece = await in_thread(first)
        while piece:
            yield piece
            piece = await in_thread(following)

    def _rewind(self) -> None:
        self._file.seek(0)

    def _read(self, size: int) -> bytes:
        # Not None, which a file gives that would block.
        data: object = self._file.read(size) or b""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"the file gives {type(data).__name__}, not bytes: open it with 'rb'")
        return bytes(cast("bytes", data))

    async def aclose(self) -> None:
        """Close the file if it was opened here."""
        if self._path is not None and self._file is not None:
            await in_thread(self._file.close)


class IteratorSource:
    """Pieces of an asynchronous iterator, which can be read once."""

    def __init__(self, pieces: AsyncIterator[bytes], first: bytes) -> None:
        self._pieces = pieces
        self.name: str = ""
        self.size: int | None = None
        self.head: bytes = first

    async def digest(self) -> str | None:
        """Return ``None``."""
        return None

    async def pieces(self, update: Update | None) -> AsyncGenerator[bytes, None]:
        """Hand out the pieces."""
        piece = self.head
        while True:
            if update is not None:
                await in_thread(update, piece)
            yield piece
            found = await _next_piece(self._pieces)
            if found is None:
                return
            piece = found

    async def aclose(self) -> None:
        """Do nothing: the iterator is the caller's."""


async def open_source(source: object) -> UploadSource:
    """Return the source for what the user passes, opened at its start.

    Raises:
        TypeError: It is nothing that can be uploaded.
        ValueError: It is empty.
        OSError: The file cannot be read.
    """
    opened: UploadSource
    if isinstance(source, bytes | bytearray | memoryview):
        opened = BytesSource(bytes(cast("bytes", source)))
    elif isinstance(source, AsyncIterable):
        pieces = aiter(cast("AsyncIterable[bytes]", source))
        opened = IteratorSource(pieces, await _first_bytes(pieces))
    elif isinstance(source, os.PathLike | _Readable) and not isinstance(source, io.TextIOBase):
        opened = await _opened_file(FileSource(source))
    else:
        raise TypeError(
            "upload a path, bytes, a binary file, an async iterator of bytes or an http(s) URL, "
            f"got {type(source).__name__}; wrap the name of a file in Path(...)"
        )
    if not opened.head:
        await opened.aclose()
        raise ValueError(f"{opened.name or 'the file'} is empty")
    return opened


async def _opened_file(source: FileSource) -> FileSource:
    try:
        await in_thread(source.open)
    except BaseException:
        await source.aclose()
        raise
    return source


async def _first_bytes(pieces: AsyncIterator[bytes]) -> bytes:
    """Return the first pieces, as many as tell the media type."""
    first = b""
    while len(first) < _TELLING and (piece := await _next_piece(pieces)) is not None:
        first += piece
    return first


async def _next_piece(pieces: AsyncIterator[bytes]) -> bytes | None:
    """Return the next piece that is not empty; ``None`` at the end."""
    async for piece in pieces:
        plain: Any = piece
        if not isinstance(plain, bytes | bytearray | memoryview):
            raise TypeError(f"the iterator gives {type(plain).__name__}, not bytes")
        if piece:
            return bytes(piece)
    return None


def _is_seekable(opened: Any) -> bool:
    seekable = getattr(opened, "seekable", None)
    return seekable is not None and bool(seekable())


def describe(source: UploadSource, filename: str | None) -> tuple[str, str]:
    """Return the name and the media type to upload a source with. It may read files."""
    name = safe_file_name(filename or source.name) or ""
    media_type = find_media_type(source.head, name)
    return name or f"upload{suffix_for(media_type) or '.bin'}", media_type
