"""What does the journal cost a task, when ten are under way at once?

CPU time of the client process, user and system, all its threads, for submitting a task and waiting
for its result; the gateway runs in another process, on another core. The subjects take turns. The
cost is the difference to the same client without a journal.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from statistics import median

import process
import report

GOAL = 1.0
AT_ONCE = 10
SUBJECTS = {
    "none": "no journal",
    "journal": "a journal",
    "keys": "a journal, and a key for each task",
    "full": "a journal that outlives a power cut",
}
KEY = "sk-of-no-account-0123456789"


async def serve() -> None:
    """Run the gateway until stdin ends."""
    from foxapi_async.gateway import Gateway

    process.pin(process.SERVER_CORE)
    async with Gateway(queue_delay=0.02, token_delay=0.0) as gateway:
        print(gateway.url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def work(url: str, subject: str, tasks: int) -> None:
    """Do the tasks, ten at once, and print what one of them costs."""
    from foxapi_async import Exponential, FoxSession, PollPolicy

    process.pin(process.CLIENT_CORE)
    polling = PollPolicy(pacing=Exponential(initial=0.05, multiplier=1.0, max_delay=0.05))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/tasks.db" + ("?synchronous=full" if subject == "full" else "")
        journal = None if subject == "none" else path
        async with FoxSession(KEY, base_url=url, journal=journal, polling=polling) as fox:

            async def do(row: int) -> None:
                key = f"row-{row}" if subject == "keys" else None
                await fox.llm.generate(
                    model="gpt-5.5", messages=f"row {row}: count 1 to 3", key=key
                )

            async def worker(rows: range) -> None:
                for row in rows:
                    await do(row)

            warm = 10 * AT_ONCE
            await asyncio.gather(*(worker(range(n, warm, AT_ONCE)) for n in range(AT_ONCE)))
            began = process.cpu_seconds()
            rows = (range(warm + n, warm + tasks, AT_ONCE) for n in range(AT_ONCE))
            await asyncio.gather(*map(worker, rows))
            spent = process.cpu_seconds() - began
    print(json.dumps({"cpu_ms": spent / tasks * 1e3}))


def main() -> int:
    """Measure, print, write ``results/journal.json``; return 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each subject")
    parser.add_argument("--tasks", type=int, default=500, help="tasks of each turn")
    options = parser.parse_args()
    if options.words[:1] == ["serve"]:
        asyncio.run(serve())
        return 0
    if options.words[:1] == ["work"]:
        asyncio.run(work(options.words[1], options.words[2], options.tasks))
        return 0

    script = Path(__file__)
    with process.serving(script, "serve") as url:
        taken = process.take_turns(
            {
                name: lambda name=name: process.measured(  # type: ignore[misc]
                    script, "work", url, name, "--tasks", str(options.tasks)
                )
                for name in SUBJECTS
            },
            options.rounds,
        )
    cpu = process.medians(taken, "cpu_ms")
    # Within each round: what slows the machine for a while slows both.
    added = {
        name: median(
            turn["cpu_ms"] - alone["cpu_ms"]
            for turn, alone in zip(turns, taken["none"], strict=True)
        )
        for name, turns in taken.items()
    }
    head = ("client with", "CPU ms a task", "of it the journal")
    rows = [
        (words, f"{cpu[name]:.2f}", f"{added[name]:.2f}" if name != "none" else "")
        for name, words in SUBJECTS.items()
    ]
    print(report.table(head, rows))
    report.figures("journal", head, rows)
    goals = [
        report.Goal("CPU ms a task for the journal", round(added["journal"], 3), at_most=GOAL),
        report.Goal(
            "CPU ms a task for the journal with keys", round(added["keys"], 3), at_most=GOAL
        ),
    ]
    report.write(
        "journal",
        "CPU time that a journal adds to a task, ten tasks at once",
        {
            "rounds": options.rounds,
            "tasks": options.tasks,
            "at_once": AT_ONCE,
            "cpu_ms": {name: round(value, 3) for name, value in cpu.items()},
        },
        goals=goals,
    )
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
