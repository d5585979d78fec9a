"""Laws of Ray Data: rows are answered by actors, none is billed twice, none is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from foxapi_async import ConfigError, Limits
from foxapi_async._transport import Account
from foxapi_async.ray import FoxGenerate, generate
from foxapi_async.testing import BackgroundGateway
from tests.postgres import postgres_schema, postgres_server
from tests.ray.conftest import KEY, Options

pytestmark = pytest.mark.ray

SCRIPT = Path(__file__).with_name("script.py")


def ray_data() -> Any:
    """Import Ray Data, which the tests that are not marked do without."""
    import ray.data

    return ray.data


def dataset(count: int, *, blocks: int = 8) -> Any:
    """Return a data set of ids and texts."""
    rows = [{"id": number, "text": f"say {number}"} for number in range(count)]
    return ray_data().from_items(rows, override_num_blocks=blocks)


def map_batches(data: Any, options: dict[str, Any], *, batch_format: str = "pyarrow") -> Any:
    """Answer a data set by two actors."""
    compute = ray_data().ActorPoolStrategy(size=2, max_concurrent_calls_per_actor=8)
    return data.map_batches(
        FoxGenerate,
        fn_constructor_kwargs=options,
        batch_format=batch_format,
        batch_size=25,
        num_cpus=0.1,
        compute=compute,
    )


def answer_by_batches(data: Any, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows that ``FoxGenerate`` answers."""
    return iter(map_batches(data, options).iter_rows())


def answer_by_rows(data: Any, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows that ``generate`` answers."""
    for table in generate(data, workers=2, **options):
        yield from table.to_pylist()


Answering = Callable[[Any, dict[str, Any]], Iterator[dict[str, Any]]]
both = pytest.mark.parametrize("answer", [answer_by_batches, answer_by_rows])


def noting_prompt(folder: Path) -> Callable[[dict[str, Any]], str]:
    """Return a function of the row that notes the process of each worker in ``folder``."""

    def prompt(row: dict[str, Any]) -> str:
        import os
        from pathlib import Path

        Path(folder, str(os.getpid())).touch()
        return str(row["text"])

    return prompt


def workers_of(folder: Path, count: int) -> list[int]:
    """Wait for ``count`` workers, and return their process ids."""
    while len(found := [int(path.name) for path in folder.iterdir()]) < count:
        time.sleep(0.05)
    return found


def kill_a_worker(folder: Path, background: BackgroundGateway, billed: int) -> None:
    """Kill a worker when that many rows were billed."""
    while len(background.billed) < billed:
        time.sleep(0.02)
    os.kill(workers_of(folder, 1)[0], signal.SIGKILL)


def check(rows: list[dict[str, Any]], count: int, background: BackgroundGateway) -> None:
    """Check that each row came once, answered or unknown, and that no more tasks were billed."""
    assert sorted(row["id"] for row in rows) == list(range(count))
    for row in rows:
        if row["error"] is None:
            assert f'"say {row["id"]}"' in row["answer"]
        else:
            assert row["error"].startswith("SubmitOutcomeUnknownError")
    assert len(background.billed) <= count


@both
def test_rows_are_answered_once(
    answer: Answering, background: BackgroundGateway, options: Options
) -> None:
    """Each row comes back once, with its columns and its answer, and is billed once."""
    rows = list(answer(dataset(100), options(key="id")))
    check(rows, 100, background)
    assert {row["error"] for row in rows} == {None}
    assert set(rows[0]) == {"id", "text", "answer", "error", "task_id", "usage"}
    assert sorted(row["task_id"] for row in rows) == sorted(background.billed)


def test_all_workers_keep_one_rate(options: Options) -> None:
    """Two workers without a journal make ten submits a second, also after the loss of the rate."""
    times: list[float] = []

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST":
            times.append(time.monotonic())
        return await handler(request)

    def lose_the_rate(url: str) -> None:
        while len(times) < 20:
            time.sleep(0.02)
        ray: Any = import_module("ray")
        name = Account(KEY, url, allow_http=False).rate_name()
        ray.kill(ray.get_actor(f"rate-{name}", namespace="foxapi_async"), no_restart=True)

    background = BackgroundGateway(queue_delay=0.05)
    background._gateway.app.middlewares.append(note)
    with background:
        more = options(
            journal=None,
            limits=Limits(polls_per_second=None, submits_per_minute=600),
            session={"base_url": background.url},
        )
        killer = Thread(target=lose_the_rate, args=[background.url])
        killer.start()
        with pytest.warns(RuntimeWarning, match="journal"):
            rows = list(answer_by_rows(dataset(50), more))
        killer.join()
        check(rows, 50, background)
    # But for the burst, again after the loss, and a lease of each worker.
    assert times[-1] - times[0] >= (50 - 1 - 2 * (2 + 2)) / 10


@pytest.mark.parametrize("batch_format", ["numpy", "pandas"])
def test_each_batch_format_is_answered(
    batch_format: str, background: BackgroundGateway, options: Options
) -> None:
    """A data set in another format has the same rows; a missing prompt is the error of its row."""
    data = dataset(30, blocks=2).union(ray_data().from_items([{"id": 30, "text": None}]))
    made = map_batches(data, options(key="id"), batch_format=batch_format)
    rows = sorted(made.iter_rows(), key=lambda row: row["id"])
    check(rows[:30], 30, background)
    assert len(rows) == 31
    assert rows[30]["answer"] is None
    assert rows[30]["error"].startswith("RequestValidationError")
    assert len(background.billed) == 30


@both
def test_a_killed_worker_bills_nothing_twice(
    answer: Answering, background: BackgroundGateway, options: Options, tmp_path: Path
) -> None:
    """A worker is killed in the middle: each row is answered or unknown, and none billed twice."""
    folder = tmp_path / "workers"
    folder.mkdir()
    made = answer(dataset(200), options(key="id", prompt=noting_prompt(folder), in_flight=10))
    killer = Thread(target=kill_a_worker, args=(folder, background, 40))
    killer.start()
    rows = list(made)
    killer.join()
    check(rows, 200, background)
    assert len(workers_of(folder, 2)) >= 2


@pytest.fixture(params=["sqlite", "postgres"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the location of a journal: a file, or a schema of a PostgreSQL server."""
    if request.param == "sqlite":
        yield str(tmp_path / "tasks.db")
        return
    with postgres_server() as server, postgres_schema(server) as url:
        yield url


def kill_and_run_again(
    way: str, journal: str, background: BackgroundGateway, folder: Path, count: int
) -> list[dict[str, Any]]:
    """Kill a worker at a tenth of the rows and the driver at a third; return those of a rerun."""
    folder.mkdir()
    words = [sys.executable, "-W", "ignore", str(SCRIPT), way, background.url, str(folder)]
    words += [str(count), journal]
    environment = os.environ | {"FOXAPI_API_KEY": KEY}
    first = subprocess.Popen(words, env=environment)
    kill_a_worker(folder, background, count // 10)
    while len(background.billed) < count // 3:
        time.sleep(0.05)
    first.kill()
    first.wait()
    billed = len(background.billed)
    assert billed < count
    ended = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=True)
    rows: list[dict[str, Any]] = json.loads(ended.stdout)
    unknown = sum(row["error"] is not None for row in rows)
    sys.stdout.write(f"{billed} billed, {len(background.billed)} in all, {unknown} unknown\n")
    return rows


@pytest.mark.parametrize("way", ["batches", "rows"])
def test_a_killed_run_is_run_again(
    way: str, journal: str, background: BackgroundGateway, tmp_path: Path
) -> None:
    """A worker and then the driver are killed: a second run bills no row that was billed."""
    rows = kill_and_run_again(way, journal, background, tmp_path / "workers", 500)
    check(rows, 500, background)


@pytest.mark.soak
@pytest.mark.parametrize("way", ["batches", "rows"])
def test_a_killed_run_of_ten_thousand_rows_is_run_again(
    way: str, journal: str, background: BackgroundGateway, tmp_path: Path
) -> None:
    """The same for a run of minutes."""
    rows = kill_and_run_again(way, journal, background, tmp_path / "workers", 10_000)
    check(rows, 10_000, background)


def test_a_slow_row_holds_back_no_other(background: BackgroundGateway, options: Options) -> None:
    """All other rows are there while one is not answered yet."""
    background.faults.add("submit:stall:seconds=4,nth=1")
    before = time.monotonic()
    made = answer_by_rows(dataset(60, blocks=1), options(key="id", in_flight=80))
    arrived = sorted(time.monotonic() - before for _ in made)
    assert len(arrived) == 60
    assert arrived[-2] < arrived[-1] - 2


@pytest.mark.parametrize(
    ("wrong", "text"),
    [({"prompt": "no_such"}, "no column 'no_such'"), ({"prefix": "te"}, None)],
)
def test_columns_are_checked_at_the_start(
    wrong: dict[str, Any], text: str | None, background: BackgroundGateway, options: Options
) -> None:
    """A missing column, or one that exists already, raises before a row is sent."""
    data = dataset(5)
    if text is None:
        data, text = data.add_column("teanswer", lambda _batch: 1), "'teanswer' already"
    with pytest.raises(ConfigError, match=text):
        list(answer_by_rows(data, options(**wrong)))
    assert background.billed == ()


def test_the_error_of_a_worker_that_cannot_start_is_raised(
    options: Options, tmp_path: Path
) -> None:
    """A worker that cannot open its journal raises its own error in the driver."""
    with pytest.raises(Exception, match="journal") as raised:
        list(generate(dataset(5), **options(journal=tmp_path)))
    assert type(raised.value).__name__ == "JournalError"


def test_leaving_the_loop_ends_the_workers(
    background: BackgroundGateway, options: Options, tmp_path: Path
) -> None:
    """A loop that is left ends the workers, and a second run finds what was accepted."""
    folder = tmp_path / "workers"
    folder.mkdir()
    made = options(key="id", prompt=noting_prompt(folder), in_flight=10)
    rows = answer_by_rows(dataset(100), made)
    next(rows)
    rows.close()  # type: ignore[attr-defined]  # it is a generator
    for worker in workers_of(folder, 1):
        while Path(f"/proc/{worker}").exists():
            time.sleep(0.05)
    assert len(background.billed) < 100
    check(list(answer_by_rows(dataset(100), made)), 100, background)
