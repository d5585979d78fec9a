"""The bytes of an input: a file or stdin, compressed or not, and its lines."""

import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any, Final, NamedTuple, Protocol, Self

from foxapi_async._batch.rows import BatchFileError
from foxapi_async.errors import ConfigError

STDIN: Final = "-"
MAX_LINE: Final = 32 * 1024 * 1024
"""The maximum size of a line, in bytes; a longer one is an invalid row."""

_CHUNK: Final = 256 * 1024
# A block of zstd may be a few bytes that stand for 128 KiB.
_COMPRESSED_CHUNK: Final = 1024
_MAX_WINDOW: Final = 128 * 1024 * 1024
_COMPRESSIONS: Final = (".gz", ".zst")
_UTF_8_MARK: Final = b"\xef\xbb\xbf"
_NO_TEXT: Final = (
    (b"\xff\xfe\0\0", "is UTF-32: convert it to UTF-8"),
    (b"\xff\xfe", "is UTF-16: convert it to UTF-8"),
    (b"\xfe\xff", "is UTF-16: convert it to UTF-8"),
    (b"\x1f\x8b", "is compressed by gzip: give it a name that ends with .gz"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd: give it a name that ends with .zst"),
    (b"PAR1\x15", "is a Parquet file: pass --input-format parquet"),
    (b"PK\x03\x04", "is a ZIP archive or an Excel file: unpack it, or save it as CSV"),
)
_MARK_SIZE: Final = 5


class CutOffError(Exception):
    """The input ends early or its compression is damaged; the message says which."""


class Line(NamedTuple):
    """One line of a file."""

    number: int
    """Its number, from 1."""
    data: bytes | None
    """The line with its end; ``None`` if it is longer than ``MAX_LINE``."""


class _Binary(Protocol):
    def read(self, size: int, /) -> bytes | None: ...
    def close(self) -> None: ...


def uncompressed_name(path: str) -> str:
    """Return the name of a file without ``.gz`` or ``.zst``."""
    suffix = _suffix(path)
    return path[: -len(suffix)] if suffix in _COMPRESSIONS else path


class Source:
    """The bytes of an input, without their compression.

    Raises:
        BatchFileError: The file cannot be opened.
        ConfigError: The file is compressed by zstd, and its extra is missing.
    """

    def __init__(self, path: str) -> None:
        self.name: str = "stdin" if path == STDIN else path
        self._raw: Any = _open(path)
        self._size = _size_of(self._raw)
        self._consumed = 0
        self._has_read = False
        self._is_packed = _suffix(path) in _COMPRESSIONS
        try:
            self._read, self._close = self._reader(_suffix(path))
        except BaseException:
            self._raw.close()
            raise

    def _reader(self, suffix: str) -> "tuple[Callable[[int], bytes | None], Callable[[], None]]":
        if suffix == ".gz":
            unpacked = gzip.GzipFile(fileobj=self._raw)
            return unpacked.read1, unpacked.close
        if suffix == ".zst":
            return _ZstdReader(self._raw).read, lambda: None
        return self._raw.read, lambda: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._raw.close()

    @property
    def fraction(self) -> float | None:
        """The part of the file whose lines were taken, 0 to 1; ``None`` for a stream."""
        if not self._size:
            return None
        with suppress(OSError, ValueError):
            place = self._raw.tell() if self._is_packed else self._consumed
            return min(place / self._size, 1.0)
        return None

    def read(self) -> bytes:
        """Return the next bytes, or none at the end.

        Raises:
            CutOffError: The compressed data is damaged, or ends early.
            BatchFileError: The file cannot be read.
        """
        try:
            chunk = self._read(_CHUNK) or b""
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            is_plain = isinstance(error, gzip.BadGzipFile) or "Unknown frame" in str(error)
            if is_plain and not self._has_read:
                suffix = _suffix(self.name)
                raise BatchFileError(
                    f"{self.name} is not compressed as its name says: give it a name without "
                    f"{suffix}"
                ) from None
            raise CutOffError(f"the compressed data is damaged or cut off: {error}") from None
        except OSError as error:
            raise BatchFileError(f"{self.name} cannot be read: {error.strerror or error}") from None
        self._has_read = True
        return chunk

    def lines(self) -> Iterator[Line]:
        """Iterate over the lines of UTF-8 text, without a byte order mark.

        Raises:
            BatchFileError: The input is no UTF-8 text from its first byte on.
            CutOffError: As ``read``, after the lines before the damage.
        """
        parts: list[bytes] = []
        size = number = 0
        for chunk in self._chunks():
            first, *others = chunk.split(b"\n")
            size += len(first)
            if size <= MAX_LINE:
                parts.append(first)
            else:
                parts.clear()
            if not others:
                continue
            number += 1
            self._consumed += size + 1
            yield Line(number, b"".join(parts) + b"\n" if size <= MAX_LINE else None)
            for data in others[:-1]:
                number += 1
                self._consumed += len(data) + 1
                yield Line(number, data + b"\n")
            parts, size = [others[-1]], len(others[-1])
        self._consumed += size
        if size:
            yield Line(number + 1, b"".join(parts) if size <= MAX_LINE else None)

    def _chunks(self) -> Iterator[bytes]:
        """Iterate over the pieces of the text. The first is long enough for any mark."""
        start = b""
        while len(start) < _MARK_SIZE and (more := self.read()):
            start += more
        yield self._start_of_text(start)
        while chunk := self.read():
            yield chunk

    def _start_of_text(self, start: bytes) -> bytes:
        """Return the first bytes without a byte order mark."""
        for mark, advice in _NO_TEXT:
            if start.startswith(mark):
                raise BatchFileError(f"{self.name} {advice}")
        if b"\0" in start[:_MARK_SIZE]:
            raise BatchFileError(f"{self.name} is UTF-16 or no text: convert it to UTF-8")
        return start.removeprefix(_UTF_8_MARK)


class _ZstdReader:
    """Unpacks zstd, and tells a file that was cut off from one that ended."""

    def __init__(self, raw: _Binary) -> None:
        self._raw = raw
        self._make = _zstd_decompressor()
        self._frame: Any = None

    def read(self, size: int) -> bytes:
        """Return at least one byte, and none at the end of the last frame."""
        unpacked = bytearray()
        while len(unpacked) < size:
            packed = self._raw.read(_COMPRESSED_CHUNK)
            if not packed:
                break
            while packed:
                frame = self._frame or self._make()
                unpacked += _unpack(frame, packed)
                packed = frame.unused_data
                self._frame = None if frame.eof else frame
        if not unpacked and self._frame is not None:
            raise EOFError("it ends within a frame")
        return bytes(unpacked)


def _unpack(frame: Any, packed: bytes) -> bytes:
    from zstandard import ZstdError

    try:
        unpacked: bytes = frame.decompress(packed)
    except ZstdError as error:
        raise EOFError(str(error)) from None
    return unpacked


def _zstd_decompressor() -> Callable[[], Any]:
    try:
        from zstandard import ZstdDecompressor
    except ImportError:
        raise ConfigError(
            "a .zst file needs an extra: python -m pip install 'foxapi-async[batch]'"
        ) from None
    return ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj


def _open(path: str) -> Any:
    if path == STDIN:
        return _stdin()
    try:
        return Path(path).open("rb", buffering=0)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BatchFileError(f"INPUT {path}: {reason}") from None


def _suffix(path: str) -> str:
    return PurePath(path).suffix.lower()


def _stdin() -> Any:
    if sys.stdin is None:
        raise BatchFileError("INPUT is stdin, which is closed: name a file")
    try:
        # A file of its own: the interpreter waits for the lock of `sys.stdin` when it exits.
        return io.FileIO(sys.stdin.fileno(), closefd=False)
    except (OSError, ValueError):
        return sys.stdin.buffer


def _size_of(raw: Any) -> int:
    try:
        return os.fstat(raw.fileno()).st_size if raw.seekable() else 0
    except (OSError, ValueError):
        return 0
