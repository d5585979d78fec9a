"""Where the bytes of files are: in memory, or in a folder."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from typing import BinaryIO, Final, Protocol

import msgspec

from foxapi_async.errors import ConfigError
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.files.stored_file import StoredFile

_PART: Final = ".part"
_BYTES: Final = ".bin"
_FACTS: Final = ".json"
# One hop to a thread moves so many bytes.
_BLOCK: Final = 1024 * 1024

_logger = logging.getLogger(__name__)
_decode_facts: Final = msgspec.json.Decoder(StoredFile).decode


class BlobWriter(Protocol):
    """Takes the bytes of a new file. Every writer must be closed by ``commit`` or ``discard``."""

    async def write(self, data: bytes) -> None:
        """Append bytes."""
        ...

    async def commit(self, file: StoredFile) -> None:
        """Make the file readable, under its token."""
        ...

    async def discard(self) -> None:
        """Forget the bytes. After ``commit``, it has no effect."""
        ...


class Blobs(Protocol):
    """Holds the bytes of files."""

    async def open(self) -> Sequence[StoredFile]:
        """Return the files of earlier runs of the gateway."""
        ...

    def writer(self) -> BlobWriter:
        """Return the writer of a new file."""
        ...

    async def read(self, token: str, start: int, stop: int) -> bytes:
        """Return some bytes of a file; fewer than asked for if it was deleted meanwhile."""
        ...

    async def delete(self, tokens: Iterable[str]) -> None:
        """Delete files."""
        ...


class MemoryBlobs:
    """Files that are lost with the process."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    async def open(self) -> Sequence[StoredFile]:
        """Return no files."""
        return ()

    def writer(self) -> "_MemoryWriter":
        """Return the writer of a new file."""
        return _MemoryWriter(self._files)

    async def read(self, token: str, start: int, stop: int) -> bytes:
        """Return some bytes of a file."""
        return self._files.get(token, b"")[start:stop]

    async def delete(self, tokens: Iterable[str]) -> None:
        """Delete files."""
        for token in tokens:
            self._files.pop(token, None)


class _MemoryWriter:
    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files
        self._data = bytearray()

    async def write(self, data: bytes) -> None:
        self._data += data

    async def commit(self, file: StoredFile) -> None:
        self._files[file.token] = bytes(self._data)
        await self.discard()

    async def discard(self) -> None:
        self._data = bytearray()


class FolderBlobs:
    """Files in a folder, which survive the death of the process.

    A file is ``TOKEN.bin`` and what is known of it ``TOKEN.json``, which is written last. No name
    of a client is a name in the folder.

    Args:
        folder: The folder. It is created, for its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def open(self) -> Sequence[StoredFile]:
        """Return the files of earlier runs, and delete what no run has finished."""
        try:
            return await asyncio.to_thread(self._scan)
        except OSError as error:
            raise ConfigError(
                f"cannot use the folder of files {self._folder}: {error.strerror or error}"
            ) from None

    def writer(self) -> "_FolderWriter":
        """Return the writer of a new file."""
        return _FolderWriter(self._folder / f"{token_urlsafe(16)}{_PART}")

    async def read(self, token: str, start: int, stop: int) -> bytes:
        """Return some bytes of a file."""
        return await asyncio.to_thread(self._read, token, start, stop)

    async def delete(self, tokens: Iterable[str]) -> None:
        """Delete files."""
        await asyncio.to_thread(self._delete, list(tokens))

    def _scan(self) -> Sequence[StoredFile]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found: dict[str, StoredFile] = {}
        for path in self._folder.glob(f"*{_FACTS}"):
            try:
                file = _decode_facts(path.read_bytes())
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
                _logger.exception("a file of the gateway cannot be read: %s", path)
                continue
            if file.token == path.stem and path.with_suffix(_BYTES).is_file():
                found[file.token] = file
        for path in self._folder.iterdir():
            if path.suffix == _PART or (path.suffix == _BYTES and path.stem not in found):
                path.unlink(missing_ok=True)
        return list(found.values())

    def _read(self, token: str, start: int, stop: int) -> bytes:
        try:
            with (self._folder / f"{token}{_BYTES}").open("rb") as file:
                file.seek(start)
                return file.read(stop - start)
        except FileNotFoundError:
            return b""

    def _delete(self, tokens: Sequence[str]) -> None:
        for token in tokens:
            for suffix in (_FACTS, _BYTES):
                (self._folder / f"{token}{suffix}").unlink(missing_ok=True)


class _FolderWriter:
    """Writes blocks of a mebibyte, each in a thread, one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._block = bytearray()
        self._working: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        self._block += data
        if len(self._block) >= _BLOCK:
            await self._run(self._flush)

    async def commit(self, file: StoredFile) -> None:
        await self._run(partial(self._commit, file))

    async def discard(self) -> None:
        if self._working is not None:
            # A thread goes on when its caller is cancelled, and has the file until it ends.
            await asyncio.wait({self._working})
        await asyncio.to_thread(self._discard)

    async def _run(self, work: Callable[[], None]) -> None:
        self._working = asyncio.get_running_loop().run_in_executor(None, work)
        try:
            await asyncio.shield(self._working)
        except OSError as error:
            _logger.error("a file cannot be stored: %s", error)  # noqa: TRY400 the text has it
            raise APIError(500, "the gateway cannot store the file") from None

    def _flush(self) -> None:
        if self._file is None:
            self._file = self._path.open("xb")
        self._file.write(self._block)
        self._block.clear()

    def _commit(self, file: StoredFile) -> None:
        self._flush()
        self._close()
        facts = self._path.with_name(f"{file.token}{_FACTS}{_PART}")
        facts.write_bytes(msgspec.json.encode(file))
        self._path.rename(self._path.with_name(f"{file.token}{_BYTES}"))
        facts.rename(self._path.with_name(f"{file.token}{_FACTS}"))

    def _discard(self) -> None:
        self._close()
        self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
