"""The event stream of a task as an HTTP response (contract §6)."""

import asyncio
from typing import Final

from aiohttp import hdrs, web

from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.chunk_log import ChunkLog
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import Log

HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-store",
    # Tells nginx and other proxies not to buffer the response.
    "X-Accel-Buffering": "no",
}

# Digits of an offset: more than the number of chunks of any stream has.
_MAX_OFFSET_DIGITS: Final = 18
# With more unsent bytes than this, a stream waits for its client in a task of its own.
_MAX_UNSENT: Final = 64 * 1024


class EventStreams:
    """Sends event streams and knows which are open."""

    def __init__(self, stats: GatewayStats) -> None:
        self._stats = stats
        self._open: set[asyncio.Transport] = set()

    async def serve(self, request: web.Request, log: Log, offset: int) -> web.StreamResponse:
        """Send the chunks from ``offset`` on as they are written, then the closing event.

        A slow client delays only its own stream. A client that has disconnected is noticed at the
        next write, or at once if the server cancels the handlers of closed connections.
        """
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            return response
        # HTTP/1.0 has no chunked coding.
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
            # While the gateway shuts down there is no closing event: the client must not take the
            # stream for complete.
            if log.closing:
                await response.write(log.closing)
            await response.write_eof()
        except ConnectionResetError:
            # The client disconnected. It may resume the stream later.
            pass
        finally:
            self._open.discard(transport)
            self._stats.streams_open -= 1
        return response

    def abort_stalled(self) -> None:
        """Close the connections whose clients do not read, so that a shutdown need not wait."""
        for transport in self._open:
            if transport.get_write_buffer_size():
                transport.abort()


class LiveTail:
    """Sends the chunks of a log to one connection at the moment when they are written.

    The chunks are written in a callback of the log: no task wakes for a chunk, which saves a third
    of the CPU time of a live stream. It stops when the log ends, when the connection closes or when
    the client does not keep up.
    """

    __slots__ = ("_log", "_offset", "_stopped", "_transport")

    def __init__(self, log: ChunkLog, transport: asyncio.Transport, offset: int) -> None:
        self._log = log
        self._transport = transport
        self._offset = offset
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Send chunks until the tail stops, and return the offset of the next chunk."""
        if not self._log.ended:
            with self._log.subscribe(self._send_new):
                await self._stopped
        return self._offset

    def _send_new(self) -> None:
        if self._stopped.done():
            return
        transport = self._transport
        frames = self._log.since(self._offset)
        if frames and not transport.is_closing():
            write_chunk(transport, frames[0] if len(frames) == 1 else b"".join(frames))
            self._offset += len(frames)
        if (
            self._log.ended
            or transport.is_closing()
            or transport.get_write_buffer_size() > _MAX_UNSENT
        ):
            self._stopped.set_result(None)


def write_chunk(transport: asyncio.WriteTransport, data: bytes) -> None:
    """Write ``data`` as one chunk of the chunked transfer coding (RFC 9112 §7.1).

    It goes past the writer of aiohttp, which has written the head of the response and holds back no
    bytes. ``data`` must not be empty: an empty chunk ends the body.
    """
    transport.write(b"%x\r\n%b\r\n" % (len(data), data))


def read_offset(value: str) -> int:
    """Return the number of chunks to skip from the query parameter ``offset``.

    Raises:
        APIError: 422, for a value that is not a number from 0 on.
    """
    if not value.isascii() or not value.isdigit() or len(value) > _MAX_OFFSET_DIGITS:
        raise APIError.invalid("offset", "offset must be the number of chunks to skip, 0 or more")
    return int(value)
