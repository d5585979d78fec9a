"""What does each piece that goes past aiohttp's public API buy, end to end?

CPU of the client process for a poll of a waiting handle and for a frame of paced streams over TCP:
with all pieces, without one of them, and with ``FOXAPI_FAST_PATH=0``. The subjects take turns.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Final

import bench_poller
import process
import report
import sse_client

SCRIPT: Final = Path(__file__)
ALL: Final = "all pieces"
NONE: Final = "`FOXAPI_FAST_PATH=0`"
HANDLES: Final = 1_000
RATE: Final = 1_500.0
SECONDS: Final = 3.0
POLL: Final = "poll"
# Streams, writes to each, and the pause after a few writes; each write is one frame.
FRAMES: Final = {"frame, 1 stream": (1, 1_000, 0.002), "frame, 100 streams": (100, 60, 0.002)}


def replace(module: ModuleType, name: str, function: Callable[[], object]) -> None:
    """Replace a function of a module, in this process."""
    setattr(module, name, function)


def without_pooled_get() -> None:
    """Send polls by aiohttp's own requests."""
    from foxapi_async._transport import _aiohttp_private

    replace(_aiohttp_private, "_pooled_get_works", lambda: False)


def without_raw_stream() -> None:
    """Read streams by ``StreamReader.readany``."""
    from foxapi_async._transport import _aiohttp_private

    replace(_aiohttp_private, "_raw_stream_works", lambda: False)


def without_threshold() -> None:
    """Leave malloc as it is."""
    from foxapi_async._transport import connections

    replace(connections, "raise_mmap_threshold", lambda: None)


def without_all() -> None:
    """Use the switch."""
    os.environ["FOXAPI_FAST_PATH"] = "0"


SUBJECTS: Final[dict[str, Callable[[], None]]] = {
    ALL: lambda: None,
    "without `PooledGet`": without_pooled_get,
    "without `RawStream`": without_raw_stream,
    "without the malloc threshold": without_threshold,
    NONE: without_all,
}


def client(subject: str, scene: str, where: str) -> float:
    """Measure one subject in this process; return microseconds."""
    process.pin(process.CLIENT_CORE)
    os.environ["FOXAPI_FAST_PATH"] = "1"
    SUBJECTS[subject]()
    if scene == POLL:
        bench_poller.SECONDS = SECONDS
        return asyncio.run(bench_poller.ours(where, HANDLES, RATE))["us"]
    streams, writes, _ = FRAMES[scene]
    found = asyncio.run(sse_client.measure(sse_client.OURS, int(where), streams, writes, 1))
    return found["cpu_us"]


def measure(scene: str, subject: str) -> dict[str, float]:
    """Run one subject in a process of its own, against a server of its own."""
    if scene == POLL:
        server = process.serving(SCRIPT.with_name("answers.py"))
    else:
        streams, writes, pause = FRAMES[scene]
        counts = map(str, (streams, 1, writes, pause))
        server = process.serving(SCRIPT.with_name("sse_server.py"), *counts)
    with server as where:
        words = ("--subject", subject, "--scene", scene, "--where", where)
        return process.measured(SCRIPT, *words, timeout=120)


def main() -> int:
    """Measure, print, write ``results/fast_path.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each subject")
    parser.add_argument("--subject", choices=SUBJECTS, help="measure one subject in this process")
    parser.add_argument("--scene", choices=(POLL, *FRAMES))
    parser.add_argument("--where", help="the origin or the port of the server")
    options = parser.parse_args()
    if options.subject:
        print(json.dumps({"us": client(options.subject, options.scene, options.where)}))
        return 0

    cpu: dict[str, dict[str, float]] = {}
    for scene in (POLL, *FRAMES):
        print(scene, file=sys.stderr)
        turns = {name: partial(measure, scene, name) for name in SUBJECTS}
        taken = process.take_turns(turns, options.rounds, note=lambda _: None)
        cpu[scene] = process.medians(taken, "us")
    head = ("µs of CPU", *(word for scene in cpu for word in (scene, "ratio")))
    rows = [
        (
            name,
            *(
                text
                for found in cpu.values()
                for text in (f"{found[name]:.1f}", f"{found[name] / found[ALL]:.2f}")
            ),
        )
        for name in SUBJECTS
    ]
    print(report.table(head, rows))
    report.figures("fast-path", head, rows)
    report.write(
        "fast_path",
        "CPU of a poll and of a streamed frame with and without each piece past aiohttp's API",
        {
            "rounds": options.rounds,
            "cpu_us": {
                scene: {name: round(value, 2) for name, value in found.items()}
                for scene, found in cpu.items()
            },
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
