"""Laws of taking results as they come and of watching a task."""

import asyncio
import sys
from typing import Any

import pytest

from foxapi_async import CompletionProgress, ConfigError, FoxSession, LLMHandle, as_completed
from foxapi_async.testing import CannedResponse, FaultProxy, settle


async def submit(fox: FoxSession, last: int = 3) -> LLMHandle:
    """Submit a generation that takes longer the further it counts."""
    return await fox.llm.submit(model="gpt-5.5", messages=f"count 1 to {last}")


async def test_no_handle_costs_a_task_of_the_loop(session_on_scripted: FoxSession) -> None:
    """While a hundred handles are waited for, the only new task is the one that takes from them."""
    handles = [await submit(session_on_scripted) for _ in range(100)]
    await settle()
    # No poll is due while the time stands still, so the gateway opens no connection, and no task.
    before = asyncio.all_tasks()
    finished = as_completed(handles)
    taking = asyncio.ensure_future(anext(finished))
    await settle()
    assert session_on_scripted.stats().waiting == 100
    assert asyncio.all_tasks() - before == {taking}
    taking.cancel()
    await asyncio.wait((taking,))


async def test_progress_is_called_once_for_each_handle(fox: FoxSession) -> None:
    """It counts up to the total and names the handle."""
    handles = [await submit(fox) for _ in range(20)]
    calls: list[CompletionProgress] = []
    finished = [handle async for handle in as_completed(handles, progress=calls.append)]
    assert set(finished) == set(handles)
    assert [snapshot.done for snapshot in calls] == list(range(1, 21))
    assert {snapshot.total for snapshot in calls} == {20}
    assert {snapshot.handle for snapshot in calls} == set(handles)
    assert all(snapshot.error is None for snapshot in calls)


async def test_what_progress_raises_comes_out_of_the_loop(fox: FoxSession) -> None:
    """A mistake in the callable is the loop's own, and the handles are not lost by it."""

    def broken(progress: CompletionProgress) -> None:
        if progress.done == 1:
            raise ZeroDivisionError

    handles = [await submit(fox) for _ in range(3)]
    finished = as_completed(handles, progress=broken)
    with pytest.raises(ZeroDivisionError):
        await anext(finished)
    assert {handle async for handle in finished} == set(handles)


async def test_progress_has_the_error_of_a_wait_without_an_outcome(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """A refused poll yields the handle, and progress says why it has no outcome."""
    handle = await submit(session_via_proxy)
    fault_proxy.on("GET", "*", CannedResponse.http(403), times=1)
    calls: list[CompletionProgress] = []
    assert [one async for one in as_completed([handle], progress=calls.append)] == [handle]
    assert type(calls[0].error).__name__ == "PermissionDeniedError"
    assert not handle.done()


async def test_a_cancelled_loop_ends_its_waits_at_once(session_on_scripted: FoxSession) -> None:
    """Not even a cancelled task that is kept, with its traceback, keeps the polling going."""
    handles = [await submit(session_on_scripted) for _ in range(5)]

    async def take() -> None:
        async for _ in as_completed(handles):
            pass

    taking = asyncio.create_task(take())
    await settle()
    assert session_on_scripted.stats().waiting == 5
    taking.cancel()
    await asyncio.wait((taking,))
    assert taking.cancelled()
    assert session_on_scripted.stats().waiting == 0


async def test_a_cancelled_step_loses_no_handle(fox: FoxSession) -> None:
    """A step that is cancelled at any moment is taken anew, and each handle comes once."""
    handles = [await submit(fox, 1 + number % 7) for number in range(20)]
    finished = as_completed(handles)
    taken: list[LLMHandle] = []
    for turns in range(10_000):
        step = asyncio.ensure_future(anext(finished))
        await settle(turns * 7 % 50)
        step.cancel()
        try:
            taken.append(await step)
        except asyncio.CancelledError:
            continue
        except StopAsyncIteration:
            break
    assert len(taken) == 20
    assert set(taken) == set(handles)


async def test_several_tasks_take_from_one_iterator(fox: FoxSession) -> None:
    """Each handle goes to one of them, and at the end none is left waiting."""
    handles = [await submit(fox, 1 + number % 5) for number in range(12)]
    finished = as_completed(handles)

    async def take() -> list[LLMHandle]:
        return [handle async for handle in finished]

    shares = await asyncio.gather(*(take() for _ in range(5)))
    taken = [handle for share in shares for handle in share]
    assert len(taken) == 12
    assert set(taken) == set(handles)


async def test_updates_go_on_after_a_cancelled_step(fox: FoxSession) -> None:
    """A step that was cancelled is taken anew, and the final snapshot still comes last."""
    handle = await submit(fox, 30)
    updates = handle.updates()
    assert (await anext(updates)).status == "pending"
    step = asyncio.ensure_future(anext(updates))
    await asyncio.sleep(0)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert [task.status async for task in updates][-1] == "completed"
    assert fox.stats().waiting == 0


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", True])
async def test_an_impossible_timeout_is_refused(fox: FoxSession, timeout: Any) -> None:
    """A timeout that is no time to wait is named before anything is asked."""
    handle = await submit(fox)
    with pytest.raises(ConfigError, match="timeout="):
        await handle.result(timeout=timeout)


@pytest.mark.parametrize("timeout", [float("inf"), 1e308, 10**400])
async def test_a_timeout_beyond_all_clocks_is_none(fox: FoxSession, timeout: float) -> None:
    """A timeout that is longer than any clock can count is no timeout."""
    handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3", stream=True)
    deltas = [delta.text async for delta in handle.stream(timeout=timeout)]
    assert (await handle.result(timeout=timeout)).text == "".join(deltas)


@pytest.mark.usefixtures("tqdm_is_ready")
async def test_progress_true_shows_a_bar(
    fox: FoxSession, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bar counts up to the number of handles, and a loop that is left closes it."""
    handles = [await submit(fox) for _ in range(4)]
    assert len([handle async for handle in as_completed(handles, progress=True)]) == 4
    assert "4/4" in capsys.readouterr().err
    async for _ in as_completed(handles, progress=True):
        break
    assert "task" in capsys.readouterr().err
    assert [handle async for handle in as_completed(handles, progress=False)]


async def test_a_bar_without_tqdm_names_the_extra(
    fox: FoxSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``progress=True`` without the extra is a ``ConfigError``."""
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    handles = [await submit(fox)]
    with pytest.raises(ConfigError, match=r"foxapi-async\[notebook\]"):
        as_completed(handles, progress=True)


async def test_handles_stats_and_progress_are_shown_in_a_notebook(fox: FoxSession) -> None:
    """Their HTML has the id, the status and the text, and the counters that are not 0."""
    handle = await submit(fox)
    assert "<progress" in handle._repr_html_()
    events: list[CompletionProgress] = []
    async for _ in as_completed([handle], progress=events.append):
        pass
    assert all(text in handle._repr_html_() for text in (handle.id, "completed", "1, 2, 3"))
    assert "1 of 1" in events[0]._repr_html_()
    stats = fox.stats()._repr_html_()
    assert "gpt-5.5" in stats
    assert "paused" not in stats
