"""Laws of what a session keeps of a row that is over."""

import asyncio
import gc
import tracemalloc
from collections import Counter

import pytest

from foxapi_async import FoxSession, Limits, PollPolicy
from foxapi_async._journal import EntryId, Intent, make_journal
from foxapi_async.gateway import Gateway
from foxapi_async.testing import ManualClock
from foxapi_async.types import Task

KEY = "sk-secret-0123456789abcdef"


async def remember(number: int, *, keyed: bool) -> int:
    """Return the bytes that a session without a journal keeps of so many accepted rows."""
    recorder = make_journal(None, ManualClock())

    async def row(index: int) -> None:
        intent = Intent(
            service="https://api.foxapi.cc",
            key=f"row-{index:08d}" if keyed else None,
            model="gpt-5.5",
            body=b'{"model":"gpt-5.5","messages":[{"role":"user","content":"row %d"}]}' % index,
            sent_at=1_776_874_565.25 + index,
        )
        entry_id = await recorder.record_intent(intent)
        assert isinstance(entry_id, EntryId)
        task = Task(id=f"task-llm-1776874565-{index:08d}", model="gpt-5.5", status="pending")
        await recorder.record_accepted(entry_id, task)

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
    """No key of a session is forgotten, so each takes a few hundred bytes; other rows take none."""
    assert await remember(4_000, keyed=True) < 4_000 * 450
    assert await remember(4_000, keyed=False) < 4_000


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
