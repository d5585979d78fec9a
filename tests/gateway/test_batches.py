"""Laws of the chunks in a data file: in batches while their tasks run, then in logs."""

import asyncio
import itertools
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from foxapi_async._clock import ManualClock
from foxapi_async._sql.sqlite import read_pragma
from foxapi_async._wire.base import encode
from foxapi_async._wire.request import GenerationRequest, Message
from foxapi_async._wire.task import Status, StreamRef
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.response_structs import UnifiedTask
from foxapi_async.gateway.store import SqlStore, StoreError
from foxapi_async.gateway.store.packing import MOST_BYTES, MOST_CHUNKS, pack_batch
from foxapi_async.gateway.store.tables import TaskTables
from tests.gateway.data_files import VERSION_1, VERSION_2, execute

if TYPE_CHECKING:
    from foxapi_async.gateway.store import Restored

REQUEST = GenerationRequest(model="gpt-5.5", messages=(Message(role="user", content="hi"),))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return the path of the data file."""
    return tmp_path / "fox.db"


def new_store(data: Path, clock: ManualClock | None = None) -> SqlStore:
    """Build a store that keeps nothing of ended tasks in memory."""
    return SqlStore(data, clock or ManualClock(), retention=10, task_retention=1000, cache=0)


def task(task_id: str) -> UnifiedTask:
    """Build a task with a stream."""
    return UnifiedTask(id=task_id, status=Status.PENDING, stream=StreamRef(url=f"/{task_id}"))


def running(task_id: str) -> UnifiedTask:
    """Build the task once it is started."""
    return replace(task(task_id), status=Status.PROCESSING)


async def play(store: SqlStore, ids: Sequence[str], chunks: int, first: int = 0) -> None:
    """Write chunks of many tasks in turns."""
    for number in range(first, first + chunks):
        writes = (
            store.advance(running(name), [b"%s %d" % (name.encode(), number)]) for name in ids
        )
        await asyncio.gather(*writes)


def frames(task_id: str, chunks: int) -> list[bytes]:
    """Return what ``play`` writes."""
    return [b"%s %d" % (task_id.encode(), number) for number in range(chunks)]


async def read(store: SqlStore, task_id: str) -> list[bytes]:
    """Return all chunks of an ended task."""
    log = await store.log(task_id)
    assert log is not None
    found: list[bytes] = []
    while more := await log.read(len(found)):
        found += more
    return found


def unfinished(restored: "Restored") -> dict[str, list[bytes]]:
    """Return the chunks of the tasks that were restored."""
    return {item.task.id: list(item.frames) for item in restored.unfinished}


async def in_thread(work: Callable[[], Any]) -> Any:
    """Call ``work`` in a thread."""
    return await asyncio.to_thread(work)


async def test_restarts_in_the_middle_keep_all_chunks(data: Path) -> None:
    """Tasks that write in turns have their own chunks after each restart, and in their logs."""
    ids = [f"t{number}" for number in range(20)]
    store = new_store(data)
    await store.open()
    await asyncio.gather(*(store.add(task(name), REQUEST) for name in ids))
    for first in range(0, 30, 10):
        await play(store, ids, 10, first)
        await store.aclose()
        store = new_store(data)
        assert unfinished(await store.open()) == {name: frames(name, first + 10) for name in ids}
    for name in ids[:10]:
        await store.finish(task(name), b"done")
    assert [await read(store, name) for name in ids[:10]] == [frames(name, 30) for name in ids[:10]]
    await store.aclose()
    store = new_store(data)
    assert unfinished(await store.open()) == {name: frames(name, 30) for name in ids[10:]}
    assert [await read(store, name) for name in ids[:10]] == [frames(name, 30) for name in ids[:10]]
    await store.aclose()


@pytest.mark.parametrize("size", [1, 3 * MOST_BYTES // 2])
async def test_a_log_of_any_size_is_read_from_any_offset(data: Path, size: int) -> None:
    """A log comes back whole from each offset, in parts of a limited size."""
    store = new_store(data)
    await store.open()
    written = [
        bytes([number % 251]) * size for number in range(2 * MOST_CHUNKS + 1 if size == 1 else 5)
    ]
    await store.add(task("a"), REQUEST)
    await store.advance(task("a"), written)
    await store.finish(task("a"), b"done")
    log = await store.log("a")
    assert log is not None
    for offset in range(0, len(written) + 2, 1 if size > 1 else 37):
        found: list[bytes] = []
        while more := await log.read(offset + len(found)):
            assert len(more) <= MOST_CHUNKS
            assert sum(map(len, more)) < MOST_BYTES + size
            found += more
        assert found == written[offset:]
    await store.aclose()


async def test_a_crash_before_the_compaction_doubles_no_chunk(data: Path, tmp_path: Path) -> None:
    """Batches that still have chunks of ended tasks add nothing to their logs or other tasks."""
    store = new_store(data)
    await store.open()
    ids = ["a", "b", "c"]
    for name in ids:
        await store.add(task(name), REQUEST)
    await play(store, ids, 5)
    await store.finish(task("a"), b"done")
    await store.finish(task("c"), b"done")
    # What a `kill -9` leaves.
    crashed = tmp_path / "crashed.db"
    for suffix in ("", "-wal"):
        await asyncio.to_thread(shutil.copy, f"{data}{suffix}", f"{crashed}{suffix}")
    await store.aclose()
    store = new_store(crashed)
    assert unfinished(await store.open()) == {"b": frames("b", 5)}
    for name in ("a", "c"):
        assert await read(store, name) == frames(name, 5)
    await play(store, ["b"], 2, 5)
    await store.finish(task("b"), b"done")
    assert await read(store, "b") == frames("b", 7)
    await store.aclose()
    store = new_store(crashed)
    assert unfinished(await store.open()) == {}
    await store.aclose()
    assert await in_thread(lambda: execute(crashed, "SELECT count(*) FROM batch")) == [(0,)]


async def test_a_new_task_inherits_no_chunks(data: Path) -> None:
    """A task that gets the key of a deleted one after a restart has none of its chunks."""
    store = new_store(data)
    await store.open()
    await store.add(task("a"), REQUEST)
    await store.add(task("b"), REQUEST)
    await play(store, ["a", "b"], 5)
    await store.finish(task("b"), b"done")
    await store.aclose()
    await in_thread(lambda: execute(data, "DELETE FROM task WHERE id = 'b'"))
    for chunks in (0, 2):
        store = new_store(data)
        expected = {"a": frames("a", 5)} | ({"c": frames("c", chunks)} if chunks else {})
        assert unfinished(await store.open()) == expected
        if not chunks:
            await store.add(task("c"), REQUEST)
            await play(store, ["c"], 2)
        await store.aclose()
    keys = await in_thread(lambda: execute(data, "SELECT key FROM task"))
    assert keys == [(1,), (2,)]
    store = new_store(data)
    await store.open()
    await store.finish(task("c"), b"done")
    assert await read(store, "c") == frames("c", 2)
    await store.aclose()


def run_compaction(data: Path, batches: Sequence[bytes]) -> list[int]:
    """Compact the batches; return how many are left after each step."""
    tables = TaskTables.open(data)
    for batch in batches:
        tables.connection.exec_driver_sql("INSERT INTO batch (chunks) VALUES (?)", (batch,))
    tables.connection.commit()
    last, first, left = tables.last_batch(), 0, []
    step: int | None = first
    while step is not None:
        step = tables.compact(step, last, 0.5)
        tables.connection.commit()
        left.append(
            int(tables.connection.exec_driver_sql("SELECT count(*) FROM batch").scalar() or 0)
        )
    tables.close()
    return left


@pytest.mark.parametrize(("size", "most"), [(100_000, 25), (10, 600)])
def test_a_step_of_the_compaction_is_bounded(data: Path, size: int, most: int) -> None:
    """No transaction reads more than some bytes or rows, so that others are written in between."""
    batches = [pack_batch([(number, 0, 1, b"x" * size)]) for number in range(4 * most)]
    left = [len(batches), *run_compaction(data, batches)]
    assert left[-1] == 0
    assert all(before - after <= most for before, after in itertools.pairwise(left))


async def test_a_steady_load_needs_no_more_space(data: Path) -> None:
    """Chunks of ended tasks make room for new ones, while another task runs all the time."""
    clock = ManualClock()
    store = new_store(data, clock)
    await store.open()

    def pages() -> Awaitable[Any]:
        return store._committer.run(lambda tables: read_pragma(tables.connection, "page_count"))

    async def rows() -> int:
        return await store._committer.run(
            lambda it: int(
                it.connection.exec_driver_sql("SELECT count(*) FROM batch").scalar() or 0
            )
        )

    await store.add(task("long"), REQUEST)
    sizes = []
    for turn in range(12):
        ids = [f"{turn}/{number}" for number in range(20)]
        await asyncio.gather(*(store.add(task(name), REQUEST) for name in ids))
        for _ in range(25):
            writes = (store.advance(task(name), [name.encode() * 40]) for name in ids)
            await asyncio.gather(store.advance(task("long"), [b"x"]), *writes)
        for name in ids:
            await store.finish(task(name), b"done")
        await clock.advance(40)
        sizes.append(await pages())
        assert await rows() <= 60
    # Only the tasks themselves, which are retained longer, need more.
    assert sizes[-1] - sizes[3] < sizes[3] - 10
    assert sizes[-1] < 3 * sizes[1]
    await store.aclose()
    store = new_store(data, clock)
    assert unfinished(await store.open()) == {"long": [b"x"] * 300}
    await store.aclose()


async def damaged(data: Path, damage: str) -> "Restored":
    """Restore tasks of which one was alone in a batch that is damaged then."""
    store = new_store(data)
    await store.open()
    for name in ("a", "b", "pending"):
        await store.add(task(name), REQUEST)
    await store.add(UnifiedTask(id="unstreamed", status=Status.PENDING), REQUEST)
    await store.advance(UnifiedTask(id="unstreamed", status=Status.PROCESSING))
    await play(store, ["a", "b"], 3)
    await play(store, ["a"], 1, 3)
    await play(store, ["a", "b"], 1, 4)
    await store.aclose()
    change = f"UPDATE batch SET chunks = {damage} WHERE position = 4"  # noqa: S608 of this test
    await in_thread(lambda: execute(data, change))
    store = new_store(data)
    found = await store.open()
    for item in found.unfinished:
        await store.finish(item.task, b"done")
        if item.task.stream is not None:
            assert await read(store, item.task.id) == list(item.frames)
    await store.aclose()
    return found


@pytest.mark.parametrize(
    "damage",
    ["'a text'", "7", "X'FF'", "X''", "CAST(X'FF' AS TEXT)", "X'91A0'", "X'9194A10101C400'"],
)
async def test_a_damaged_batch_fails_the_tasks_that_it_may_concern(data: Path, damage: str) -> None:
    """No task that may lack a chunk continues; tasks without chunks do."""
    found = await damaged(data, damage)
    assert unfinished(found) == {"a": [], "b": [], "pending": [], "unstreamed": []}
    assert [item.request for item in found.unfinished] == [None, None, REQUEST, REQUEST]


async def test_a_missing_chunk_fails_its_task_alone(data: Path) -> None:
    """A task that lacks a chunk cannot be read; the others have all their chunks."""
    found = await damaged(data, "X'90'")
    assert unfinished(found) == {
        "a": [],
        "b": [*frames("b", 3), b"b 4"],
        "pending": [],
        "unstreamed": [],
    }
    assert [item.request for item in found.unfinished] == [None, REQUEST, REQUEST, REQUEST]


@pytest.mark.parametrize(
    "damage", ["frames = 'a text'", "frames = X'FF'", "chunks = 1", "frames = 7"]
)
async def test_a_damaged_log_is_not_taken_for_whole(data: Path, damage: str) -> None:
    """Reading a damaged log raises an error; other logs can be read."""
    store = new_store(data)
    await store.open()
    for name in ("a", "b"):
        await store.add(task(name), REQUEST)
        await play(store, [name], 3)
        await store.finish(task(name), b"done")
    await store.aclose()
    await in_thread(lambda: execute(data, f"UPDATE log SET {damage} WHERE task = 1"))  # noqa: S608
    store = new_store(data)
    await store.open()
    with pytest.raises(StoreError, match="damaged"):
        await read(store, "a")
    assert await read(store, "b") == frames("b", 3)
    await store.aclose()


def write_old(data: Path, tables: str) -> None:
    """Write a file of an old version: two running tasks, two ended ones, one without its chunks."""
    columns = "key, id, owner, answer, request, ended, closing"
    with closing(sqlite3.connect(data)) as connection, connection:
        connection.executescript(tables)
        connection.execute("PRAGMA journal_mode = WAL")
        for key, name in enumerate(["a", "b", "c", "d", "e"], 1):
            ended = None if name in "ac" else 1_776_874_565
            row = (key, name, encode(task(name)), None if ended else encode(REQUEST), ended)
            statement = f"INSERT INTO task ({columns}) VALUES (?, ?, '', ?, ?, ?, ?)"  # noqa: S608
            connection.execute(statement, (*row, b"done" if name in "bd" else None))
            if name != "e":
                rows = [(key, number, 7, frame) for number, frame in enumerate(frames(name, 600))]
                connection.executemany("INSERT INTO chunk VALUES (?, ?, ?, ?)", rows)
        connection.execute("INSERT INTO spent VALUES ('', 7)")
        connection.execute("INSERT INTO run VALUES (3)")


@pytest.mark.parametrize(("tables", "spent"), [(VERSION_1, 0), (VERSION_2, 19.5)])
async def test_a_file_of_an_old_version_is_migrated(data: Path, tables: str, spent: float) -> None:
    """All tasks and chunks of an older file are there; older releases refuse it from then on."""
    await in_thread(lambda: write_old(data, tables))
    for runs in (3, 4):
        store = new_store(data)
        restored = await store.open()
        assert restored.runs == runs
        assert unfinished(restored) == {name: frames(name, 600) for name in "ac"}
        assert {item.task.progress for item in restored.unfinished} == {7}
        for name in "bd":
            assert await read(store, name) == frames(name, 600)
        assert await store.log("e") is None
        assert await store.snapshot("e") is not None
        assert await store.spent("") == spent
        await store.aclose()
    select = "SELECT name FROM sqlite_master WHERE type = 'table'"
    found = await in_thread(lambda: execute(data, select))
    assert {name for (name,) in found} == {"task", "batch", "log", "spent", "run"}
    assert await in_thread(lambda: execute(data, "PRAGMA user_version")) == [(4,)]
    store = new_store(data)
    await store.open()
    assert await store.add(task("f"), REQUEST)
    await play(store, ["f"], 2)
    await store.finish(task("f"), b"done")
    assert await read(store, "f") == frames("f", 2)
    await store.aclose()


async def test_a_file_without_kinds_is_migrated(data: Path) -> None:
    """Of the tasks of version 3 it is unknown what answers them; that of new ones is stored."""
    store = new_store(data)
    await store.open()
    await store.add(task("a"), REQUEST, kind="upstream")
    await store.aclose()
    await in_thread(lambda: execute(data, "ALTER TABLE task DROP COLUMN kind"))
    await in_thread(lambda: execute(data, "PRAGMA user_version = 3"))
    store = new_store(data)
    await store.open()
    await store.add(task("b"), REQUEST, kind="local")
    await store.aclose()
    store = new_store(data)
    restored = await store.open()
    assert [(item.task.id, item.kind) for item in restored.unfinished] == [
        ("a", None),
        ("b", "local"),
    ]
    await store.aclose()


@pytest.mark.parametrize("tables", [VERSION_1, VERSION_2])
async def test_a_migration_that_fails_changes_nothing(data: Path, tables: str) -> None:
    """An older file that cannot be migrated is refused, and stays as it was."""
    await in_thread(lambda: write_old(data, tables))
    await in_thread(lambda: execute(data, "ALTER TABLE chunk RENAME COLUMN progress TO other"))
    before = await in_thread(data.read_bytes)
    with pytest.raises(ConfigError, match=r"fox\.db"):
        await new_store(data).open()
    assert await in_thread(data.read_bytes) == before
    await in_thread(lambda: execute(data, "ALTER TABLE chunk RENAME COLUMN other TO progress"))
    store = new_store(data)
    assert unfinished(await store.open()) == {name: frames(name, 600) for name in "ac"}
    await store.aclose()
