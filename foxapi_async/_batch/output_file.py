"""The files that a run writes: locked, mended, appended to in whole lines."""

import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO, Final

from foxapi_async._batch.output_lines import LineFormat, WrittenRow
from foxapi_async._batch.rows import BatchFileError

_MODE: Final = 0o600
_ERRORS_START: Final = 65_536

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """A file that one process at a time holds, until it ends or calls ``release``.

    Raises:
        BatchFileError: Another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        while True:
            try:
                self._file = os.open(path, os.O_RDWR | os.O_CREAT, _MODE)
            except FileNotFoundError:
                raise BatchFileError(
                    f"the folder {path.parent} does not exist: create it, or use another -o"
                ) from None
            except OSError as error:
                raise BatchFileError(f"{path}: {error.strerror or error}") from None
            try:
                _lock(self._file)
            except OSError:
                os.close(self._file)
                raise BatchFileError(
                    f"another `foxapi batch` writes this output ({path.name} is locked): wait for "
                    "its end, or use another -o"
                ) from None
            # Between the two, the process that held it may have removed it.
            if self._is_there():
                break
            os.close(self._file)

    def release(self) -> None:
        """Remove the file, and let other processes hold a new one."""
        if sys.platform != "win32":
            self._path.unlink(missing_ok=True)
        os.close(self._file)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return False

    @staticmethod
    def is_held(path: Path) -> bool:
        """Tell whether a process holds the lock."""
        if not path.exists():
            return False
        try:
            lock = FileLock(path)
        except BatchFileError:
            return True
        lock.release()
        return False


class LineFile:
    """A file to which whole lines are appended. All methods block on the disk.

    A device, such as ``/dev/null``, has no size and is only written to.

    Args:
        path: The file.
        size: The size to which it is cut first; 0 begins it anew.

    Raises:
        OSError: It cannot be opened or written.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), _MODE)
        self._size = size
        self._is_plain = stat.S_ISREG(os.fstat(self._file).st_mode)
        if self._is_plain:
            os.ftruncate(self._file, size)
            os.lseek(self._file, size, os.SEEK_SET)

    def append(self, lines: Iterable[bytes]) -> None:
        """Append lines. After an error, the file ends with the line before them."""
        data = memoryview(b"".join(lines))
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            if self._is_plain:
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def sync(self) -> None:
        """Wait until the disk has all lines."""
        if self._is_plain:
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def check_errors_file(path: Path) -> None:
    """Raise ``BatchFileError`` for a file that is no errors file, and would be written over."""
    try:
        if not path.is_file() or not path.stat().st_size:
            return
        with path.open("rb") as file:
            start = file.read(_ERRORS_START)
    except OSError as error:
        raise BatchFileError(f"--errors {path}: {error.strerror or error}") from None
    if not start.startswith((b'{"id":', b'{"line":')) or b'"error":' not in start:
        raise BatchFileError(
            f"--errors {path}: the file exists and has no errors of this command: name another one"
        )


def mend(path: Path, lines: LineFormat, on_row: Callable[[WrittenRow], object]) -> int:
    """Read an output and return its size up to the end of its last whole line.

    What follows it was torn by a kill, and is cut off when the file is opened for writing.

    Args:
        path: The file; a missing one is empty.
        lines: The format.
        on_row: Called for each row.

    Raises:
        BatchFileError: A line before the last one is not of this format.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise BatchFileError(f"{path}: {error.strerror or error}") from None
    with file:
        size = 0
        damaged: int | None = None
        expects_header = bool(lines.header)
        for number, (end, record) in enumerate(whole_records(file, is_quoted=lines.is_quoted), 1):
            if expects_header:
                expects_header = False
                if record != lines.header:
                    raise BatchFileError(f"{path} has other columns: use another -o")
                size = end
                continue
            try:
                row = lines.read(record)
            except (ValueError, RecursionError):
                damaged = damaged or number
                continue
            if damaged is not None:
                raise BatchFileError(
                    f"{path}: record {damaged} is not one that this command wrote: use another -o"
                )
            on_row(row)
            size = end
    return size


def whole_records(file: BinaryIO, *, is_quoted: bool) -> Iterator[tuple[int, bytes]]:
    """Yield each record that ends with a line break, and the place in the file where it ends.

    With ``is_quoted``, a line break after an odd number of quotes belongs to the record.
    """
    end = 0
    parts: list[bytes] = []
    is_open = False
    for line in file:
        end += len(line)
        parts.append(line)
        if is_quoted and line.count(b'"') % 2:
            is_open = not is_open
        if not is_open and line.endswith(b"\n"):
            yield end, b"".join(parts)
            parts.clear()


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file in place of ``path`` at once, so that no reader and no kill sees half of it.

    Raises:
        OSError: It cannot be written; ``path`` is as before.
    """
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            file.close()
            Path(file.name).unlink()
            raise
    Path(file.name).replace(path)
