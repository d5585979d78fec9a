"""Serves canned event streams over TCP; the pause after a write lets a read get only that write.

``sse_server.py STREAMS FRAMES WRITES PACE``: after requests on ``STREAMS`` connections, each gets
``WRITES`` writes of ``FRAMES`` frames in one HTTP chunk, and then the end. ``PACE`` is the pause in
seconds after a few writes, each to another connection; 0 is as fast as the client can read, and one
HTTP chunk per frame. After the first write to each it waits until the client sends ``GO`` on
another connection, so that no set-up is measured. It prints its port when it listens.
"""

import asyncio
import contextlib
import sys
from typing import Final, cast

from process import SERVER_CORE, pin
from sse_bytes import END, GO, HEAD, done, frames, http_chunk

# The connections that get a frame between two pauses: no timer has a finer resolution.
AT_ONCE: Final = 4
BURST: Final = 64 * 1024


class Connection(asyncio.Protocol):
    """One client: its request is answered with the headers of a stream."""

    def __init__(self, asked: "asyncio.Queue[Connection]", go: asyncio.Event) -> None:
        self.transport: asyncio.Transport | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self._asked = asked
        self._go = go
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # The transport of uvloop is no subclass of it, so ``isinstance`` cannot be used.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer the first bytes, for any path."""
        if data == GO:
            self._go.set()
        elif not self._answered:
            self._answered = True
            self.write(HEAD)
            self._asked.put_nowait(self)

    def pause_writing(self) -> None:
        """Wait for the client."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake a writer that waits for this client."""
        del exc
        self.transport = None
        self.writable.set()

    def write(self, data: bytes) -> None:
        """Send, unless the client has disconnected."""
        if self.transport is not None:
            self.transport.write(data)


async def pace(connections: list[Connection], reads: list[bytes], pause: float) -> None:
    """Give each connection one read after the other, never two at once."""
    written = 0
    for data in reads:
        for connection in connections:
            connection.write(data)
            written += 1
            if written % min(AT_ONCE, len(connections)) == 0:
                await asyncio.sleep(pause)


async def burst(connection: Connection, reads: list[bytes]) -> None:
    """Write as fast as the client reads."""
    whole = b"".join(reads)
    for start in range(0, len(whole), BURST):
        connection.write(whole[start : start + BURST])
        await connection.writable.wait()


async def serve(streams: int, size: int, writes: int, pause: float) -> None:
    """Serve the streams after all requests, until standard input ends."""
    asked: asyncio.Queue[Connection] = asyncio.Queue()
    go = asyncio.Event()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(asked, go), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    over = loop.run_in_executor(None, sys.stdin.read)
    stream = frames(size * writes)
    if pause:
        reads = [http_chunk(b"".join(stream[at : at + size])) for at in range(0, len(stream), size)]
    else:
        reads = [http_chunk(frame) for frame in stream]
    connections = [await asked.get() for _ in range(streams)]
    # Each client reads its headers and does its work of the first frame before the measured frames.
    first, *others = reads
    for connection in connections:
        connection.write(first)
    await go.wait()
    await asyncio.sleep(0.2)
    if pause:
        await pace(connections, others, pause)
    else:
        await asyncio.gather(*(burst(connection, others) for connection in connections))
    for connection in connections:
        connection.write(http_chunk(done(len(stream))) + END)
    await over


def main() -> None:
    """Serve on a core of its own."""
    pin(SERVER_CORE)
    streams, size, writes = map(int, sys.argv[1:4])
    run = asyncio.run
    with contextlib.suppress(ImportError):
        import uvloop

        run = uvloop.run
    run(serve(streams, size, writes, float(sys.argv[4])))


if __name__ == "__main__":
    main()
