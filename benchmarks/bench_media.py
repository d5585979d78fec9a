"""What do an upload and a download cost next to bare aiohttp? CPU and memory, over loopback.

Bare aiohttp sends a form with an open file, and writes each chunk that it reads to a file. Each
subject runs in a process of its own, beside a server that only moves bytes. An upload of this
package also hashes the file, so that it is sent once; ``reuse=False`` does not.
"""

import argparse
import asyncio
import hashlib
import json
import os
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Self

import aiohttp
import process
import report

SCRIPT = Path(__file__)
SERVER = SCRIPT.parent / "file_server.py"
KEY = "sk-0123456789abcdef0123456789abcdef"
MEBIBYTE = 1 << 20
KINDS = {
    "download": "bare-download",
    "upload, reuse=False": "bare-upload",
    "upload": "bare-upload with SHA-256",
}


async def bare_download(url: str, folder: Path) -> None:
    """Download with aiohttp alone."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/a.bin") as response:
        with (folder / "b.bin").open("wb") as opened:
            async for chunk in response.content.iter_chunked(64 * 1024):
                opened.write(chunk)


async def download(url: str, folder: Path) -> None:
    """Download with this package."""
    from foxapi_async import FoxSession

    async with FoxSession(KEY, base_url=url) as fox:
        await fox.files.download(f"{url}/b.bin", folder)


async def bare_upload(url: str, folder: Path) -> None:
    """Upload with aiohttp alone."""
    await _post(url, folder)


async def hashed_upload(url: str, folder: Path) -> None:
    """Hash a file, then upload it with aiohttp alone."""
    with (folder / "a.bin").open("rb") as opened:
        hashlib.file_digest(opened, "sha256").hexdigest()
    await _post(url, folder)


async def _post(url: str, folder: Path) -> None:
    form = aiohttp.FormData()
    form.add_field("auto_cleanup", "true")
    with (folder / "a.bin").open("rb") as opened:
        form.add_field("file", opened, filename="a.bin")
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/v1/files/upload/stream", data=form) as response,
        ):
            await response.read()


async def upload(url: str, folder: Path) -> None:
    """Upload with this package."""
    from foxapi_async import FoxSession

    async with FoxSession(KEY, base_url=url) as fox:
        await fox.files.upload(folder / "a.bin")


async def upload_again(url: str, folder: Path) -> None:
    """Upload with this package, and keep nothing of it."""
    from foxapi_async import FoxSession

    async with FoxSession(KEY, base_url=url) as fox:
        await fox.files.upload(folder / "a.bin", reuse=False)


RUNS: dict[str, Callable[[str, Path], Awaitable[None]]] = {
    "bare-download": bare_download,
    "download": download,
    "bare-upload": bare_upload,
    "upload, reuse=False": upload_again,
    "bare-upload with SHA-256": hashed_upload,
    "upload": upload,
}


class PeakMemory:
    """Samples the memory of this process every few milliseconds."""

    def __init__(self) -> None:
        self.peak = self.before = process.resident_bytes()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self._ends.is_set():
            self.peak = max(self.peak, process.resident_bytes())
            sleep(0.005)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()


def run(subject: str, url: str, folder: Path) -> dict[str, float]:
    """Run one subject in this process."""
    process.pin(process.CLIENT_CORE)
    # The import is no cost of a file.
    from foxapi_async import FoxSession

    del FoxSession
    with PeakMemory() as memory:
        begun, before = perf_counter(), process.cpu_seconds()
        asyncio.run(_awaited(RUNS[subject](url, folder)))
        cpu = process.cpu_seconds() - before
    # Both write a new file: freeing the pages of an old one costs as much as writing it.
    (folder / "b.bin").unlink(missing_ok=True)
    return {
        "cpu": cpu,
        "seconds": perf_counter() - begun,
        "mib": (memory.peak - memory.before) / MEBIBYTE,
    }


async def _awaited(running: Awaitable[None]) -> None:
    await running


def main() -> int:
    """Measure, print, write ``results/media.json``; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each subject")
    parser.add_argument("--mebibytes", type=int, default=1024, help="the size of the file")
    parser.add_argument("--folder", type=Path, help="where the files are; memory is best")
    parser.add_argument("--subject", choices=tuple(RUNS))
    parser.add_argument("--url")
    options = parser.parse_args()
    if options.subject:
        print(json.dumps(run(options.subject, options.url, options.folder)))
        return 0
    shared = Path("/dev/shm")  # noqa: S108 a disk would measure itself
    parent = options.folder or (shared if shared.is_dir() else None)
    with (
        tempfile.TemporaryDirectory(dir=parent) as folder,
        process.serving(SERVER, str(options.mebibytes)) as url,
    ):
        with (Path(folder) / "a.bin").open("wb") as opened:
            for _ in range(options.mebibytes):
                opened.write(os.urandom(MEBIBYTE))
        subjects = {
            name: partial(
                process.measured, SCRIPT, "--subject", name, "--url", url, "--folder", folder
            )
            for name in RUNS
        }
        taken = process.take_turns(subjects, options.rounds)
    found = {
        name: {
            figure: median(turn[figure] for turn in turns) for figure in ("cpu", "seconds", "mib")
        }
        for name, turns in taken.items()
    }
    size = f"{options.mebibytes} MiB"
    rows = [
        (
            f"{kind} of {size}",
            bare,
            f"{found[bare]['cpu']:.2f}",
            f"{found[kind]['cpu']:.2f}",
            f"{found[kind]['cpu'] / found[bare]['cpu']:.2f}",
            f"{found[kind]['mib']:.0f}",
        )
        for kind, bare in KINDS.items()
    ]
    head = ("one file", "next to", "its CPU s", "foxapi CPU s", "times", "foxapi MiB above idle")
    print(report.table(head, rows))
    goals = [
        goal
        for kind, bare in KINDS.items()
        for goal in (
            report.Goal(
                f"{kind}: CPU next to bare aiohttp",
                round(found[kind]["cpu"] / found[bare]["cpu"], 2),
                at_most=1.3,
            ),
            report.Goal(f"{kind}: MiB above idle", round(found[kind]["mib"], 1), at_most=60),
        )
    ]
    report.write(
        "media",
        "CPU and memory of an upload and a download next to bare aiohttp",
        {"rounds": options.rounds, "mebibytes": options.mebibytes, "medians": found},
        goals=goals,
    )
    report.figures("media", head, rows)
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
