"""Client and server in processes of their own, each on its own core; subjects take turns."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

CLIENT_CORE = 0
SERVER_CORE = 1

T = TypeVar("T")


def pin(core: int) -> None:
    """Keep this process on one core, where the machine has as many and lets us choose."""
    if hasattr(os, "sched_setaffinity") and core < (os.cpu_count() or 1):
        os.sched_setaffinity(0, {core})


def cpu_seconds() -> float:
    """Return the CPU time that this process has used, user and system, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_bytes() -> int:
    """Return the memory that this process holds; its peak where the system tells no more."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text("ascii").split()[1]) * resource.getpagesize()
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def serving(script: Path, *words: str) -> Iterator[str]:
    """Run a server script; give the one line that it prints when it is ready, and end it after.

    The script calls ``pin(SERVER_CORE)`` itself and serves until its standard input ends.
    """
    command = [sys.executable, str(script), *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        if server.stdin is None or server.stdout is None:
            raise RuntimeError("a pipe was asked for and not given")
        try:
            line = server.stdout.readline().strip()
            if not line:
                raise RuntimeError(f"{script.name} ended before it was ready")
            yield line
        finally:
            server.stdin.close()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def measured(
    script: Path, *words: str, timeout: float = 300.0, python: str | Path = sys.executable
) -> dict[str, Any]:
    """Run one subject in a fresh process; return the JSON object that it prints last."""
    command = [str(python), str(script), *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=timeout, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def take_turns(
    subjects: Mapping[str, Callable[[], T]], rounds: int, note: Callable[[str], object] = print
) -> dict[str, list[T]]:
    """Let every subject run once a round, so that a busy machine slows all of them alike."""
    taken: dict[str, list[T]] = {name: [] for name in subjects}
    for number in range(1, rounds + 1):
        for name, subject in subjects.items():
            note(f"round {number} of {rounds}: {name}")
            taken[name].append(subject())
    return taken


def medians(taken: Mapping[str, Sequence[Mapping[str, float]]], figure: str) -> dict[str, float]:
    """Return each subject's median of one figure."""
    return {name: median(turn[figure] for turn in turns) for name, turns in taken.items()}
