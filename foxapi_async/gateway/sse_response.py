"""The event stream of a task (contract §6)."""

import asyncio
from typing import Final

from aiohttp import hdrs, web

from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.chunk_log import ChunkLog
from foxapi_async.gateway.relay import LiveTail
from foxapi_async.gateway.stats import Stats
from foxapi_async.gateway.store import Log

HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-store",
    # Proxies that know this header hand each event on at once.
    "X-Accel-Buffering": "no",
}

# More digits than any stream has chunks.
_LONGEST_OFFSET: Final = 18


class Streams:
    """The streams that are open."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._open: set[asyncio.Transport] = set()

    async def serve(self, request: web.Request, log: Log, offset: int) -> web.StreamResponse:
        """Send the chunks from ``offset`` on, those to come as they come, then the closing event.

        A reader that is slow waits for itself alone; one that has left is noticed by the next write
        at the latest, and at once where the server cancels handlers of closed connections.
        """
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            return response
        # A client of HTTP/1.0 knows no chunked coding.
        is_chunked = hdrs.TRANSFER_ENCODING in response.headers
        self._open.add(transport)
        self._stats.streams += 1
        self._stats.streams_open += 1
        try:
            while frames := await log.read(offset):
                await response.write(b"".join(frames))
                offset += len(frames)
                if isinstance(log, ChunkLog) and offset == len(log) and is_chunked:
                    offset = await LiveTail(log, transport, offset).run()
            # Without a closing event the gateway is going down: the stream ends, but is not done.
            if log.closing:
                await response.write(log.closing)
            await response.write_eof()
        except ConnectionResetError:
            # The reader has left, which it may do at any time.
            pass
        finally:
            self._open.discard(transport)
            self._stats.streams_open -= 1
        return response

    def cut_stalled(self) -> None:
        """Drop the connections whose readers do not read: waiting could take for ever."""
        for transport in self._open:
            if transport.get_write_buffer_size():
                transport.abort()


def read_offset(value: str) -> int:
    """Return the number of chunks to skip that a request asks for, or refuse it with 422."""
    if not value.isascii() or not value.isdigit() or len(value) > _LONGEST_OFFSET:
        raise APIError.invalid("offset", "offset must be the number of chunks to skip, 0 or more")
    return int(value)
