"""One reader of event streams over TCP: ``sse_client.py NAME PORT STREAMS FRAMES SIZE``.

It passes every piece of text to a meter. When each stream has delivered its first ``SIZE`` frames,
the meter lets the server continue, and counts the CPU time from then on to the last frame.
Requests, headers and imports are not included. The output is JSON: the CPU time of a frame, and
the memory of a stream.
"""

import asyncio
import gc
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aiohttp
from process import CLIENT_CORE, cpu_seconds, pin, resident_bytes
from sse_bytes import GO, WORDS

KEY: Final = "sk-benchmark"
OURS: Final = "foxapi_async"
BY_HAND: Final = "aiohttp, readline, json"
HTTPX_SSE: Final = "httpx-sse, json"
OPENAI: Final = "openai"
FLOOR: Final = "aiohttp, count bytes"
SUBJECTS: Final = (OURS, FLOOR, BY_HAND, HTTPX_SSE, OPENAI)

# A pool of httpx searches all its connections for each request, so a thousand connections in one
# pool take a minute to open. One client gets this number of streams.
POOL: Final = 100
# Usual settings for streams of unknown length: only connecting has a timeout.
PATIENT: Final = aiohttp.ClientTimeout(total=None, connect=10)
FRAME: Final = b"event: chunk"

Read = Callable[[int], Awaitable[None]]


class Meter:
    """Counts the pieces of text and notes the CPU time at the first and at the last."""

    def __init__(self, port: int, streams: int, frames: int, size: int) -> None:
        self.streams = streams
        self._port = port
        self.count = 0
        self.length = 0
        self.first = streams * size
        self.last = streams * frames
        self.began = self.ended = 0.0
        # Functions that accumulate the streams at their end; the CPU time includes them.
        self.sums: list[Callable[[], object]] = []
        self.memory = 0

    def take(self, text: str) -> None:
        """Take the text of one frame."""
        self.count += 1
        self.length += len(text)
        if self.count == self.first:
            self.memory = resident_bytes()
            with socket.create_connection(("127.0.0.1", self._port)) as line:
                line.sendall(GO)
            self.began = cpu_seconds()
        elif self.count == self.last:
            for add_up in self.sums:
                add_up()
            self.ended = cpu_seconds()


def piece(data: str | bytes) -> str | None:
    """Return the text or the reasoning in a chunk's JSON; ``None`` if it is no chunk."""
    chunk = json.loads(data)
    if "choices" not in chunk:
        return None
    delta = chunk["choices"][0]["delta"]
    return delta.get("content") or delta.get("reasoning_content") or ""


def plain_session() -> aiohttp.ClientSession:
    """Return a session with as many connections as streams."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=PATIENT)


@asynccontextmanager
async def ours(base: str, meter: Meter) -> AsyncIterator[Read]:
    """Read by the public API of this package, which accumulates the completion."""
    from foxapi_async import FoxSession

    async with FoxSession(api_key=KEY, base_url=base) as fox:

        async def read(number: int) -> None:
            stream = fox.tasks.handle(f"task-{number}").stream()
            meter.sums.append(stream.snapshot)
            async for delta in stream:
                meter.take(delta.text or delta.reasoning)

        yield read


@asynccontextmanager
async def count_bytes(base: str, meter: Meter) -> AsyncIterator[Read]:
    """Read the bytes and count the frames only: the lower bound of any reader."""
    async with plain_session() as http:

        async def read(_: int) -> None:
            tail = b""
            async with http.get(base) as response:
                while data := await response.content.readany():
                    seen = tail + data
                    for _ in range(seen.count(FRAME)):
                        meter.take("")
                    tail = seen[1 - len(FRAME) :]

        yield read


@asynccontextmanager
async def by_hand(base: str, meter: Meter) -> AsyncIterator[Read]:
    """Read line by line, with the simplest loop."""
    async with plain_session() as http:

        async def read(_: int) -> None:
            text: list[str] = []
            async with http.get(base) as response:
                while line := await response.content.readline():
                    if line.startswith(b"data:"):
                        word = piece(line[5:])
                        if word is not None:
                            text.append(word)
                            meter.take(word)

        yield read


@asynccontextmanager
async def httpx_sse(base: str, meter: Meter) -> AsyncIterator[Read]:
    """Read by httpx-sse, and decode with the standard library's json."""
    import httpx
    from httpx_sse import aconnect_sse

    unlimited = httpx.Limits(max_connections=None)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(limits=unlimited, timeout=60))
            for _ in range(0, meter.streams, POOL)
        ]

        async def read(number: int) -> None:
            text: list[str] = []
            async with aconnect_sse(clients[number // POOL], "GET", base) as source:
                async for event in source.aiter_sse():
                    if event.event == "chunk":
                        word = piece(event.data) or ""
                        text.append(word)
                        meter.take(word)

        yield read


@asynccontextmanager
async def openai(base: str, meter: Meter) -> AsyncIterator[Read]:
    """Read by openai-python, and accumulate its chunks as its documentation does."""
    from openai import AsyncOpenAI

    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                AsyncOpenAI(api_key=KEY, base_url=base, timeout=60, max_retries=0)
            )
            for _ in range(0, meter.streams, POOL)
        ]

        async def read(number: int) -> None:
            text: list[str] = []
            stream = await clients[number // POOL].chat.completions.create(
                model="kimi-k2.6", messages=[{"role": "user", "content": "go"}], stream=True
            )
            async for chunk in stream:
                if chunk.choices:
                    delta = chunk.choices[0].delta
                    word = delta.content or getattr(delta, "reasoning_content", None) or ""
                    text.append(word)
                    meter.take(word)

        yield read


MAKERS: Final[dict[str, Callable[[str, Meter], Any]]] = {
    OURS: ours,
    FLOOR: count_bytes,
    BY_HAND: by_hand,
    HTTPX_SSE: httpx_sse,
    OPENAI: openai,
}


async def measure(name: str, port: int, streams: int, frames: int, size: int) -> dict[str, float]:
    """Let one subject read all streams."""
    meter = Meter(port, streams, frames, size)
    base = f"http://127.0.0.1:{port}/"
    async with MAKERS[name](base, meter) as read:
        gc.collect()
        before = resident_bytes()
        await asyncio.gather(*(read(number) for number in range(streams)))
    expected = sum(len(WORDS[number % len(WORDS)]) for number in range(frames)) * streams
    if name == FLOOR:
        expected = 0
    if (meter.count, meter.length) != (meter.last, expected):
        raise RuntimeError(f"{name} read {meter.count} frames of {meter.last}")
    return {
        "cpu_us": (meter.ended - meter.began) / (meter.last - meter.first) * 1e6,
        "stream_kb": (meter.memory - before) / streams / 1e3,
    }


def main() -> None:
    """Measure on a core of its own."""
    pin(CLIENT_CORE)
    name, *counts = sys.argv[1:]
    port, streams, frames, size = map(int, counts)
    print(json.dumps(asyncio.run(measure(name, port, streams, frames, size))))


if __name__ == "__main__":
    main()
