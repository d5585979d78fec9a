"""What does a blocking call cost more than the asynchronous one? One after the other, wall time.

Each figure is the median of short series, and each subject runs in a process of its own.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import process
import report

SCRIPT = Path(__file__)
KEY = "sk-0123456789abcdef0123456789abcdef"
CHUNKS = 60
CALLS = 25
ROWS = ("stream.close(), no I/O", "stats(), no I/O", "models.list(), one GET")


async def asynchronous(origin: str) -> dict[str, float]:
    """Return the microseconds of an asynchronous call, by row."""
    from foxapi_async import FoxSession

    async with FoxSession(KEY, base_url=origin) as fox:
        stream = fox.tasks.handle("task-llm-1").stream()

        async def stats() -> object:
            return fox.stats()

        calls = (stream.aclose, stats, fox.models.list)
        return {row: await _time_async(call) for row, call in zip(ROWS, calls, strict=True)}


async def _time_async(call: Callable[[], Awaitable[object]]) -> float:
    times: list[float] = []
    for _ in range(CHUNKS):
        begun = perf_counter()
        for _ in range(CALLS):
            await call()
        times.append((perf_counter() - begun) / CALLS * 1e6)
    return median(times)


def blocking(origin: str) -> dict[str, float]:
    """Return the microseconds of a blocking call, by row."""
    from foxapi_async.sync import FoxSession

    with FoxSession(KEY, base_url=origin) as fox:
        stream = fox.tasks.handle("task-llm-1").stream()
        calls: tuple[Callable[[], object], ...] = (stream.close, fox.stats, fox.models.list)
        return {row: _time(call) for row, call in zip(ROWS, calls, strict=True)}


def _time(call: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(CHUNKS):
        begun = perf_counter()
        for _ in range(CALLS):
            call()
        times.append((perf_counter() - begun) / CALLS * 1e6)
    return median(times)


def serve() -> None:
    """Serve a list of models until the standard input ends."""
    from aiohttp import web

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "gpt-5.5"}]})

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/v1/configs/llm_generations_models", models)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        print(f"http://{host}:{port}", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()

    process.pin(process.SERVER_CORE)
    asyncio.run(run())


def main() -> int:
    """Measure, print, write ``results/sync.json``; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each subject")
    parser.add_argument("--subject", choices=("async", "sync"))
    parser.add_argument("--origin")
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    if options.subject:
        is_async = options.subject == "async"
        spent = asyncio.run(asynchronous(options.origin)) if is_async else blocking(options.origin)
        print(json.dumps(spent))
        return 0
    with process.serving(SCRIPT, "--serve") as origin:
        taken = process.take_turns(
            {
                name: partial(process.measured, SCRIPT, "--subject", name, "--origin", origin)
                for name in ("async", "sync")
            },
            options.rounds,
        )
    medians = {name: [median(turn[row] for turn in taken[name]) for row in ROWS] for name in taken}
    more = [sync - plain for plain, sync in zip(medians["async"], medians["sync"], strict=True)]
    head = ("one call", "async µs", "blocking µs", "more")
    rows = [
        (row, *(f"{value:.0f}" for value in values))
        for row, *values in zip(ROWS, medians["async"], medians["sync"], more, strict=True)
    ]
    print(report.table(head, rows))
    goals = [report.Goal(f"more: {ROWS[0]}", round(more[0], 1), at_most=60)]
    report.write(
        "sync",
        "Wall time of a blocking call next to the asynchronous one",
        {"rounds": options.rounds, "us": medians},
        goals=goals,
    )
    report.figures("sync", head, rows)
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
