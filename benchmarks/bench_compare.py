"""Is a new wheel slower than an old one: ``bench_compare.py OLD.whl NEW.whl [--rounds N]``?

Each wheel gets a virtual environment of its own, with the same versions of everything else. The
two take turns within a round, client and server on a core each. A figure is the client's CPU, and
its ratio is the median of the ratios of the rounds. The journal's figure is what it adds to a task.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import process
import report
from bench_import import measure as measure_import

FOLDER: Final = Path(__file__).parent
CLIENT: Final = FOLDER / "compare_client.py"
STATEMENT: Final = "from foxapi_async import FoxSession"


@dataclass(frozen=True)
class Row:
    """One figure of both wheels, and how much of the old one the new one may take."""

    name: str
    unit: str
    measure: Callable[[Path], float]
    at_most: float


def answered(job: str, looks: int, python: Path) -> float:
    """Return the CPU microseconds of a job against the canned server."""
    with process.serving(FOLDER / "answers.py", "--looks", str(looks)) as origin:
        found = process.measured(CLIENT, job, origin, python=python)
    return float(found["us"])


def journal(python: Path) -> float:
    """Return the CPU microseconds that a journal adds to a task."""
    return answered("journal", 3, python) - answered("task", 3, python)


def frames(streams: int, size: int, writes: int, pause: float, python: Path) -> float:
    """Return the CPU microseconds of a frame over TCP."""
    words = map(str, (streams, size, writes, pause))
    with process.serving(FOLDER / "sse_server.py", *words) as port:
        counts = map(str, (streams, size * writes, size))
        found = process.measured(
            FOLDER / "sse_client.py", "foxapi_async", port, *counts, python=python
        )
    return float(found["cpu_us"])


def imported(python: Path) -> float:
    """Return the CPU milliseconds of the import, the median of seven."""
    return median(measure_import(STATEMENT, python)[0] for _ in range(7))


ROWS: Final = (
    Row("a whole task, one POST and three GETs", "us", partial(answered, "task", 3), 1.03),
    Row("a poll", "us", partial(answered, "poll", 40), 1.03),
    Row("a frame, 1 stream, paced", "us", partial(frames, 1, 1, 700, 0.002), 1.10),
    Row("a frame, 100 streams, paced", "us", partial(frames, 100, 1, 30, 0.002), 1.10),
    Row("a frame, 1,000 streams, paced", "us", partial(frames, 1000, 1, 21, 0.002), 1.10),
    Row("a frame, 50 a read", "us", partial(frames, 1, 50, 120, 0.01), 1.10),
    Row("what a journal adds to a task", "us", journal, 1.05),
    Row("import", "ms", imported, 1.05),
)


def environment(wheel: Path, folder: Path) -> Path:
    """Return the Python of a new virtual environment that has the wheel and its journal."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    requirement = f"foxapi-async[journal] @ {wheel.resolve().as_uri()}"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", requirement], check=True)
    return python


def main() -> int:
    """Measure, print, write ``results/compare.json``; return 1 when a bound is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        old = environment(options.old, Path(folder) / "old")
        new = environment(options.new, Path(folder) / "new")
        rows: list[tuple[str, ...]] = []
        goals: list[report.Goal] = []
        for row in ROWS:
            taken = process.take_turns(
                {"old": partial(row.measure, old), "new": partial(row.measure, new)},
                options.rounds,
                note=lambda turn, row=row: print(row.name, turn, file=sys.stderr),  # type: ignore[misc]
            )
            pairs = zip(taken["new"], taken["old"], strict=True)
            ratio = median(mine / theirs for mine, theirs in pairs)
            cells = (f"{median(taken['old']):.1f}", f"{median(taken['new']):.1f}", f"{ratio:.3f}")
            rows.append((f"{row.name}, {row.unit}", *cells))
            goals.append(report.Goal(row.name, round(ratio, 3), at_most=row.at_most))
    print(report.table(("client CPU", "old", "new", "new / old"), rows))
    report.write(
        "compare",
        f"Client CPU of {options.new.name} against {options.old.name}",
        {"rounds": options.rounds, "rows": {name: cells for name, *cells in rows}},
        goals=goals,
    )
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
