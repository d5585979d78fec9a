"""What does the gateway add to the answers of a model server behind it?

The same prompts go to an OpenAI-compatible server directly and through a gateway, in turns. The
canned server needs no inference and its chunks carry the time at which they were written. With
``--llama FILE.gguf`` llama.cpp's server is measured as well (extra ``local``).
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from subprocess import PIPE
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import process
import report
from load_generator import Connection, connect, percentile, request

HOST = "127.0.0.1"
SERVER = Path(__file__).parent / "upstream_server.py"
PACE = 0.05
"""Seconds between two chunks of the canned server."""
MANY = 200
"""The streams of the scene that is about the gateway's CPU."""
KEY = "sk-bench"
KEY_VARIABLE = "FOXAPI_BENCH_UPSTREAM_KEY"
_TIME = re.compile(rb'"content":\s*"(\d+\.\d+) "')
_CHUNK = re.compile(rb'"(?:content|reasoning_content)":\s*"[^"]')


class Timing(NamedTuple):
    """One answer: the seconds to its first chunk, and the age or the gap of each chunk."""

    first: float
    chunks: list[float]


class Reader:
    """Reads one event stream and notes when its chunks arrive."""

    def __init__(self, connection: Connection, *, is_stamped: bool) -> None:
        self._is_stamped = is_stamped
        self._connection = connection
        self._tail = b""
        self.arrivals: list[float] = []
        self.ages: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.on_data = self._on_data

    def _on_data(self, data: bytes) -> None:
        now = perf_counter()
        # Only whole lines are searched, so no chunk is counted twice.
        lines, mark, self._tail = (self._tail + data).rpartition(b"\n")
        found = _TIME.findall(lines + mark) if self._is_stamped else ()
        self.ages += [now - float(stamp) for stamp in found]
        self.arrivals += [now] * len(_CHUNK.findall(lines + mark))
        if (b"[DONE]" in data or b"event: done" in data) and not self.ended.done():
            self.ended.set_result(None)
        if b"event: error" in data and not self.ended.done():
            self.ended.set_exception(RuntimeError(data.decode()))


def prompt(number: int, tokens: int) -> dict[str, Any]:
    """Build the body of a request."""
    message = {"role": "user", "content": f"Tell me about number {number}."}
    return {"model": "m", "messages": [message], "stream": True, "max_tokens": tokens}


async def ask(subject: str, port: int, number: int, tokens: int, *, is_stamped: bool) -> Timing:
    """Ask once and read the answer to its end."""
    connection = await connect(HOST, port)
    body = json.dumps(prompt(number, tokens)).encode()
    start = perf_counter()
    if subject == "direct":
        reader = Reader(connection, is_stamped=is_stamped)
        connection.send(request("POST", "/v1/chat/completions", body))
    else:
        task = json.loads(await connection.ask(request("POST", "/v1/llm/generations", body)))
        reader = Reader(connection, is_stamped=is_stamped)
        connection.send(request("GET", task["stream"]["url"]))
    await reader.ended
    connection.close()
    arrivals = reader.arrivals
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    return Timing(arrivals[0] - start, reader.ages if is_stamped else gaps)


async def measure(
    subject: str, port: int, streams: int, tokens: int, *, is_stamped: bool
) -> dict[str, float]:
    """Measure a number of answers at once."""
    control = await connect(HOST, port)
    is_ours = subject == "gateway"
    cpu = float(await control.ask(request("GET", "/cpu"))) if is_ours else 0.0
    start = perf_counter()

    async def in_turn(number: int) -> Timing:
        # Answers that all begin at one instant would measure the queue of their beginnings.
        await asyncio.sleep(number * PACE / streams)
        return await ask(subject, port, number, tokens, is_stamped=is_stamped)

    timings = await asyncio.gather(*map(in_turn, range(streams)))
    seconds = perf_counter() - start
    if is_ours:
        cpu = float(await control.ask(request("GET", "/cpu"))) - cpu
    control.close()
    chunks = [age for timing in timings for age in timing.chunks]
    return {
        "first_p50_ms": percentile([timing.first for timing in timings], 0.5),
        "chunk_p50_ms": percentile(chunks, 0.5),
        "chunk_p99_ms": percentile(chunks, 0.99),
        "cores": cpu / seconds,
    }


def turns(
    urls: dict[str, int], streams: int, tokens: int, rounds: int, *, is_stamped: bool
) -> dict[str, dict[str, float]]:
    """Measure both subjects in turns and return the medians."""
    taken = process.take_turns(
        {
            subject: partial(_run, subject, port, streams, tokens, is_stamped=is_stamped)
            for subject, port in urls.items()
        },
        rounds,
        note=lambda turn: print(f"{streams} streams, {turn}", file=sys.stderr),
    )
    return {
        subject: {name: median(turn[name] for turn in found) for name in found[0]}
        for subject, found in taken.items()
    }


def _run(
    subject: str, port: int, streams: int, tokens: int, *, is_stamped: bool
) -> dict[str, float]:
    return asyncio.run(measure(subject, port, streams, tokens, is_stamped=is_stamped))


@contextmanager
def llama(path: str) -> Iterator[int]:
    """Run llama.cpp's server and give its port."""
    from foxapi_async.gateway.models.local import llama_server

    params = {"path": path, "slots": 8, "context": 1024, "key": KEY}
    with subprocess.Popen(
        [sys.executable, llama_server.__file__], stdin=PIPE, stdout=PIPE, text=True
    ) as server:
        if server.stdin is None or server.stdout is None:
            raise RuntimeError("a pipe was asked for and not given")
        server.stdin.write(json.dumps(params) + "\n")
        server.stdin.flush()
        yield urlsplit(json.loads(server.stdout.readline())["address"]).port or 0
        server.stdin.close()


def compare(
    direct: int, scenes: Sequence[int], rounds: int, *, is_stamped: bool, tokens: int
) -> dict[int, dict[str, dict[str, float]]]:
    """Measure a server directly and through a gateway in front of it."""
    with process.serving(SERVER, "gateway", f"http://{HOST}:{direct}/v1", "1000") as through:
        ports = {"direct": direct, "gateway": int(through)}
        return {
            streams: turns(
                ports,
                streams,
                tokens,
                rounds if streams < MANY else max(1, rounds // 2),
                is_stamped=is_stamped,
            )
            for streams in scenes
        }


def row(label: str, found: dict[str, dict[str, float]]) -> tuple[tuple[str, ...], float, float]:
    """Return a row of the table, and what was added to the first chunk and to a chunk."""
    ours, theirs = found["gateway"], found["direct"]
    first = round(ours["first_p50_ms"] - theirs["first_p50_ms"], 2)
    added = round(ours["chunk_p50_ms"] - theirs["chunk_p50_ms"], 2)
    tails = (f"{theirs['chunk_p99_ms']:.1f}", f"{ours['chunk_p99_ms']:.1f}")
    return (label, f"{first:.1f}", f"{added:.1f}", *tails, f"{ours['cores']:.2f}"), first, added


def main() -> int:
    """Measure, print, write ``results/upstream.json``; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--llama", metavar="FILE", help="a GGUF file, for llama.cpp's server")
    options = parser.parse_args()
    process.pin(process.CLIENT_CORE)
    os.environ[KEY_VARIABLE] = KEY
    with process.serving(SERVER, "canned", str(options.chunks), str(PACE)) as port:
        found = compare(int(port), (1, 8, MANY), options.rounds, is_stamped=True, tokens=512)
    figures = {f"canned, {streams} streams": item for streams, item in found.items()}
    if options.llama:
        with llama(options.llama) as direct:
            found = compare(direct, (1, 8), options.rounds, is_stamped=False, tokens=64)
        figures |= {f"llama.cpp, {streams} streams": item for streams, item in found.items()}
    goals: list[report.Goal] = []
    rows: list[tuple[str, ...]] = []
    for label, item in figures.items():
        cells, first, added = row(label, item)
        rows.append(cells)
        if str(MANY) in label:
            ours = item["gateway"]
            goals += [
                report.Goal(f"cores: {label}", round(ours["cores"], 2), at_most=1),
                report.Goal(f"p99 late: {label}", round(ours["chunk_p99_ms"], 1), at_most=100),
            ]
        else:
            goals += [
                report.Goal(f"added to the first chunk: {label}", first, at_most=5),
                report.Goal(f"added to a chunk: {label}", added, at_most=3),
            ]
    head = (
        "behind the gateway",
        "added to the first chunk, p50, ms",
        "added to a chunk, p50, ms",
        "chunk p99, direct, ms",
        "chunk p99, gateway, ms",
        "cores of the gateway",
    )
    print(report.table(head, rows))
    report.figures("upstream", head, rows)
    report.write(
        "upstream",
        "What the gateway adds to the answers of a model server behind it",
        {"rounds": options.rounds, "figures": figures},
        goals=goals,
    )
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
