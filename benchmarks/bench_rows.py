"""What does a file of rows cost, from OpenAI Batch JSONL to lines of answers?

The same rows go to the same canned server by ``foxapi batch run`` with its journal, by what a user
would write with ``openai`` or ``litellm``, ``asyncio.gather`` and a semaphore, and by Ray Data's
processor of HTTP requests. Each runs in a process of its own, from its imports to its last line.
Subjects whose packages are missing are left out; ``--litellm PYTHON`` is an interpreter that has
litellm.
"""

import argparse
import asyncio
import json
import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import process
import report

SCRIPT: Final = Path(__file__)
KEY: Final = "sk-bench"
IN_FLIGHT: Final = 256
OURS: Final = "`foxapi batch run`"
OPENAI: Final = "openai, gather and semaphore"
LITELLM: Final = "litellm, gather and semaphore"
RAY: Final = "Ray Data's HTTP processor"
PACKAGES: Final = {OPENAI: "openai", LITELLM: "litellm", RAY: "ray"}
_STAT_PARENT: Final = 1
_STAT_TIMES: Final = slice(11, 13)

Ask = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def write_rows(path: Path, count: int) -> None:
    """Write an OpenAI Batch file."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            messages = [
                {"role": "system", "content": "Answer in one word."},
                {"role": "user", "content": f"Is review {number} good or bad? " + "word " * 60},
            ]
            body = {"model": "gpt-5.5", "messages": messages, "max_tokens": 20}
            row = {
                "custom_id": f"row-{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }
            file.write(json.dumps(row) + "\n")


def ours(rows: Path, output: Path, where: str) -> None:
    """Run the command in this process."""
    os.environ |= {"FOXAPI_BASE_URL": where, "FOXAPI_API_KEY": KEY}
    from foxapi_async.cli.app import run_command_line

    code = run_command_line(["batch", "run", str(rows), "-o", str(output), "--progress", "none"])
    if code:
        raise RuntimeError(f"the command ended with {code}")


def with_openai(rows: Path, output: Path, where: str) -> None:
    """Do what openai's documentation shows."""
    from openai import AsyncOpenAI

    async def run() -> None:
        async with AsyncOpenAI(base_url=f"{where}/v1", api_key=KEY, max_retries=0) as client:

            async def ask(body: dict[str, Any]) -> dict[str, Any]:
                completion = await client.chat.completions.create(**body)
                members: dict[str, Any] = completion.model_dump()
                return members

            await gathered(rows, output, ask)

    asyncio.run(run())


def with_litellm(rows: Path, output: Path, where: str) -> None:
    """Do what litellm's documentation shows."""
    # It would fetch its prices from the network.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    litellm: Any = import_module("litellm")

    async def ask(body: dict[str, Any]) -> dict[str, Any]:
        named = body | {"model": f"openai/{body['model']}"}
        completion = await litellm.acompletion(**named, api_base=f"{where}/v1", api_key=KEY)
        members: dict[str, Any] = completion.model_dump()
        return members

    asyncio.run(gathered(rows, output, ask))


def gathered(rows: Path, output: Path, ask: Ask) -> Coroutine[Any, Any, None]:
    """Ask for all rows at once, bounded by a semaphore, and write the answers."""
    with rows.open(encoding="utf-8") as source:
        lines = source.readlines()
    return _gathered(lines, output, ask)


async def _gathered(rows: list[str], output: Path, ask: Ask) -> None:
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def answer(line: str) -> str:
        row = json.loads(line)
        async with slots:
            body = await ask(row["body"])
        response = {"status_code": 200, "request_id": None, "body": body}
        members = {"id": row["custom_id"], "custom_id": row["custom_id"]}
        return json.dumps(members | {"response": response, "error": None}) + "\n"

    lines = await asyncio.gather(*map(answer, rows))
    await asyncio.to_thread(output.write_text, "".join(lines), "utf-8")


def with_ray(rows: Path, output: Path, where: str) -> None:
    """Do what Ray's documentation shows."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    import ray
    from ray.data.llm import HttpRequestProcessorConfig, build_processor

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    config = HttpRequestProcessorConfig(
        url=f"{where}/v1/chat/completions",
        headers={"Authorization": f"Bearer {KEY}"},
        batch_size=IN_FLIGHT,
        concurrency=1,
    )
    processor = build_processor(
        config,
        preprocess=lambda row: {"payload": row["body"], "custom_id": row["custom_id"]},
        postprocess=lambda row: {
            "custom_id": row["custom_id"],
            "response": json.dumps(row["http_response"]),
        },
    )
    answered = processor(ray.data.read_json(str(rows), lines=True))
    with output.open("w", encoding="utf-8") as file:
        for row in answered.iter_rows():
            file.write(json.dumps(row) + "\n")


SUBJECTS: Final[Mapping[str, Callable[[Path, Path, str], None]]] = {
    OURS: ours,
    OPENAI: with_openai,
    LITELLM: with_litellm,
    RAY: with_ray,
}


def tree_usage() -> tuple[float, float]:
    """Return the CPU seconds and the MiB of this process and its living descendants."""
    stats: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of a process may have blanks.
            stats[int(path.parent.name)] = path.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
    found = {os.getpid()}
    while more := {
        number
        for number, stat in stats.items()
        if number not in found and int(stat[_STAT_PARENT]) in found
    }:
        found |= more
    ticks = sum(int(tick) for number in found for tick in stats[number][_STAT_TIMES])
    pages = sum(int(stats[number][21]) for number in found)
    return ticks / os.sysconf("SC_CLK_TCK"), pages * resource.getpagesize() / 2**20


def client(subject: str, rows: Path, where: str) -> dict[str, float]:
    """Measure one subject in this process, its imports included."""
    output = rows.with_name("out.jsonl")
    started = time.perf_counter()
    if subject != RAY:
        process.pin(process.CLIENT_CORE)
    SUBJECTS[subject](rows, output, where)
    seconds = time.perf_counter() - started
    lines = len(output.read_bytes().splitlines())
    if lines != len(rows.read_bytes().splitlines()):
        raise RuntimeError(f"{subject} wrote {lines} lines")
    if subject == RAY:
        cpu, mib = tree_usage()
    else:
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu, mib = process.cpu_seconds(), report.peak_mib(used)
    return {"cpu": cpu, "seconds": seconds, "mib": mib}


def measure(subject: str, count: int, python: str) -> dict[str, float]:
    """Run one subject in a process of its own, against a server of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        process.serving(SCRIPT.with_name("answers.py"), "--looks", "1") as where,
    ):
        rows = Path(folder, "in.jsonl")
        write_rows(rows, count)
        words = ("--subject", subject, "--file", str(rows), "--where", where)
        return process.measured(SCRIPT, *words, python=python)


def main() -> int:
    """Measure, print, write ``results/rows.json`` and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=1, help="turns of each subject")
    parser.add_argument("--litellm", metavar="PYTHON", default=sys.executable)
    parser.add_argument("--only", action="append", choices=("ours", "openai", "litellm", "ray"))
    parser.add_argument("--subject", choices=SUBJECTS, help="measure one subject in this process")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--where", help="the origin of the server")
    options = parser.parse_args()
    if options.subject:
        print(json.dumps(client(options.subject, options.file, options.where)))
        return 0

    wanted = options.only or ["ours", "openai", "litellm", "ray"]
    turns: dict[str, Callable[[], dict[str, float]]] = {}
    for name, subject in zip(("ours", "openai", "litellm", "ray"), SUBJECTS, strict=True):
        python = options.litellm if subject == LITELLM else sys.executable
        package = PACKAGES.get(subject)
        is_here = python != sys.executable or package is None or find_spec(package)
        if name in wanted and is_here:
            turns[subject] = partial(measure, subject, options.rows, python)
    taken = process.take_turns(
        turns, options.rounds, note=lambda text: print(text, file=sys.stderr)
    )
    return conclude(taken, options.rows)


def conclude(taken: Mapping[str, list[dict[str, float]]], count: int) -> int:
    """Print and write the figures; return 1 if a goal is missed."""
    cpu, seconds, mib = (process.medians(taken, name) for name in ("cpu", "seconds", "mib"))
    head = (f"{count:,} rows", "CPU s", "ratio", "ms a row", "wall s", "MiB")
    rows = [
        (
            name,
            f"{cpu[name]:.1f}",
            f"{cpu[name] / cpu[OURS]:.1f}",
            f"{1000 * cpu[name] / count:.2f}",
            f"{seconds[name]:.1f}",
            f"{mib[name]:.0f}",
        )
        for name in taken
    ]
    print(report.table(head, rows))
    goals = [
        report.Goal(f"CPU of ours to {name}", round(cpu[OURS] / cpu[name], 3), at_most=0.2)
        for name in taken
        if name != OURS
    ]
    answer = {"rows": count, "cpu_seconds": cpu, "wall_seconds": seconds, "mib": mib}
    report.write("rows", (__doc__ or "").partition("\n")[0], answer, goals=goals)
    report.figures("rows", head, rows)
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
