"""A file that is written under a temporary name and gets its own when it is whole."""

import errno
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Final

from foxapi_async._protocol.file_name import collision_key, free_name
from foxapi_async.errors import DownloadError

_SUFFIX: Final = ".part"
_TRIES: Final = 100
# What other programs need while the file is written.
_SPARE_BYTES: Final = 16 * 1024 * 1024
_OPEN: Final = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
)
# Two threads that name files in one folder at the same time would choose the same number.
_naming: Final = Lock()


class PartFile:
    """A file under a temporary name beside its place. Every method blocks.

    The name is ``.NAME.RANDOM.part``. Only a killed process leaves such a file behind.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f".{name}.{secrets.token_hex(8)}{_SUFFIX}"
        self._descriptor = -1
        self._size = 0

    def create(self) -> None:
        """Create the file, and its folder."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, _OPEN, 0o666)

    def check_room(self, size: int) -> None:
        """Raise ``DownloadError`` if the disk has no room for ``size`` bytes."""
        free = shutil.disk_usage(self._path.parent).free
        if size + _SPARE_BYTES > free:
            raise DownloadError(
                f"the file has {size} bytes and {self._path.parent} has {free} free: make room, or "
                "choose another folder"
            )

    def write(self, offset: int, chunks: Sequence[bytes]) -> None:
        """Write ``chunks`` at ``offset``, and drop all that was behind it."""
        if offset != self._size:
            os.ftruncate(self._descriptor, offset)
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            self._size = offset
        for chunk in chunks:
            left = memoryview(chunk)
            while left:
                written = os.write(self._descriptor, left)
                left = left[written:]
            self._size += len(chunk)

    def place(self, folder: Path, name: str, *, overwrite: bool, numbered: bool) -> Path:
        """Make the file durable and give it its name, in one step; return its path.

        Args:
            folder: The folder that it is in.
            name: The name.
            overwrite: Whether a file of that name is replaced.
            numbered: Whether the name gets a number if it is in use.

        Raises:
            FileExistsError: The name is in use, and neither of the two is allowed.
        """
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        path = folder / name
        if overwrite:
            self._path.replace(path)
        elif numbered:
            path = self._place_numbered(folder, name)
        elif not self._placed(path):
            raise already_exists(path)
        _sync_folder(folder)
        return path

    def _place_numbered(self, folder: Path, name: str) -> Path:
        with _naming:
            for _ in range(_TRIES):
                path = folder / free_name(name, _names_like(folder, name))
                if self._placed(path):
                    return path
        raise already_exists(folder / name)

    def _placed(self, path: Path) -> bool:
        """Give the file its name unless it is in use; tell whether that was done."""
        try:
            os.link(self._path, path, follow_symlinks=False)
        except FileExistsError:
            return False
        except (OSError, NotImplementedError, AttributeError):
            # A file system without hard links: an empty file reserves the name.
            try:
                os.close(os.open(path, _OPEN, 0o666))
            except FileExistsError:
                return False
            self._path.replace(path)
        else:
            self._path.unlink()
        return True

    def discard(self) -> None:
        """Delete the file, unless it has its name. Harmless when repeated."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        self._path.unlink(missing_ok=True)


def already_exists(path: Path) -> FileExistsError:
    """Return the error of a path that is in use."""
    return FileExistsError(
        errno.EEXIST, "the file exists: pass overwrite=True, or a folder", str(path)
    )


def _names_like(folder: Path, name: str) -> set[str]:
    """Return the keys of the names in a folder that begin as ``name`` does."""
    start = collision_key(name)[:1]
    with os.scandir(folder) as entries:
        keys = (collision_key(entry.name) for entry in entries)
        return {key for key in keys if key.startswith(start)}


def _sync_folder(folder: Path) -> None:
    """Make a new name durable, where folders can be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)
