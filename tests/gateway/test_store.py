"""Laws of every store of tasks, in memory or in a file."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from foxapi_async._clock import ManualClock
from foxapi_async._wire.request import GenerationRequest, Message
from foxapi_async._wire.task import Status, StreamRef
from foxapi_async.gateway.response_structs import TaskUsage, UnifiedTask
from foxapi_async.gateway.store import MemoryStore, SqlStore, Store
from foxapi_async.gateway.store.packing import MOST_CHUNKS

REQUEST = GenerationRequest(model="gpt-5.5", messages=(Message(role="user", content="hi"),))
IDS = tuple("abcdef")
OWNERS = ("", "ann")
RETENTION = 10.0
TASK_RETENTION = 25.0

Seen = dict[tuple[str, str], tuple[bytes | None, tuple[list[bytes], bytes] | None]]


def new_task(task_id: str, *, stream: bool = True) -> UnifiedTask:
    """Build a new task."""
    url = StreamRef(url=f"/{task_id}") if stream else None
    usage = TaskUsage(credits_reserved=0.5)
    return UnifiedTask(id=task_id, status=Status.PENDING, stream=url, usage=usage)


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Open each kind of store."""
    store: Store
    if request.param == "memory":
        store = MemoryStore(ManualClock(), retention=900, task_retention=900)
    else:
        clock = ManualClock()
        store = SqlStore(tmp_path / "fox.db", clock, retention=900, task_retention=900)
    await store.open()
    yield store
    await store.aclose()


async def test_a_task_is_its_owner_s_alone(store: Store) -> None:
    """A task and its stream are invisible to other owners, and only its owner is charged."""
    assert await store.add(new_task("a"), REQUEST, "ann")
    assert not await store.add(new_task("a"), REQUEST, "bob")
    assert await store.snapshot("a", "ann")
    assert await store.log("a", "ann") is not None
    for other in ("bob", ""):
        assert await store.snapshot("a", other) is None
        assert await store.log("a", other) is None
    assert [await store.spent(name) for name in ("ann", "bob", "")] == [0.5, 0, 0]


async def test_the_newest_tasks_of_an_owner_come_first(store: Store) -> None:
    """Running and ended tasks of one owner are listed by age, as they are now."""
    for number, task_id in enumerate("abcd"):
        assert await store.add(new_task(task_id), REQUEST, OWNERS[number % 2])
    await store.finish(replace(new_task("b"), status=Status.COMPLETED), b"")
    found = await store.newest("ann", 10)
    assert [task.snapshot for task in found] == [
        await store.snapshot(task_id, "ann") for task_id in "db"
    ]
    assert found[0].number > found[1].number
    assert await store.newest("ann", 1) == found[:1]
    assert await store.newest("bob", 10) == []


async def test_an_id_is_taken_by_one_of_many(store: Store) -> None:
    """Of many tasks that are added with the same id at once, exactly one is stored."""
    adding = [store.add(new_task(name), REQUEST) for name in "abacabad" * 5]
    assert sum(await asyncio.gather(*adding)) == 4
    assert await store.spent("") == 2


async def test_any_number_of_chunks_is_kept_in_its_order(tmp_path: Path) -> None:
    """All chunks that are written at once are there after a restart, in their order."""
    path, clock = tmp_path / "fox.db", ManualClock()
    frames = [str(number).encode() for number in range(2 * MOST_CHUNKS + 1)]
    store = SqlStore(path, clock, retention=900, task_retention=900)
    await store.open()
    assert await store.add(new_task("a"), REQUEST)
    await store.advance(new_task("a"), frames)
    await store.aclose()
    store = SqlStore(path, clock, retention=900, task_retention=900)
    found = await store.open()
    assert [list(unfinished.frames) for unfinished in found.unfinished] == [frames]
    await store.aclose()


async def test_a_taken_id_leaves_the_other_writes_alone(tmp_path: Path) -> None:
    """A taken id in a transaction undoes none of the writes that share the transaction."""
    path, clock = tmp_path / "fox.db", ManualClock()
    store = SqlStore(path, clock, retention=900, task_retention=900)
    await store.open()
    assert await store.add(new_task("a"), REQUEST)
    assert await store.add(new_task("b"), REQUEST)
    added, *_ = await asyncio.gather(
        store.add(new_task("a"), REQUEST),
        store.add(new_task("c"), REQUEST),
        store.advance(new_task("a"), [b"1", b"2"]),
        store.finish(new_task("b"), b"done"),
    )
    assert not added
    await store.aclose()
    store = SqlStore(path, clock, retention=900, task_retention=900)
    restored = await store.open()
    found = {item.task.id: list(item.frames) for item in restored.unfinished}
    assert found == {"a": [b"1", b"2"], "c": []}
    log = await store.log("b")
    assert log is not None
    assert log.closing == b"done"
    await store.aclose()


async def test_a_closed_store_refuses_reads(tmp_path: Path) -> None:
    """A log that is read after the store was closed raises an error and does not wait."""
    store = SqlStore(tmp_path / "fox.db", ManualClock(), retention=900, task_retention=900, cache=0)
    await store.open()
    assert await store.add(new_task("a"), REQUEST)
    await store.finish(new_task("a"), b"done")
    log = await store.log("a")
    assert log is not None
    await store.aclose()
    await store.aclose()
    with pytest.raises(RuntimeError, match="not open"):
        await log.read(0)


class Pair:
    """Two stores with the same calls, one of which may be closed and opened again."""

    def __init__(self, path: Path, cache: int) -> None:
        self.clock = ManualClock()
        self.memory = MemoryStore(self.clock, retention=RETENTION, task_retention=TASK_RETENTION)
        self._open: Callable[[], SqlStore] = lambda: SqlStore(
            path, self.clock, retention=RETENTION, task_retention=TASK_RETENTION, cache=cache
        )
        self.file = self._open()
        self.running: dict[str, UnifiedTask] = {}
        self.frames: dict[str, list[bytes]] = {}

    async def both(self, call: Callable[[Store], Awaitable[object]]) -> object:
        """Call both stores; return their common result."""
        one, other = await call(self.memory), await call(self.file)
        assert one == other
        return one

    async def add(self, task_id: str, owner: str, *, stream: bool) -> None:
        """Add a task, unless both refuse it."""
        if task_id in self.frames and await self.memory.snapshot(task_id, owner) is None:
            # Memory has forgotten it, a file might not have yet: no gateway gives an id again.
            return
        task = new_task(task_id, stream=stream)
        if await self.both(lambda store: store.add(task, REQUEST, owner)):
            self.running[task_id] = task
            self.frames[task_id] = []

    async def advance(self, task_id: str, count: int) -> None:
        """Add chunks to a running task; with none, only advance its state."""
        if task_id not in self.running:
            return
        old = self.running[task_id]
        task = replace(old, status=Status.PROCESSING, progress=min(99, old.progress + 1))
        length = len(self.frames[task_id])
        frames = [f"{task_id}{length + number}".encode() for number in range(count)]
        await self.both(lambda store: store.advance(task, frames))
        self.running[task_id] = task
        if task.stream is not None:
            self.frames[task_id] += frames

    async def finish(self, task_id: str, count: int) -> None:
        """End a running task; with a count, at another price than it has reserved."""
        if task_id not in self.running:
            return
        task = self.running.pop(task_id)
        task = replace(task, status=Status.COMPLETED, progress=100, results=(Raw(b'{"x":1}'),))
        if count:
            usage = TaskUsage(credits_reserved=0.5, credits_consumed=0.25 * count)
            task = replace(task, usage=usage)
        await self.both(lambda store: store.finish(task, b"done"))

    async def restart(self) -> None:
        """Open the file again and compare the running tasks."""
        await self.file.aclose()
        self.file = self._open()
        found = await self.file.open()
        assert {item.task.id: item.task for item in found.unfinished} == self.running
        for item in found.unfinished:
            assert item.request == REQUEST
            assert item.frames == self.frames[item.task.id]

    async def compare(self, ids: Sequence[str] = IDS) -> None:
        """Compare all visible data of some tasks."""
        assert await self._seen(self.memory, ids) == await self._seen(self.file, ids)
        for owner in OWNERS:
            await self.both(lambda store, owner=owner: store.spent(owner))  # type: ignore[misc]

    async def _seen(self, store: Store, ids: Sequence[str]) -> Seen:
        return {
            (task_id, owner): (
                await store.snapshot(task_id, owner),
                await self._chunks(store, task_id, owner),
            )
            for task_id in ids
            for owner in OWNERS
        }

    async def _chunks(
        self, store: Store, task_id: str, owner: str
    ) -> tuple[list[bytes], bytes] | None:
        log = await store.log(task_id, owner)
        if log is None:
            return None
        # The end of a log that runs is not waited for.
        end = len(self.frames[task_id]) if task_id in self.running else 1_000_000
        frames: list[bytes] = []
        while len(frames) < end and (more := await log.read(len(frames))):
            frames += more
        return frames, log.closing


Step = tuple[str, str, str, int]

STEPS: st.SearchStrategy[Sequence[Step]] = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "advance", "advance", "finish", "wait", "restart"]),
        st.sampled_from(IDS),
        st.sampled_from(OWNERS),
        st.integers(0, 3),
    ),
    max_size=25,
)


@settings(max_examples=30)
@given(steps=STEPS, cache=st.sampled_from([0, 600, 1_000_000]))
def test_a_file_is_as_good_as_memory(steps: Sequence[Step], cache: int) -> None:
    """A file returns the same as memory after any calls and restarts."""

    async def play(folder: str) -> None:
        pair = Pair(Path(folder) / "fox.db", cache)
        await pair.memory.open()
        await pair.file.open()
        try:
            for name, task_id, owner, count in steps:
                if name == "add":
                    await pair.add(task_id, owner, stream=count > 0)
                elif name == "advance":
                    await pair.advance(task_id, count)
                elif name == "finish":
                    await pair.finish(task_id, count)
                elif name == "wait":
                    await pair.clock.advance(count * 5)
                else:
                    await pair.restart()
                await pair.compare([task_id])
            await pair.compare()
        finally:
            await pair.file.aclose()

    with TemporaryDirectory() as folder:
        asyncio.run(play(folder))
