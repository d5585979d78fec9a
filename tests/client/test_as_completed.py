"""Laws of taking results as they come and of watching a task."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any
from weakref import WeakSet

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


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_iterator_is_read_as_its_handles_are_taken(
    fox: FoxSession, is_async: bool
) -> None:
    """Handles that are read and not taken are never more than ``in_flight``."""
    submitted = [await submit(fox, 1 + number % 3) for number in range(30)]
    read = taken = 0

    def handles() -> Iterator[LLMHandle]:
        nonlocal read
        for handle in submitted:
            read += 1
            yield handle

    async def slow_handles() -> AsyncIterator[LLMHandle]:
        for handle in handles():
            await asyncio.sleep(0)
            yield handle

    seen: set[LLMHandle] = set()
    async for handle in as_completed(slow_handles() if is_async else handles(), in_flight=4):
        seen.add(handle)
        await settle()
        taken += 1
        assert read - taken <= 4
    assert taken == 30
    assert seen == set(submitted)


async def test_an_async_generator_may_submit_what_it_yields(fox: FoxSession) -> None:
    """Handles come while later ones are submitted, repeated ones once, and none is kept."""
    alive: WeakSet[LLMHandle] = WeakSet()
    most = 0

    async def handles() -> AsyncIterator[LLMHandle]:
        for number in range(60):
            handle = await submit(fox, 1 + number % 3)
            alive.add(handle)
            yield handle
            yield handle
            del handle

    texts: list[str] = []
    async for handle in as_completed(handles(), in_flight=5):
        texts.append((await handle).text)
        del handle
        gc.collect()
        most = max(most, len(alive))
    assert len(texts) == 60
    # Those in flight, and the one that is being read.
    assert most <= 5 + 2


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [OSError("the disk is gone"), asyncio.CancelledError()])
async def test_an_error_of_the_source_comes_after_its_handles(
    fox: FoxSession, is_async: bool, error: BaseException
) -> None:
    """What was submitted before is yielded, and afterwards the iteration is at its end."""
    submitted = [await submit(fox) for _ in range(5)]

    def handles() -> Iterator[LLMHandle]:
        yield from submitted
        raise error

    async def slow_handles() -> AsyncIterator[LLMHandle]:
        for handle in handles():
            yield handle

    finished = as_completed(slow_handles() if is_async else handles())
    assert {await anext(finished) for _ in range(5)} == set(submitted)
    with pytest.raises(type(error)):
        await anext(finished)
    with pytest.raises(StopAsyncIteration):
        await anext(finished)


async def test_what_a_left_loop_has_submitted_is_in_unclaimed(
    session_on_scripted: FoxSession,
) -> None:
    """They are the handles that a generator has submitted and the loop has not taken."""
    fox = session_on_scripted

    async def handles() -> AsyncIterator[LLMHandle]:
        while True:
            yield await submit(fox)

    finished = as_completed(handles(), in_flight=6)
    step = asyncio.ensure_future(anext(finished))
    while fox.stats().tasks < 6:
        await asyncio.sleep(0)
    await settle()
    step.cancel()
    await asyncio.wait((step,))
    del finished, step
    gc.collect()
    assert fox.stats().tasks == len(fox.unclaimed) == 6
    assert fox.stats().waiting == 0


async def test_a_list_that_is_left_puts_nothing_into_unclaimed(fox: FoxSession) -> None:
    """Its handles are the caller's own."""
    handles = [await submit(fox) for _ in range(3)]
    async for _ in as_completed(handles):
        break
    assert fox.unclaimed == ()


async def test_the_first_step_needs_no_name_of_the_iterator(fox: FoxSession) -> None:
    """``await anext(as_completed(handles))`` is the first handle that is done."""
    handles = [await submit(fox, last) for last in (100_000, 1)]
    assert await anext(as_completed(handles)) is handles[1]
    assert fox.stats().waiting == 0


async def test_the_length_of_an_iterator_is_not_known(fox: FoxSession) -> None:
    """``progress`` counts without a total."""
    handles = [await submit(fox) for _ in range(3)]
    calls: list[CompletionProgress] = []
    async for _ in as_completed(iter(handles), progress=calls.append):
        pass
    assert [(call.done, call.total) for call in calls] == [(1, None), (2, None), (3, None)]
    assert "1 of" not in calls[0]._repr_html_()


@pytest.mark.parametrize("source", [5, "task-1", None, submit])
def test_what_is_no_source_is_refused_at_the_call(source: Any) -> None:
    """A mistake is no iteration that yields nothing."""
    with pytest.raises(TypeError, match="needs an iterable or async iterable of handles"):
        as_completed(source)
    with pytest.raises(ConfigError, match="in_flight"):
        as_completed(iter([]), in_flight=0)


@pytest.mark.parametrize("kind", [list, iter])
async def test_what_is_no_handle_is_named(fox: FoxSession, kind: Any) -> None:
    """A submit that was not awaited is the usual mistake."""
    forgotten = submit(fox)
    with pytest.raises(TypeError, match="got coroutine: pass what `await fox"):
        await anext(as_completed(kind([forgotten])))
    forgotten.close()


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
