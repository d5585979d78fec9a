"""What does ``from foxapi_async import FoxSession`` cost on top of the libraries that it needs?

CPU time of a new interpreter each, user and system. The subjects take turns, so that a busy
machine slows all of them, and the median forgives a bad turn.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import report

GOAL = 1.15
SUBJECTS = {
    "interpreter": "pass",
    "libraries": "import aiohttp, msgspec",
    "session": "from foxapi_async import FoxSession",
}


def measure(statement: str, python: str | Path = sys.executable) -> tuple[float, float]:
    """Run a statement in a new interpreter; return its CPU milliseconds and its peak MiB."""
    # `-I` keeps the current folder and the user's own packages out: what is installed is measured.
    child = subprocess.Popen([str(python), "-I", "-c", statement])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, statement)
    return (usage.ru_utime + usage.ru_stime) * 1e3, report.peak_mib(usage)


def main() -> int:
    """Measure, print, write ``results/import.json``; return 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="turns of each subject, at least 15")
    rounds = max(15, parser.parse_args().rounds)
    for statement in SUBJECTS.values():
        measure(statement)  # the first turn writes bytecode and warms the disk cache
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in SUBJECTS}
    for _ in range(rounds):
        for name, statement in SUBJECTS.items():
            turns[name].append(measure(statement))

    cpu = {name: median(cost for cost, _ in taken) for name, taken in turns.items()}
    peak = {name: median(memory for _, memory in taken) for name, taken in turns.items()}
    ratio = cpu["session"] / cpu["libraries"]
    rows = [
        (
            SUBJECTS[name],
            f"{cpu[name]:.0f}",
            f"{cpu[name] / cpu['libraries']:.2f}",
            f"{peak[name]:.0f}",
        )
        for name in SUBJECTS
    ]
    head = ("statement", "CPU ms", "ratio", "peak MiB")
    print(report.table(head, rows))
    report.figures("import", head, [(f"`{row[0]}`", *row[1:]) for row in rows])
    goals = [report.Goal("ratio of session to libraries", round(ratio, 3), at_most=GOAL)]
    report.write(
        "import",
        "CPU time of `from foxapi_async import FoxSession` against `import aiohttp, msgspec`",
        {
            "rounds": rounds,
            "cpu_ms": {name: round(value, 1) for name, value in cpu.items()},
            "peak_mib": {name: round(value, 1) for name, value in peak.items()},
        },
        goals=goals,
    )
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
