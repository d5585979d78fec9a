"""What do the parts of a typed answer cost, next to reading the same stream?

Reads streams of 2,000 and of 20,000 chunks by the public API, in one process and without sockets,
with one chunk in each read: once delta by delta, and once by ``stream.partials``.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from statistics import median
from typing import Any, Final, TypedDict

import aiohttp
import report
from process import CLIENT_CORE, pin
from sse_bytes import http_chunk
from sse_inprocess import KEY, URL, Wires, feed_all, run_still

from foxapi_async import ChatStream, FoxSession
from foxapi_async._clock import settle
from foxapi_async._protocol.sse import encode_event

BOUND: Final = 1.3
LENGTHS: Final = (2_000, 20_000)
CHARACTERS: Final = 6


class Row(TypedDict):
    """One row of the answer."""

    name: str
    tags: list[str]
    size: float


class Rows(TypedDict):
    """The answer."""

    rows: list[Row]


def answer(characters: int) -> str:
    """Return the beginning of a long answer."""
    row = {"name": "the quick brown fox", "tags": ["lazy", "dog", "über"], "size": 12.5}
    one = json.dumps(row, ensure_ascii=False)
    return ('{"rows": [' + ", ".join([one] * (characters // len(one) + 1)))[:characters]


def cut(length: int) -> list[bytes]:
    """Return the bytes of each read: a chunk of a few characters."""
    text = answer(length * CHARACTERS)
    reads: list[bytes] = []
    for number in range(length):
        piece = text[number * CHARACTERS : (number + 1) * CHARACTERS]
        choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
        chunk = {"id": "c", "created": 1, "model": "m", "choices": [choice]}
        data = json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()
        reads.append(http_chunk(encode_event("chunk", data)))
    return reads


async def deltas(stream: ChatStream) -> None:
    """Read delta by delta."""
    async for _ in stream:
        pass


async def partials(stream: ChatStream) -> None:
    """Read part by part."""
    async for _ in stream.partials(Rows):
        pass


async def run(read: Callable[[ChatStream], Coroutine[Any, Any, None]], reads: list[bytes]) -> float:
    """Return the CPU seconds of one stream, without its end."""
    wires = Wires()
    async with (
        aiohttp.ClientSession(connector=wires) as http,
        FoxSession(api_key=KEY, base_url=URL, http=http) as fox,
        fox.tasks.handle("task-1").stream() as stream,
    ):
        reader = asyncio.create_task(read(stream))
        await settle()
        used = await feed_all(wires.raw_streams, reads)
        if stream.offset != len(reads):
            raise RuntimeError(f"{stream.offset} chunks were read of {len(reads)}")
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader
    return used


def main() -> int:
    """Measure, print, write ``results/partials.json``; return 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    pin(CLIENT_CORE)
    cost: dict[int, tuple[float, float]] = {}
    for length in LENGTHS:
        reads = cut(length)
        turns: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for taken, read in zip(turns, (deltas, partials), strict=True):
                taken.append(run_still(run(read, reads)) / length * 1e6)
        cost[length] = (median(turns[0]), median(turns[1]))
    head = ("µs of CPU per chunk", "deltas", "partials", "ratio")
    rows = [
        (f"{length:,} chunks", f"{plain:.1f}", f"{parsed:.1f}", f"{parsed / plain:.2f}")
        for length, (plain, parsed) in cost.items()
    ]
    print(report.table(head, rows))
    report.figures("partials", head, rows)
    plain, parsed = cost[LENGTHS[0]]
    goals = [
        report.Goal("partials / deltas, 2,000 chunks", round(parsed / plain, 3), at_most=BOUND)
    ]
    report.write(
        "partials",
        "CPU of a stream of JSON that is read by deltas and by partials",
        {"rounds": rounds, "us_per_chunk": {str(length): found for length, found in cost.items()}},
        goals=goals,
    )
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
