"""Laws of large journals: they are read a page at a time, and what is deleted makes room."""

import asyncio
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, insert

from foxapi_async._journal import Entry, EntryId, Stage
from foxapi_async._journal.journal_url import JournalURL
from foxapi_async._journal.journal_writer import JournalWriter
from foxapi_async._journal.schema import SUBMISSIONS
from foxapi_async._journal.seal import sealed
from foxapi_async._journal.statements import COLUMNS
from foxapi_async.journal import open_journal

pytestmark = pytest.mark.sqlite_only

ROW: dict[str, Any] = {
    **dict.fromkeys(COLUMNS),
    "service": "http://s",
    "kind": "llm",
    "model": "m",
    "fingerprint": "f",
    "stage": "completed",
    "sent_at": 1.0,
    "streamed": False,
    "stream_was_cut": False,
}


async def fill(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as if sessions had."""
    journal = JournalWriter(JournalURL(str(file)))
    await journal.open()
    await journal.aclose()

    def write() -> None:
        engine = create_engine(f"sqlite:///{file}")
        with engine.begin() as connection:
            connection.execute(insert(SUBMISSIONS), [sealed(ROW | row) for row in rows])
        engine.dispose()

    await asyncio.to_thread(write)


async def test_a_scan_takes_no_more_memory_for_more_rows(file: Path) -> None:
    """Reading every entry holds a page of them, whatever is in the file."""
    size, rows = 10_000, 2000
    answer = b"x" * size
    await fill(file, [{"run": "r", "number": n, "task": answer} for n in range(1, rows + 1)])
    tracemalloc.start()
    try:
        async with open_journal(file) as journal:
            seen = 0
            async for entry in journal.scan():
                seen += len(entry.task or b"")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == size * rows
    assert peak < seen / 4


async def test_a_scan_and_the_entries_agree(file: Path) -> None:
    """A scan yields every entry once, run by run, each as ``entries`` tells it, filtered alike."""
    runs = {"b": 1.0, "a": 2.0, "c": 3.0}
    await fill(
        file,
        [
            {"run": run, "number": 3 * n, "sent_at": began + n, "key": f"{run}{n}"}
            | {"stage": [*Stage][n % len(Stage)].value, "service": f"http://{n % 2}"}
            for run, began in runs.items()
            for n in range(1, 150)
        ],
    )
    for service in (None, "http://1"):
        for stages in (None, {Stage.UNKNOWN, Stage.LOST}):
            async with open_journal(file) as journal:
                scanned: list[Entry] = [one async for one in journal.scan(service, stages)]
                entries = await journal.entries(service, stages)
            assert sorted(scanned, key=lambda entry: entry.id) == sorted(
                entries, key=lambda entry: entry.id
            )
            assert [entry.id.run for entry in scanned] == sorted(
                (entry.id.run for entry in entries), key=[*runs].index
            )
            assert scanned


async def test_an_entry_is_found_by_each_of_its_names(file: Path) -> None:
    """Its own name, its key and its task id find an entry, and nothing else does."""
    await fill(file, [{"run": "r-1", "number": 7, "key": "row-17", "task_id": "task-1"}])
    async with open_journal(file) as journal:
        for name in ("r-1-7", "row-17", "task-1"):
            (entry,) = await journal.lookup(name)
            assert entry.id == EntryId("r-1", 7)
        for name in ("", "r-1-8", "r-1", "7", "-7", "r-1-" + "9" * 99, "r-1-\u0667", "\ud800"):
            assert await journal.lookup(name) == []


async def test_what_is_pruned_makes_room_on_the_disk(file: Path) -> None:
    """The file shrinks by what is deleted, once it is closed."""
    answer = b"x" * 10_000
    rows = [{"run": "r", "number": n, "task": answer, "sent_at": n} for n in range(1, 1501)]
    await fill(file, rows)
    full = await asyncio.to_thread(lambda: file.stat().st_size)
    async with open_journal(file) as journal:
        assert await journal.prune(1400) == 1399
    assert await asyncio.to_thread(lambda: file.stat().st_size) < full / 5
    async with open_journal(file) as journal:
        assert await journal.delete([entry.id for entry in await journal.entries()]) == 101
    assert await asyncio.to_thread(lambda: file.stat().st_size) < full / 100
