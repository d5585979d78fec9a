"""Laws of ``foxapi batch`` as a process: Ctrl-C, kill -9, size."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foxapi_async.gateway import Gateway

Spawn = Callable[..., subprocess.Popen[str]]
Environment = Callable[[], dict[str, str]]

only_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Return a file of 200 rows."""
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(1, 201)))
    return path


def command(rows: Path, name: str = "out.jsonl", *more: str) -> tuple[str, ...]:
    """Return the command that answers rows into a file beside them."""
    prompt = ("--model", "gpt-5.5", "--prompt", "count 1 to {n}", "--param", "max_tokens=16")
    return ("batch", "run", str(rows), "-o", str(rows.with_name(name)), *prompt, *more)


def numbers(output: Path) -> Counter[int]:
    """Return how often each row is in an output, all of whose lines are whole."""
    text = output.read_text()
    assert text == "" or text.endswith("\n")
    return Counter(json.loads(line)["n"] for line in text.splitlines())


def wait_until_some(output: Path, size: int) -> None:
    """Wait until an output has some bytes."""
    while not output.exists() or output.stat().st_size < size:
        time.sleep(0.005)


@only_posix
async def test_ctrl_c_waits_for_rows_in_flight(
    serve: Any, spawn: Spawn, foxapi: Any, rows: Path
) -> None:
    """The first Ctrl-C takes no more rows, and all that were submitted are answered."""
    gateway: Gateway = await serve(token_delay=0.005)
    output = rows.with_name("out.jsonl")

    def interrupt() -> tuple[int, str, str]:
        with spawn(*command(rows, "out.jsonl", "--in-flight", "10")) as process:
            wait_until_some(output, 1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
            return process.returncode, out, err

    code, out, err = await asyncio.to_thread(interrupt)
    assert code == 130, err
    assert json.loads(out)["end"] == "interrupted"
    assert "no more rows are taken" in err
    found = await asyncio.to_thread(numbers, output)
    assert 0 < len(found) == gateway.stats.tasks < 200
    done = await foxapi(*command(rows))
    assert done.code == 0
    found = await asyncio.to_thread(numbers, output)
    assert found == Counter(range(1, 201))
    assert gateway.stats.tasks == 200


@only_posix
async def test_a_second_ctrl_c_exits_at_once(
    serve: Any, spawn: Spawn, foxapi: Any, rows: Path
) -> None:
    """The second Ctrl-C exits without waiting, and the next run waits for the same tasks."""
    gateway: Gateway = await serve(queue_delay=5)

    def interrupt() -> tuple[int, str]:
        with spawn(*command(rows, "out.jsonl", "--in-flight", "20")) as process:
            assert process.stderr is not None
            while gateway.stats.tasks < 20:
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            said = process.stderr.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate()
            return process.returncode, said + err

    started = time.monotonic()
    code, err = await asyncio.to_thread(interrupt)
    assert code == 130, err
    assert time.monotonic() - started < 5 + 20
    # The gateway may have counted a task whose response the command still waits for.
    assert 1 <= err.count("\n") <= 2, err
    assert gateway.stats.completed == 0 or time.monotonic() - started > 5
    limited = await foxapi(*command(rows, "out.jsonl", "--limit", "20"))
    assert limited.code == 0
    assert gateway.stats.tasks == 20


@only_posix
async def test_a_killed_run_goes_on(serve: Any, spawn: Spawn, foxapi: Any, rows: Path) -> None:
    """After kill -9 at several moments, each row is answered once or is of unknown outcome."""
    gateway: Gateway = await serve(token_delay=0.001)
    output = rows.with_name("out.jsonl")

    def kill(size: int) -> None:
        with spawn(*command(rows, "out.jsonl", "--in-flight", "16")) as process:
            wait_until_some(output, size)
            process.kill()
            process.communicate()

    for size in (1, 4_000, 15_000):
        await asyncio.to_thread(kill, size)
    done = await foxapi(*command(rows))
    assert done.code in {0, 4}, done.err
    [summary] = done.records
    found = await asyncio.to_thread(numbers, output)
    assert set(found.values()) == {1}
    assert len(found) + summary["unknown"] == 200
    assert gateway.stats.tasks <= 200
    assert summary["unknown"] <= 3 * 16


@only_posix
async def test_a_closed_terminal_does_not_hide_the_answers(
    serve: Any, environment: Environment, rows: Path
) -> None:
    """A run whose stdout is closed writes its output all the same."""
    gateway: Gateway = await serve()
    line = [sys.executable, "-P", "-m", "foxapi_async", *command(rows, "out.jsonl", "--limit", "5")]

    def run() -> int:
        with subprocess.Popen(
            line, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.close()
            return process.wait()

    assert await asyncio.to_thread(run) == 0
    found = await asyncio.to_thread(numbers, rows.with_name("out.jsonl"))
    assert found == Counter(range(1, 6))
    assert gateway.stats.tasks == 5


READ = """
import resource, sys, time
from contextlib import ExitStack
from foxapi_async._batch.plan import BatchOptions, plan_rows
from foxapi_async._batch.requests import RequestSettings

started = time.monotonic()
settings = RequestSettings(model="m", prompt="{text}")
options = BatchOptions(input=sys.argv[1], output=sys.argv[2], request=settings)
with ExitStack() as stack:
    rows = plan_rows(options, stack)
    for _ in range(1000):
        next(rows)
    first, before = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = 999 + sum(1 for _ in rows)
    print(first, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, count)
"""


@only_posix
def test_reading_takes_no_memory(environment: Environment, tmp_path: Path) -> None:
    """The first rows of a large file come at once, and reading the rest takes no memory."""
    path = tmp_path / "large.jsonl"
    line = json.dumps({"text": "x" * 800})
    count = 60_000
    with path.open("w") as file:
        for number in range(count):
            file.write(f'{{"id": {number}, {line[1:]}\n')
    done = subprocess.run(
        [sys.executable, "-P", "-c", READ, str(path), str(tmp_path / "out")],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    first, before, after, found = map(float, done.stdout.split())
    assert found == count
    # A second on a machine that does nothing else.
    assert first < 3
    # Of 50 MB; macOS counts bytes, Linux kilobytes.
    unit = 1 if sys.platform == "darwin" else 1024
    assert (after - before) * unit < 12 * 1024 * 1024
    assert path.stat().st_size > 45 * 1024 * 1024
