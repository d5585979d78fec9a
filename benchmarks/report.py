"""What a benchmark leaves behind: a table for the reader, a table for the docs, and JSON."""

import json
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
FIGURES = Path(__file__).parent.parent / "docs" / "figures"
PACKAGES = ("foxapi-async", "aiohttp", "msgspec", "uvloop")


@dataclass(frozen=True)
class Goal:
    """What a benchmark has to reach: a figure that is ``at_most`` or ``at_least`` so much."""

    name: str
    measured: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool:
        """Whether the figure is within its bounds."""
        too_much = self.at_most is not None and self.measured > self.at_most
        too_little = self.at_least is not None and self.measured < self.at_least
        return not (too_much or too_little)

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return f"at least {self.at_least:g}"


def versions() -> dict[str, str]:
    """Return the versions that a number is worth nothing without; what is missing is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def peak_mib(usage: resource.struct_rusage) -> float:
    """Return the most memory that a finished process held."""
    # Linux counts in KiB, macOS in bytes.
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def write(
    name: str, question: str, answer: Mapping[str, Any], *, goals: Sequence[Goal] = ()
) -> Path:
    """Write ``results/<name>.json``: the question, the answer and what it was measured on."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    report = {"question": question, "versions": versions(), "machine": platform.machine(), **answer}
    if goals:
        report["goals"] = {
            goal.name: {"measured": goal.measured, "goal": goal.bound, "met": goal.met}
            for goal in goals
        }
    path.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    return path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align the first column to the left and the others, which hold numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    )


def print_goals(goals: Sequence[Goal]) -> int:
    """Print which goals are met; return the exit code, which is 1 if one is missed."""
    rows = [
        (goal.name, f"{goal.measured:g}", goal.bound, "met" if goal.met else "MISSED")
        for goal in goals
    ]
    print(table(("goal", "measured", "bound", ""), rows))
    return 0 if all(goal.met for goal in goals) else 1


def figures(name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    """Write ``docs/figures/<name>.md``, a table that a page of the docs includes.

    So no number of the docs is typed by hand: ``--8<-- "figures/<name>.md"``.
    """
    FIGURES.mkdir(exist_ok=True)
    path = FIGURES / f"{name}.md"
    marks = ("---", *("---:" for _ in head[1:]))
    lines = (f"| {' | '.join(row)} |\n" for row in (head, marks, *rows))
    path.write_text("".join(lines), "utf-8")
    return path
