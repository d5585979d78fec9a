"""Laws of waits for a single poll, and of the error of a wait whose polls all failed."""

import asyncio
import logging

import pytest

from foxapi_async import (
    APIConnectionError,
    FoxSession,
    LLMHandle,
    NotFoundError,
    PollPolicy,
    TaskTimeoutError,
    Timeouts,
    as_completed,
)
from foxapi_async.gateway import Gateway
from foxapi_async.hooks import Event, TaskCheckFailed
from foxapi_async.testing import CannedResponse, FaultProxy, Reset, Stall

KEY = "sk-secret-0123456789abcdef"
ELSEWHERE = "task-llm-1-abcdefgh"


async def submit(fox: FoxSession, *, stream: bool = False) -> LLMHandle:
    """Submit a short count."""
    return await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3", stream=stream)


async def test_a_timeout_of_0_makes_one_poll(fox: FoxSession, gateway: Gateway) -> None:
    """result(timeout=0) of a task that has finished since asks once and returns the result."""
    handle = await submit(fox)
    async with FoxSession(KEY, base_url=gateway.url) as other:
        await other.tasks.handle(handle.id)
    polls = gateway.stats.polls
    assert (await handle.result(timeout=0)).text == "1, 2, 3"
    assert gateway.stats.polls == polls + 1


@pytest.mark.parametrize("stream", [False, True])
async def test_one_poll_of_an_unfinished_task_ends_the_wait(
    fast_polling: PollPolicy, stream: bool
) -> None:
    """With a timeout of 0, an unfinished task is a timeout after one GET, with the snapshot."""
    async with (
        Gateway(queue_delay=60) as gateway,
        FoxSession(KEY, base_url=gateway.url, polling=fast_polling) as fox,
    ):
        handle = await submit(fox, stream=stream)
        with pytest.raises(TaskTimeoutError, match="was not finished") as late:
            await handle.result(timeout=0)
        assert late.value.fault is None
        assert late.value.task is not None
        assert gateway.stats.polls == 1
        assert fox.stats().waiting == 0


async def test_a_single_poll_is_made_while_the_stream_is_followed(
    fox: FoxSession, gateway: Gateway
) -> None:
    """While another waiter follows the stream, a wait with timeout 0 still has its poll."""
    handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 400", stream=True)
    following = asyncio.create_task(handle.result())
    await asyncio.sleep(0)
    polls = gateway.stats.polls
    with pytest.raises(TaskTimeoutError):
        await handle.result(timeout=0)
    assert gateway.stats.polls == polls + 1
    following.cancel()
    await asyncio.wait((following,))


async def test_a_session_with_a_timeout_of_0_polls_each_task_once(gateway: Gateway) -> None:
    """Timeouts(wait=0) takes what has finished by as_completed, with one GET for each task."""
    async with FoxSession(KEY, base_url=gateway.url, timeouts=Timeouts(wait=0)) as fox:
        handles = [await submit(fox) for _ in range(5)]
        async with FoxSession(KEY, base_url=gateway.url) as other:
            await asyncio.gather(*(other.tasks.handle(handle.id) for handle in handles))
        polls = gateway.stats.polls
        assert {handle async for handle in as_completed(handles)} == set(handles)
        assert all(handle.done() for handle in handles)
        assert gateway.stats.polls == polls + 5


async def test_a_poll_that_started_before_the_wait_does_not_count(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """A GET under way may be older than the end of the task, so that another one follows it."""
    handle = session_via_proxy.tasks.handle((await submit(session_via_proxy)).id)
    fault_proxy.on("GET", "*", Stall(response=0), times=1)
    waiting = asyncio.create_task(handle.result())
    await fault_proxy.wait_for_stalls()
    glance = asyncio.create_task(handle.result(timeout=0))
    await asyncio.sleep(0)
    async with FoxSession(KEY, base_url=gateway.url) as other:
        await other.tasks.handle(handle.id)
    fault_proxy.release()
    assert (await glance).text == (await waiting).text == "1, 2, 3"


@pytest.mark.parametrize("timeout", [0, 0.3])
async def test_a_service_that_was_never_reached_is_not_called_slow(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy, timeout: float
) -> None:
    """A wait whose polls all failed has the last error in its text and in ``fault``."""
    fault_proxy.on("GET", "*", Reset(response=0))
    with pytest.raises(TaskTimeoutError, match="never reached") as late:
        await session_via_proxy.tasks.handle(ELSEWHERE).result(timeout=timeout)
    assert isinstance(late.value.fault, APIConnectionError)
    assert str(late.value.fault) in str(late.value)
    assert "goes on at the service" not in str(late.value)


async def test_an_unknown_task_is_not_called_unreachable(
    session_via_proxy: FoxSession,
) -> None:
    """The timeout of an id that the service does not know says to check the id and the key."""
    with pytest.raises(TaskTimeoutError, match=r"never seen.*check its id and the key") as late:
        await session_via_proxy.tasks.handle(ELSEWHERE).result(timeout=0)
    assert isinstance(late.value.fault, NotFoundError)


async def test_an_unreachable_service_is_reported_with_the_last_snapshot(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """After an accepted submit, a wait that ends among faults names the last one."""
    handle = await submit(session_via_proxy)
    fault_proxy.on("GET", "*", CannedResponse.http(404))
    with pytest.raises(TaskTimeoutError, match="the last poll failed") as late:
        await handle.result(timeout=0)
    assert isinstance(late.value.fault, NotFoundError)


async def test_silence_is_no_word_of_the_task(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """A wait that ends before any answer came says that there was none."""
    fault_proxy.on("GET", "*", Stall(response=0))
    with pytest.raises(TaskTimeoutError, match="gave no answer") as late:
        await session_via_proxy.tasks.handle(ELSEWHERE).result(timeout=0.05)
    assert late.value.fault is None


@pytest.mark.parametrize("stream", [False, True], ids=["wait", "stream"])
async def test_the_first_failure_of_a_series_is_emitted_at_once(
    fault_proxy: FaultProxy,
    fast_polling: PollPolicy,
    caplog: pytest.LogCaptureFixture,
    stream: bool,
) -> None:
    """A series of failed polls is emitted and logged once, while the wait goes on."""
    failures: asyncio.Queue[TaskCheckFailed] = asyncio.Queue()

    def record(event: Event) -> None:
        if isinstance(event, TaskCheckFailed):
            failures.put_nowait(event)

    async with FoxSession(
        KEY, base_url=fault_proxy.url, polling=fast_polling, hooks=[record]
    ) as fox:
        handle = await submit(fox, stream=stream)
        fault_proxy.on("GET", "*", Reset(response=0), times=3)
        with caplog.at_level(logging.WARNING, "foxapi_async"):
            wait = handle.stream().completion() if stream else handle.result()
            waiting = asyncio.create_task(wait)
            first = await failures.get()
            assert not waiting.done()
            assert (await waiting).text == "1, 2, 3"
    assert (first.task_id, first.error) == (handle.id, "APIConnectionError")
    assert first.message
    assert failures.empty()
    if not stream:
        assert sum("failed and is tried again" in text for text in caplog.messages) == 1


async def test_a_stream_that_runs_out_of_time_names_its_fault(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """The timeout of a stream that was never opened carries why."""
    fault_proxy.on("GET", "*", Reset(response=0))
    with pytest.raises(TaskTimeoutError) as late:
        async for _ in session_via_proxy.tasks.handle(ELSEWHERE).stream(timeout=0.3):
            pass
    assert isinstance(late.value.fault, APIConnectionError)
    assert str(late.value.fault) in str(late.value)
