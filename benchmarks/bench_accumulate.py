"""Does the cost of a delta grow with the length of its stream?

Reads streams of 1,000 and of 100,000 deltas by the public API, in one process and without sockets,
and asks for what they add up to: at the end, and for the last figure a hundred times on the way.
"""

import argparse
import sys
from statistics import median
from typing import Final

import report
from process import CLIENT_CORE, pin
from sse_inprocess import Shape, adding_up, cut, run_still

BOUND: Final = 1.2
FRAMES_A_READ: Final = 10
SHORT: Final = 1_000
LONG: Final = 100_000


def main() -> int:
    """Measure, print, write ``results/accumulate.json``; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="long streams; short ones: 9 times")
    rounds = parser.parse_args().rounds
    pin(CLIENT_CORE)
    cost: dict[str, dict[int, float]] = {}
    for title, snapshots in (("asked at the end", 1), ("asked 100 times", 100)):
        turns: dict[int, list[float]] = {SHORT: [], LONG: []}
        for _ in range(rounds):
            for length, times in ((SHORT, 9), (LONG, 1)):
                shape = Shape(frames=FRAMES_A_READ, reads=length // FRAMES_A_READ)
                reads = cut(shape)
                for _ in range(times):
                    used = run_still(adding_up(reads, shape, every=length // snapshots))
                    turns[length].append(used / length * 1e6)
        cost[title] = {length: median(taken) for length, taken in turns.items()}
    head = ("µs of CPU per delta", f"{SHORT:,} deltas", f"{LONG:,} deltas", "ratio")
    rows = [
        (title, *(f"{found[at]:.2f}" for at in (SHORT, LONG)), f"{found[LONG] / found[SHORT]:.2f}")
        for title, found in cost.items()
    ]
    print(report.table(head, rows))
    report.figures("accumulate", head, rows)
    ends = cost["asked at the end"]
    goals = [
        report.Goal(
            "long / short, asked at the end", round(ends[LONG] / ends[SHORT], 3), at_most=BOUND
        )
    ]
    report.write(
        "accumulate",
        "CPU per delta of a stream of 1,000 deltas and of one of 100,000",
        {
            "rounds": rounds,
            "us_per_delta": {t: {str(n): v for n, v in c.items()} for t, c in cost.items()},
        },
        goals=goals,
    )
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
