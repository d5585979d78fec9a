"""Laws of tasks that the service knows no more: they are set aside, and none is buried."""

from typing import Any

import pytest

from foxapi_async import LLMHandle, NotFoundError, PollPolicy, TaskLostError, as_completed
from foxapi_async._client.params import LLMParams
from foxapi_async._journal import Stage
from foxapi_async.gateway import Gateway

KEYED: LLMParams = {"model": "gpt-5.5", "messages": "count 1 to 3", "key": "row-17"}
GONE = "query:expired"


async def stages(fox: Any) -> dict[str | None, Stage]:
    """Return the stage of each key."""
    return {entry.key: entry.stage for entry in await fox._service.options.journal.entries()}


async def result(handle: LLMHandle) -> None:
    """Await the result."""
    await handle


async def completed(handle: LLMHandle) -> None:
    """Wait in company."""
    async for one in as_completed([handle]):
        await one


async def updates(handle: LLMHandle) -> None:
    """Watch it change."""
    async for _ in handle.updates():
        pass


@pytest.mark.parametrize("wait", [result, completed, updates])
async def test_a_task_that_is_unknown_is_set_aside(
    open_fox: Any, wait: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A wait that ends with three 404 raises, warns, and ``recover`` leaves the task out."""
    async with Gateway(faults=[GONE]) as gateway:
        async with open_fox(base_url=gateway.url) as fox:
            handle = await fox.llm.submit(**KEYED)
        async with open_fox(base_url=gateway.url) as fox:
            (again,) = (await fox.recover()).handles
            with pytest.raises(TaskLostError) as caught:
                await wait(again)
            assert isinstance(caught.value.fault, NotFoundError)
        warnings = {r.getMessage() for r in caplog.records if r.levelname == "WARNING"}
        (warning,) = (text for text in warnings if "does not know" in text)
        assert handle.id in warning
        assert "account" in warning
        async with open_fox(base_url=gateway.url) as fox:
            assert await stages(fox) == {"row-17": Stage.LOST}
            assert (await fox.recover()).handles == ()
            (kept,) = (await fox.recover(finished=True)).handles
            assert (kept.id, kept.done()) == (handle.id, False)
    assert gateway.stats.submits == 1


async def test_a_task_that_comes_back_is_finished(open_fox: Any, gateway: Gateway) -> None:
    """One that the service knows after all, as with the right key again, gives its result."""
    async with open_fox() as fox:
        await fox.llm.submit(**KEYED)
    async with open_fox(api_key="sk-of-another-account") as other:
        gateway.faults.add(GONE)
        with pytest.raises(TaskLostError):
            await other.llm.generate(**KEYED)
    gateway.faults.clear()
    async with open_fox() as fox:
        assert (await fox.llm.generate(**KEYED)).text == "1, 2, 3"
    async with open_fox() as fox:
        (done,) = (await fox.recover(finished=True)).handles
        assert done.done()
        (entry,) = await fox._service.options.journal.entries()
        assert (entry.stage, entry.fault) == (Stage.COMPLETED, None)
    assert gateway.stats.submits == 1


async def test_a_result_that_is_kept_is_never_lost(open_fox: Any, gateway: Gateway) -> None:
    """A process that comes too late to see a task leaves the result that another has seen."""
    async with open_fox() as one, open_fox() as two:
        handle = await one.llm.submit(**KEYED)
        (late,) = (await two.recover()).handles
        await handle
        gateway.faults.add(GONE)
        with pytest.raises(TaskLostError):
            await late
    async with open_fox() as fox:
        assert await stages(fox) == {"row-17": Stage.COMPLETED}


async def test_trouble_of_another_kind_loses_nothing(open_fox: Any) -> None:
    """A service that cannot be asked leaves the entry where it was."""
    async with Gateway(faults=["query:503"]) as gateway:
        async with open_fox(base_url=gateway.url) as fox:
            impatient = fox.with_options(polling=PollPolicy(give_up_after=0))
            handle = await impatient.llm.submit(**KEYED)
            with pytest.raises(TaskLostError):
                await handle
        async with open_fox(base_url=gateway.url) as fox:
            assert await stages(fox) == {"row-17": Stage.ACCEPTED}
            assert len((await fox.recover()).handles) == 1
