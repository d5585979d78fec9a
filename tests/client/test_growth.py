"""Laws of what a session keeps of a row that is over."""

import asyncio
import gc
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async import FoxSession, Limits, PollPolicy, RequestValidationError, RowOutcome
from foxapi_async._journal import EntryId, FinalRecord, Intent, Stage, in_memory, make_journal
from foxapi_async._journal.digest_set import DigestSet
from foxapi_async.gateway import Gateway
from foxapi_async.testing import ManualClock
from foxapi_async.types import Task

KEY = "sk-secret-0123456789abcdef"


async def remember(number: int, *, keyed: bool, finishes: bool = False) -> int:
    """Return the bytes that a session without a journal keeps of so many accepted rows."""
    journal = make_journal(None, ManualClock())
    service = "https://api.foxapi.cc"

    async def row(index: int) -> None:
        key = f"row-{index:08d}" if keyed else None
        intent = Intent(
            service=service,
            key=key,
            model="gpt-5.5",
            body=b'{"model":"gpt-5.5","messages":[{"role":"user","content":"row %d"}]}' % index,
            sent_at=1_776_874_565.25 + index,
        )
        if key is not None:
            assert await journal.find(service, key) is None
        entry_id = await journal.record_intent(intent)
        assert isinstance(entry_id, EntryId)
        task = Task(id=f"task-llm-1776874565-{index:08d}", model="gpt-5.5", status="pending")
        await journal.record_accepted(entry_id, task)
        if finishes:
            # One in ten fails.
            stage = Stage.COMPLETED if index % 10 else Stage.FAILED
            journal.record_finished(FinalRecord(service=service, key=key, stage=stage, task=task))

    await row(number)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for index in range(number):
            await row(index)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


async def test_a_key_costs_little_and_a_row_without_one_nothing() -> None:
    """A key whose task is under way takes a few hundred bytes; other rows take none."""
    assert await remember(4_000, keyed=True) < 4_000 * 450
    assert await remember(4_000, keyed=False) < 4_000


async def test_keys_of_a_million_finished_rows_take_few_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a key whose task has ended long ago, a digest is left."""
    monkeypatch.setattr(in_memory, "KEPT", 100)
    assert await remember(4_000, keyed=True, finishes=True) < 4_000 * 24 + 100_000


async def test_an_old_key_is_not_sent_again(
    gateway: Gateway, fast_polling: PollPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer keys lead to their tasks; older ones are refused, and the error says what helps."""
    monkeypatch.setattr(in_memory, "KEPT", 3)
    async with FoxSession(KEY, base_url=gateway.url, polling=fast_polling) as fox:

        async def outcomes(rows: list[int], **options: Any) -> list[RowOutcome[int]]:
            mapped = fox.llm.map(
                rows,
                model="gpt-5.5",
                messages=lambda row: f"count 1 to {row}",
                key=str,
                in_flight=1,
                **options,
            )
            return [outcome async for outcome in mapped]

        running = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 9", key="running")
        await outcomes([1, 2, 3, 4, 5, 6])
        again = await outcomes([6, 5, 4, 3, 1], retry_failed=True)
        assert [outcome.attempts for outcome in again] == [0] * 5
        assert [type(outcome.error) for outcome in again] == [type(None)] * 3 + [
            RequestValidationError
        ] * 2
        assert "journal=" in str(getattr(again[-1].error, "advice", None))
        same = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 9", key="running")
        assert same is running
        assert fox.stats().tasks == 7


@given(st.lists(st.text(max_size=4)), st.lists(st.text(max_size=4)))
def test_a_set_of_digests_knows_what_was_added(added: list[str], others: list[str]) -> None:
    """It has each text once, and no other one."""
    known = DigestSet()
    for text in added:
        known.add(text)
        assert text in known
    assert len(known) == len(set(added))
    assert {text for text in (*added, *others) if text in known} == set(added)


def test_a_set_of_digests_grows_evenly() -> None:
    """Each text is found after the tables have grown, within 24 bytes a text."""
    known = DigestSet()
    texts = [f"key-{number}" for number in range(20_000)]
    for text in texts:
        known.add(text)
    assert all(text in known for text in texts)
    assert not any(f"other-{text}" in known for text in texts)
    assert sum(len(table) * table.itemsize for table in known._tables) <= 24 * len(texts)


# What the gateway, in the same process, keeps of its tasks is not the session's.
PARTS = ("_client", "_transport", "_journal", "_protocol")


def living() -> Counter[str]:
    """Count the objects of the session's parts that are alive, by their class."""
    gc.collect()
    modules = tuple(f"foxapi_async.{part}." for part in PARTS)
    classes = (type(one) for one in gc.get_objects())
    return Counter(one.__qualname__ for one in classes if str(one.__module__).startswith(modules))


@pytest.mark.parametrize("limits", [Limits(), Limits(max_unfinished=4, submits_in_flight=4)])
async def test_a_finished_row_leaves_nothing_behind(
    gateway: Gateway, fast_polling: PollPolicy, limits: Limits
) -> None:
    """After any number of rows a session holds the objects that it held after the first few."""
    async with FoxSession(KEY, base_url=gateway.url, polling=fast_polling, limits=limits) as fox:

        async def rows(number: int) -> None:
            async def row(index: int) -> None:
                await fox.llm.generate(model="gpt-5.5", messages=f"count 1 to {1 + index % 3}")

            await asyncio.gather(*(row(index) for index in range(number)))

        await rows(20)
        before = living()
        await rows(60)
        grown = {name: many - before[name] for name, many in living().items()}
        assert {name for name, more in grown.items() if more >= 20} == set()
