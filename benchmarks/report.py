"""What a benchmark leaves behind: a table for the reader, and JSON with the versions measured."""

import json
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("foxapi-async", "aiohttp", "msgspec", "uvloop")


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


def write(name: str, question: str, answer: Mapping[str, Any]) -> Path:
    """Write ``results/<name>.json``: the question, the answer and what it was measured on."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    report = {"question": question, "versions": versions(), "machine": platform.machine(), **answer}
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
