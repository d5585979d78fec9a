"""Laws of awaiting a generation that has a stream."""

import asyncio
import pickle

import pytest

from foxapi_async import FoxSession, Limits, LLMHandle, TaskFailedError, TaskTimeoutError
from foxapi_async.gateway import Gateway
from foxapi_async.testing import CannedResponse, FaultProxy, Reset, Stall

STREAM = "/v1/llm/generations/*/stream"
TASK = "/v1/tasks/*"
COUNT = "1, 2, 3, 4, 5"


async def submit(fox: FoxSession, messages: str = "count 1 to 5") -> LLMHandle:
    """Submit a generation with reasoning and a stream."""
    return await fox.llm.submit(model="kimi-k2.6", messages=messages, stream=True)


async def test_awaiting_follows_the_stream(fox: FoxSession, gateway: Gateway) -> None:
    """The result has its reasoning, by one stream and one GET, for any number of waiters."""
    handle = await submit(fox)
    first, second = await asyncio.gather(handle, handle.result())
    assert first is second
    assert (first.text, first.source) == (COUNT, "task+stream")
    assert first.reasoning
    assert (gateway.stats.streams, gateway.stats.polls) == (1, 1)
    assert fox.stats().streams == 0


async def test_generate_keeps_the_reasoning(fox: FoxSession) -> None:
    """``generate`` with a reasoning model asks for a stream by itself."""
    completion = await fox.llm.generate(model="kimi-k2.6", messages="count 1 to 5")
    assert completion.text == COUNT
    assert completion.reasoning


async def test_no_more_streams_than_allowed_are_followed(gateway: Gateway) -> None:
    """Beyond limits.streams, tasks are polled, and every result arrives."""
    async with FoxSession("sk-x", base_url=gateway.url, limits=Limits(streams=3)) as fox:
        handles = [await submit(fox) for _ in range(8)]
        completions = await asyncio.gather(*handles)
    assert [completion.text for completion in completions] == [COUNT] * 8
    assert gateway.stats.streams == 3


async def test_polls_take_over_where_streaming_fails(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """A stream that cannot be opened costs the reasoning, never the result."""
    handle = await submit(session_via_proxy)
    fault_proxy.on("GET", STREAM, CannedResponse.http(403, b"no"))
    completion = await handle
    assert (completion.text, completion.source) == (COUNT, "task")


async def test_a_cut_stream_is_followed_again(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """A lost connection does not change the result."""
    handle = await submit(session_via_proxy)
    fault_proxy.on("GET", STREAM, Reset(body=b"reasoning_content"), times=1)
    completion = await handle
    assert completion.text == COUNT
    assert completion.reasoning
    assert fault_proxy.fired


async def test_a_failure_is_known_by_the_stream(fox: FoxSession, gateway: Gateway) -> None:
    """A task that fails while it is followed raises its own error."""
    handle = await submit(fox, "[[fail:timeout:2]]")
    with pytest.raises(TaskFailedError) as caught:
        await handle
    assert caught.value.code == "timeout"
    assert gateway.stats.streams == 1


async def test_the_last_waiter_to_leave_closes_the_stream(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """A wait that times out leaves no stream and no asyncio task; the next one follows again."""
    handle = await submit(session_via_proxy)
    fault_proxy.on("GET", STREAM, Stall(body=b"reasoning_content"), times=1)
    with pytest.raises(TaskTimeoutError):
        await handle.result(timeout=0.05)
    await fault_proxy.wait_until(lambda: fault_proxy.open_connections == 1)
    assert session_via_proxy.stats().streams == 0
    assert (await handle).reasoning
    assert fault_proxy.count("GET", STREAM) == 2


async def test_a_slow_reader_does_not_delay_the_result(fox: FoxSession) -> None:
    """Awaiting the handle does not depend on the position of another reader of the stream."""
    handle = await submit(fox)
    async with handle.stream() as stream:
        await anext(stream)
        assert (await handle).text == COUNT
        rest = [delta async for delta in stream]
    assert rest[-1].finish_reason == "stop"


async def test_followers_and_readers_share_the_limit(gateway: Gateway) -> None:
    """limits.streams counts streams of readers, and those that are just about to be opened."""
    async with FoxSession("sk-x", base_url=gateway.url, limits=Limits(streams=3)) as fox:
        handles = [await submit(fox, "count 1 to 40") for _ in range(4)]
        async with handles[0].stream() as stream:
            await anext(stream)
            waiting = [asyncio.create_task(handle.result()) for handle in handles]
            while fox.stats().waiting < 4:
                await asyncio.sleep(0)
            assert fox.stats().streams == 3
            completions = await asyncio.gather(*waiting)
    assert all(completion.text for completion in completions)


async def test_a_pickled_handle_follows_too(fox: FoxSession, gateway: Gateway) -> None:
    """An unpickled handle knows that there is a stream, and keeps the reasoning."""
    handle = await submit(fox)
    async with FoxSession("sk-secret-0123456789abcdef", base_url=gateway.url) as other:
        again: LLMHandle = pickle.loads(pickle.dumps(handle)).bind(other)
        assert (await again).reasoning
    assert gateway.stats.streams == 1


async def test_a_handle_that_learns_of_its_stream_follows(fox: FoxSession) -> None:
    """A snapshot that names a stream is enough to follow it."""
    again = fox.tasks.handle((await submit(fox)).id)
    await again.refresh()
    assert (await again).reasoning


async def test_updates_are_polled_even_while_the_stream_is_followed(fox: FoxSession) -> None:
    """``updates`` polls the progress while another waiter follows the stream."""
    handle = await submit(fox, "count 1 to 60")
    waiting = asyncio.create_task(handle.result())
    seen = [task.progress async for task in handle.updates()]
    assert len(seen) > 2
    assert (await waiting).reasoning
