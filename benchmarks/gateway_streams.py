"""The CPU time of a server's event streams: live ones at a fixed rate, and the same replayed."""

import asyncio
import gc
import json
from collections.abc import Iterator, Sequence
from time import perf_counter

from load_generator import Connection, connect, percentile, request, submission

HOST = "127.0.0.1"
PACE = 0.05
"""Seconds between two chunks of a live stream."""
QUEUE = 2.0
"""Seconds before the first chunk, in which the other streams are opened."""
AT_ONCE = 32
"""Concurrent requests."""
OPENING = 4
"""Streams that are opened concurrently."""
_MARK = b"event: chunk"
_END = b"\r\n0\r\n\r\n"


class Stream:
    """One stream, and the arrival times of its chunks."""

    def __init__(self, subject: str, connection: Connection, chunks: int, path: str = "") -> None:
        self._subject = subject
        self._connection = connection
        self.chunks = chunks
        self.path = path
        self._opened = 0.0
        self.came: list[float] = []
        self._tail = b""
        self.began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def submit(self) -> None:
        """Submit the task of the stream."""
        self._opened = perf_counter()
        submit = submission(f"count 1 to {self.chunks - 1}", stream=True)
        answer = json.loads(await self._connection.ask(submit))
        self.path = answer["stream"]["url"]
        if self._subject == "bare":
            # The bare server does not simulate a model, so the path has the number of chunks.
            self.path += f"?count={self.chunks}"

    def listen(self) -> None:
        """Request the stream."""
        is_paced = self._subject == "bare" and self._opened
        path = f"{self.path}&pace={PACE}&queue={QUEUE}" if is_paced else self.path
        self._connection.on_data = self._on_data
        self._connection.send(request("GET", path))

    def again(self, connection: Connection) -> "Stream":
        """Return the same stream, to be replayed."""
        return Stream(self._subject, connection, self.chunks, self.path)

    def times(self) -> Iterator[tuple[float, float]]:
        """Return the arrival time and the due time of each chunk."""
        return ((came, self._opened + QUEUE + PACE * n) for n, came in enumerate(self.came, 1))

    def _on_data(self, data: bytes) -> None:
        """Count the chunks of a read; the last piece of a chunked body ends the stream."""
        # Two reads may split a mark; the part that is kept is never a whole one.
        data = self._tail + data
        chunks = data.count(_MARK)
        self._tail = data[1 - len(_MARK) :]
        if chunks:
            if not self.came:
                self.began.set_result(None)
            self.came += [perf_counter()] * chunks
        if data.endswith(_END) and not self.ended.done():
            self.ended.set_result(None)


async def ask(connection: Connection, path: str) -> float:
    """Request a figure of the server: ``/cpu`` in seconds, ``/memory`` in KiB."""
    return float(await connection.ask(request("GET", path)))


async def live(subject: str, port: int, number: int, chunks: int) -> dict[str, float]:
    """Measure live streams of 20 chunks a second each, then the same streams replayed.

    Live figures are measured while all streams are open: from the first chunk of the last stream to
    the last chunk of the first one. They include no submission and no simulation. The delay of a
    chunk is the time from its due time, counted from the request of its stream, to its arrival.
    """
    asking = await connect(HOST, port)
    connections = [await connect(HOST, port) for _ in range(number)]
    memory = await ask(asking, "/memory")
    gc.disable()
    streams = [Stream(subject, connection, chunks) for connection in connections]
    queue = iter(streams)
    await asyncio.gather(*(_open(queue) for _ in range(OPENING)))
    await asyncio.gather(*(stream.began for stream in streams))
    cpu, start, before = await ask(asking, "/cpu"), perf_counter(), _taken(streams)
    if any(stream.ended.done() for stream in streams):
        raise RuntimeError(f"{subject}: {chunks} chunks are too few to open {number} streams")
    await asyncio.wait([stream.ended for stream in streams], return_when=asyncio.FIRST_COMPLETED)
    cpu, end, after = await ask(asking, "/cpu") - cpu, perf_counter(), _taken(streams)
    await asyncio.gather(*(stream.ended for stream in streams))
    gc.enable()
    _check(streams)
    late = [came - due for stream in streams for came, due in stream.times() if start < came < end]
    memory = await ask(asking, "/memory") - memory
    figures = {
        "live_chunks": (after - before) / cpu,
        "live_core": cpu / (end - start),
        "live_pace": (after - before) / (end - start) * PACE / number,
        "live_p50_ms": percentile(late, 0.5),
        "live_p99_ms": percentile(late, 0.99),
        "bytes_per_chunk": memory * 1024 / _taken(streams),
        "replayed_chunks": await _replayed(asking, streams, connections[:AT_ONCE]),
    }
    for connection in (asking, *connections):
        connection.close()
    return figures


async def _open(queue: Iterator[Stream]) -> None:
    for stream in queue:
        await stream.submit()
        stream.listen()


async def _replayed(
    asking: Connection, streams: Sequence[Stream], connections: Sequence[Connection]
) -> float:
    """Return the chunks for one second of the server's CPU, each stream's request included."""
    replayed: list[Stream] = []
    queue = iter(streams)

    async def work(connection: Connection) -> None:
        for stream in queue:
            replayed.append(again := stream.again(connection))
            again.listen()
            await again.ended

    cpu = await ask(asking, "/cpu")
    await asyncio.gather(*(work(connection) for connection in connections))
    cpu = await ask(asking, "/cpu") - cpu
    _check(replayed)
    return _taken(replayed) / cpu


def _taken(streams: Sequence[Stream]) -> int:
    return sum(len(stream.came) for stream in streams)


def _check(streams: Sequence[Stream]) -> None:
    for stream in streams:
        if len(stream.came) != stream.chunks:
            raise RuntimeError(f"{stream.path}: {len(stream.came)} chunks of {stream.chunks}")
