"""The quick way of a chunk that has just been written to one who waits for it."""

import asyncio
from typing import Final

from foxapi_async.gateway.chunk_log import ChunkLog

# A reader that leaves so many bytes lying is left to a task that waits for it.
_MOST_UNREAD: Final = 64 * 1024


class LiveTail:
    """Hands the chunks of a log to one connection as they come.

    No task wakes for a chunk: it goes out while it is written, which halves what a live stream
    costs. It ends with the log, or when the connection does not keep up.
    """

    __slots__ = ("_ended", "_log", "_offset", "_transport")

    def __init__(self, log: ChunkLog, transport: asyncio.Transport, offset: int) -> None:
        self._log = log
        self._transport = transport
        self._offset = offset
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Hand chunks on as long as it goes well, and return the offset that was reached."""
        if not self._log.ended:
            with self._log.heard(self._pass_on):
                await self._ended
        return self._offset

    def _pass_on(self) -> None:
        """Write what has come, in the chunked coding that the response's head has announced."""
        if self._ended.done():
            return
        transport = self._transport
        frames = self._log.since(self._offset)
        if frames and not transport.is_closing():
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            self._offset += len(frames)
        if (
            self._log.ended
            or transport.is_closing()
            or transport.get_write_buffer_size() > _MOST_UNREAD
        ):
            self._ended.set_result(None)
