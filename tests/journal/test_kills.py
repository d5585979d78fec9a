"""The law of the journal: whatever the instant of a kill, nothing is lost or paid for twice."""

import asyncio
import os
import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async import FoxSession
from foxapi_async._journal import Stage
from foxapi_async.gateway import Gateway
from foxapi_async.testing import FaultProxy, Stall

if TYPE_CHECKING:
    from tests.bill import Bill

KEY = "sk-secret-0123456789abcdef"


async def test_a_kill_between_post_and_answer_leaves_it_unknown(
    file: Path | str, bill: "Bill", scripted: Any, written: Any
) -> None:
    """What was in flight when its process was killed is unknown, and is not sent again."""
    async with AsyncExitStack() as stack:
        gateway = Gateway()
        gateway.app.middlewares.append(bill.keep)
        await stack.enter_async_context(gateway)
        fault_proxy = await stack.enter_async_context(FaultProxy(gateway.url))
        script = await stack.enter_async_context(scripted(fault_proxy.url, file))
        fault_proxy.on("POST", "*", Stall(response=0))
        pid = await script.start(0, 5)
        await fault_proxy.wait_for_stalls(5)
        async with FoxSession(KEY, base_url=fault_proxy.url, journal=file) as fox:
            # Its process lives and may still hear the answer: nothing is unknown yet.
            recovery = await fox.recover()
            assert (recovery.handles, recovery.unknown) == ((), ())
            os.kill(pid, signal.SIGKILL)
            assert await script.end() == -signal.SIGKILL
            recovery = await fox.recover()
        assert recovery.handles == ()
        assert {lost.key for lost in recovery.unknown} == {f"row-{row}" for row in range(5)}
        assert [lost.kind for lost in recovery.unknown].count("audio") == 1
        assert all("process" in lost.fault for lost in recovery.unknown)
        bill.hold_against(await written(file))
        fault_proxy.clear()
        await script.start(0, 10)
        assert await script.end() == 0
        entries = await written(file)
        bill.hold_against(entries)
        assert Counter(entry.stage for entry in entries) == {Stage.UNKNOWN: 5, Stage.COMPLETED: 5}
        assert set(bill.posts.values()) == {1}
        if isinstance(file, Path):
            # The marks of killed runs are swept away.
            assert not await asyncio.to_thread(lambda: list(file.parent.glob("*-run-*")))


@pytest.mark.parametrize("tasks", [1, 9])
async def test_a_kill_after_so_many_tasks_loses_none(
    file: Path | str, bill: "Bill", scripted: Any, written: Any, tasks: int
) -> None:
    """Killed when the service has made so many tasks, and run again, each row is paid for once."""
    gateway = Gateway(queue_delay=0, token_delay=0)
    gateway.app.middlewares.append(bill.keep)
    async with gateway, scripted(gateway.url, file) as script:
        pid = await script.start(0, 20, 3)
        await bill.wait_for(tasks)
        os.kill(pid, signal.SIGKILL)
        assert await script.end() == -signal.SIGKILL
        entries = await written(file)
        bill.hold_against(entries)
        lost = {entry.fingerprint for entry in entries if entry.stage is Stage.UNKNOWN}
        assert len(lost) <= 3
        await script.start(0, 20)
        assert await script.end() == 0
        entries = await written(file)
        bill.hold_against(entries)
        stages = Counter(entry.stage for entry in entries)
        assert stages == +Counter({Stage.COMPLETED: 20 - len(lost), Stage.UNKNOWN: len(lost)})
        assert not bill.posts.keys() - {entry.fingerprint for entry in entries}
        assert max(bill.posts.values()) == 1
