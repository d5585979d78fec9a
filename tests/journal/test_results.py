"""Laws of the results of a journal: none is left out, a page at a time, from any position."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from foxapi_async._clock import LoopClock
from foxapi_async._journal import EntryId, FinalRecord, Intent, Stage
from foxapi_async._journal.backends import parse_location
from foxapi_async._journal.journal_writer import JournalWriter
from foxapi_async._wire.task import task_decoder
from foxapi_async.journal import FinishedEntry, open_journal

ROWS = 250


class SlowClock(LoopClock):
    """A clock whose time of day is set."""

    now = 1000.0

    def unix(self) -> float:
        """Return the time that is set."""
        return self.now


async def write(journal: JournalWriter, clock: SlowClock, numbers: range) -> None:
    """Submit rows and end them, ten at each second; each seventh fails."""
    for number in numbers:
        intent = Intent(service="http://s", key=f"{number}", model="m", body=b"{}", sent_at=1.0)
        entry_id = await journal.record_intent(intent)
        assert isinstance(entry_id, EntryId)
        task = task_decoder.decode(b'{"id": "t-%d", "status": "pending", "model": "m"}' % number)
        await journal.record_accepted(entry_id, task)
        clock.now = 1000.0 + number // 10
        stage = Stage.COMPLETED if number % 7 else Stage.FAILED
        journal.record_finished(FinalRecord(service="http://s", stage=stage, task=task))


async def read(file: Path | str, now: float, **options: Any) -> list[FinishedEntry]:
    """Return the results that a process reads at a time of day."""
    clock = SlowClock()
    clock.now = now
    journal = JournalWriter(parse_location(file), clock=clock)
    try:
        return [one async for one in journal.results(**options)]
    finally:
        await journal.aclose()


async def test_results_go_on_from_any_position(file: Path | str) -> None:
    """From each position the rest comes, in the order of their ends, once they have settled."""
    clock = SlowClock()
    journal = JournalWriter(parse_location(file), clock=clock)
    await write(journal, clock, range(ROWS))
    await journal.aclose()
    everything = await read(file, 9999.0)
    assert {one.entry.key for one in everything} == {f"{number}" for number in range(ROWS)}
    times = [one.entry.ended_at or 0.0 for one in everything]
    assert times == sorted(times)
    for index in (0, 9, 99, 100, 200, ROWS - 1):
        rest = await read(file, 9999.0, after=everything[index].position)
        assert rest == everything[index + 1 :]
    failed = await read(file, 9999.0, stages={Stage.FAILED}, service="http://s")
    assert len(failed) == len(range(0, ROWS, 7))
    assert await read(file, 9999.0, service="http://other") == []


async def test_what_ends_late_is_not_left_out(file: Path | str) -> None:
    """A result that is written with an earlier time than the last one comes after its position."""
    clock = SlowClock()
    journal = JournalWriter(parse_location(file), clock=clock)
    await write(journal, clock, range(300, 310))
    early = [one async for one in journal.results()]
    # A machine whose clock is behind.
    await write(journal, clock, range(10))
    late = [one async for one in journal.results(after=early[-1].position)]
    assert {one.entry.key for one in late} >= {f"{number}" for number in range(10)}
    await journal.aclose()


@pytest.mark.parametrize(
    "after", ["", "x", "1@", "1@r", "0x1p+0@r-\u0661", "x@r-1", "inf@r-1", "0x1p+9999@r-1"]
)
async def test_what_is_no_position_is_refused(file: Path | str, after: str) -> None:
    """A position that no result had is refused by its name."""
    journal = JournalWriter(parse_location(file))
    await journal.open()
    with pytest.raises(ValueError, match="after"):
        journal.results(after=after)
    await journal.aclose()


async def test_an_open_journal_gives_its_results(open_fox: Any, file: Path | str) -> None:
    """What a session has finished is read by another program."""
    async with open_fox() as fox:
        ended = [
            fox.llm.generate(model="gpt-5.5", messages="count 1 to 3", key=f"{row}")
            for row in range(3)
        ]
        await asyncio.gather(*ended)
    async with open_journal(file) as journal:
        found = [one.entry async for one in journal.results()]
    assert {entry.key for entry in found} == {"0", "1", "2"}
    assert all(entry.read_task() for entry in found)


async def test_no_submission_waits_for_a_list(file: Path | str) -> None:
    """A list that takes for ever holds up neither an intent nor what follows it."""
    journal = JournalWriter(parse_location(file))
    hold = threading.Event()
    slow = asyncio.create_task(journal._read(lambda tables: hold.wait() and tables.runs()))
    try:
        intent = Intent(service="http://s", key="k", model="m", body=b"{}", sent_at=1.0)
        entry_id = await journal.record_intent(intent)
        assert isinstance(entry_id, EntryId)
        task = task_decoder.decode(b'{"id": "t", "status": "pending", "model": "m"}')
        await journal.record_accepted(entry_id, task)
        assert not slow.done()
    finally:
        hold.set()
        await slow
        await journal.aclose()
