"""Chunks as the rows of a data file have them: some in each row, as a MessagePack array."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from foxapi_async.gateway.store.rows import ChunkRow

T = TypeVar("T")

# A row of a log has so many chunks at most, and ends at so many bytes: a reader holds one row.
MOST_CHUNKS: Final = 256
MOST_BYTES: Final = 64 * 1024
# A row of chunks of many tasks ends at so many bytes: SQLite limits the size of a value.
MOST_BATCH_BYTES: Final = 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode_log = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_batch = msgspec.msgpack.Decoder(list[ChunkRow]).decode


class LogPage(NamedTuple):
    """Some chunks of an ended task, side by side."""

    first: int
    """The number of the first chunk."""
    chunks: int
    frames: bytes
    """The array of the chunks."""


def pack_log(frames: Iterable[bytes]) -> Iterator[LogPage]:
    """Return the pages of a log."""
    first = 0
    for page in _split(frames, len, MOST_CHUNKS, MOST_BYTES):
        yield LogPage(first, len(page), _encode(page))
        first += len(page)


def unpack_log(page: LogPage) -> list[bytes]:
    """Return the chunks of a page; raise ``ValueError`` or ``TypeError`` if it is damaged."""
    frames = _decode_log(page.frames)
    if len(frames) != page.chunks:
        raise ValueError(f"the page has {len(frames)} chunks instead of {page.chunks}")
    return frames


def pack_batches(chunks: Iterable[ChunkRow]) -> Iterator[bytes]:
    """Return chunks of many tasks as the values of a few rows."""
    return map(_encode, _split(chunks, _frame_size, None, MOST_BATCH_BYTES))


def pack_batch(chunks: Sequence[ChunkRow]) -> bytes:
    """Return chunks of many tasks as the value of one row."""
    return _encode(chunks)


def unpack_batch(batch: bytes | None) -> list[ChunkRow]:
    """Return the chunks of a row; raise ``ValueError`` or ``TypeError`` if it is damaged."""
    if batch is None:
        raise ValueError("it is no value of bytes")
    return _decode_batch(batch)


def _frame_size(chunk: ChunkRow) -> int:
    return len(chunk[3])


def _split(
    items: Iterable[T], size_of: Callable[[T], int], most: int | None, most_bytes: int
) -> Iterator[list[T]]:
    part: list[T] = []
    size = 0
    for item in items:
        part.append(item)
        size += size_of(item)
        if len(part) == most or size >= most_bytes:
            yield part
            part, size = [], 0
    if part:
        yield part
