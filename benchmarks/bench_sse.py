"""The CPU time of a delta in ``async for delta in handle.stream()``, and in other clients.

The first part uses no sockets, so that each read has exactly the requested size. It compares with
a reader that counts bytes and with the simplest loop over lines. The second part uses TCP, with
client and server on a core each, and compares with openai-python and httpx-sse. The third part
measures the decoder alone, also with less usual formats.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import report
from process import measured, medians, serving, take_turns
from report import Goal
from sse_client import HTTPX_SSE, OPENAI, OURS, SUBJECTS
from sse_inprocess import BY_HAND as LOOP
from sse_inprocess import FLOOR
from sse_inprocess import OURS as HERE
from sse_inprocess import SUBJECTS as SUBJECTS_INSIDE

Figures = dict[str, dict[str, float]]

FOLDER: Final = Path(__file__).parent
MEMORY_KB: Final = 30


@dataclass(frozen=True)
class Scene:
    """How streams are sent over TCP, and how many times our CPU others must take at least."""

    streams: int
    size: int
    writes: int
    pause: float
    openai: float
    httpx_sse: float | None = None


MANY: Final = "1,000 streams, paced"
SCENES: Final = {
    "1 stream, paced": Scene(1, 1, 700, 0.002, openai=5, httpx_sse=2.3),
    "100 streams, paced": Scene(100, 1, 30, 0.002, openai=7, httpx_sse=3),
    MANY: Scene(1000, 1, 21, 0.002, openai=9, httpx_sse=4),
    "50 frames a read": Scene(1, 50, 120, 0.01, openai=11),
    "unpaced": Scene(1, 1, 20000, 0, openai=30, httpx_sse=5.5),
}
# In-process: upper bounds relative to the reader that counts bytes, and to the simplest loop.
BOUNDS: Final = {
    "1 frame a read, 1 stream": (1.45, 0.5),
    "1 frame a read, 100 streams": (1.45, 0.5),
    "50 frames a read, 1 HTTP chunk": (None, 0.13),
}
FORMATS: Final = {"CRLF": 3.0, "id: on every frame": 4.0}
USUAL: Final = "as FoxAPI sends it"


def over_tcp(scene: Scene, name: str) -> dict[str, float]:
    """Run one subject in one scene, with a server of its own."""
    words = (scene.streams, scene.size, scene.writes, scene.pause)
    with serving(FOLDER / "sse_server.py", *map(str, words)) as port:
        counts = (scene.streams, scene.size * scene.writes, scene.size)
        found = measured(FOLDER / "sse_client.py", name, port, *map(str, counts), timeout=200)
    return {figure: float(value) for figure, value in found.items()}


def measure_tcp(rounds: int) -> tuple[Figures, Figures]:
    """Return microseconds per frame, and kilobytes per stream, of each subject in each scene."""
    cpu: Figures = {}
    memory: Figures = {}
    for title, scene in SCENES.items():
        print(title, file=sys.stderr)
        subjects = {name: partial(over_tcp, scene, name) for name in SUBJECTS}
        taken = take_turns(subjects, rounds, note=lambda _: None)
        cpu[title] = medians(taken, "cpu_us")
        memory[title] = medians(taken, "stream_kb")
    return cpu, memory


def goals_of(inside: dict[str, Figures], cpu: Figures, memory: Figures) -> list[Goal]:
    """Compare the figures with their goals."""
    goals: list[Goal] = []
    for title, (floor, loop) in BOUNDS.items():
        found = inside["streams"][title]
        if floor is not None:
            ratio = round(found[HERE] / found[FLOOR], 2)
            goals.append(Goal(f"{title}: ours / counting bytes", ratio, at_most=floor))
        ratio = round(found[HERE] / found[LOOP], 3)
        goals.append(Goal(f"{title}: ours / by hand", ratio, at_most=loop))
    formats = inside["formats"]["one frame a read"]
    for title, bound in FORMATS.items():
        ratio = round(formats[title] / formats[USUAL], 2)
        goals.append(Goal(f"decoder: {title} / usual", ratio, at_most=bound))
    for title, scene in SCENES.items():
        found = cpu[title]
        for name, least in ((OPENAI, scene.openai), (HTTPX_SSE, scene.httpx_sse)):
            if least is not None:
                ratio = round(found[name] / found[OURS], 1)
                goals.append(Goal(f"{title}: {name} / ours", ratio, at_least=least))
    open_kb = round(memory[MANY][OURS], 1)
    goals.append(Goal("kB for each of 1,000 open streams", open_kb, at_most=MEMORY_KB))
    return goals


def show(name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, and write it for the docs."""
    print(report.table(head, rows), end="\n\n")
    report.figures(name, head, rows)


def main() -> int:
    """Measure, print, write ``results/sse.json``; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="turns of each subject over TCP")
    rounds = parser.parse_args().rounds
    inside = measured(FOLDER / "sse_inprocess.py", str(6 * rounds))
    cpu, memory = measure_tcp(rounds)
    show(
        "sse-inside",
        ("µs of CPU per frame, no sockets", *SUBJECTS_INSIDE, "ours / bytes", "ours / by hand"),
        [
            (
                title,
                *(f"{found[name] / 1e3:.2f}" for name in SUBJECTS_INSIDE),
                f"{found[HERE] / found[FLOOR]:.2f}",
                f"{found[HERE] / found[LOOP]:.3f}",
            )
            for title, found in inside["streams"].items()
        ],
    )
    show(
        "sse-formats",
        ("µs of CPU per frame, decoder alone", *(titles := tuple(inside["formats"]))),
        [
            (form, *(f"{inside['formats'][title][form] / 1e3:.2f}" for title in titles))
            for form in inside["formats"][titles[0]]
        ],
    )
    show(
        "sse-tcp",
        ("µs of CPU per frame, over TCP", *SUBJECTS, "openai / ours", "httpx-sse / ours"),
        [
            (
                title,
                *(f"{found[name]:.1f}" for name in SUBJECTS),
                f"{found[OPENAI] / found[OURS]:.1f}",
                f"{found[HTTPX_SSE] / found[OURS]:.1f}",
            )
            for title, found in cpu.items()
        ],
    )
    show(
        "sse-memory",
        ("kB of memory per open stream", *SUBJECTS),
        [(MANY, *(f"{memory[MANY][name]:.0f}" for name in SUBJECTS))],
    )
    goals = goals_of(inside, cpu, memory)
    report.write(
        "sse",
        "CPU per delta of `async for delta in handle.stream()` against others on the same bytes",
        {"rounds": rounds, "inside_ns": inside, "tcp_us": cpu, "stream_kb": memory[MANY]},
        goals=goals,
    )
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
