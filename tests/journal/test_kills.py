"""The law of the journal: whatever the instant of a kill, nothing is lost or paid for twice."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

import foxapi_async
from foxapi_async import FoxSession
from foxapi_async._journal import Entry, Stage
from foxapi_async._journal.journal import Journal
from foxapi_async._journal.location import Location
from foxapi_async._protocol.fingerprint import fingerprint
from foxapi_async.gateway import Gateway
from foxapi_async.testing import Stall, TCPCutter

KEY = "sk-secret-0123456789abcdef"
SCRIPT = Path(__file__).with_name("script.py")
# One call in ten goes wrong, in every way that a submit, a query and a stream can.
FAULTS = (
    *("submit:reset:probability=0.015", "submit:reset:late,probability=0.015"),
    *("submit:502:late,probability=0.015", "submit:503:probability=0.015"),
    *("submit:429:probability=0.02,retry_after=0", "submit:html:late,probability=0.01"),
    *("submit:truncated:probability=0.01", "query:503:probability=0.04"),
    *("query:reset:probability=0.03", "query:empty:probability=0.03"),
)


class Bill:
    """What the service was asked for and what it made of it, by the requests' fingerprints."""

    def __init__(self) -> None:
        self.posts: Counter[str] = Counter()
        self.tasks: dict[str, str] = {}
        self.doubled: list[str] = []
        self._made = asyncio.Event()

    async def wait_for(self, tasks: int) -> None:
        """Wait until the service has made so many tasks."""
        while len(self.tasks) < tasks:
            self._made.clear()
            await self._made.wait()

    @web.middleware
    async def keep(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Stand behind the faults, right before the handler, and write down what it does."""
        if request.method != "POST":
            return await handler(request)
        mark = fingerprint(await request.read())
        self.posts[mark] += 1
        response = await handler(request)
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            task_id = msgspec.json.decode(response.body).get("id")
            if mark in self.tasks:
                self.doubled.append(mark)
            self.tasks[mark] = task_id
            self._made.set()
        return response

    def hold_against(self, entries: list[Entry]) -> None:
        """Every task is in the journal under its id, or unknown with its request; none twice."""
        assert not self.doubled
        written = {entry.fingerprint: entry for entry in entries}
        assert len(written) == len(entries)
        for mark, task_id in self.tasks.items():
            entry = written[mark]
            if entry.stage is Stage.UNKNOWN:
                assert fingerprint(entry.body or b"{}") == mark
            else:
                assert entry.task_id == task_id


class Script:
    """The user's script, as a process that can be run again."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def start(self, first: int, last: int, at_once: int = 10) -> int:
        """Run it for some rows and return its pid."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{first} {last} {at_once}\n".encode())
        return await self._line()

    async def end(self) -> int:
        """Return how the run ended."""
        return await self._line()

    async def _line(self) -> int:
        assert self._process.stdout is not None
        return int(await self._process.stdout.readline())


@asynccontextmanager
async def scripted(url: str, file: Path) -> AsyncIterator[Script]:
    """Start the process that runs the script."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-W", "error", str(SCRIPT), url, str(file)),
        env={**os.environ, "PYTHONPATH": str(Path(foxapi_async.__file__).parents[1])},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Script(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def written(file: Path) -> list[Entry]:
    """Read the journal as another process would."""
    journal = Journal(Location(str(file)), create=False)
    try:
        return await journal.entries()
    finally:
        await journal.aclose()


async def test_a_kill_between_post_and_answer_leaves_it_unknown(tmp_path: Path) -> None:
    """What was in flight when its process was killed is unknown, and is not sent again."""
    file, bill = tmp_path / "tasks.db", Bill()
    async with AsyncExitStack() as stack:
        gateway = Gateway()
        gateway.app.middlewares.append(bill.keep)
        await stack.enter_async_context(gateway)
        cutter = await stack.enter_async_context(TCPCutter(gateway.url))
        script = await stack.enter_async_context(scripted(cutter.url, file))
        cutter.on("POST", "*", Stall(response=0))
        pid = await script.start(0, 3)
        await cutter.wait_for_stalls(3)
        async with FoxSession(KEY, base_url=cutter.url, journal=file) as fox:
            # Its process lives and may still hear the answer: nothing is unknown yet.
            recovery = await fox.recover()
            assert (recovery.handles, recovery.unknown) == ((), ())
            os.kill(pid, signal.SIGKILL)
            assert await script.end() == -signal.SIGKILL
            recovery = await fox.recover()
        assert recovery.handles == ()
        assert {lost.key for lost in recovery.unknown} == {"row-0", "row-1", "row-2"}
        assert all("process" in lost.fault for lost in recovery.unknown)
        bill.hold_against(await written(file))
        cutter.heal()
        await script.start(0, 6)
        assert await script.end() == 0
        entries = await written(file)
        bill.hold_against(entries)
        assert Counter(entry.stage for entry in entries) == {Stage.UNKNOWN: 3, Stage.COMPLETED: 3}
        assert set(bill.posts.values()) == {1}
        # The marks of killed runs are swept away.
        assert not await asyncio.to_thread(lambda: list(tmp_path.glob("*-run-*")))


@pytest.mark.parametrize("tasks", [1, 9])
async def test_a_kill_after_so_many_tasks_loses_none(tmp_path: Path, tasks: int) -> None:
    """Killed when the service has made so many tasks, and run again, each row is paid for once."""
    file, bill = tmp_path / "tasks.db", Bill()
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


@pytest.mark.soak
async def test_ten_thousand_tasks_survive_two_hundred_kills(tmp_path: Path) -> None:
    """At ten per cent of faults and 200 kills, no row is lost and none is paid for twice."""
    rows, kills = 10_000, 200
    file, bill, chance = tmp_path / "tasks.db", Bill(), random.Random(17)  # noqa: S311 no secret
    gateway = Gateway(queue_delay=0, token_delay=0, faults=FAULTS, seed=17)
    gateway.app.middlewares.append(bill.keep)
    step, killed, first = rows // kills, 0, 0
    async with gateway, scripted(gateway.url, file) as script:
        while killed < kills:
            # The rows that the last kill interrupted are done once more, together with new ones.
            pid = await script.start(max(0, first - step), first + step, chance.choice((1, 10, 50)))
            ended = asyncio.create_task(script.end())
            await asyncio.wait((ended,), timeout=chance.expovariate(1 / 0.25))
            if not ended.done():
                os.kill(pid, signal.SIGKILL)
            status = await ended
            assert status in {0, -signal.SIGKILL}
            killed += status != 0
            first = min(first + step, rows - step)
            if killed % 20 == 0:
                bill.hold_against(await written(file))
        bill.hold_against(await written(file))
        await script.start(0, rows, 64)
        assert await script.end() == 0
        entries = await written(file)
    bill.hold_against(entries)
    stages = Counter(entry.stage for entry in entries)
    assert stages.total() == rows
    # A row is refused only if the service said so four times; what was accepted has its result.
    assert set(stages) <= {Stage.COMPLETED, Stage.UNKNOWN, Stage.REFUSED}
    lost = {entry.fingerprint for entry in entries if entry.stage is Stage.UNKNOWN}
    assert stages[Stage.COMPLETED] == len(bill.tasks.keys() - lost) > 0
    print(dict(stages), len(bill.tasks), "tasks", gateway.stats.submits, "POSTs")  # noqa: T201
