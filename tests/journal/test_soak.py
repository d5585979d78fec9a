"""The laws of the journal for hours: every kind of fault, kills, recoveries, and flat memory."""

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async._journal import Stage
from foxapi_async.gateway import Gateway
from foxapi_async.testing import FaultProxy, RefuseConnection
from tests.postgres import postgres_schema
from tests.random_faults import CUTS, random_rules, script_cuts

if TYPE_CHECKING:
    from tests.bill import Bill
    from tests.journal.conftest import Script

pytestmark = pytest.mark.soak


class Place:
    """A gateway behind a line, both of them bad, and the user's script before them."""

    def __init__(self, bill: "Bill", file: Path | str) -> None:
        self.bill = bill
        self.file = file
        self.chance = random.Random(17)  # noqa: S311 no secret
        self.gateway = Gateway(queue_delay=0, token_delay=0, faults=random_rules(), seed=17)
        self.gateway.app.middlewares.append(bill.keep)
        self.fault_proxy: FaultProxy
        self.script: Script
        self.kills = 0

    async def open(self, stack: AsyncExitStack, scripted: Any) -> None:
        """Start all three."""
        await stack.enter_async_context(self.gateway)
        self.fault_proxy = await stack.enter_async_context(FaultProxy(self.gateway.url))
        script_cuts(self.fault_proxy, self.chance)
        self.script = await stack.enter_async_context(scripted(self.fault_proxy.url, self.file))

    async def killed(self, first: int, last: int, script: "Script | None" = None) -> bool:
        """Run a script and kill it at some instant; tell whether it had not ended before."""
        script = script or self.script
        if self.chance.random() < 0.1:
            self.fault_proxy.script(RefuseConnection())
        pid = await script.start(first, last, self.chance.choice((1, 10, 50)))
        ended = asyncio.create_task(script.end())
        await asyncio.wait((ended,), timeout=self.chance.expovariate(1 / 0.3))
        if not ended.done():
            os.kill(pid, signal.SIGKILL)
            self.kills += 1
        status = await ended
        assert status in {0, -signal.SIGKILL}
        self.fault_proxy.release()
        return status != 0

    async def recover(self, written: Any) -> tuple[int, int]:
        """Let the script go on with all that is open, and hold what it finds against the books.

        Returns how many tasks were awaited, and how many submissions are unknown.
        """
        await self.script.start(0, 0, what="recover")
        assert await self.script.end() == 0
        found = self.script.found
        entries = await written(self.file)
        self.bill.hold_against(entries)
        by_id = {entry.task_id: entry for entry in entries if entry.task_id is not None}
        for task_id, end in found["ends"].items():
            stage = {"completed": Stage.COMPLETED, "TaskFailedError": Stage.FAILED}[end]
            assert by_id[task_id].stage is stage
        unknown = {entry.fingerprint for entry in entries if entry.stage is Stage.UNKNOWN}
        assert sorted(found["unknown"]) == sorted(unknown)
        # What the service has made and what the journal knows, to the last task.
        assert not {entry for entry in entries if entry.stage in {Stage.SENT, Stage.ACCEPTED}}
        assert len(self.bill.tasks) == len(by_id) + len(unknown & self.bill.tasks.keys())
        return len(found["ends"]), len(unknown)


async def test_ten_thousand_tasks_survive_two_hundred_kills(
    tmp_path: Path, bill: "Bill", scripted: Any, written: Any
) -> None:
    """At ten per cent of faults and 200 kills no row is lost, paid for twice, or answered wrong."""
    rows, kills, recoveries = 10_000, 200, 8
    place = Place(bill, tmp_path / "tasks.db")
    step, killed, first = rows // kills, 0, 0
    found: list[tuple[int, int]] = []
    async with AsyncExitStack() as stack:
        await place.open(stack, scripted)
        while killed < kills:
            # The rows that the last kills interrupted are done once more, together with new ones.
            if not await place.killed(max(0, first - step), first + step):
                continue
            killed += 1
            first = min(first + step, rows - step)
            if killed % (kills // recoveries) == 0:
                found.append(await place.recover(written))
        memory = place.script.memory[:]
        await place.script.start(0, rows, 64)
        assert await place.script.end() == 0
        found.append(await place.recover(written))
        entries = await written(place.file)
        faults = place.gateway.faults
        assert all(faults.hits), dict(zip(map(str, faults.rules), faults.hits, strict=True))
        assert {*CUTS, RefuseConnection()} <= {*place.fault_proxy.fired}
    stages = Counter(entry.stage for entry in entries)
    assert stages.total() == rows
    assert set(stages) <= {Stage.COMPLETED, Stage.FAILED, Stage.UNKNOWN, Stage.REFUSED}
    assert stages[Stage.COMPLETED] > rows / 2
    assert all(awaited for awaited, _ in found[:-1])
    # A late run takes no more memory than an early one, though the journal has grown.
    fifth = len(memory) // 5
    early, late = max(memory[fifth : 2 * fifth]), max(memory[-fifth:])
    assert late < 1.25 * early, (early, late)
    print(dict(stages), len(bill.tasks), "tasks", place.gateway.stats.submits, "POSTs")  # noqa: T201
    print("awaited and unknown", found, "KiB", early, late)  # noqa: T201


async def share(
    place: Place, scripted: Any, written: Any, *, scripts: int, rows: int, turns: int
) -> None:
    """Let scripts do the same rows, each killed in its turns, and hold the end against the bill."""
    async with AsyncExitStack() as stack:
        await place.open(stack, scripted)
        others = [
            await stack.enter_async_context(scripted(place.fault_proxy.url, place.file))
            for _ in range(scripts - 1)
        ]
        everyone = [place.script, *others]

        async def live(script: "Script") -> None:
            for turn in range(turns):
                first = turn * rows // turns
                await place.killed(max(0, first - 20), min(first + 40, rows), script)

        await asyncio.gather(*map(live, everyone))
        place.bill.hold_against(await written(place.file))
        await asyncio.gather(*(script.start(0, rows, 20) for script in everyone))
        assert [await script.end() for script in everyone] == [0] * scripts
        await place.recover(written)
        entries = await written(place.file)
    assert len(entries) == rows
    assert max(place.bill.posts.values()) == 1


async def test_three_scripts_share_a_file_and_are_killed(
    tmp_path: Path, bill: "Bill", scripted: Any, written: Any
) -> None:
    """Three scripts with the same rows and one journal, killed 75 times, pay for each row once."""
    place = Place(bill, tmp_path / "tasks.db")
    await share(place, scripted, written, scripts=3, rows=300, turns=25)


async def test_four_scripts_share_a_server_and_are_killed(
    postgres: str, bill: "Bill", scripted: Any, written: Any
) -> None:
    """Four scripts on one PostgreSQL journal, killed up to 200 times, pay for each row once."""
    with postgres_schema(postgres) as url:
        place = Place(bill, url)
        await share(place, scripted, written, scripts=4, rows=600, turns=50)
    print(place.kills, "kills", len(bill.tasks), "tasks")  # noqa: T201


async def test_a_client_of_ten_thousand_tasks_stays_flat(
    tmp_path: Path, bill: "Bill", scripted: Any, written: Any
) -> None:
    """One session that does 10,000 tasks under faults takes no more memory at its end."""
    place = Place(bill, tmp_path / "tasks.db")
    async with AsyncExitStack() as stack:
        await place.open(stack, scripted)
        await place.script.start(0, 10_000, 64, what="steady")
        assert await place.script.end() == 0
        peaks = place.script.found["peaks"]
        bill.hold_against(await written(place.file))
    fifth = len(peaks) // 5
    assert peaks[-1] < 1.1 * peaks[2 * fifth], peaks
    print("KiB", peaks[:: fifth // 2])  # noqa: T201
