"""What does the local gateway deliver on one core, beside a bare handler of the same bytes?

A rate is what one second of the server's CPU gives, its threads included, so that other work on
the machine does not count. Latencies are as the client saw them. For requests the gateway has the
settings that it is shipped with, and a submit costs what its task costs, to its end; for streams
it writes 20 chunks a second, and ``gateway_streams.live`` tells what is counted.
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
from typing import Any

import process
import report
from gateway_streams import AT_ONCE, HOST, PACE, QUEUE, ask, live
from load_generator import connect, drive, percentile, request, submission

SERVER = Path(__file__).parent / "gateway_server.py"
SUBJECTS = ("bare", "memory", "durable")
PROMPT = "count 1 to 3"
POLLED = 1000


def repeated(items: list[bytes], count: int) -> Iterator[bytes]:
    """Give the items in turn, so many in all."""
    return (items[number % len(items)] for number in range(count))


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
    submit = submission(PROMPT)
    answers, _ = await drive(connections, repeated([submit], POLLED))
    paths = [f"/v1/tasks/{json.loads(answer)['id']}" for answer in answers]
    if subject != "bare":
        await settle(port, paths[-1])
    memory, cpu = await ask(asking, "/memory"), await ask(asking, "/cpu")
    answers, seconds = await drive(connections, repeated([submit], size))
    if subject != "bare":
        # The tasks are part of what a submit costs.
        await settle(port, f"/v1/tasks/{json.loads(answers[-1])['id']}")
    cpu = await ask(asking, "/cpu") - cpu
    memory = await ask(asking, "/memory") - memory
    figures = {
        "submits": size / cpu,
        "submit_p99_ms": percentile(seconds, 0.99),
        "bytes_per_task": memory * 1024 / size,
    }
    polls = [request("GET", path) for path in paths]
    cpu = await ask(asking, "/cpu")
    _, seconds = await drive(connections, repeated(polls, 2 * size))
    cpu = await ask(asking, "/cpu") - cpu
    figures |= {"polls": 2 * size / cpu, "poll_p99_ms": percentile(seconds, 0.99)}
    for connection in (asking, *connections):
        connection.close()
    return figures


def measure(subject: str, part: str, numbers: list[int]) -> dict[str, float]:
    """Measure one part of one subject against a fresh server."""
    with TemporaryDirectory() as folder:
        settings: dict[str, Any] = {}
        if part == "streams":
            settings |= {"token_delay": PACE, "queue_delay": QUEUE}
        if subject == "durable":
            settings["data"] = os.fspath(Path(folder) / "fox.db")
        with process.serving(SERVER, subject, json.dumps(settings)) as port:
            if part == "requests":
                return asyncio.run(requests(subject, int(port), *numbers))
            return asyncio.run(live(subject, int(port), *numbers))


def main() -> int:
    """Measure, print, write ``results/gateway.json``; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--chunks", type=int, default=200)
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

    live_streams = f"{options.streams} live streams of 20 chunks/s"
    goals = [
        report.Goal("polls in memory / bare", ratio("polls", "memory"), at_least=0.65),
        report.Goal("polls durable / bare", ratio("polls", "durable"), at_least=0.65),
        report.Goal("submits in memory / bare", ratio("submits", "memory"), at_least=0.4),
        report.Goal("submits durable / bare", ratio("submits", "durable"), at_least=0.2),
        report.Goal("live chunks in memory / bare", ratio("live_chunks", "memory"), at_least=0.6),
        report.Goal(
            "replayed chunks in memory / bare", ratio("replayed_chunks", "memory"), at_least=0.6
        ),
        report.Goal(
            "replayed chunks durable / bare", ratio("replayed_chunks", "durable"), at_least=0.6
        ),
        report.Goal(f"cores of {live_streams}", figures["live_core"]["memory"], at_most=1.0),
        report.Goal(f"pace kept by {live_streams}", figures["live_pace"]["memory"], at_least=0.99),
    ]
    rows = [
        (label, *(f"{figures[name][subject]:,.{digits}f}" for subject in SUBJECTS))
        for name, label, digits in (
            ("submits", "submits a second", 0),
            ("submit_p99_ms", f"submit, p99 of {AT_ONCE} at once, ms", 1),
            ("polls", "polls a second", 0),
            ("poll_p99_ms", f"poll, p99 of {AT_ONCE} at once, ms", 1),
            ("live_chunks", "live chunks a second", 0),
            ("replayed_chunks", "replayed chunks a second", 0),
            ("live_core", f"cores, {live_streams}", 2),
            ("live_pace", "their pace, of 20 chunks/s", 3),
            ("live_p50_ms", "their chunks, p50 late, ms", 1),
            ("live_p99_ms", "their chunks, p99 late, ms", 1),
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
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
