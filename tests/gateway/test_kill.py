"""A gateway that is killed while clients use it, and comes back on the same file and port."""

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


class Ordeal(NamedTuple):
    """How much is going on, and how often it is cut short."""

    tasks: int
    streams: int
    """How many of the tasks are followed chunk by chunk."""

    numbers: int
    """How far the answers count."""

    token_delay: float
    kills: int


class Child:
    """The gateway's process; another one after each kill."""

    def __init__(self, data: Path, token_delay: float) -> None:
        self._words = str(data), str(token_delay)
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    async def start(self) -> None:
        """Start on the port of the time before."""
        data, token_delay = self._words
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(SERVED), data, str(self.port), token_delay),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.port = int(await self._process.stdout.readline())

    async def __aenter__(self) -> Self:
        """Leave no process behind, whatever the test does."""
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
        """Count one."""
        self.deltas += 1
        if self.deltas >= self._goal:
            self._reached.set()

    async def reach(self, deltas: int) -> None:
        """Wait until there were so many."""
        self._goal = deltas
        self._reached.clear()
        if self.deltas < deltas:
            await self._reached.wait()


async def follow(handle: LLMHandle, counter: DeltaCounter) -> str:
    """Read a stream to its end, whatever happens on the way."""
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


async def undergo(ordeal: Ordeal, data: Path) -> None:
    """Submit, follow and wait while the gateway is killed, and see that nothing is amiss."""
    child = Child(data, ordeal.token_delay)
    await child.start()
    session = FoxSession(
        "sk-test",
        base_url=f"http://127.0.0.1:{child.port}",
        retry=RetryPolicy(attempts=60, initial=0.05, max_delay=0.5),
        polling=PollPolicy(give_up_after=300),
        streaming=StreamPolicy(initial=0.05, max_delay=0.5),
        limits=Limits(streams=ordeal.streams + 10, polls_per_second=None),
    )
    counter = DeltaCounter()
    expected = ", ".join(map(str, range(1, ordeal.numbers + 1)))
    async with session as fox, child:
        first = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 2")
        await first
        prompt = f"count 1 to {ordeal.numbers}"
        handles = await asyncio.gather(
            *(
                fox.llm.submit(model="gpt-5.5", messages=prompt, stream=number < ordeal.streams)
                for number in range(ordeal.tasks)
            )
        )
        followed = [follow(handle, counter) for handle in handles[: ordeal.streams]]
        waited = [wait(handle) for handle in handles[ordeal.streams :]]
        clients = [asyncio.create_task(client) for client in (*followed, *waited)]
        total = ordeal.streams * ordeal.numbers
        for number in range(1, ordeal.kills + 1):
            await counter.reach(total * number // (ordeal.kills + 1))
            ended = [first.id, *(handle.id for handle in handles if handle.done())]
            before = await answers(fox, ended)
            assert await child.end(signal.SIGKILL) == -signal.SIGKILL
            await child.start()
            assert await answers(fox, ended) == before
        assert set(await asyncio.gather(*clients)) == {expected}
        # Every stream once more, from the file.
        again = [fox.tasks.handle(handle.id) for handle in handles[: min(50, ordeal.streams)]]
        replays = [follow(handle, counter) for handle in again]
        assert set(await asyncio.gather(*replays)) == {expected}
        assert await child.end(signal.SIGTERM) == 0
    tasks, running, chunks = await asyncio.to_thread(totals, data)
    assert (tasks, running) == (ordeal.tasks + 1, 0)
    # A chunk for each token and one for the end.
    assert chunks == ordeal.streams * (ordeal.numbers + 1)


def totals(data: Path) -> tuple[int, int, int]:
    """Count tasks, unfinished ones and chunks."""
    with closing(sqlite3.connect(data)) as connection:
        found: tuple[int, int, int] = connection.execute(
            "SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM task WHERE ended IS NULL),"
            " (SELECT count(*) FROM chunk)"
        ).fetchone()
    return found


async def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    """After a ``kill -9`` every client goes on by itself; nothing is lost or made twice."""
    ordeal = Ordeal(tasks=30, streams=20, numbers=40, token_delay=0.02, kills=1)
    await undergo(ordeal, tmp_path / "fox.db")


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_three_kills_lose_nothing(tmp_path: Path) -> None:
    """The same with 5,000 tasks and 1,000 open streams, three times over."""
    ordeal = Ordeal(tasks=5000, streams=1000, numbers=150, token_delay=0.2, kills=3)
    await undergo(ordeal, tmp_path / "fox.db")
