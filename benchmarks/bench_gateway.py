"""What does the local gateway deliver on one core, beside a bare handler of the same bytes?

A rate is what one second of the server's CPU gives, its threads included, so that other work on
the machine does not count. Latencies are as the client saw them.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import process
import report
from load_generator import Connection, connect, drive, request

SERVER = Path(__file__).parent / "gateway_server.py"
AT_ONCE = 32
HOST = "127.0.0.1"
SUBJECTS = ("bare", "memory", "durable")
PROMPT = "count 1 to 3"
POLLED = 1000
QUICK = 0.002
"""The gateway's own seconds between two tokens, where nobody watches them."""
PACE = 0.05
"""Those of a live stream."""


def body(prompt: str, *, stream: bool = False) -> bytes:
    """Write a submission."""
    message = {"role": "user", "content": prompt}
    return json.dumps({"model": "gpt-5.5", "messages": [message], "stream": stream}).encode()


def repeated(items: list[bytes], count: int) -> Iterator[bytes]:
    """Give the items in turn, so many in all."""
    return (items[number % len(items)] for number in range(count))


def percentile(seconds: list[float], share: float) -> float:
    """Return the milliseconds that a share of all stays under."""
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))] * 1e3


async def cost(connection: Connection) -> tuple[float, float]:
    """Ask the server what it has used: CPU seconds, KiB."""
    told = json.loads(await connection.ask(request("GET", "/cost")))
    return told["cpu"], told["kib"]


async def settle(port: int, path: str) -> None:
    """Wait until the last task that was submitted has ended, so that the server rests."""
    connection = await connect(HOST, port)
    for delay in repeat(0.05):
        if b'"completed"' in await connection.ask(request("GET", path)):
            break
        await asyncio.sleep(delay)
    connection.close()


async def requests(subject: str, port: int, size: int) -> dict[str, float]:
    """Measure submits, then polls of tasks that have ended."""
    asking = await connect(HOST, port)
    connections = [await connect(HOST, port) for _ in range(AT_ONCE)]
    submit = request("POST", "/v1/llm/generations", body(PROMPT))
    answers, _ = await drive(connections, repeated([submit], POLLED))
    paths = [f"/v1/tasks/{json.loads(answer)['id']}" for answer in answers]
    if subject != "bare":
        await settle(port, paths[-1])
    cpu, kib = await cost(asking)
    answers, seconds = await drive(connections, repeated([submit], size))
    if subject != "bare":
        # The tasks are part of what a submit costs.
        await settle(port, f"/v1/tasks/{json.loads(answers[-1])['id']}")
    after, kib_after = await cost(asking)
    figures = {
        "submits": size / (after - cpu),
        "submit_p99_ms": percentile(seconds, 0.99),
        "bytes_per_task": (kib_after - kib) * 1024 / size,
    }
    polls = [request("GET", path) for path in paths]
    cpu, _ = await cost(asking)
    _, seconds = await drive(connections, repeated(polls, 2 * size))
    after, _ = await cost(asking)
    figures |= {"polls": 2 * size / (after - cpu), "poll_p99_ms": percentile(seconds, 0.99)}
    for connection in (asking, *connections):
        connection.close()
    return figures


class Listener:
    """Counts the chunks of one stream, and how late the latest came."""

    def __init__(self) -> None:
        self.chunks = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def hear(self, data: bytes) -> None:
        """Count what a read brings; the last piece of a chunked body ends it."""
        self.chunks += data.count(b"event: chunk")
        if data.endswith(b"0\r\n\r\n") and not self.ended.done():
            self.ended.set_result(None)


async def streams(subject: str, port: int, number: int, chunks: int) -> dict[str, float]:
    """Measure live streams at 20 chunks a second each, or at whatever pace the server can."""
    asking = await connect(HOST, port)
    submit = request("POST", "/v1/llm/generations", body(f"count 1 to {chunks - 1}", stream=True))
    listeners = [Listener() for _ in range(number)]
    connections = [await connect(HOST, port) for _ in range(number)]
    cpu, kib = await cost(asking)
    start = perf_counter()
    for connection, listener in zip(connections, listeners, strict=True):
        if subject == "bare":
            path = f"/v1/llm/generations/x/stream?count={chunks}&pace={PACE}"
        else:
            answer = await connection.ask(submit)
            path = f"/v1/llm/generations/{json.loads(answer)['id']}/stream"
        connection.on_data = listener.hear
        connection.send(request("GET", path))
    opened = perf_counter()
    await asyncio.gather(*(listener.ended for listener in listeners))
    ended = perf_counter()
    after, kib_after = await cost(asking)
    got = sum(listener.chunks for listener in listeners)
    if got != number * chunks:
        raise RuntimeError(f"{subject}: {got} chunks of {number * chunks}")
    for connection in (asking, *connections):
        connection.close()
    return {
        "chunks": got / (after - cpu),
        # The share of the planned pace that was kept, over the time that all were open.
        "pace": min(1.0, (chunks * PACE + opened - start) / (ended - start)),
        "bytes_per_chunk": (kib_after - kib) * 1024 / got,
        "streams_per_core": number * (ended - opened) / (after - cpu),
    }


def measure(subject: str, part: str, numbers: list[int]) -> dict[str, float]:
    """Measure one part of one subject against a fresh server."""
    with TemporaryDirectory() as folder:
        words = [subject, str(PACE if part == "streams" else QUICK)]
        if subject == "durable":
            words.append(os.fspath(Path(folder) / "fox.db"))
        with process.serving(SERVER, *words) as port:
            if part == "requests":
                return asyncio.run(requests(subject, int(port), *numbers))
            return asyncio.run(streams(subject, int(port), *numbers))


def main() -> int:
    """Measure, print, write ``results/gateway.json``; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--chunks", type=int, default=100)
    options = parser.parse_args()
    process.pin(process.CLIENT_CORE)
    parts = {"requests": [options.requests], "streams": [options.streams, options.chunks]}
    taken: dict[str, dict[str, list[Any]]] = {}
    for part, numbers in parts.items():
        taken[part] = process.take_turns(
            {subject: partial(measure, subject, part, numbers) for subject in SUBJECTS},
            options.rounds,
        )
    figures = {
        name: process.medians(taken[part], name)
        for part in parts
        for name in taken[part]["bare"][0]
    }

    def ratio(figure: str, subject: str) -> float:
        return round(figures[figure][subject] / figures[figure]["bare"], 3)

    goals = [
        report.Goal("polls in memory / bare", ratio("polls", "memory"), at_least=0.65),
        report.Goal("polls durable / bare", ratio("polls", "durable"), at_least=0.65),
        report.Goal("submits in memory / bare", ratio("submits", "memory"), at_least=0.4),
        report.Goal("submits durable / bare", ratio("submits", "durable"), at_least=0.2),
        report.Goal("chunks in memory / bare", ratio("chunks", "memory"), at_least=0.6),
        report.Goal(
            f"pace kept by {options.streams} live streams of 20 chunks/s",
            round(figures["pace"]["memory"], 3),
            at_least=0.98,
        ),
    ]
    rows = [
        (label, *(f"{figures[name][subject]:,.{digits}f}" for subject in SUBJECTS))
        for name, label, digits in (
            ("submits", "submits a second", 0),
            ("submit_p99_ms", f"submit, p99 of {AT_ONCE} at once, ms", 1),
            ("polls", "polls a second", 0),
            ("poll_p99_ms", f"poll, p99 of {AT_ONCE} at once, ms", 1),
            ("chunks", "chunks a second", 0),
            ("streams_per_core", "live streams of 20 chunks/s", 0),
            ("bytes_per_task", "memory a finished task, bytes", 0),
            ("bytes_per_chunk", "memory a stored chunk, bytes", 0),
        )
    ]
    head = ("one core", "bare aiohttp", "in memory", "with a file")
    print(report.table(head, rows))
    report.figures("gateway", head, rows)
    report.write(
        "gateway",
        "What the gateway delivers on one core, beside a bare aiohttp.web handler",
        {"rounds": options.rounds, "figures": figures},
        goals=goals,
    )
    return report.verdict(goals)


if __name__ == "__main__":
    sys.exit(main())
