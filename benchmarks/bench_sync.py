"""What does a blocking call cost more than the asynchronous one? One after the other, wall time.

Each figure is the median of short series, and each subject runs in a process of its own. The floor
is what two threads cost that do nothing but wake each other.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
from threading import Lock, Thread
from time import perf_counter

import process
import report

SCRIPT = Path(__file__)
KEY = "sk-0123456789abcdef0123456789abcdef"
CHUNKS = 60
CALLS = 25
ROWS = ("a coroutine: stream.close()", "a function: fox.stats()")
LOCKS, CALLBACK, FUTURE = (
    "two threads and two locks",
    "a callback of an asyncio loop that releases a lock",
    "asyncio.run_coroutine_threadsafe(coroutine).result()",
)
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


def floor() -> dict[str, float]:
    """Return the microseconds of a round trip between two threads that do nothing else, by row."""
    here, there = Lock(), Lock()
    here.acquire()
    there.acquire()

    def answer() -> None:
        while there.acquire():
            here.release()

    Thread(target=answer, daemon=True).start()

    def change_locks() -> None:
        there.release()
        here.acquire()

    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, daemon=True).start()

    def call_back() -> None:
        loop.call_soon_threadsafe(here.release)
        here.acquire()

    async def nothing() -> None:
        pass

    return {
        LOCKS: _time(change_locks),
        CALLBACK: _time(call_back),
        FUTURE: _time(lambda: asyncio.run_coroutine_threadsafe(nothing(), loop).result()),
    }


SUBJECTS: dict[str, Callable[[], dict[str, float]]] = {
    "async": lambda: asyncio.run(asynchronous()),
    "sync": blocking,
    "floor": floor,
}


def main() -> int:
    """Measure, print, write ``results/sync.json``; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each subject")
    parser.add_argument("--subject", choices=tuple(SUBJECTS))
    options = parser.parse_args()
    if options.subject:
        print(json.dumps(SUBJECTS[options.subject]()))
        return 0
    taken = process.take_turns(
        {name: partial(process.measured, SCRIPT, "--subject", name) for name in SUBJECTS},
        options.rounds,
    )
    medians = {
        name: [median(turn[row] for turn in turns) for row in turns[0]]
        for name, turns in taken.items()
    }
    more = [sync - plain for plain, sync in zip(medians["async"], medians["sync"], strict=True)]
    head = ("one call", "async µs", "blocking µs", "more")
    rows = [
        (row, *(f"{value:.0f}" for value in values))
        for row, *values in zip(ROWS, medians["async"], medians["sync"], more, strict=True)
    ]
    rows += [
        (f"floor: {row}", "", f"{value:.0f}", "")
        for row, value in zip((LOCKS, CALLBACK, FUTURE), medians["floor"], strict=True)
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
