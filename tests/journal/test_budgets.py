"""Laws of a budget with a journal: processes share it, and nothing that is billed is forgotten."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import foxapi_async
from foxapi_async import (
    Budget,
    BudgetExceededError,
    BudgetUse,
    FoxSession,
    SubmitOutcomeUnknownError,
)
from foxapi_async._journal import EntryId, Intent, Reservation, Stage
from foxapi_async._journal.backends import parse_location
from foxapi_async._journal.journal_writer import JournalWriter
from foxapi_async._protocol.spent import PriceUnknownError
from foxapi_async._wire.task import Task, TaskUsage
from foxapi_async.gateway import Gateway
from foxapi_async.journal import open_journal
from foxapi_async.testing import CannedResponse, FaultProxy, Stall
from tests.journal.relay import relayed
from tests.postgres import postgres_schema

ASK: dict[str, Any] = {"model": "gpt-5.5", "messages": "count 1 to 3"}
PRICES: Any = {"gpt-5.5": 2.0}


@pytest.mark.parametrize(
    ("budget", "used"),
    [("tasks=7", {"unit": "tasks", "used": 7}), ("credits=15", {"unit": "credits", "used": 14})],
)
async def test_two_processes_share_a_budget(
    file: Path | str, scripted: Any, budget: str, used: dict[str, object]
) -> None:
    """Together they submit exactly what it allows."""
    async with (
        Gateway(prices=PRICES, queue_delay=0.05) as gateway,
        scripted(gateway.url, file) as one,
        scripted(gateway.url, file) as two,
    ):
        await one.start(0, 100, 4, budget)
        await two.start(1000, 1100, 4, budget)
        assert [await one.end(), await two.end()] == [0, 0]
        assert gateway.stats.tasks == 7
        assert one.found.pop("answers") + two.found.pop("answers") == 7
        assert one.found == two.found == used


async def test_a_killed_process_keeps_its_share_and_no_more(
    file: Path | str, scripted: Any
) -> None:
    """Killed with tasks under way and run again, the budget is reached, and not exceeded."""
    async with (
        Gateway(prices=PRICES, queue_delay=0, token_delay=0) as gateway,
        FaultProxy(gateway.url) as fault_proxy,
        scripted(fault_proxy.url, file) as script,
    ):
        fault_proxy.on("GET", "*", Stall(response=0))
        pid = await script.start(0, 100, 4, "credits=25")
        await fault_proxy.wait_for_requests(4, "POST")
        async with open_journal(file) as journal:
            # All that it has in flight is accepted, and recorded.
            while len(await journal.entries(stages=[Stage.ACCEPTED])) < 4:
                await asyncio.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        assert await script.end() == -signal.SIGKILL
        assert gateway.stats.tasks == 4
        fault_proxy.clear()
        for first, answers in ((0, 12), (1000, 0)):
            await script.start(first, first + 100, 4, "credits=25")
            assert await script.end() == 0
            assert gateway.stats.tasks == 12
            assert script.found["answers"] == answers


async def test_a_kill_at_any_time_exceeds_no_budget(file: Path | str, scripted: Any) -> None:
    """Also if the outcome of what was being sent is unknown, which stays counted."""
    async with Gateway() as gateway, scripted(gateway.url, file) as script:
        for tasks in (3, 8):
            pid = await script.start(0, 100, 4, "tasks=20")
            while gateway.stats.tasks < tasks:
                await asyncio.sleep(0)
            os.kill(pid, signal.SIGKILL)
            assert await script.end() == -signal.SIGKILL
        await script.start(0, 100, 4, "tasks=20")
        assert await script.end() == 0
        async with open_journal(file) as journal:
            entries = await journal.entries()
        unknown = [entry for entry in entries if entry.stage is Stage.UNKNOWN]
        assert len([entry for entry in entries if entry.stage is not Stage.REFUSED]) == 20
        assert 20 - len(unknown) <= gateway.stats.tasks <= 20


def use(fox: FoxSession) -> BudgetUse:
    """Return what is used of the budget of a session."""
    assert fox.budget is not None
    return fox.budget


async def test_a_reservation_of_an_earlier_run_is_corrected(open_fox: Any) -> None:
    """By the handle of ``recover``, and at the begin of a run that finds its task ended."""
    budget = Budget(credits=100, tokens=10_000)
    async with Gateway(prices=PRICES) as gateway:
        async with open_fox(base_url=gateway.url, budget=budget) as fox:
            for _ in range(4):
                await fox.llm.submit(**ASK, max_tokens=500)
            reserved = use(fox).tokens // 4
            assert reserved > 500
        async with open_fox(base_url=gateway.url, budget=budget) as fox:
            # The sums are read at the first submit.
            await fox.llm.submit(**ASK, max_tokens=500)
            assert use(fox).tokens == 5 * reserved
            first, *_ = (await fox.recover()).handles
            usage = (await first).usage
            assert usage is not None
            while use(fox).tokens != 4 * reserved + usage.total_tokens:
                await asyncio.sleep(0.01)
        async with open_fox(base_url=gateway.url) as fox:
            # Without a budget nothing is counted, nor corrected.
            for handle in (await fox.recover()).handles:
                await handle
            await fox.llm.generate(**ASK)
        async with open_fox(base_url=gateway.url, budget=budget) as fox:
            await fox.llm.generate(**ASK)
            assert use(fox).tasks == 7
            assert use(fox).credits == 14
            while use(fox).tokens != 7 * usage.total_tokens:
                await asyncio.sleep(0.01)


async def test_what_is_pruned_does_not_count(
    open_fox: Any, gateway: Gateway, file: Path | str
) -> None:
    """A budget is what the journal holds, from the next run on."""
    async with open_fox(budget=Budget(tasks=2)) as fox:
        for _ in range(2):
            await fox.llm.generate(**ASK)
        with pytest.raises(BudgetExceededError):
            await fox.llm.submit(**ASK)
    async with open_journal(file) as journal:
        entries = await journal.entries()
        await journal.delete([entries[0].id])
    async with open_fox(budget=Budget(tasks=2)) as fox:
        await fox.llm.generate(**ASK)
        with pytest.raises(BudgetExceededError):
            await fox.llm.submit(**ASK)
    assert gateway.stats.tasks == 3


async def test_what_is_sent_again_counts_twice(
    open_fox: Any, fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """Both the submission of unknown outcome and the one in its place may be billed."""
    fault_proxy.on("POST", "*", CannedResponse.http(504, b"<html>"))
    budget = Budget(tasks=2)
    async with open_fox(base_url=fault_proxy.url, budget=budget) as fox:
        with pytest.raises(SubmitOutcomeUnknownError):
            await fox.llm.submit(**ASK)
        fault_proxy.clear()
        (unknown,) = (await fox.recover()).unknown
        await fox.llm.resubmit(unknown)
        assert use(fox).tasks == 2
    async with open_fox(base_url=fault_proxy.url, budget=budget) as fox:
        with pytest.raises(BudgetExceededError):
            await fox.llm.submit(**ASK)
        assert use(fox).tasks == 2
    assert gateway.stats.tasks == 1


async def test_a_key_that_is_known_costs_nothing(open_fox: Any, gateway: Gateway) -> None:
    """Two sessions that submit the same keys at once under a small budget share each task."""
    budget = Budget(tasks=3)
    async with open_fox(budget=budget) as one, open_fox(budget=budget) as two:
        handles = await asyncio.gather(
            *(fox.llm.submit(**ASK, key=f"row-{row}") for row in range(3) for fox in (one, two))
        )
        assert len({handle.id for handle in handles}) == 3
        assert gateway.stats.tasks == 3
        with pytest.raises(BudgetExceededError):
            await one.llm.submit(**ASK, key="row-3")


async def test_the_last_room_goes_to_one(open_fox: Any, gateway: Gateway) -> None:
    """Of sessions that submit at once, as many are admitted as the budget has room for."""
    budget = Budget(tasks=5)
    async with open_fox(budget=budget) as one, open_fox(budget=budget) as two:
        results = await asyncio.gather(
            *(fox.llm.submit(**ASK) for _ in range(20) for fox in (one, two)),
            return_exceptions=True,
        )
    assert gateway.stats.tasks == 5
    failed = [result for result in results if isinstance(result, BaseException)]
    assert [error for error in failed if not isinstance(error, BudgetExceededError)] == []
    assert len(failed) == 35


LIMITS = Reservation(limits=(Budget(credits=10),), tokens=5)


def intent(key: str | None = None, model: str = "m", **members: Any) -> Intent:
    """Return a submission with a reservation."""
    members = {"reservation": LIMITS} | members
    return Intent(service="http://s", key=key, model=model, body=b"{}", sent_at=1.0, **members)


def accepted(task_id: str, credits_: float | None = None) -> Task:
    """Return an accepted task."""
    usage = None if credits_ is None else TaskUsage(credits_reserved=credits_)
    return Task(id=task_id, status="pending", model="m", usage=usage)


async def test_the_first_task_of_a_model_is_alone_among_processes(file: Path | str) -> None:
    """Others wait until it has a price, or its process has ended."""
    one, two = JournalWriter(parse_location(file)), JournalWriter(parse_location(file))
    for journal in (one, two):
        await journal.sum_up("http://s")
    first = await one.record_intent(intent())
    assert isinstance(first, EntryId)
    for _ in range(2):
        with pytest.raises(PriceUnknownError):
            await two.record_intent(intent())
    # Another model, and a budget that limits no credits, do not wait.
    assert isinstance(await two.record_intent(intent(model="other")), EntryId)
    tasks = Reservation(limits=(Budget(tasks=100),), tokens=5)
    assert isinstance(await two.record_intent(intent(reservation=tasks)), EntryId)
    await one.record_accepted(first, accepted("task-1"))
    with pytest.raises(PriceUnknownError):
        await two.record_intent(intent())
    # The second one of the same process is its own concern.
    second = await one.record_intent(intent())
    assert isinstance(second, EntryId)
    await one.record_accepted(second, accepted("task-2", 2.0))
    third = await two.record_intent(intent())
    assert isinstance(third, EntryId)
    spent = two.spent("http://s")
    assert spent is not None
    # Each of the four counts at the price of the one that has it.
    assert spent.total().credits == pytest.approx(8)
    with pytest.raises(BudgetExceededError):
        for _ in range(2):
            await two.record_intent(intent())
    for journal in (one, two):
        await journal.aclose()


@pytest.mark.parametrize("end", ["closed", "lost", "unknown", "given up"])
async def test_a_task_that_never_ends_makes_no_process_wait(file: Path | str, end: str) -> None:
    """A price that is not found out is found out by the next submission."""
    one, two = JournalWriter(parse_location(file)), JournalWriter(parse_location(file))
    for journal in (one, two):
        await journal.sum_up("http://s")
    first = await one.record_intent(intent())
    assert isinstance(first, EntryId)
    error = foxapi_async.FoxAPIError("gone")
    if end == "unknown":
        await one.record_unknown(first, error)
    else:
        await one.record_accepted(first, accepted("task-1"))
    if end == "lost":
        one.record_lost("http://s", "task-1", error)
    if end == "given up":
        one.end_turn("http://s", "task-1")
    if end == "closed":
        await one.aclose()
    second = None
    while second is None:
        try:
            second = await two.record_intent(intent())
        except PriceUnknownError:
            await asyncio.sleep(0.01)
    spent = two.spent("http://s")
    assert spent is not None
    assert spent.total().tasks == 2
    for journal in (one, two):
        await journal.aclose()


@pytest.mark.parametrize("key", ["row-17", None])
async def test_a_lost_answer_to_a_commit_counts_once(postgres: str, key: str | None) -> None:
    """A transaction that is executed again counts nothing twice, at the edge of a budget too."""
    tasks = Reservation(limits=(Budget(tasks=3),), tokens=5)
    with postgres_schema(postgres) as file:
        async with relayed(file) as (relay, url):
            journal = JournalWriter(parse_location(url))
            await journal.sum_up("http://s")
            await journal.record_intent(intent(reservation=tasks))
            relay.cut_commits = 1
            found = await asyncio.gather(
                journal.record_intent(intent(key, reservation=tasks)),
                journal.record_intent(intent("other", reservation=tasks)),
            )
            assert relay.cut_commits == 0
            assert all(isinstance(entry_id, EntryId) for entry_id in found)
            spent = journal.spent("http://s")
            assert spent is not None
            assert spent.total() == (0, 15, 3)
            with pytest.raises(BudgetExceededError):
                await journal.record_intent(intent(reservation=tasks))
            relay.cut_commits = 1
            assert isinstance(found[0], EntryId)
            await journal.record_accepted(found[0], accepted("task-1", 2.0))
            await journal.aclose()
            journal = JournalWriter(parse_location(url))
            assert (await journal.sum_up("http://s")).total() == (6, 15, 3)
            await journal.aclose()


async def test_a_cancelled_submission_is_released(
    open_fox: Any, fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """One that was never sent makes room again; one whose answer comes late counts."""
    async with open_fox(base_url=fault_proxy.url, budget=Budget(tasks=1)) as fox:
        fault_proxy.on("POST", "*", CannedResponse.http(422, b'{"error":{"message":"no"}}'))
        with pytest.raises(foxapi_async.FoxAPIError):
            await fox.llm.submit(**ASK)
        assert use(fox).tasks == 0
        fault_proxy.clear()
        fault_proxy.on("POST", "*", Stall(response=0), times=1)
        waiting = asyncio.create_task(fox.llm.submit(**ASK))
        await fault_proxy.wait_for_stalls(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(BudgetExceededError):
            await fox.llm.submit(**ASK)
        with pytest.warns(RuntimeWarning, match="its handle is in fox.unclaimed"):
            fault_proxy.release()
            while not fox.unclaimed:
                await asyncio.sleep(0)
    assert gateway.stats.tasks == 1


async def test_many_entries_without_a_budget_are_counted_once(file: Path | str) -> None:
    """More than a page of them, by two journals at once."""
    writer = JournalWriter(parse_location(file))
    await asyncio.gather(*(writer.record_intent(intent(reservation=None)) for _ in range(1200)))
    one, two = JournalWriter(parse_location(file)), JournalWriter(parse_location(file))
    sums = await asyncio.gather(*(journal.sum_up("http://s") for journal in (one, two)))
    assert [spent.total().tasks for spent in sums] == [1200, 1200]
    for journal in (writer, one, two):
        await journal.aclose()
