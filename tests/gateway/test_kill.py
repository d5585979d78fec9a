"""A gateway that is killed while clients use it, and restarted on the same file and port."""

import asyncio
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from foxapi_async import FoxSession, LLMHandle
from foxapi_async._wire.base import encode
from foxapi_async.config import Limits, PollPolicy, RetryPolicy, StreamPolicy

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")

SERVED = Path(__file__).parent / "served.py"


class KillTest(NamedTuple):
    """The load of the gateway, and the number of kills."""

    tasks: int
    streams: int
    """How many of the tasks are streamed."""

    numbers: int
    """The last number of each answer."""

    token_delay: float
    kills: int


class Child:
    """The process of the gateway, a new one after each kill."""

    def __init__(self, data: Path, token_delay: float) -> None:
        self._words = str(data), str(token_delay)
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    async def start(self) -> None:
        """Start the process, on the same port as before."""
        data, token_delay = self._words
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(SERVED), data, str(self.port), token_delay),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.port = int(await self._process.stdout.readline())

    async def __aenter__(self) -> Self:
        """Kill the process at the end of the test."""
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.end(signal.SIGKILL)

    async def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return await self._process.wait()


class DeltaCounter:
    """Counts the deltas of all clients, and wakes the waiters for a count."""

    def __init__(self) -> None:
        self.deltas = 0
        self._goal = 0
        self._reached = asyncio.Event()

    def add(self) -> None:
        """Count one delta."""
        self.deltas += 1
        if self.deltas >= self._goal:
            self._reached.set()

    async def reach(self, deltas: int) -> None:
        """Wait for this number of deltas."""
        self._goal = deltas
        self._reached.clear()
        if self.deltas < deltas:
            await self._reached.wait()


async def follow(handle: LLMHandle, counter: DeltaCounter) -> str:
    """Read a stream to its end."""
    text = ""
    async with handle.stream() as stream:
        async for delta in stream:
            text += delta.text
            counter.add()
    return text


async def wait(handle: LLMHandle) -> str:
    """Wait for an answer."""
    return (await handle.result()).text


async def answers(fox: FoxSession, ids: list[str]) -> dict[str, bytes]:
    """Return the snapshots of some tasks."""
    tasks = await asyncio.gather(*(fox.tasks.get(task_id) for task_id in ids))
    return {task.id: encode(task) for task in tasks}


async def run_kills(load: KillTest, data: Path) -> None:
    """Submit, stream and poll while the gateway is killed; check that nothing is lost."""
    child = Child(data, load.token_delay)
    await child.start()
    session = FoxSession(
        "sk-test",
        base_url=f"http://127.0.0.1:{child.port}",
        retry=RetryPolicy(attempts=60, initial=0.05, max_delay=0.5),
        polling=PollPolicy(give_up_after=300),
        streaming=StreamPolicy(initial=0.05, max_delay=0.5),
        limits=Limits(streams=load.streams + 10, polls_per_second=None),
    )
    counter = DeltaCounter()
    expected = ", ".join(map(str, range(1, load.numbers + 1)))
    async with session as fox, child:
        first = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 2")
        await first
        prompt = f"count 1 to {load.numbers}"
        handles = await asyncio.gather(
            *(
                fox.llm.submit(model="gpt-5.5", messages=prompt, stream=number < load.streams)
                for number in range(load.tasks)
            )
        )
        followed = [follow(handle, counter) for handle in handles[: load.streams]]
        waited = [wait(handle) for handle in handles[load.streams :]]
        clients = [asyncio.create_task(client) for client in (*followed, *waited)]
        total = load.streams * load.numbers
        for number in range(1, load.kills + 1):
            await counter.reach(total * number // (load.kills + 1))
            ended = [first.id, *(handle.id for handle in handles if handle.done())]
            before = await answers(fox, ended)
            assert await child.end(signal.SIGKILL) == -signal.SIGKILL
            await child.start()
            assert await answers(fox, ended) == before
        assert set(await asyncio.gather(*clients)) == {expected}
        # Every stream once more, from the file.
        again = [fox.tasks.handle(handle.id) for handle in handles[: min(50, load.streams)]]
        replays = [follow(handle, counter) for handle in again]
        assert set(await asyncio.gather(*replays)) == {expected}
        assert await child.end(signal.SIGTERM) == 0
    tasks, running, chunks = await asyncio.to_thread(totals, data)
    assert (tasks, running) == (load.tasks + 1, 0)
    # A chunk for each token and one for the end.
    assert chunks == load.streams * (load.numbers + 1)


def totals(data: Path) -> tuple[int, int, int]:
    """Return the numbers of tasks, of unfinished tasks and of chunks."""
    with closing(sqlite3.connect(data)) as connection:
        found: tuple[int, int, int] = connection.execute(
            "SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM task WHERE ended IS NULL),"
            " (SELECT sum(chunks) FROM log)"
        ).fetchone()
    return found


async def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    """After a ``kill -9`` every client continues by itself; nothing is lost or created twice."""
    load = KillTest(tasks=30, streams=20, numbers=40, token_delay=0.02, kills=1)
    await run_kills(load, tmp_path / "fox.db")


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_three_kills_lose_nothing(tmp_path: Path) -> None:
    """The same with 5,000 tasks, 1,000 open streams and three kills."""
    load = KillTest(tasks=5000, streams=1000, numbers=150, token_delay=0.2, kills=3)
    await run_kills(load, tmp_path / "fox.db")
