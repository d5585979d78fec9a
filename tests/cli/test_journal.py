"""Laws of ``foxapi journal``: what it shows, resumes and deletes."""

import asyncio
import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from foxapi_async.gateway import Gateway

KEYED = ("submit", "gpt-5.5", "count 1 to 3", "--key", "row-17")


@pytest.fixture
def file(tmp_path: Path, database: str | None) -> str:
    """Return the path or the URL of the journal."""
    return database or str(tmp_path / "tasks.db")


async def test_a_key_is_submitted_once(gateway: Gateway, foxapi: Any, file: str) -> None:
    """The same command line twice gives one task, which the journal lists."""
    first, second = [await foxapi(*KEYED, "--journal", file) for _ in range(2)]
    assert first.records[0]["id"] == second.records[0]["id"]
    assert gateway.stats.submits == 1
    [entry] = (await foxapi("journal", "list", file)).records
    assert (entry["key"], entry["stage"], entry["task_id"]) == (
        "row-17",
        "accepted",
        first.records[0]["id"],
    )
    assert "row-17" in (await foxapi("journal", "list", file, "--text")).out


async def test_resume_waits_for_all(gateway: Gateway, foxapi: Any, file: str) -> None:
    """``resume`` waits for each submitted task once; a second ``resume`` finds none."""
    for row in range(3):
        await foxapi("submit", "gpt-5.5", "count 1 to 3", "--key", f"row-{row}", "--journal", file)
    done = await foxapi("journal", "resume", file)
    assert done.code == 0
    assert [record["text"] for record in done.records] == ["1, 2, 3"] * 3
    again = await foxapi("journal", "resume", file)
    assert (again.code, again.out) == (0, "")
    assert "all tasks are finished" in again.err
    stages = {record["stage"] for record in (await foxapi("journal", "list", file)).records}
    assert stages == {"completed"}
    assert gateway.stats.submits == 3


async def test_show_and_export_tell_all(gateway: Gateway, foxapi: Any, file: str) -> None:
    """``show`` finds an entry by its id, key or task id, with its result; ``export`` writes all."""
    del gateway
    await foxapi(*KEYED, "--journal", file, "--wait")
    [exported] = (await foxapi("journal", "export", file)).records
    for name in (exported["entry"], "row-17", exported["task_id"]):
        assert (await foxapi("journal", "show", file, name)).records == [exported]
    answer = exported["task"]["results"][0]
    assert answer["choices"][0]["message"]["content"] == "1, 2, 3"
    assert exported["request"] is None
    assert "row-17" in (await foxapi("journal", "show", file, "row-17", "--text")).out
    missing = await foxapi("journal", "show", file, "row-18")
    assert (missing.code, "row-18" in missing.err) == (2, True)


async def test_an_unknown_outcome_is_shown_and_pruned_by_name(
    serve: Any, losing_answers: Any, foxapi: Any, file: str
) -> None:
    """If an entry may be billed, ``resume`` ends with 4 and ``prune`` deletes it only by id."""
    await serve(losing_answers)
    assert (await foxapi(*KEYED, "--journal", file)).code == 4
    assert (await foxapi(*KEYED, "--journal", file)).code == 4
    resumed = await foxapi("journal", "resume", file)
    assert (resumed.code, "row-17" in resumed.err) == (4, True)
    [entry] = (await foxapi("journal", "list", file, "--stage", "unknown")).records
    assert (await foxapi("journal", "list", file, "--stage", "failed")).out == ""
    [shown] = (await foxapi("journal", "show", file, "row-17")).records
    assert shown["request"]["messages"][0]["content"] == "count 1 to 3"
    kept = await foxapi("journal", "prune", file, "--older-than", "0")
    assert kept.records == [{"pruned": 0}]
    gone = await foxapi("journal", "prune", file, "--entry", entry["entry"])
    assert (gone.code, gone.records) == (0, [{"pruned": 1}])
    assert (await foxapi("journal", "prune", file, "--entry", entry["entry"])).code == 2
    assert (await foxapi("journal", "prune", file, "--entry", "row-17")).code == 2


async def test_prune_deletes_what_is_over(gateway: Gateway, foxapi: Any, file: str) -> None:
    """``prune`` deletes finished submissions of the given age; their keys can be used again."""
    await foxapi(*KEYED, "--journal", file, "--wait")
    assert (await foxapi("journal", "prune", file)).records == [{"pruned": 0}]
    assert (await foxapi("journal", "prune", file, "--older-than", "0")).records == [{"pruned": 1}]
    await foxapi(*KEYED, "--journal", file)
    assert gateway.stats.submits == 2


async def test_a_lost_task_is_resumed_on_demand(serve: Any, foxapi: Any, file: str) -> None:
    """`resume --lost` waits again for a task that the service did not find."""
    gateway = await serve(faults=["query:expired"])
    await foxapi(*KEYED, "--journal", file)
    assert (await foxapi("journal", "resume", file)).code > 0
    gateway.faults.clear()
    assert "resume" in (await foxapi("journal", "resume", file)).err
    done = await foxapi("journal", "resume", file, "--lost")
    assert (done.code, [record["text"] for record in done.records]) == (0, ["1, 2, 3"])
    again = await foxapi("journal", "resume", file, "--lost")
    assert (again.code, "all tasks are finished" in again.err) == (0, True)
    assert gateway.stats.submits == 1


async def test_a_lost_task_is_set_aside_and_deleted_on_demand(
    serve: Any, foxapi: Any, file: str
) -> None:
    """A task that the service no longer knows is polled once, listed, and pruned by `--lost`."""
    gateway = await serve(faults=["query:expired"])
    await foxapi(*KEYED, "--journal", file)
    assert (await foxapi("journal", "resume", file)).code > 0
    again = await foxapi("journal", "resume", file)
    assert (again.code, "1 lost earlier" in again.err) == (0, True)
    [entry] = (await foxapi("journal", "list", file, "--stage", "lost")).records
    assert (entry["key"], "404" in entry["fault"]) == ("row-17", True)
    old = ("journal", "prune", file, "--older-than", "0")
    assert (await foxapi(*old)).records == [{"pruned": 0}]
    assert (await foxapi(*old, "--lost")).records == [{"pruned": 1}]
    assert gateway.stats.submits == 1


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    "words", [("list",), ("resume",), ("export",), ("prune",), ("settle",), ("show", "x")]
)
async def test_a_journal_that_is_not_there_is_not_made(
    gateway: Gateway, foxapi: Any, file: str, words: tuple[str, ...]
) -> None:
    """A missing file is an error, and no empty file is created."""
    del gateway
    name, *rest = words
    done = await foxapi("journal", name, file, *rest)
    assert (done.code, "there is no journal" in done.err) == (2, True)
    assert file in done.err
    assert not await asyncio.to_thread(Path(file).exists)


@pytest.fixture
async def unknown(serve: Any, losing_answers: Any, foxapi: Any, file: str) -> tuple[Gateway, Any]:
    """Put three submissions of unknown outcome into the journal; later requests are answered."""
    lossy = [True]

    @web.middleware
    async def lose(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await (losing_answers if lossy[0] else _through)(request, handler)

    gateway = await serve(lose)
    for row in range(3):
        words = ("submit", "gpt-5.5", "count 1 to 3", "--journal", file)
        key = ("--key", f"row-{row}") if row else ()
        assert (await foxapi(*words, *key)).code == 4
    lossy[0] = False
    return gateway, foxapi


async def _through(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request)


async def test_unknown_submissions_are_forgotten_at_once(unknown: Any, file: str) -> None:
    """``--forget-unknown`` asks, then deletes all unknown entries; their keys can be used again."""
    gateway, foxapi = unknown
    listed = await foxapi("journal", "settle", file)
    assert (listed.code, len(listed.records)) == (4, 3)
    assert "--retry-unknown" in listed.err
    asked = await foxapi("journal", "settle", file, "--forget-unknown")
    assert (asked.code, "3 submissions that may be billed" in asked.err) == (2, True)
    assert "--yes" in asked.err
    assert len((await foxapi("journal", "list", file)).records) == 3
    done = await foxapi("journal", "settle", file, "--forget-unknown", "--yes")
    assert (done.code, done.records) == (0, [{"forgotten": 3}])
    assert (await foxapi("journal", "settle", file)).code == 0
    assert (await foxapi("journal", "list", file)).out == ""
    both = await foxapi("journal", "settle", file, "--forget-unknown", "--retry-unknown")
    assert both.code == 2
    assert gateway.stats.submits == 3


async def test_unknown_submissions_are_sent_again_at_once(unknown: Any, file: str) -> None:
    """``--retry-unknown`` submits each unknown entry again, once, and shows the new ids."""
    gateway, foxapi = unknown
    assert (await foxapi("journal", "settle", file, "--retry-unknown")).code == 2
    done = await foxapi("journal", "settle", file, "--retry-unknown", "-y")
    *accepted, summary = done.records
    assert (done.code, summary) == (0, {"resubmitted": 3, "failed": 0})
    assert {record["key"] for record in accepted} == {None, "row-1", "row-2"}
    entries = (await foxapi("journal", "list", file)).records
    assert {entry["task_id"] for entry in entries} == {record["id"] for record in accepted}
    assert {entry["stage"] for entry in entries} == {"accepted"}
    again = await foxapi("journal", "settle", file, "--retry-unknown", "--yes")
    assert (again.code, again.records) == (0, [{"resubmitted": 0, "failed": 0}])
    assert gateway.stats.submits == 6


async def test_a_failed_key_is_submitted_anew_on_demand(
    gateway: Gateway, foxapi: Any, file: str
) -> None:
    """``--retry-failed`` submits again if the task of the key failed, and needs a key."""
    failing = ("submit", "gpt-5.5", "[[fail:content_policy_violation]]", "--key", "row-17")
    assert (await foxapi(*failing, "--journal", file, "--wait")).code == 1
    assert (await foxapi(*KEYED, "--journal", file)).code == 2
    again = await foxapi(*failing, "--journal", file, "--retry-failed", "--wait")
    assert again.code == 1
    stream = ("stream", "gpt-5.5", "count 1 to 3", "--key", "row-17", "--retry-failed")
    assert (await foxapi(*stream, "--journal", file)).code == 0
    keyless = await foxapi("submit", "gpt-5.5", "hi", "--retry-failed")
    assert (keyless.code, "--key" in keyless.err) == (2, True)
    assert gateway.stats.submits == 3


async def test_what_a_kill_leaves_is_settled_at_once(
    serve: Any, foxapi: Any, spawn: Any, file: str
) -> None:
    """``settle`` settles submissions whose process was killed by `kill -9` during the POST."""
    posts, arrived, go_on = [0], asyncio.Event(), asyncio.Event()

    @web.middleware
    async def hold(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.method == "POST":
            posts[0] += 1
            if posts[0] == 2:
                arrived.set()
            await go_on.wait()
        return response

    gateway = await serve(hold)
    words = ("submit", "gpt-5.5", "count 1 to 3", "--journal", file)
    starts = [partial(spawn, *words, "--key", f"row-{n}") for n in range(2)]
    children = [await asyncio.to_thread(start) for start in starts]
    await arrived.wait()
    for child in children:
        child.kill()
        await asyncio.to_thread(child.communicate)
    go_on.set()
    listed = await foxapi("journal", "settle", file)
    assert (listed.code, len(listed.records)) == (4, 2)
    assert all("ended before the answer" in record["fault"] for record in listed.records)
    done = await foxapi("journal", "settle", file, "--retry-unknown", "--yes")
    assert (done.code, done.records[-1]) == (0, {"resubmitted": 2, "failed": 0})
    assert (await foxapi("journal", "resume", file)).code == 0
    assert (await foxapi("journal", "settle", file)).code == 0
    assert gateway.stats.submits == 4


async def test_prune_by_stage_asks_before_it_forgets(unknown: Any, file: str) -> None:
    """``prune --stage`` takes any age, asks if entries may be billed, and keeps running tasks."""
    gateway, foxapi = unknown
    failing = ("submit", "gpt-5.5", "[[fail:content_policy_violation]]", "--key", "bad")
    await foxapi(*failing, "--journal", file, "--wait")
    by_stage = ("journal", "prune", file, "--stage")
    assert (await foxapi(*by_stage, "failed")).records == [{"pruned": 1}]
    assert (await foxapi(*by_stage, "unknown")).code == 2
    assert (await foxapi(*by_stage, "unknown", "--older-than", "1")).records == [{"pruned": 0}]
    assert (await foxapi(*by_stage, "unknown", "--yes")).records == [{"pruned": 3}]
    assert (await foxapi(*by_stage, "accepted")).code == 2
    assert gateway.stats.submits == 4


@pytest.mark.sqlite_only
async def test_a_damaged_entry_is_listed_and_stops_no_other(
    gateway: Gateway, foxapi: Any, file: str
) -> None:
    """An unreadable entry is shown with what to do; the others are listed, shown and resumed."""
    for row in range(2):
        await foxapi("submit", "gpt-5.5", "count 1 to 3", "--key", f"row-{row}", "--journal", file)

    def damage() -> None:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute(
                "UPDATE foxapi_submissions SET stage = 'accePted' WHERE key = 'row-0'"
            )
            connection.commit()

    await asyncio.to_thread(damage)
    listed = await foxapi("journal", "list", file)
    assert [record["stage"] for record in listed.records] == ["unreadable", "accepted"]
    entry = listed.records[0]["entry"]
    assert f"journal prune {file} --entry {entry}" in listed.err
    resumed = await foxapi("journal", "resume", file)
    assert (resumed.code, len(resumed.records), entry in resumed.err) == (4, 1, True)
    assert (await foxapi("journal", "show", file, "row-0")).records[0]["stage"] == "unreadable"
    assert len((await foxapi("journal", "export", file)).records) == 2
    again = await foxapi(*KEYED[:3], "--key", "row-0", "--journal", file)
    assert (again.code, entry in again.err) == (2, True)
    assert gateway.stats.submits == 2


async def test_ids_and_answers_are_never_wrapped(
    gateway: Gateway, foxapi: Any, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns no id is broken, and JSON is one valid line."""
    del gateway
    monkeypatch.setenv("COLUMNS", "80")
    await foxapi(*KEYED, "--journal", file, "--wait")
    [entry] = (await foxapi("journal", "list", file)).records
    listed = (await foxapi("journal", "list", file, "--text")).out.splitlines()
    [row] = [line for line in listed if entry["task_id"] in line]
    assert row.startswith(entry["entry"])
    assert row.index(entry["task_id"]) + len(entry["task_id"]) < 80
    shown = (await foxapi("journal", "show", file, "row-17", "--text")).out.splitlines()
    [task] = [line.split(None, 1)[1] for line in shown if line.startswith("task ")]
    assert json.loads(task)["id"] == entry["task_id"]


async def test_journal_alone_shows_its_help(foxapi: Any) -> None:
    """``foxapi journal`` without a subcommand shows its help."""
    done = await foxapi("journal")
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) > 8
    assert "settle" in done.out
    assert done.out == (await foxapi("journal", "--help")).out
