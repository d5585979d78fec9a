"""One process without sockets: aiohttp's own client gets the bytes from a fake transport.

The session, the request, the response, the C parser and the ``StreamReader`` are those of aiohttp.
The transport is a fake, and the event loop makes no system call: system calls cost more than the
readers that are compared, are the same for each, and would move every ratio towards 1. Each read
has exactly the requested size. The figure is the CPU time that a reader adds to a wake-up, without
the time of the loop that feeds it. The output is nanoseconds of CPU per frame, as JSON.
"""

import asyncio
import gc
import json
import selectors
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from process import CLIENT_CORE, pin
from sse_bytes import END, HEAD, done, frames, http_chunk, payload, texts
from sse_client import PATIENT

from foxapi_async import FoxSession
from foxapi_async._clock import settle
from foxapi_async._protocol.chunk_decoder import ChunkDecoder
from foxapi_async._wire.chunk import delta_decoder

KEY: Final = "sk-benchmark"
URL: Final = "http://127.0.0.1:9/"
FLOOR: Final = "count bytes"
OURS: Final = "foxapi_async"
BY_HAND: Final = "by hand"
SUBJECTS: Final = (FLOOR, OURS, BY_HAND)

Sums = list[Callable[[], object]]


@dataclass(frozen=True)
class Shape:
    """How a stream arrives: ``frames`` in an HTTP chunk, ``chunks`` in each of ``reads``."""

    frames: int = 1
    chunks: int = 1
    reads: int = 400
    streams: int = 1

    @property
    def count(self) -> int:
        """How many frames one stream has."""
        return self.frames * self.chunks * self.reads

    @property
    def length(self) -> int:
        """How long its text is."""
        return sum(map(len, texts(self.count)))


SHAPES: Final = {
    "1 frame a read, 1 stream": Shape(reads=4000),
    "1 frame a read, 100 streams": Shape(reads=200, streams=100),
    "50 frames a read, 1 HTTP chunk": Shape(frames=50),
    "50 frames a read, 50 HTTP chunks": Shape(chunks=50),
}


class Still(selectors.DefaultSelector):
    """A selector without ready files: the loop runs only the callbacks of ``call_soon``."""

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return at once."""
        del timeout
        return []


T = TypeVar("T")


def run_still(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` as ``asyncio.run`` does, without a system call between two turns of the loop."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(Still())) as runner:
        return runner.run(main)


class Wire(asyncio.Transport):
    """A transport that answers with the headers of a stream; then it delivers the given bytes."""

    def __init__(self, protocol: ResponseHandler) -> None:
        super().__init__()
        self._protocol = protocol
        self._closing = False
        self._answered = False

    def write(self, data: object) -> None:
        """Take the request, and answer it once."""
        del data
        if not self._answered:
            self._answered = True
            asyncio.get_running_loop().call_soon(self._protocol.data_received, HEAD)

    def is_closing(self) -> bool:
        """Return whether it was closed."""
        return self._closing

    def close(self) -> None:
        """Close as a socket does, one turn of the loop later."""
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        """Do nothing: every byte is read."""

    def resume_reading(self) -> None:
        """Do nothing: reading is never paused."""


class Wires(aiohttp.BaseConnector):
    """Creates a `Wire` for every connection, and keeps the function that feeds it."""

    def __init__(self) -> None:
        super().__init__(limit=0, force_close=True)
        self.raw_streams: list[Callable[[bytes], None]] = []

    async def _create_connection(
        self, req: object, traces: object, timeout: object
    ) -> ResponseHandler:
        del req, traces, timeout
        protocol = ResponseHandler(asyncio.get_running_loop())
        protocol.connection_made(Wire(protocol))
        self.raw_streams.append(protocol.data_received)
        return protocol


def cut(shape: Shape) -> list[bytes]:
    """Return the bytes of each read."""
    size = shape.frames * shape.chunks
    stream = frames(shape.count)
    reads = []
    for start in range(0, len(stream), size):
        read = stream[start : start + size]
        reads.append(
            b"".join(
                http_chunk(b"".join(read[at : at + shape.frames]))
                for at in range(0, size, shape.frames)
            )
        )
    return reads


async def ours(fox: FoxSession, number: int, sums: Sums) -> int:
    """Read by the public API, which accumulates the completion."""
    length = 0
    stream = fox.tasks.handle(f"task-{number}").stream()
    sums.append(stream.snapshot)
    async for delta in stream:
        length += len(delta.text)
    return length


async def by_hand(http: aiohttp.ClientSession, sums: Sums) -> int:
    """Read line by line, with the simplest loop."""
    text: list[str] = []
    sums.append(lambda: "".join(text))
    async with http.get(URL, timeout=PATIENT) as response:
        while line := await response.content.readline():
            if line.startswith(b"data:"):
                chunk = json.loads(line[5:])
                if "choices" in chunk:
                    text.append(chunk["choices"][0]["delta"].get("content") or "")
    return len("".join(text))


async def count_bytes(http: aiohttp.ClientSession) -> int:
    """Read the bytes and do nothing with them: the cost of aiohttp itself."""
    total = 0
    async with http.get(URL, timeout=PATIENT) as response:
        content = response.content
        while data := await content.readany():
            total += len(data)
    return total


async def run(name: str, reads: list[bytes], shape: Shape) -> float:
    """Feed ``reads`` to so many readers; return the CPU seconds from the first to the whole sum."""
    wires = Wires()
    sums: Sums = []
    async with (
        aiohttp.ClientSession(connector=wires) as http,
        FoxSession(api_key=KEY, base_url=URL, http=http) as fox,
    ):
        subjects: dict[str, Callable[[int], Coroutine[Any, Any, int]]] = {
            OURS: lambda number: ours(fox, number, sums),
            BY_HAND: lambda _: by_hand(http, sums),
            FLOOR: lambda _: count_bytes(http),
        }
        readers = [asyncio.create_task(subjects[name](at)) for at in range(shape.streams)]
        await settle(200)
        used = await feed_all(wires.raw_streams, reads, sums)
        for raw_stream in wires.raw_streams:
            raw_stream(http_chunk(done(shape.count)) + END)
        lengths = set(await asyncio.gather(*readers))
    if name != FLOOR and lengths != {shape.length}:
        raise RuntimeError(f"{name} read {lengths} characters of {shape.length}")
    return used


async def feed_all(
    raw_streams: Sequence[Callable[[bytes], object]],
    reads: list[bytes],
    sums: Sequence[Callable[[], object]] = (),
) -> float:
    """Pass each read to every connection in turn; return the CPU seconds of all.

    The deltas are accumulated at the end, so that no client gains by doing that late.
    """
    gc.collect()
    began = time.process_time()
    for data in reads:
        for raw_stream in raw_streams:
            raw_stream(data)
        # The reader needs one iteration of the loop, or two.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    for add_up in sums:
        add_up()
    return time.process_time() - began


async def adding_up(reads: list[bytes], shape: Shape, every: int) -> float:
    """Return the CPU seconds of one stream read to its end, with a snapshot every few reads."""
    wires = Wires()
    async with (
        aiohttp.ClientSession(connector=wires) as http,
        FoxSession(api_key=KEY, base_url=URL, http=http) as fox,
    ):
        stream = fox.tasks.handle("task-1").stream()
        length = 0

        async def read() -> None:
            nonlocal length
            async for _ in stream:
                if stream.offset % every == 0:
                    length = len(stream.snapshot().text)

        reader = asyncio.create_task(read())
        await settle()
        (raw_stream,) = wires.raw_streams
        used = await feed_all([raw_stream], [*reads, http_chunk(done(shape.count)) + END])
        await reader
    if length != shape.length:
        raise RuntimeError(f"{length} characters were added up of {shape.length}")
    return used


def feed(reads: list[bytes], count: int) -> float:
    """Return the CPU seconds that the decoder alone takes."""
    feed_one = ChunkDecoder(1 << 24).feed
    heard = 0
    began = time.process_time()
    for data in reads:
        heard += len(feed_one(data))
    used = time.process_time() - began
    if heard != count:
        raise RuntimeError(f"the decoder read {heard} chunks of {count}")
    return used


def decode(reads: list[bytes]) -> float:
    """Return the CPU seconds that typed JSON decoding alone takes."""
    strict = delta_decoder.decode_strict
    began = time.process_time()
    for data in reads:
        strict(data)
    return time.process_time() - began


def measure_streams(rounds: int) -> dict[str, dict[str, float]]:
    """Return nanoseconds per frame of each subject in each shape."""
    found: dict[str, dict[str, float]] = {}
    for title, shape in SHAPES.items():
        reads = cut(shape)
        count = shape.count * shape.streams
        turns: dict[str, list[float]] = {name: [] for name in SUBJECTS}
        for _ in range(rounds):
            idle = run_still(feed_all([len] * shape.streams, reads))
            for name, taken in turns.items():
                taken.append((run_still(run(name, reads, shape)) - idle) / count * 1e9)
        found[title] = {name: median(taken) for name, taken in turns.items()}
    return found


def measure_formats(rounds: int, count: int = 5000) -> dict[str, dict[str, float]]:
    """Return nanoseconds per frame of the decoder alone, in several formats and sizes of reads."""
    usual = frames(count)
    formats: dict[str, list[bytes]] = {
        "as FoxAPI sends it": usual,
        "bare data": [frame.removeprefix(b"event: chunk\n") for frame in usual],
        "CRLF": [frame.replace(b"\n", b"\r\n") for frame in usual],
        "CR": [frame.replace(b"\n", b"\r") for frame in usual],
        "id: on every frame": [b"id: %d\n%b" % item for item in enumerate(usual)],
    }
    payloads = [payload(number) for number in range(count)]
    found: dict[str, dict[str, float]] = {}
    for title, size in (("one frame a read", 1), ("50 frames a read", 50)):
        turns: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            turns["JSON alone, typed"].append(decode(payloads) / count * 1e9)
            for name, stream in formats.items():
                reads = [b"".join(stream[at : at + size]) for at in range(0, count, size)]
                turns[name].append(feed(reads, count) / count * 1e9)
        found[title] = {name: median(taken) for name, taken in turns.items()}
    return found


def main() -> None:
    """Measure and print."""
    pin(CLIENT_CORE)
    rounds = int(sys.argv[1])
    print(json.dumps({"streams": measure_streams(rounds), "formats": measure_formats(rounds)}))


if __name__ == "__main__":
    main()
