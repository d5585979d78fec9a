"""Laws of waiting, against the real gateway."""

import asyncio
import pickle
import time
from itertools import pairwise

import pytest

from foxapi_async import (
    ChatCompletion,
    ConfigError,
    FoxSession,
    LLMHandle,
    MediaResults,
    NotFoundError,
    PollPolicy,
    Task,
    TaskFailedError,
    TaskLostError,
    TaskTimeoutError,
    Timeouts,
    UnboundHandleError,
    as_completed,
)
from foxapi_async.errors import InvalidResponseError, InvalidTaskIdError
from foxapi_async.gateway import Gateway
from foxapi_async.testing import CannedResponse, FaultProxy, Stall

KEY = "sk-secret-0123456789abcdef"


async def submit(fox: FoxSession, last: int = 3) -> LLMHandle:
    """Submit a count to ``last``."""
    return await fox.llm.submit(model="gpt-5.5", messages=f"count 1 to {last}")


def text(last: int = 3) -> str:
    """Return how the gateway counts."""
    return ", ".join(str(number) for number in range(1, last + 1))


async def test_a_handle_is_awaited_in_every_way_of_asyncio(fox: FoxSession) -> None:
    """await, gather, wait_for, shield, as_completed and TaskGroup all take handles and results."""
    handles = [await submit(fox, last) for last in range(1, 9)]
    first = await handles[0]
    assert isinstance(first, ChatCompletion)
    assert first.text == text(1)
    both = await asyncio.gather(handles[1], handles[2].result())
    assert [completion.text for completion in both] == [text(2), text(3)]
    assert (await asyncio.wait_for(handles[3], 5)).text == text(4)
    assert (await asyncio.shield(handles[4])).text == text(5)
    for done in asyncio.as_completed([handles[5]]):
        assert (await done).text == text(6)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(handle.result()) for handle in handles[6:]]
    assert [task.result().text for task in tasks] == [text(7), text(8)]
    assert await handles[0] is await handles[0]


async def test_two_tasks_share_one_handle(fox: FoxSession, gateway: Gateway) -> None:
    """Cancelling one waiter leaves the other waiting, and both would get the same answer."""
    handle = await submit(fox, 30)
    first, second = (asyncio.create_task(handle.result()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).text == text(30)
    assert first.cancelled()
    assert gateway.stats.tasks == 1


async def test_a_handle_that_is_not_awaited_costs_nothing(
    fox: FoxSession, gateway: Gateway
) -> None:
    """No poll, no task and no warning for a handle that is dropped."""
    handle = await submit(fox)
    assert not handle.done()
    del handle
    assert gateway.stats.polls == 0
    assert fox.stats().waiting == 0


async def test_many_handles_share_bounded_gets(fox: FoxSession, gateway: Gateway) -> None:
    """Two hundred awaited at once all finish, and nothing is submitted twice."""
    handles = await asyncio.gather(*(submit(fox, 1 + number % 20) for number in range(200)))
    completions = await asyncio.gather(*handles)
    assert [completion.text for completion in completions] == [
        text(1 + number % 20) for number in range(200)
    ]
    assert gateway.stats.tasks == 200
    assert fox.stats().polls == gateway.stats.polls


async def test_a_failed_task_raises_with_its_facts(fox: FoxSession) -> None:
    """Failure carries code, message, id and task, and each await raises an error of its own."""
    handle = await fox.llm.submit(model="gpt-5.5", messages="[[fail:content_policy_violation]]")
    with pytest.raises(TaskFailedError) as first:
        await handle
    with pytest.raises(TaskFailedError) as second:
        await handle
    assert first.value is not second.value
    assert first.value.code == "content_policy_violation"
    assert first.value.task_id == handle.id
    assert first.value.task is not None
    assert handle.done()


async def test_a_wait_that_runs_out_can_be_taken_up_again() -> None:
    """A timeout raises an error that is a TimeoutError too, and the next await succeeds."""
    async with (
        Gateway(queue_delay=0.2) as gateway,
        FoxSession("sk-x", base_url=gateway.url) as fox,
    ):
        handle = await submit(fox)
        with pytest.raises(TaskTimeoutError) as caught:
            await handle.result(timeout=0.02)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.task_id == handle.id
        assert (await handle).text == text()


async def test_generate_is_submit_and_result(fox: FoxSession, gateway: Gateway) -> None:
    """Generate returns the completion itself, with usage and finish reason."""
    completion = await fox.llm.generate(
        model="claude-opus-4-7", messages="count 1 to 3", max_tokens=64
    )
    assert (completion.text, completion.finish_reason) == (text(), "stop")
    assert completion.usage is not None
    assert completion.usage.total_tokens > 0
    assert completion.raw
    assert gateway.stats.tasks == 1


async def test_any_process_finds_the_task_again(fox: FoxSession, gateway: Gateway) -> None:
    """An id is enough: handle() sends nothing, get() one request, and both find the result."""
    handle = await submit(fox)
    async with FoxSession("sk-secret-0123456789abcdef", base_url=gateway.url) as other:
        again = other.tasks.handle(handle.id)
        assert (again.status, again.progress, again.model) == (None, 0, None)
        assert (await again).text == text()
        task = await other.tasks.get(handle.id)
        assert isinstance(task, Task)
        assert task.status == "completed"


async def test_a_pickled_handle_is_bound_before_it_is_used(fox: FoxSession) -> None:
    """A handle travels as its id and says so until it belongs to a session again."""
    handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3", key="row-17")
    copy: LLMHandle = pickle.loads(pickle.dumps(handle))
    assert (copy.id, copy.key, copy.kind) == (handle.id, "row-17", "llm")
    with pytest.raises(UnboundHandleError, match="bind"):
        await copy
    assert copy.bind(fox) is copy
    assert (await copy).text == text()


async def test_unknown_and_impossible_ids(fox: FoxSession) -> None:
    """An id that the service does not know is lost or not found; an impossible one is not sent."""
    with pytest.raises(NotFoundError):
        await fox.tasks.get("task-llm-1-nothere0")
    with pytest.raises(TaskLostError) as caught:
        await fox.tasks.handle("task-llm-1-nothere0")
    assert isinstance(caught.value.fault, NotFoundError)
    with pytest.raises(InvalidTaskIdError):
        fox.tasks.handle("../models")
    with pytest.raises(InvalidTaskIdError):
        await fox.tasks.get("a/b")
    for missing in (None, 5, b"task-1"):
        with pytest.raises(InvalidTaskIdError, match=type(missing).__name__):
            await fox.tasks.get(missing)  # type: ignore[arg-type]
        with pytest.raises(InvalidTaskIdError, match=type(missing).__name__):
            fox.tasks.handle(missing)  # type: ignore[call-overload]


async def test_updates_end_with_the_final_snapshot(fox: FoxSession) -> None:
    """Snapshots come in order, each differs from the one before, and the last is final."""
    handle = await submit(fox, 50)
    seen = [(task.status, task.progress) async for task in handle.updates()]
    assert seen[0] == ("pending", 0)
    assert seen[-1] == ("completed", 100)
    assert all(before != after for before, after in pairwise(seen))
    assert [progress for _, progress in seen] == sorted(progress for _, progress in seen)
    assert [task.status async for task in handle.updates()] == ["completed"]


async def test_refresh_asks_once(fox: FoxSession, gateway: Gateway) -> None:
    """refresh() is one GET, and a final snapshot settles the handle."""
    handle = await submit(fox)
    await handle
    polls = gateway.stats.polls
    other = fox.tasks.handle(handle.id)
    assert (await other.refresh()).status == "completed"
    assert gateway.stats.polls == polls + 1
    assert other.done()


async def test_as_completed_yields_every_handle_once(fox: FoxSession) -> None:
    """Handles come as they finish, failed ones too, and repeated ones once."""
    handles = [await submit(fox, last) for last in (40, 1)]
    handles.append(await fox.llm.submit(model="gpt-5.5", messages="[[fail:timeout]]"))
    seen = [handle async for handle in as_completed([*handles, handles[0]])]
    assert set(seen) == set(handles)
    assert len(seen) == 3
    assert seen[-1] is handles[0]
    assert all(handle.done() for handle in seen)


async def test_leaving_as_completed_ends_the_waits(fox: FoxSession) -> None:
    """A loop that is left early leaves no wait behind."""
    handles = [await submit(fox, last) for last in (1, 200, 200)]
    async for handle in as_completed(handles):
        assert handle is handles[0]
        break
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert fox.stats().waiting == 0


async def test_a_deadline_holds_though_the_get_hangs(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """result(timeout=) raises in time while a GET hangs, and others go on waiting for the task."""
    handle = await submit(session_via_proxy)
    fault_proxy.on("GET", "/v1/tasks/*", Stall(response=0))
    began = time.monotonic()
    waiting = asyncio.create_task(handle.result())
    await fault_proxy.wait_for_stalls()
    with pytest.raises(TaskTimeoutError) as late:
        await handle.result(timeout=0.05)
    assert late.value.task_id == handle.id
    # Far less than the 30 s that a GET may take; a slow machine gets the rest.
    assert time.monotonic() - began < 5
    assert session_via_proxy.stats().waiting == 1
    fault_proxy.clear()
    fault_proxy.release()
    assert (await waiting).text == (await handle).text == text()


async def test_media_tasks_have_their_own_result(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """A handle of another kind reads its outputs as they are."""
    fault_proxy.script(
        CannedResponse.http(
            200,
            b'{"id":"task-unified-1-abcdefgh","status":"completed","results":[{"url":"https://x/1"}]}',
            content_type="application/json",
        )
    )
    result = await session_via_proxy.tasks.handle("task-unified-1-abcdefgh", kind="image")
    assert isinstance(result, MediaResults)
    assert result.urls == ("https://x/1",)


async def test_results_that_cannot_be_read_show_no_key(
    fault_proxy: FaultProxy, session_via_proxy: FoxSession
) -> None:
    """What comes in the place of results is kept for the error, but for the key if it is there."""
    body = f'{{"id":"task-llm-1-abcdefgh","status":"completed","results":[{{"key":"{KEY}"}}]}}'
    fault_proxy.script(CannedResponse.http(200, body.encode(), content_type="application/json"))
    with pytest.raises(InvalidResponseError) as caught:
        await session_via_proxy.tasks.handle("task-llm-1-abcdefgh")
    assert caught.value.body.startswith('{"key":"')
    assert KEY not in f"{caught.value} {caught.value.body}"


async def test_the_repr_has_id_model_status_and_progress(fox: FoxSession) -> None:
    """A handle in a log says what it is of, and no prompt."""
    handle = await submit(fox)
    assert repr(handle) == f"<LLMHandle {handle.id} model='gpt-5.5' status='pending' progress=0>"
    await handle
    assert "completed" in repr(handle)
    assert "count" not in repr(handle)


async def test_no_timeout_waits_longer_than_the_sessions_own(fast_polling: PollPolicy) -> None:
    """``timeout=None`` waits without end; ``Timeouts.wait`` holds where no timeout is given."""
    async with (
        Gateway(queue_delay=0.3) as gateway,
        FoxSession(
            KEY, base_url=gateway.url, polling=fast_polling, timeouts=Timeouts(wait=0.05)
        ) as fox,
    ):
        handle = await submit(fox)
        with pytest.raises(TaskTimeoutError):
            await handle
        with pytest.raises(TaskTimeoutError):
            await handle.result(0.02)
        assert (await handle.result(timeout=None)).text == text()
        answer = fox.llm.generate(model="gpt-5.5", messages="count 1 to 2", timeout=None)
        assert (await answer).text == text(2)


async def test_a_stream_that_submits_has_a_timeout(fast_polling: PollPolicy) -> None:
    """``fox.llm.stream(timeout=)`` bounds the reading, and refuses what is no time."""
    async with (
        Gateway(queue_delay=60) as gateway,
        FoxSession(KEY, base_url=gateway.url, polling=fast_polling) as fox,
    ):
        with pytest.raises(ConfigError, match="seconds above 0"):
            fox.llm.stream(model="gpt-5.5", messages="count 1 to 3", timeout=0)
        with pytest.raises(TaskTimeoutError):
            async with fox.llm.stream(
                model="gpt-5.5", messages="count 1 to 3", timeout=0.05
            ) as stream:
                async for _ in stream:
                    pass


async def test_a_task_gives_a_handle_of_its_kind(fox: FoxSession, gateway: Gateway) -> None:
    """``tasks.handle(task)`` knows the kind, and the result of a finished task without a GET."""
    completion = await (handle := await submit(fox))
    task = await fox.tasks.get(handle.id)
    async with FoxSession(KEY, base_url=gateway.url) as other:
        polls = gateway.stats.polls
        again = other.tasks.handle(task)
        assert isinstance(again, LLMHandle)
        assert (await again).text == completion.text
        assert gateway.stats.polls == polls
        image = other.tasks.handle(
            Task(id="task-unified-1-abcdefgh", type="image", status="pending")
        )
        assert image.kind == "image"
        old = other.tasks.handle(Task(id="task-llm-1-abcdefgh", type="text", status="pending"))
        assert isinstance(old, LLMHandle)
        with pytest.raises(ConfigError, match="kind must be one of"):
            other.tasks.handle(
                Task(id="task-llm-1-abcdefgh", type="llm", status="pending"), "image"
            )
        with pytest.raises(ConfigError, match="kind must be one of"):
            other.tasks.handle(handle.id, "poem")  # type: ignore[call-overload]
