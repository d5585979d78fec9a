"""Laws of streams, against the real gateway and through a proxy that cuts connections."""

import asyncio
import contextlib
import gc
import pickle
import sys
import warnings
from collections.abc import Callable

import pytest

from foxapi_async import (
    ChatCompletion,
    ConfigError,
    Delta,
    FoxSession,
    LLMHandle,
    StreamConsumedError,
    StreamUnavailableError,
    TaskFailedError,
    TaskTimeoutError,
)
from foxapi_async.gateway import Gateway
from foxapi_async.testing import Close, FaultProxy, ManualClock, Reset, Stall, StripQuery, Trickle

STREAM = "/v1/llm/generations/*/stream"
TASK = "/v1/tasks/*"
COUNT = "1, 2, 3, 4, 5, 6, 7, 8, 9"


async def submit(
    fox: FoxSession, messages: str = "count 1 to 9", model: str = "gpt-5.5"
) -> LLMHandle:
    """Submit a generation with a stream."""
    return await fox.llm.submit(model=model, messages=messages, stream=True)


async def read(handle: LLMHandle) -> list[Delta]:
    """Read a stream to its end."""
    return [delta async for delta in handle.stream()]


def text(deltas: list[Delta]) -> str:
    """Join the text of the deltas."""
    return "".join(delta.text for delta in deltas)


async def test_a_stream_delivers_the_stored_text(fox: FoxSession) -> None:
    """The joined deltas are the stored text, and the last one has the finish reason."""
    handle = await submit(fox)
    deltas = await read(handle)
    completion = await handle
    assert text(deltas) == completion.text == COUNT
    assert deltas[-1].finish_reason == completion.finish_reason == "stop"


async def test_the_reasoning_of_a_stream_is_kept(fox: FoxSession, gateway: Gateway) -> None:
    """Awaiting after the stream adds the reasoning that the service drops, and costs one GET."""
    handle = await submit(fox, "count 1 to 5", "kimi-k2.6")
    deltas = await read(handle)
    reasoning = "".join(delta.reasoning for delta in deltas)
    polls = gateway.stats.polls
    completion = await handle
    assert gateway.stats.polls == polls + 1
    assert completion.reasoning == reasoning != ""
    assert (completion.text, completion.source) == ("1, 2, 3, 4, 5", "task+stream")
    assert completion.raw


async def test_a_generation_that_ends_in_its_reasoning(fox: FoxSession) -> None:
    """A reasoning model stopped by max_tokens stores no text; the streamed reasoning is kept."""
    handle = await fox.llm.submit(
        model="kimi-k2.6", messages="count 1 to 5", max_tokens=3, stream=True
    )
    await read(handle)
    completion = await handle
    assert completion.text == ""
    assert completion.reasoning
    assert completion.finish_reason == "length"


async def test_a_finished_stream_is_replayed(fox: FoxSession) -> None:
    """Two readers, one live and one later, get the same deltas."""
    handle = await submit(fox)
    first, second = await asyncio.gather(read(handle), read(handle))
    assert first == second == await read(fox.tasks.handle(handle.id))


async def test_a_generation_without_a_stream_says_so(fox: FoxSession) -> None:
    """``handle.stream`` of a plain submit raises at once; a handle made from an id asks first."""
    handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
    with pytest.raises(StreamUnavailableError, match="await its handle"):
        handle.stream()
    await handle
    with pytest.raises(StreamUnavailableError, match="stream=True"):
        await read(fox.tasks.handle(handle.id))


async def test_a_failed_task_fails_its_stream(fox: FoxSession) -> None:
    """The stream delivers its chunks and then raises the error of the task, with its code."""
    handle = await submit(fox, "[[fail:timeout:3]]")
    seen: list[Delta] = []
    with pytest.raises(TaskFailedError) as caught:
        async for delta in handle.stream():
            seen.append(delta)  # noqa: PERF401 the deltas before the error are kept
    assert caught.value.code == "timeout"
    assert text(seen)


@pytest.mark.parametrize(
    "cut",
    [
        lambda: Reset(body=b'"content":" 3'),
        lambda: Close(body=b'"content":" 3'),
        lambda: Reset(body=b"\n\n"),
        lambda: Close(body=0),
        lambda: Reset(response=0),
        lambda: Reset(response=1),
        lambda: Close(body=b"event: done\n"),
    ],
)
@pytest.mark.parametrize("ignores_offset", [False, True])
async def test_a_cut_stream_goes_on(
    session_via_proxy: FoxSession,
    fault_proxy: FaultProxy,
    cut: Callable[[], Reset | Close],
    ignores_offset: bool,
) -> None:
    """Wherever a connection is cut, each delta is delivered once, offset honoured or not."""
    handle = await submit(session_via_proxy)
    fault = cut()
    fault_proxy.on("GET", STREAM, fault, times=2)
    if ignores_offset:
        fault_proxy.on("GET", STREAM, StripQuery("offset"))
    deltas = await read(handle)
    assert text(deltas) == COUNT
    assert deltas == await read(handle)
    assert fault_proxy.fired[0] == fault


async def test_reads_of_any_size_give_the_same_deltas(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """The deltas do not depend on the sizes of the reads."""
    handle = await submit(session_via_proxy, "count 1 to 4")
    whole = await read(handle)
    fault_proxy.on("GET", STREAM, Trickle(1, 7, 2), times=1)
    assert await read(handle) == whole


async def test_cancelling_a_read_loses_nothing(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """A cancelled read closes the connection, and the next one goes on at the cursor."""
    handle = await submit(session_via_proxy)
    fault_proxy.on("GET", STREAM, Stall(body=b'"content":" 4'), times=1)
    async with handle.stream() as stream:
        seen = [await anext(stream) for _ in range(3)]
        waiting = asyncio.create_task(anext_of(stream.__anext__))
        await asyncio.sleep(0)  # a task that is cancelled before it starts reads nothing
        await fault_proxy.wait_for_stalls()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert session_via_proxy.stats().streams == 0
        seen += [delta async for delta in stream]
    assert text(seen) == COUNT


async def anext_of(step: Callable[[], object]) -> Delta:
    """Await one step of a stream, as a coroutine for ``create_task``."""
    return await step()  # type: ignore[misc,no-any-return]


async def test_leaving_a_temporary_closes_at_once(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """``break`` out of a loop over a temporary stream leaves no connection and no warning."""
    handle = await submit(session_via_proxy, "count 1 to 400")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async for delta in handle.stream():
            assert isinstance(delta, Delta)
            break
    assert session_via_proxy.stats().streams == 0
    # The connection of the submit stays in the pool.
    await fault_proxy.wait_until(lambda: fault_proxy.open_connections == 1)


async def test_async_with_closes_and_a_dropped_name_warns(fox: FoxSession) -> None:
    """A stream in ``async with`` does not warn; one that is dropped half-read warns and closes."""
    handle = await submit(fox)
    async with handle.stream() as stream:
        async for _ in stream:
            break
    with pytest.raises(StreamConsumedError):
        await anext(stream)
    with pytest.raises(StreamConsumedError):
        stream.__aiter__()
    named = handle.stream()
    async for _ in named:
        break
    assert fox.stats().streams == 0
    with pytest.warns(ResourceWarning, match="async with"):
        del named
        gc.collect()


async def test_a_stream_never_started_submits_nothing(fox: FoxSession, gateway: Gateway) -> None:
    """A ``fox.llm.stream`` that is never read warns, and bills nothing."""
    stream = fox.llm.stream(model="gpt-5.5", messages="count 1 to 3")
    with pytest.raises(RuntimeError, match="nothing was submitted"):
        _ = stream.handle
    with pytest.warns(ResourceWarning, match="nothing was submitted"):
        del stream
        gc.collect()
    assert gateway.stats.submits == 0


async def test_submit_and_stream_in_one_step(fox: FoxSession, gateway: Gateway) -> None:
    """``fox.llm.stream`` submits once, when entered or first read, and has its handle then."""
    async with fox.llm.stream(model="gpt-5.5", messages="count 1 to 9") as stream:
        assert stream.handle.id.startswith("task-llm-")
        assert text([delta async for delta in stream]) == COUNT
        assert (await stream.completion()).text == COUNT
    said = ""
    async for delta in fox.llm.stream(model="gpt-5.5", messages="count 1 to 9"):
        said += delta.text
    assert said == COUNT
    assert gateway.stats.tasks == 2


async def test_a_cancelled_first_read_does_not_submit_twice(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """A read that is cancelled during the submission and repeated submits one task."""
    fault_proxy.on("POST", "*", Stall(response=0), times=1)
    async with contextlib.aclosing(
        session_via_proxy.llm.stream(model="gpt-5.5", messages="count 1 to 9")
    ) as stream:
        first = asyncio.create_task(anext_of(stream.__anext__))
        await fault_proxy.wait_for_stalls()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        fault_proxy.release()
        assert text([delta async for delta in stream]) == COUNT
    assert gateway.stats.tasks == 1


async def test_snapshot_and_offset_describe_what_was_read(fox: FoxSession) -> None:
    """Deltas that were received but not read do not count."""
    handle = await submit(fox)
    await handle
    async with handle.stream() as stream:
        seen = [await anext(stream) for _ in range(4)]
        assert stream.offset == 4
        assert stream.snapshot().text == text(seen)
        assert stream.snapshot().source == "stream"
        rest = [delta async for delta in stream]
        assert stream.offset == len(seen) + len(rest)
        assert isinstance(await stream.completion(), ChatCompletion)


async def test_a_cursor_goes_on_in_another_session(fox: FoxSession, gateway: Gateway) -> None:
    """The deltas before a cursor and those read from it in another session are the whole."""
    handle = await submit(fox)
    async with handle.stream() as stream:
        first = [await anext(stream) for _ in range(5)]
        cursor = stream.cursor
    async with FoxSession("sk-other-process-0123", base_url=gateway.url) as other:
        again: LLMHandle = pickle.loads(pickle.dumps(handle)).bind(other)
        second = [delta async for delta in again.stream(resume=cursor)]
        skipped = [delta async for delta in again.stream(offset=5)]
    assert text(first) + text(second) == COUNT
    assert second == skipped
    with pytest.raises(ConfigError):
        handle.stream(resume="garbage")
    with pytest.raises(TypeError):
        handle.stream(resume=cursor, offset=3)


async def test_a_cursor_goes_on_in_another_process(fox: FoxSession, gateway: Gateway) -> None:
    """Another interpreter with the id and the cursor prints exactly the rest."""
    handle = await submit(fox, "ha ha ha ha ha ha ha ha")
    async with handle.stream() as stream:
        first = [await anext(stream) for _ in range(3)]
        cursor = stream.cursor
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", GO_ON, gateway.url, handle.id, cursor),
        stdout=asyncio.subprocess.PIPE,
    )
    rest, _ = await other.communicate()
    assert other.returncode == 0
    assert text(first) + rest.decode() == (await handle).text


GO_ON = """
import asyncio, sys
from foxapi_async import FoxSession

async def main(url, task_id, cursor):
    async with FoxSession("sk-secret-0123456789abcdef", base_url=url) as fox:
        async for delta in fox.tasks.handle(task_id).stream(resume=cursor):
            print(delta.text, end="")

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_lost_stream_is_completed_from_the_task() -> None:
    """When the service has dropped the chunks, the stored result delivers the rest."""
    async with (
        Gateway(retention=0) as gateway,
        FaultProxy(gateway.url) as fault_proxy,
        FoxSession("sk-x", base_url=fault_proxy.url) as fox,
    ):
        handle = await submit(fox)
        fault_proxy.on(
            "GET", STREAM, Stall(body=b'"content":" 4'), Reset(body=b'"content":"4'), times=1
        )
        async with handle.stream() as stream:
            seen = [await anext(stream)]
            await fault_proxy.wait_for_stalls()
            await handle.result()
            fault_proxy.release()
            seen += [delta async for delta in stream]
            assert stream.reasoning_complete
    assert text(seen) == COUNT


async def test_a_stream_has_a_timeout_of_its_own(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """``stream(timeout=)`` ends a stalled reading, and the task goes on."""
    handle = await submit(session_via_proxy)
    fault_proxy.on("GET", STREAM, Stall(body=b'"content":" 4'))
    with pytest.raises(TaskTimeoutError):
        async for _ in handle.stream(timeout=0.05):
            pass
    fault_proxy.clear()
    assert (await handle).text == COUNT


async def test_an_idle_connection_is_closed(fault_proxy: FaultProxy) -> None:
    """A connection without a byte for idle_timeout is closed, and the task is polled."""
    clock = ManualClock()
    async with FoxSession("sk-x", base_url=fault_proxy.url, clock=clock) as fox:
        handle = await submit(fox)
        fault_proxy.on("GET", STREAM, Stall(body=b'"content":" 4'), times=1)
        reading = asyncio.create_task(read(handle))
        await fault_proxy.wait_for_stalls()
        await clock.advance(59)
        assert fault_proxy.count("GET", TASK) == 0
        await clock.advance(3)
        assert text(await reading) == COUNT
        assert fault_proxy.count("GET", TASK) == 1


async def test_two_tasks_cannot_read_one_stream(fox: FoxSession) -> None:
    """A second concurrent read raises an error that names the fix."""
    handle = await submit(fox, "count 1 to 200")
    async with handle.stream() as stream:
        first = asyncio.create_task(anext_of(stream.__anext__))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="for each task"):
            await anext(stream)
        await first
