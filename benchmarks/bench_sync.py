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
ROWS = ("a coroutine: stream.close()", "a function: fox.stats()")
# No request is made.
ORIGIN = "http://127.0.0.1:9"


async def asynchronous() -> dict[str, float]:
    """Return the microseconds of an asynchronous call, by row."""
    from foxapi_async import FoxSession

    async with FoxSession(KEY, base_url=ORIGIN) as fox:
        stream = fox.tasks.handle("task-llm-1").stream()

        async def stats() -> object:
            return fox.stats()

        calls = (stream.aclose, stats)
        return {row: await _time_async(call) for row, call in zip(ROWS, calls, strict=True)}


async def _time_async(call: Callable[[], Awaitable[object]]) -> float:
    times: list[float] = []
    for _ in range(CHUNKS):
        begun = perf_counter()
        for _ in range(CALLS):
            await call()
        times.append((perf_counter() - begun) / CALLS * 1e6)
    return median(times)


def blocking() -> dict[str, float]:
    """Return the microseconds of a blocking call, by row."""
    from foxapi_async.sync import FoxSession

    with FoxSession(KEY, base_url=ORIGIN) as fox:
        stream = fox.tasks.handle("task-llm-1").stream()
        calls: tuple[Callable[[], object], ...] = (stream.close, fox.stats)
        return {row: _time(call) for row, call in zip(ROWS, calls, strict=True)}


def _time(call: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(CHUNKS):
        begun = perf_counter()
        for _ in range(CALLS):
            call()
        times.append((perf_counter() - begun) / CALLS * 1e6)
    return median(times)


def main() -> int:
    """Measure, print, write ``results/sync.json``; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each subject")
    parser.add_argument("--subject", choices=("async", "sync"))
    options = parser.parse_args()
    if options.subject:
        is_async = options.subject == "async"
        spent = asyncio.run(asynchronous()) if is_async else blocking()
        print(json.dumps(spent))
        return 0
    taken = process.take_turns(
        {name: partial(process.measured, SCRIPT, "--subject", name) for name in ("async", "sync")},
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
