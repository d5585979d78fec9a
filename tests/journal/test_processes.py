"""The law of two processes on one file: a key is paid for once."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

import foxapi_async
from foxapi_async import FoxSession, TaskFailedError
from foxapi_async.gateway import Gateway
from foxapi_async.testing import FaultProxy, Stall

CHILD = """
import asyncio, sys
from foxapi_async import FoxSession

async def main(url, file, rows):
    async with FoxSession("sk-secret-0123456789abcdef", base_url=url, journal=file) as fox:
        print("ready", flush=True)
        sys.stdin.readline()
        handles = await asyncio.gather(*(
            fox.llm.submit(
                model="gpt-5.5", messages=f"count 1 to {row}", key=f"row-{row}", retry_failed=True
            )
            for row in range(1, rows + 1)
        ))
        print(*(handle.id for handle in handles), flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def child(url: str, file: Path | str, rows: int) -> asyncio.subprocess.Process:
    """Start a process that has the journal open and waits for a line to submit."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", CHILD, url, str(file), str(rows)),
        env={**os.environ, "PYTHONPATH": str(Path(foxapi_async.__file__).parents[1])},
        stdin=PIPE,
        stdout=PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def fail(fox: FoxSession, row: int) -> None:
    """Use the key of a row for a generation that fails."""
    with pytest.raises(TaskFailedError):
        await fox.llm.generate(
            model="gpt-5.5", messages="[[fail:content_policy_violation]]", key=f"row-{row}"
        )


@pytest.mark.parametrize("failed", [False, True])
async def test_two_processes_pay_for_a_key_once(
    open_fox: Any, gateway: Gateway, fault_proxy: FaultProxy, file: Path | str, failed: bool
) -> None:
    """Of two processes that submit the same keys, new or failed, one sends each for both."""
    rows = 5
    if failed:
        async with open_fox(base_url=fault_proxy.url) as fox:
            await asyncio.gather(*(fail(fox, row) for row in range(1, rows + 1)))
    before = gateway.stats.submits
    fault_proxy.on("POST", "*", Stall(response=0), times=rows)
    children = await asyncio.gather(*(child(fault_proxy.url, file, rows) for _ in range(2)))
    for process in children:
        assert process.stdin is not None
        process.stdin.write(b"\n")
    # Both have begun, and every answer is held back: who finds the key taken has to wait.
    await fault_proxy.wait_for_stalls(rows)
    fault_proxy.release()
    outputs = [(await process.communicate())[0].split() for process in children]
    assert [process.returncode for process in children] == [0, 0]
    assert outputs[0] == outputs[1]
    assert len(set(outputs[0])) == rows
    paid = before + rows
    assert (fault_proxy.count("POST"), gateway.stats.submits, gateway.stats.tasks) == (paid,) * 3
