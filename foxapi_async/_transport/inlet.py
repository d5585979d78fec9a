"""Where the bytes of a body come in: waiting for them without a coroutine of aiohttp's."""

import asyncio
from functools import cache
from typing import Final, final

import aiohttp
from aiohttp.client_proto import ResponseHandler

from foxapi_async._transport.trial import probe

_LIMIT: Final = 2**16
_EXPECTED: Final = [True, None, b"one", True, None, b"ortwo", True, None, b""]


@final
class RawStream:
    """The bytes that a ``StreamReader`` of aiohttp gets, for one who reads on and on.

    ``readany`` is two coroutines for each read, and more calls; on a stream of words that is as
    much as all that is made of the bytes. Here the reader's own coroutine awaits the future that
    aiohttp wakes. `read_nowait` raises what aiohttp raises.
    """

    __slots__ = ("_content", "_new_future")

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self._new_future = asyncio.get_running_loop().create_future

    @classmethod
    def of(cls, content: aiohttp.StreamReader) -> "RawStream | None":
        """Return the inlet of ``content``, ``None`` where this aiohttp has no place for it."""
        return cls(content) if _is_possible() else None

    def wait_future(self) -> "asyncio.Future[None] | None":
        """Return the future to await for the next bytes, ``None`` if there is nothing to wait for.

        It is ``None`` when bytes are buffered, the body has ended, or the connection is closed:
        aiohttp would not wake a waiter then. One waiter at a time. Cancelling the wait loses no
        byte; a waiter that leaves without awaiting the future to its end calls `detach`.
        """
        content = self._content
        if (
            content._buffer  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            or content._eof  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            or content._exception is not None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            or content._protocol.transport is None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        ):
            return None
        arrival = content._waiter = self._new_future()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return arrival

    def detach(self) -> None:
        """Let aiohttp wake nobody: an error that nobody awaits would be complained of."""
        self._content._waiter = None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def read_nowait(self) -> bytes:
        """Return all bytes that are there.

        ``b""`` at the end, after a wait that only the end of an HTTP chunk ended, and where the
        connection was closed: `StreamBody.read` tells which.
        """
        content = self._content
        if len(content._buffer) == 1:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            return content._read_nowait_chunk(-1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return content.read_nowait(-1)


@cache
def _is_possible() -> bool:
    return probe("raw_stream", _tried, _EXPECTED)


def _tried() -> list[object]:
    loop = asyncio.get_running_loop()
    protocol = ResponseHandler(loop)
    protocol.connection_made(asyncio.Transport())
    content = aiohttp.StreamReader(protocol, _LIMIT, loop=loop)
    raw_stream = RawStream(content)
    seen: list[object] = []
    try:
        for pieces in ([b"one"], [b"or", b"two"], []):
            arrival = raw_stream.wait_future()
            for piece in pieces:
                content.feed_data(piece)
            if not pieces:
                content.feed_eof()
            seen += [
                arrival is not None and arrival.done(),
                raw_stream.wait_future(),
                raw_stream.read_nowait(),
            ]
    finally:
        protocol.connection_lost(None)
    return seen
