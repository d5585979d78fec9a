"""Laws of a gateway with a data file that is closed and opened again."""

import asyncio
import stat
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async._clock import ManualClock, settle
from foxapi_async._sql.sqlite import read_pragma
from foxapi_async._sql.worker import THREAD_NAME
from foxapi_async._wire.request import GenerationRequest, Message
from foxapi_async._wire.task import Status, StreamRef
from foxapi_async.errors import ConfigError
from foxapi_async.gateway import Gateway, make_app
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.engine import Engine
from foxapi_async.gateway.models import make_models
from foxapi_async.gateway.response_structs import UnifiedTask
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import SqlStore, make_store
from foxapi_async.gateway.store.schema import APPLICATION
from tests.gateway.data_files import change_chunks, execute

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service

REQUEST = GenerationRequest(
    model="gpt-5.5", messages=(Message(role="user", content="count 1 to 3"),)
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return the path of the data file."""
    return tmp_path / "fox.db"


async def close(service: "Service") -> None:
    """Stop a gateway before the end of the test."""
    await service.gateway.__aexit__(None, None, None)


async def until(is_so: Callable[[], bool]) -> None:
    """Run the loop while a thread writes."""
    while not is_so():
        await asyncio.sleep(0)


async def written(service: "Service", chunks: int, clock: ManualClock) -> None:
    """Advance the clock until this number of chunks is stored."""
    while service.gateway.stats.chunks < chunks:
        await clock.advance(1)
        await settle()


async def sql(data: Path, statement: str) -> list[Any]:
    """Call ``execute`` in a thread."""
    return await asyncio.to_thread(execute, data, statement)


async def test_finished_tasks_are_the_same_after_a_restart(serve: "Serve", data: Path) -> None:
    """The responses for finished tasks and streams have the same bytes after a restart."""
    one = await serve(data=data)
    prompts = ["count 1 to 400", "[[fail:timeout:3]]", "tell me"]
    tasks = [await one.submit(prompt, stream=True) for prompt in prompts]
    tasks.append(await one.submit("count 1 to 3"))
    for task in tasks:
        await one.finished(task["id"])

    async def look(service: "Service") -> list[tuple[int, bytes]]:
        replies = [await service.call("GET", f"/v1/tasks/{task['id']}") for task in tasks]
        for query in ("", "?offset=2", "?offset=300", "?offset=1000"):
            replies += [await service.stream(task["id"], query) for task in tasks]
        # The only thing that tells one run from another is in an error's own words: none here.
        return [(reply.status, reply.body) for reply in replies]

    before = await look(one)
    assert [status for status, _ in before].count(200) == 16
    await close(one)
    two = await serve(data=data)
    assert await look(two) == before
    assert two.gateway.stats.tasks == 0


async def test_running_tasks_continue_after_a_restart(serve: "Serve", data: Path) -> None:
    """A task that a restart interrupts ends with the same bytes as without a restart."""
    options: dict[str, Any] = {"seed": 5, "queue_delay": 5, "token_delay": 1}
    members: list[dict[str, Any]] = [
        {"prompt": "count 1 to 200", "stream": True},
        {"prompt": "count 1 to 90", "stream": True, "model": "kimi-k2.6", "n": 2},
        {"prompt": "count 1 to 9"},
    ]
    clock = ManualClock()
    whole = await serve(clock=clock, **options)
    tasks = [await whole.submit(**item) for item in members]
    await clock.advance(300)
    expected = [(await whole.call("GET", f"/v1/tasks/{task['id']}")).body for task in tasks]
    streams = [(await whole.stream(task["id"])).body for task in tasks]

    progress = [0] * len(tasks)
    for chunks in (0, 1, 7, 12):
        clock = ManualClock()
        service = await serve(clock=clock, data=data, **options)
        if not chunks:
            assert [await service.submit(**item) for item in members] == tasks
        await written(service, chunks, clock)
        now = [await service.task(task["id"]) for task in tasks]
        assert all(task["status"] != "completed" for task in now[:2])
        assert all(task["progress"] >= old for task, old in zip(now, progress, strict=True))
        progress = [task["progress"] for task in now]
        await close(service)
    clock = ManualClock()
    service = await serve(clock=clock, data=data, **options)
    for task, answer, stream in zip(tasks, expected, streams, strict=True):
        while (await service.task(task["id"]))["status"] != "completed":
            await clock.advance(20)
        assert (await service.call("GET", f"/v1/tasks/{task['id']}")).body == answer
        if task["stream"]:
            assert (await service.stream(task["id"])).body == stream


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: change_chunks(data, lambda chunk: [*chunk[:3], b"something else"]),
        lambda data: execute(data, "UPDATE task SET request = '{}'"),
    ],
    ids=["another answer", "another request"],
)
async def test_a_task_that_cannot_continue_fails(
    serve: "Serve", data: Path, damage: Callable[[Path], object]
) -> None:
    """A task whose model would not repeat its chunks fails with ``service_restarted``."""
    clock = ManualClock()
    one = await serve(clock=clock, data=data, token_delay=1)
    # Time moves on while a thread writes: a short answer could be at its end by then.
    task = await one.submit("count 1 to 900", stream=True)
    await written(one, 3, clock)
    await close(one)
    await asyncio.to_thread(damage, data)
    two = await serve(data=data, clock=ManualClock())
    task = await two.finished(task["id"])
    assert (task["status"], task["error"]["code"]) == ("failed", "service_restarted")
    body = (await two.stream(task["id"])).body
    assert body.count(b"event: ") == body.count(b"event: chunk") + 1
    assert b"event: error" in body


async def test_ids_are_unique_in_all_runs(serve: "Serve", data: Path) -> None:
    """No restart repeats an id, even with a seed, a stopped clock and deleted tasks."""
    ids: list[str] = []
    for number in range(4):
        clock = ManualClock()
        service = await serve(data=data, seed=1, clock=clock, retention=1, task_retention=1)
        ids += [(await service.submit())["id"] for _ in range(5)]
        for task_id in ids[-5:]:
            await service.finished(task_id)
        await close(service)
        if number % 2:
            await sql(data, "DELETE FROM task")
    assert len(set(ids)) == 20


async def test_a_file_belongs_to_one_gateway(data: Path) -> None:
    """A second gateway on the same file is refused until the first one is closed."""
    async with Gateway(data=data):
        with pytest.raises(ConfigError, match=r"fox\.db is in use by another process"):
            async with Gateway(data=data):
                pass
    async with Gateway(data=str(data)):
        pass


def content(data: Path) -> bytes:
    """Return the content of a file; a folder has none."""
    return data.read_bytes() if data.is_file() else b""


def foreign(data: Path) -> None:
    """Write the database of another program."""
    execute(data, "CREATE TABLE task (id TEXT)")


def other_version(data: Path) -> None:
    """Write a data file of another version."""
    execute(data, f"PRAGMA application_id = {APPLICATION}")
    execute(data, "PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (foreign, "another program"),
        (other_version, "schema is number 99, this one's is 4"),
        (lambda data: data.write_text("dear diary, " * 100), "no data file"),
        (lambda data: data.write_text("x"), "was cut off"),
        (lambda data: data.mkdir(), "is a folder"),
    ],
    ids=["another program", "another version", "text", "fragment", "folder"],
)
async def test_a_file_of_another_kind_is_refused(
    data: Path, write: Callable[[Path], object], reason: str
) -> None:
    """A file that this version did not write is refused with the reason, and not changed."""
    await asyncio.to_thread(write, data)
    before = await asyncio.to_thread(content, data)
    with pytest.raises(ConfigError, match=reason):
        async with Gateway(data=data):
            pass
    assert await asyncio.to_thread(content, data) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
async def test_a_new_data_file_is_private(data: Path) -> None:
    """Only its owner can read a new data file, which has prompts and answers."""
    async with Gateway(data=data):
        assert stat.S_IMODE((await asyncio.to_thread(data.stat)).st_mode) == 0o600


async def test_a_missing_folder_of_the_data_file_is_reported(tmp_path: Path) -> None:
    """A path where no file can be created is an error that names it, and leaves no thread."""
    with pytest.raises(ConfigError, match=r"nowhere.fox\.db"):
        async with Gateway(data=tmp_path / "nowhere" / "fox.db"):
            pass
    await until(lambda: THREAD_NAME not in {thread.name for thread in threading.enumerate()})


def test_a_missing_extra_is_reported(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra a data file is refused, and the error says what to install."""
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r"pip install 'foxapi-async\[gateway\]'"):
        make_app(data=data)


async def test_retention_goes_on_without_a_gateway(serve: "Serve", data: Path) -> None:
    """Retention is counted in wall time from the end of a task, with or without a gateway."""
    one = await serve(data=data, clock=ManualClock(unix=1000))
    task = await one.submit(stream=True)
    await one.finished(task["id"])
    await close(one)
    for now, stream, query in [(1899, 200, 200), (1900, 404, 200), (2_593_000, 404, 404)]:
        service = await serve(data=data, clock=ManualClock(unix=now))
        assert (await service.stream(task["id"])).status == stream
        assert (await service.call("GET", f"/v1/tasks/{task['id']}")).status == query
        await close(service)


async def test_expired_tasks_are_deleted_from_the_file(serve: "Serve", data: Path) -> None:
    """Expired chunks and then expired tasks are deleted from the file."""
    clock = ManualClock()
    service = await serve(data=data, clock=clock, retention=50, task_retention=200)
    for _ in range(3):
        await service.finished((await service.submit(stream=True))["id"])
    await clock.advance(60)
    await service.finished((await service.submit())["id"])
    await close(service)
    counts = (
        "SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM log),"
        " (SELECT count(*) FROM batch)"
    )
    assert await sql(data, counts) == [(4, 0, 0)]
    clock = ManualClock(unix=1_776_874_565 + 230)
    service = await serve(data=data, clock=clock, retention=50, task_retention=200)
    await service.finished((await service.submit())["id"])
    await close(service)
    assert await sql(data, counts) == [(2, 0, 0)]


async def test_a_replay_in_progress_outlives_the_retention(data: Path) -> None:
    """Chunks stay until their reader has read them, and are dropped after that."""
    clock = ManualClock()
    store = SqlStore(data, clock, retention=10, task_retention=1000, cache=0)
    await store.open()
    task = UnifiedTask(id="a", status=Status.PENDING, stream=StreamRef(url="/a"))
    await store.add(task, REQUEST)
    await store.advance(task, [b"x"] * 1000)
    await store.finish(task, b"done")
    log = await store.log("a")
    assert log is not None
    read = len(await log.read(0))
    for name in "bcd":
        await clock.advance(100)
        await store.add(UnifiedTask(id=name, status=Status.PENDING), REQUEST)
    assert 0 < read < 1000
    while frames := await log.read(read):
        read += len(frames)
    assert read == 1000
    assert await store.log("a") is None
    del log
    await clock.advance(100)
    await store.add(UnifiedTask(id="e", status=Status.PENDING), REQUEST)
    await store.aclose()
    assert await sql(data, "SELECT count(*) FROM log") == [(0,)]


async def test_a_submit_whose_client_disconnects_is_a_task(data: Path) -> None:
    """A task whose client disconnects while it is being stored exists and runs."""
    settings = GatewaySettings(data=data, queue_delay=0, token_delay=0)
    store, stats = make_store(settings), GatewayStats()
    engine = Engine(settings=settings, models=make_models(settings), store=store, stats=stats)
    engine.resume(await store.open())
    submit = asyncio.create_task(engine.submit(REQUEST))
    await asyncio.sleep(0)
    submit.cancel()
    await until(lambda: stats.completed == 1)
    assert submit.cancelled()
    await engine.aclose()
    await store.aclose()


async def test_a_submit_that_is_open_is_answered_at_shutdown(data: Path) -> None:
    """A submit that is being stored at shutdown gets its response, and runs after the restart."""
    settings = GatewaySettings(data=data, queue_delay=0, token_delay=0)
    store, stats = make_store(settings), GatewayStats()
    engine = Engine(settings=settings, models=make_models(settings), store=store, stats=stats)
    engine.resume(await store.open())
    submits = [asyncio.create_task(engine.submit(REQUEST)) for _ in range(5)]
    await asyncio.sleep(0)
    await engine.aclose()
    tasks = [await submit for submit in submits]
    with pytest.raises(APIError, match="shutting down"):
        await engine.submit(REQUEST)
    await store.aclose()
    store = make_store(settings)
    found = await store.open()
    assert [item.task for item in found.unfinished] == tasks
    engine = Engine(settings=settings, models=make_models(settings), store=store, stats=stats)
    engine.resume(found)
    await until(lambda: stats.completed == 5)
    await engine.aclose()
    await store.aclose()


async def test_what_cannot_be_stored_is_not_visible(data: Path) -> None:
    """With a full disk a submit is refused, and a running task stops until a restart."""
    settings = GatewaySettings(data=data, queue_delay=0, token_delay=0)
    store, stats = SqlStore(data, settings.clock, retention=900, task_retention=900), GatewayStats()
    engine = Engine(settings=settings, models=make_models(settings), store=store, stats=stats)
    engine.resume(await store.open())

    def pragma(text: str) -> Awaitable[Any]:
        return store._committer.run(lambda tables: read_pragma(tables.connection, text))

    await pragma(f"max_page_count = {await pragma('page_count') + 3}")
    long = Message(role="user", content="tell me of " + "x" * 3000)
    tasks: list[UnifiedTask] = []
    with pytest.raises(APIError, match="cannot store"):
        while True:
            request = GenerationRequest(model="gpt-5.5", messages=(long,), stream=True)
            tasks.append(await engine.submit(request))
    assert tasks
    assert await store.snapshot(tasks[0].id) is not None
    await pragma("max_page_count = 100000")
    await engine.aclose()
    await store.aclose()
    store = SqlStore(data, settings.clock, retention=900, task_retention=900)
    engine = Engine(settings=settings, models=make_models(settings), store=store, stats=stats)
    engine.resume(await store.open())
    await until(lambda: stats.completed == len(tasks))
    assert stats.failed == 0
    await engine.aclose()
    await store.aclose()
