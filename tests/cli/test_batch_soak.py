"""A batch for minutes: every kind of fault, and kills at random instants."""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from foxapi_async.gateway import Gateway
from foxapi_async.testing import FaultProxy
from tests.bill import Bill
from tests.postgres import postgres_schema
from tests.random_faults import random_rules, script_cuts

pytestmark = pytest.mark.soak

ROWS = 20_000
KILLS = 5


@pytest.fixture(params=["sqlite", "postgres"])
def journal(request: pytest.FixtureRequest) -> Any:
    """Return the options that name a journal on each database."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield ()
        else:
            server = request.getfixturevalue("postgres")
            yield ("--journal", stack.enter_context(postgres_schema(server)))


def write_rows(path: Path) -> None:
    """Write a file of rows, each of another request."""
    with path.open("w") as file:
        file.writelines(f'{{"n": {number}}}\n' for number in range(ROWS))


async def run_killed(
    run: list[str], environment: dict[str, str], fault_proxy: FaultProxy, seconds: float | None
) -> int:
    """Run a batch, kill it after some time, and return its exit code."""
    process = await asyncio.create_subprocess_exec(
        *run, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    ended = asyncio.create_task(process.wait())
    started = asyncio.get_running_loop().time()
    while not ended.done():
        await asyncio.wait((ended,), timeout=0.2)
        # Responses that the line holds back would each cost a timeout of a minute.
        fault_proxy.release()
        passed = asyncio.get_running_loop().time() - started
        if seconds is not None and passed > seconds and not ended.done():
            process.kill()
            await ended
    return await ended


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, all of which are whole."""
    text = path.read_text("utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.timeout(1800)
async def test_twenty_thousand_rows_survive_faults_and_kills(
    tmp_path: Path,
    journal: tuple[str, ...],
    environment: Callable[[], dict[str, str]],
) -> None:
    """No row is lost, none is billed twice, and the files are whole."""
    chance = random.Random(23)  # noqa: S311 no secret
    bill = Bill()
    rows, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    await asyncio.to_thread(write_rows, rows)
    run = [
        sys.executable,
        "-P",
        "-m",
        "foxapi_async",
        "batch",
        "run",
        str(rows),
        "-o",
        str(output),
        *journal,
    ]
    run += ["--model", "gpt-5.5", "--prompt", "count 1 to 3, row {n}", "--in-flight", "200"]
    kills = 0
    async with AsyncExitStack() as stack:
        gateway = Gateway(queue_delay=0, token_delay=0, faults=random_rules(), seed=23)
        gateway.app.middlewares.append(bill.keep)
        await stack.enter_async_context(gateway)
        fault_proxy = await stack.enter_async_context(FaultProxy(gateway.url))
        script_cuts(fault_proxy, chance)
        variables = {
            **environment(),
            "FOXAPI_BASE_URL": fault_proxy.url,
            "FOXAPI_API_KEY": "sk-secret-0123456789abcdef",
        }
        while kills < KILLS:
            seconds = chance.uniform(1.5, 10)
            code = await run_killed(run, variables, fault_proxy, seconds)
            assert code == -9, "the batch ended before its kills: give it more rows"
            kills += 1
        code = await run_killed(run, variables, fault_proxy, None)
    assert code in {1, 4}
    answered = Counter(row["n"] for row in await asyncio.to_thread(lines, output))
    errors = await asyncio.to_thread(lines, output.with_name("out.jsonl.errors.jsonl"))
    codes = Counter(line["error"]["code"] for line in errors)
    print(len(answered), "answered", dict(codes), len(bill.tasks), "tasks")  # noqa: T201
    # Each row is either answered once or has its line of errors, and no task was made twice.
    assert set(answered.values()) == {1}
    without = Counter(line["line"] for line in errors)
    assert set(without.values()) == {1}
    assert {n + 1 for n in answered} | set(without) == set(range(1, ROWS + 1))
    assert not {n + 1 for n in answered} & set(without)
    assert bill.doubled == []
    assert len(answered) > ROWS / 2
    assert len(bill.tasks) <= ROWS
