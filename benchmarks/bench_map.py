"""What does a row of ``fox.llm.map`` cost the client's CPU and memory, next to doing it by hand?

Two GETs a row, 256 rows in flight: ``generate`` calls that are fanned out by hand with a semaphore,
``map``, ``map`` with keys, and ``map`` with keys and a journal in SQLite, and in PostgreSQL where
``--postgres URL`` names one. Each subject runs in a process of its own.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import process
import report

if TYPE_CHECKING:
    from foxapi_async import FoxSession

SCRIPT = Path(__file__)
KEY = "sk-0123456789abcdef0123456789abcdef"
IN_FLIGHT = 256
PAUSE = 0.01
PROMPT = "count 1 to 3"
SUBJECTS = ("by hand", "map", "map, keys", "map, SQLite")
POSTGRES = "map, PostgreSQL"


@asynccontextmanager
async def session(origin: str, journal: str | None) -> AsyncIterator["FoxSession"]:
    """Open a session, with nothing switched off but the ceiling on GETs."""
    from foxapi_async import Exponential, FoxSession, Limits, PollPolicy

    pacing = Exponential(initial=PAUSE, multiplier=1, max_delay=PAUSE, jitter=0)
    async with FoxSession(
        KEY,
        base_url=origin,
        polling=PollPolicy(pacing=pacing),
        limits=Limits(polls_per_second=None),
        journal=journal,
    ) as fox:
        yield fox


async def by_hand(fox: "FoxSession", rows: int) -> None:
    """Fan out as a user would: a task for each row, a semaphore, and gather."""
    places = asyncio.Semaphore(IN_FLIGHT)

    async def row() -> None:
        async with places:
            completion = await fox.llm.generate(model="gpt-5.5", messages=PROMPT)
        if completion.text != "1, 2, 3":
            raise RuntimeError("another answer was expected")

    await asyncio.gather(*(row() for _ in range(rows)))


async def mapped(fox: "FoxSession", rows: range, *, keyed: bool) -> None:
    """Map over the rows."""
    async for outcome in fox.llm.map(
        rows,
        model="gpt-5.5",
        messages=PROMPT,
        key=str if keyed else None,
        in_flight=IN_FLIGHT,
    ):
        if outcome.completion is None or outcome.completion.text != "1, 2, 3":
            raise RuntimeError(f"another answer was expected: {outcome.error!r}")


async def measure(subject: str, origin: str, rows: int, journal: str | None) -> dict[str, float]:
    """Return the microseconds of CPU of a row, and the bytes that a row leaves behind."""
    async with session(origin, journal) as fox:

        async def run(numbers: range) -> None:
            if subject == "by hand":
                await by_hand(fox, len(numbers))
            else:
                await mapped(fox, numbers, keyed=subject != "map")

        warm_up = rows // 5
        await run(range(warm_up))
        cpu, memory = process.cpu_seconds(), process.resident_bytes()
        await run(range(warm_up, warm_up + rows))
        return {
            "us": (process.cpu_seconds() - cpu) / rows * 1e6,
            "bytes": max(process.resident_bytes() - memory, 0) / rows,
        }


def run_subject(options: argparse.Namespace) -> int:
    """Run one subject and print its figures."""
    process.pin(process.CLIENT_CORE)
    with TemporaryDirectory() as folder:
        journal = None
        if options.subject == "map, SQLite":
            journal = str(Path(folder) / "rows.db")
        elif options.subject == POSTGRES:
            journal = options.postgres
        figures = asyncio.run(measure(options.subject, options.origin, options.rows, journal))
    print(json.dumps(figures))
    return 0


def main() -> int:
    """Measure, print, write ``results/map.json``; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each subject")
    parser.add_argument("--rows", type=int, default=50_000, help="rows of each turn")
    parser.add_argument("--postgres", help="the URL of an empty database for a journal")
    parser.add_argument("--subject", choices=[*SUBJECTS, POSTGRES], help="run one against --origin")
    parser.add_argument("--origin")
    options = parser.parse_args()
    if options.subject:
        return run_subject(options)

    subjects = [*SUBJECTS, POSTGRES] if options.postgres else [*SUBJECTS]
    words = ["--rows", str(options.rows)]
    if options.postgres:
        words += ["--postgres", options.postgres]
    with process.serving(SCRIPT.with_name("answers.py"), "--looks", "2") as origin:
        taken = process.take_turns(
            {
                name: partial(
                    process.measured, SCRIPT, "--subject", name, "--origin", origin, *words
                )
                for name in subjects
            },
            options.rounds,
        )
    cost, left = process.medians(taken, "us"), process.medians(taken, "bytes")
    # Differences are of the same round: what disturbs the machine disturbs both.
    ratio = median(
        turn["us"] / own["us"] for turn, own in zip(taken["map"], taken["by hand"], strict=True)
    )
    more = {
        name: median(
            turn["us"] - own["us"] for turn, own in zip(taken[name], taken["map"], strict=True)
        )
        for name in subjects[3:]
    }
    head = ("one row: 1 POST, 2 GETs", "CPU µs", "bytes left")
    rows = [(name, f"{cost[name]:.0f}", f"{left[name]:.0f}") for name in subjects]
    print(report.table(head, rows))
    goals = [report.Goal("map / by hand", round(ratio, 3), at_most=1.10)]
    bounds = {"map, SQLite": 1.0, POSTGRES: 1.5}
    goals += [
        report.Goal(f"{name}: ms more a row", round(extra / 1e3, 3), at_most=bounds[name])
        for name, extra in more.items()
    ]
    report.write(
        "map",
        "Client CPU of a row of fox.llm.map: one POST and two GETs, 256 rows in flight",
        {
            "rounds": options.rounds,
            "rows": options.rows,
            "cpu_us": {name: round(value, 1) for name, value in cost.items()},
            "bytes": {name: round(value, 1) for name, value in left.items()},
        },
        goals=goals,
    )
    report.figures("map", head, rows)
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
