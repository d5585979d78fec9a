"""Laws of the group commit on a database of its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from foxapi_async._clock import LoopClock
from foxapi_async._sql import DatabaseThread, GroupCommitter
from foxapi_async.gateway.store.rows import NewTask
from foxapi_async.gateway.store.tables import TaskTables

GATHER = 0.3


class RecordingTables(TaskTables):
    """The tables of a gateway, with the number of items of each commit."""

    commits: list[int]

    def execute(self, items: Sequence[object]) -> Sequence[object]:
        """Record a commit."""
        self.commits.append(len(items))
        return super().execute(items)


def open_tables(path: Path, commits: list[int]) -> RecordingTables:
    """Open the tables in the thread of the database."""
    tables = RecordingTables.open(path)
    tables.commits = commits
    return tables


@pytest.fixture
def commits() -> list[int]:
    """Return the list of the numbers of items that each commit wrote."""
    return []


@pytest.fixture(params=[0.0, GATHER])
async def committer(
    request: pytest.FixtureRequest, tmp_path: Path, commits: list[int]
) -> AsyncIterator[GroupCommitter[RecordingTables]]:
    """Open a database, with and without a time to gather writes."""
    thread = DatabaseThread(partial(open_tables, tmp_path / "test.db", commits))
    await thread.open()
    committer = GroupCommitter(thread, LoopClock(), gather=request.param)
    yield committer
    await committer.aclose()


def task(key: int) -> NewTask:
    """Return an item to write."""
    return NewTask(key, f"task-{key}", "", b"{}", b"{}", 1.0)


async def test_writes_of_one_loop_iteration_share_a_commit(
    committer: GroupCommitter[RecordingTables], commits: list[int]
) -> None:
    """Writes that are submitted together are in one commit, and those during it in the next."""
    first = [committer.execute(task(key)) for key in range(5)]
    while not commits:
        await asyncio.sleep(0)
    second = [committer.execute(task(key)) for key in range(5, 8)]
    assert await asyncio.gather(*first, *second) == [True] * 8
    assert commits == [5, 3]


async def test_a_read_sees_the_writes_before_it(
    committer: GroupCommitter[RecordingTables],
) -> None:
    """A read returns what was written before it was submitted, without awaiting the write."""
    written = committer.execute(task(1))
    row = await committer.run(lambda tables: tables.find("task-1"))
    assert row is not None
    assert written.done()


@pytest.mark.parametrize("committer", [GATHER], indirect=True)
async def test_a_large_commit_is_followed_by_a_pause(
    committer: GroupCommitter[RecordingTables], commits: list[int]
) -> None:
    """After a commit of many writes the next one waits, so that later writes join it."""
    many = [committer.execute(task(key)) for key in range(8)]
    while not commits:
        await asyncio.sleep(0)
    early = committer.execute(task(8))
    await asyncio.gather(*many)
    for _ in range(5):
        await asyncio.sleep(0)
    late = committer.execute(task(9))
    await asyncio.gather(early, late)
    assert commits == [8, 2]


async def test_a_cancelled_caller_does_not_cancel_its_write(
    committer: GroupCommitter[RecordingTables],
) -> None:
    """The item of a caller that is cancelled is written all the same."""
    written = committer.execute(task(1))
    written.cancel()
    assert await committer.run(lambda tables: tables.find("task-1")) is not None


async def test_closing_writes_what_is_waiting(tmp_path: Path, commits: list[int]) -> None:
    """``aclose`` returns after the waiting items are written."""
    path = tmp_path / "closing.db"
    thread = DatabaseThread(partial(open_tables, path, commits))
    await thread.open()
    committer = GroupCommitter(thread, LoopClock())
    committer.execute_soon(task(1))
    await committer.aclose()
    thread = DatabaseThread(partial(open_tables, path, commits))
    await thread.open()
    committer = GroupCommitter(thread, LoopClock())
    assert await committer.run(lambda tables: tables.find("task-1")) is not None
    await committer.aclose()
    assert commits == [1]
