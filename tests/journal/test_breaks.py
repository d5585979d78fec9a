"""Laws of failures between the intent and the response: no waiter hangs or is misled."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from foxapi_async import (
    JournalError,
    SubmitOutcomeUnknownError,
)
from foxapi_async._client import submitter
from foxapi_async._client.params import LLMParams
from foxapi_async._journal import EntryId, Intent, Stage
from foxapi_async._journal.backends import parse_location
from foxapi_async._journal.journal_writer import JournalWriter
from foxapi_async._journal.postgres_tables import PostgresTables
from foxapi_async._journal.sqlite_tables import SQLiteTables
from foxapi_async.gateway import Gateway
from foxapi_async.hooks import Event, SubmitOutcomeUnknown
from foxapi_async.testing import WHOLE, BackgroundGateway, FaultProxy, Reset, Stall

PROMPT: LLMParams = {"model": "gpt-5.5", "messages": "count 1 to 3"}
KEYED: LLMParams = {**PROMPT, "key": "row-17"}
INTENT = Intent(service="http://s", key="row-17", model="m", body=b"{}", sent_at=1.0)


@pytest.mark.parametrize("journaled", [True, False])
async def test_a_bug_of_a_lent_session_leaves_the_key_unknown(
    open_fox: Any, gateway: Gateway, journaled: bool
) -> None:
    """An error of a borrowed session after the POST leaves the outcome unknown, and is recorded."""
    options = {} if journaled else {"journal": None}
    tracing = aiohttp.TraceConfig()

    async def fail(*_: object) -> None:
        raise LookupError("a bug of the user's")

    tracing.on_request_end.append(fail)
    async with (
        aiohttp.ClientSession(trace_configs=[tracing]) as http,
        open_fox(http=http, **options) as fox,
    ):
        for _ in range(2):
            with pytest.raises(SubmitOutcomeUnknownError, match="LookupError"):
                await fox.llm.submit(**KEYED)
    assert (gateway.stats.submits, gateway.stats.tasks) == (1, 1)


async def test_a_key_waits_for_no_write_that_failed(
    open_fox: Any, set_read_only: Any, fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """While an id cannot be written down its key raises, and the first look writes it down."""
    fault_proxy.on("POST", "*", Stall(response=0), times=1)
    async with open_fox(base_url=fault_proxy.url) as fox:
        submitting = asyncio.create_task(fox.llm.submit(**KEYED))
        await fault_proxy.wait_for_stalls()
        await set_read_only(fox, on=True)
        fault_proxy.release()
        handle = await submitting
        with pytest.raises(JournalError, match="read-only"):
            await fox.llm.submit(**KEYED)
        with pytest.raises(JournalError, match="read-only"):
            await fox.recover()
        await set_read_only(fox, on=False)
        assert await fox.llm.submit(**KEYED) is handle
        assert (await fox.recover()).handles == (handle,)
    assert gateway.stats.submits == 1


async def test_a_close_during_a_post_leaves_it_unknown(
    open_fox: Any, fault_proxy: FaultProxy, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A POST that is cancelled at the close raises ``SubmitOutcomeUnknownError`` in its caller."""
    monkeypatch.setattr(submitter, "_CLOSE_TIMEOUT", 0.0)
    events: list[Event] = []
    fault_proxy.on("POST", "*", Stall(response=0), times=1)
    fox = open_fox(base_url=fault_proxy.url, hooks=[events.append])
    submitting = asyncio.create_task(fox.llm.submit(**KEYED))
    await fault_proxy.wait_for_stalls()
    await fox.aclose()
    with pytest.raises(SubmitOutcomeUnknownError) as caught:
        await submitting
    assert "session was closed" in str(caught.value.fault)
    assert [event.key for event in events if isinstance(event, SubmitOutcomeUnknown)] == ["row-17"]
    async with open_fox(base_url=fault_proxy.url) as fox:
        (lost,) = (await fox.recover()).unknown
        assert "session was closed" in lost.fault
    assert gateway.stats.submits == 1


@pytest.mark.sqlite_only
async def test_a_cancelled_close_closes_the_file(
    open_fox: Any, fault_proxy: FaultProxy, file: Path, gateway: Gateway
) -> None:
    """A close that is cancelled while a POST is under way lets go of everything at once."""
    fault_proxy.on("POST", "*", Stall(response=0), times=1)
    fox = open_fox(base_url=fault_proxy.url)
    submitting = asyncio.create_task(fox.llm.submit(**KEYED))
    await fault_proxy.wait_for_stalls()
    closing = asyncio.create_task(fox.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(SubmitOutcomeUnknownError):
        await submitting
    assert await asyncio.to_thread(lambda: list(file.parent.iterdir())) == [file]
    assert gateway.stats.submits == 1


async def test_stages_are_those_of_the_reference(file: Path | str) -> None:
    """What died with its process is found as unknown, and not as sent."""
    journal = JournalWriter(parse_location(file))
    await journal.record_intent(INTENT)
    await journal.aclose()
    journal = JournalWriter(parse_location(file))
    assert [entry.stage for entry in await journal.entries(stages={Stage.UNKNOWN})] == ["unknown"]
    assert await journal.entries(stages={Stage.SENT}) == []
    await journal.aclose()


async def test_what_is_under_way_is_not_dropped(file: Path | str) -> None:
    """An entry that a living process has just sent cannot be deleted; later it can."""
    one, two = JournalWriter(parse_location(file)), JournalWriter(parse_location(file))
    entry_id = await one.record_intent(INTENT)
    assert isinstance(entry_id, EntryId)
    assert await two.delete([entry_id]) == 0
    assert [entry.id for entry in await two.entries(stages={Stage.SENT})] == [entry_id]
    await one.aclose()
    assert await two.delete([entry_id]) == 1
    await two.aclose()


@pytest.mark.sqlite_only
async def test_a_link_to_a_file_is_the_file(file: Path) -> None:
    """Who opens a journal by a symbolic link sees that the other process lives."""
    link = file.parent / "elsewhere" / "link.db"

    def prepare() -> None:
        link.parent.mkdir()
        link.symlink_to(file)

    await asyncio.to_thread(prepare)
    one, two = JournalWriter(parse_location(link)), JournalWriter(parse_location(file))
    entry_id = await one.record_intent(INTENT)
    entry = await two.find("http://s", "row-17")
    assert entry is not None
    assert (entry.id, entry.stage) == (entry_id, Stage.SENT)
    await one.aclose()
    await two.aclose()


@pytest.mark.sqlite_only
async def test_a_closed_journal_says_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that is overtaken by the close of its journal ends with ``JournalError``."""
    one, two = JournalWriter(parse_location(file)), JournalWriter(parse_location(file))
    await one.record_intent(INTENT)
    asked, closed = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def is_alive(*_: str) -> bool:
        loop.call_soon_threadsafe(asked.set)
        return not closed.wait(10)

    monkeypatch.setattr("foxapi_async._journal.sqlite_tables.is_alive", is_alive)
    looking = asyncio.create_task(two.find("http://s", "row-17"))
    await asked.wait()
    closing = asyncio.create_task(two.aclose())
    await asyncio.sleep(0)
    closed.set()
    await closing
    with pytest.raises(JournalError, match="is closed"):
        await looking
    await one.aclose()


@pytest.mark.sqlite_only
async def test_a_driver_that_fails_in_its_own_way_hides_no_id(
    open_fox: Any, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Whatever the driver raises after the answer, the caller gets his handle."""
    fault_proxy.on("POST", "*", Stall(response=0), times=1)
    async with open_fox(base_url=fault_proxy.url) as fox:
        submitting = asyncio.create_task(fox.llm.submit(**KEYED))
        await fault_proxy.wait_for_stalls()

        def fail(*_: object) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(SQLiteTables, "execute", fail)
            fault_proxy.release()
            handle = await submitting
        assert handle.id in caplog.text
        assert await fox.llm.submit(**KEYED) is handle


@pytest.mark.sqlite_only
async def test_a_journal_without_its_table_is_reported(file: Path) -> None:
    """A file without the table of its version is reported as damaged."""

    def damage() -> None:
        connection = sqlite3.connect(file)
        connection.execute("DROP TABLE foxapi_submissions")
        connection.close()

    journal = JournalWriter(parse_location(file))
    await journal.open()
    await journal.aclose()
    await asyncio.to_thread(damage)
    journal = JournalWriter(parse_location(file))
    with pytest.raises(JournalError, match="damaged"):
        await journal.open()
    await journal.aclose()


@pytest.mark.sqlite_only
@pytest.mark.parametrize("journaled", [True, False])
@pytest.mark.filterwarnings("ignore:task .* was accepted:RuntimeWarning")
async def test_a_cancel_at_any_turn_loses_nothing(
    open_fox: Any, gateway: Gateway, tmp_path: Path, journaled: bool
) -> None:
    """Cancelled in any turn of the loop, a submission is paid for once or not at all, and found."""
    for turns in range(0, 60, 2):
        paid = gateway.stats.tasks
        journal = tmp_path / f"{turns}.db" if journaled else None
        async with open_fox(journal=journal) as fox:
            submitting = asyncio.create_task(fox.llm.submit(**KEYED))
            for _ in range(turns):
                await asyncio.sleep(0)
            submitting.cancel()
            outcome: object
            (outcome,) = await asyncio.gather(submitting, return_exceptions=True)
            handle = await fox.llm.submit(**KEYED)
            assert outcome is handle or isinstance(outcome, asyncio.CancelledError)
            assert set(fox.unclaimed) <= {handle}
            assert gateway.stats.tasks == paid + 1


@pytest.fixture
def apart() -> Iterator[BackgroundGateway]:
    """Run the service in a loop of its own."""
    with BackgroundGateway() as gateway:
        yield gateway


@pytest.mark.sqlite_only
@pytest.mark.filterwarnings("ignore:task .* was accepted:RuntimeWarning")
async def test_a_cancel_of_every_task_loses_nothing(
    open_fox: Any, apart: BackgroundGateway, tmp_path: Path
) -> None:
    """Cancelling every task of the loop leaves a working journal, and no key unresolved."""
    known = unknown = 0
    for turns in range(0, 60, 3):
        async with open_fox(base_url=apart.url, journal=tmp_path / f"{turns}.db") as fox:
            doing = [
                asyncio.create_task(fox.llm.submit(**KEYED)),
                asyncio.create_task(fox.llm.submit(**PROMPT)),
                asyncio.create_task(fox.recover()),
            ]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.gather(*doing, return_exceptions=True)
            with contextlib.suppress(SubmitOutcomeUnknownError):
                await fox.llm.submit(**KEYED)
            recovery = await fox.recover()
            known += len(recovery.handles)
            unknown += len(recovery.unknown)
    assert known <= apart.stats.tasks <= known + unknown
    assert 20 <= known + unknown <= 40


@pytest.mark.parametrize("keyed", [True, False])
async def test_a_commit_whose_caller_is_cancelled_is_made_once(
    file: Path | str, monkeypatch: pytest.MonkeyPatch, keyed: bool
) -> None:
    """An intent whose caller is cancelled during its commit is there once, and its key is free."""
    journal = JournalWriter(parse_location(file))
    await journal.open()
    begun, cut = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slowly(write: Callable[..., Any]) -> Callable[..., Any]:
        def write_slowly(*arguments: Any) -> Any:
            loop.call_soon_threadsafe(begun.set)
            cut.wait(10)
            return write(*arguments)

        return write_slowly

    for tables in (SQLiteTables, PostgresTables):
        monkeypatch.setattr(tables, "execute", slowly(tables.execute))
    intent = INTENT if keyed else replace(INTENT, key=None)
    sending = asyncio.create_task(journal.record_intent(intent))
    await begun.wait()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.wait({sending})
    cut.set()
    assert sending.cancelled()
    (entry,) = await journal.entries()
    assert entry.stage is Stage.REFUSED
    entry_id = await journal.record_intent(intent)
    assert isinstance(entry_id, EntryId)
    assert [entry.id for entry in await journal.entries()] == (
        [entry_id] if keyed else [entry.id, entry_id]
    )
    await journal.aclose()


@pytest.mark.sqlite_only
async def test_a_file_that_is_gone_stops_submitting(
    open_fox: Any, file: Path, gateway: Gateway
) -> None:
    """When the file was moved away nothing is sent, and put back it is written to as before."""
    away = file.with_name("away.db")
    async with open_fox() as fox:
        handle = await fox.llm.submit(**KEYED)
        await asyncio.to_thread(file.rename, away)
        for _ in range(2):
            with pytest.raises(JournalError, match="moved or deleted"):
                await fox.llm.submit(**PROMPT)
            await asyncio.to_thread(file.touch)  # another file in its place is no better
        assert gateway.stats.submits == 1
        await asyncio.to_thread(away.replace, file)
        await handle
        assert (await fox.llm.generate(**PROMPT)).text == "1, 2, 3"
    async with open_fox() as fox:
        done = (await fox.recover(finished=True)).handles
        assert [handle.done() for handle in done] == [True, True]
    assert gateway.stats.submits == 2


async def test_a_request_with_unknown_members_is_recovered(
    open_fox: Any, fault_proxy: FaultProxy
) -> None:
    """A lost request comes back as it was sent, members that the SDK does not know included."""
    params: LLMParams = {**PROMPT, "extra": {"odd": {"größe": [1, None]}}, "temperature": 1}
    fault_proxy.on("POST", "*", Reset(request=WHOLE))
    async with open_fox(base_url=fault_proxy.url) as fox:
        with pytest.raises(SubmitOutcomeUnknownError) as caught:
            await fox.llm.submit(**params)
        (lost,) = (await fox.recover()).unknown
    assert lost.request == caught.value.request
    assert lost.fingerprint == caught.value.fingerprint
