"""Every way to leave a stream leaves nothing behind."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from operator import length_hint
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from foxapi_async import (
    ChatStream,
    Delta,
    FoxSession,
    LLMHandle,
    SessionClosedError,
    StreamConsumedError,
    TaskTimeoutError,
)
from foxapi_async._client.streaming.submit_once import SubmitOnce
from foxapi_async.gateway import Gateway
from foxapi_async.testing import FaultProxy, ManualClock, Stall, settle

if TYPE_CHECKING:
    from tests.client.conftest import ScriptedService

KEY = "sk-secret-0123456789abcdef"
STREAM = "/v1/llm/generations/*/stream"
MORE = b'"content":" 4'


class LeftError(Exception):
    """The error that the body of a loop raises."""


async def submit(fox: FoxSession) -> LLMHandle:
    """Submit a generation with a stream of several chunks."""
    return await fox.llm.submit(model="gpt-5.5", messages="count 1 to 9", stream=True)


async def step(stream: ChatStream) -> Delta:
    """Read one delta, as a coroutine for ``create_task``."""
    return await anext(stream)


async def read(stream: ChatStream) -> None:
    """Read to the end, as a coroutine for ``create_task``."""
    async for _ in stream:
        pass


# Each is called with a handle and the proxy that stalls its stream after three deltas.


async def break_out_of_a_temporary(handle: LLMHandle, _: FaultProxy) -> None:
    """Break out of a loop over a temporary stream."""
    async for _delta in handle.stream():
        break


async def raise_in_the_body(handle: LLMHandle, _: FaultProxy) -> None:
    """Leave it by an exception."""
    with pytest.raises(LeftError):
        async for _delta in handle.stream():
            raise LeftError


async def cancel_the_loop(handle: LLMHandle, fault_proxy: FaultProxy) -> None:
    """Cancel the task that loops."""

    async def loop() -> None:
        async for _ in handle.stream():
            pass

    reading = asyncio.create_task(loop())
    await fault_proxy.wait_for_stalls()
    reading.cancel()
    await asyncio.wait((reading,))
    assert reading.cancelled()


async def leave_a_context_early(handle: LLMHandle, _: FaultProxy) -> None:
    """Leave ``async with`` with unread chunks."""
    async with handle.stream() as stream:
        await anext(stream)


async def raise_in_a_context(handle: LLMHandle, _: FaultProxy) -> None:
    """Leave it by an exception."""
    with pytest.raises(LeftError):
        async with handle.stream() as stream:
            await anext(stream)
            raise LeftError


async def cancel_in_a_context(handle: LLMHandle, fault_proxy: FaultProxy) -> None:
    """Cancel the task inside ``async with``."""

    async def loop() -> None:
        async with handle.stream() as stream:
            await read(stream)

    reading = asyncio.create_task(loop())
    await fault_proxy.wait_for_stalls()
    reading.cancel()
    await asyncio.wait((reading,))
    assert reading.cancelled()


async def close_while_another_task_reads(handle: LLMHandle, fault_proxy: FaultProxy) -> None:
    """Close a stream that another task reads."""
    stream = handle.stream()
    reading = asyncio.create_task(read(stream))
    await fault_proxy.wait_for_stalls()
    await stream.aclose()
    with pytest.raises(StreamConsumedError):
        await reading


async def let_the_timeout_expire(handle: LLMHandle, _: FaultProxy) -> None:
    """Read until ``stream(timeout=)`` expires."""
    with pytest.raises(TaskTimeoutError):
        async for _delta in handle.stream(timeout=0.05):
            pass


async def time_out_and_close(handle: LLMHandle, fault_proxy: FaultProxy) -> None:
    """Read until ``wait_for`` times out, then close."""
    stream = handle.stream()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(stream), 0.05)
    assert fault_proxy.stalled == 1
    await stream.aclose()


async def make_and_never_read(handle: LLMHandle, _: FaultProxy) -> None:
    """Make streams and drop them."""
    handle.stream()
    aiter(handle.stream())


async def read_to_the_end(handle: LLMHandle, fault_proxy: FaultProxy) -> None:
    """Read every chunk."""
    fault_proxy.clear()
    stream = handle.stream()
    await read(stream)


async def ask_for_the_completion(handle: LLMHandle, fault_proxy: FaultProxy) -> None:
    """Ask an unread stream for its completion."""
    fault_proxy.clear()
    assert (await handle.stream().completion()).text


async def leave_a_generator(handle: LLMHandle, _: FaultProxy) -> None:
    """Close a generator that reads."""

    async def texts() -> AsyncIterator[str]:
        async for delta in handle.stream():
            yield delta.text

    generator = texts()
    await anext(generator)
    await generator.aclose()  # type: ignore[attr-defined]


WITHOUT_WARNING = [
    break_out_of_a_temporary,
    raise_in_the_body,
    cancel_the_loop,
    leave_a_context_early,
    raise_in_a_context,
    cancel_in_a_context,
    close_while_another_task_reads,
    let_the_timeout_expire,
    time_out_and_close,
    make_and_never_read,
    read_to_the_end,
    ask_for_the_completion,
    leave_a_generator,
]


async def break_out_of_a_name(handle: LLMHandle, _: FaultProxy) -> None:
    """Break out of a loop over a named stream and drop the name."""
    stream = handle.stream()
    async for _delta in stream:
        break
    assert len(handle._bound().runtime.streams) == 0  # closed before the name is dropped


async def drop_between_two_reads(handle: LLMHandle, _: FaultProxy) -> None:
    """Drop a name while its connection is open."""
    stream = handle.stream()
    await anext(stream)


async def drop_after_a_cancelled_read(handle: LLMHandle, fault_proxy: FaultProxy) -> None:
    """Drop a name after its read was cancelled."""
    stream = handle.stream()
    reading = asyncio.create_task(read(stream))
    await fault_proxy.wait_for_stalls()
    reading.cancel()
    await asyncio.wait((reading,))


WITH_WARNING = [break_out_of_a_name, drop_between_two_reads, drop_after_a_cancelled_read]

Leave = Callable[[LLMHandle, FaultProxy], Awaitable[None]]


@pytest.mark.parametrize(
    "leave", [*WITHOUT_WARNING, *WITH_WARNING], ids=lambda leave: leave.__name__
)
async def test_leaving_leaves_nothing(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy, leave: Leave
) -> None:
    """No socket, task or timer is left; only a named stream that is dropped half-read warns."""
    fault_proxy.on("GET", STREAM, Stall(body=MORE))
    handle = await submit(session_via_proxy)
    before = asyncio.all_tasks()
    # Without the garbage collector: reference counts close the stream.
    gc.disable()
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            await leave(handle, fault_proxy)
            assert session_via_proxy.stats().streams == 0
            assert handle._bound().runtime.streams._timer is None
            tasks = [repr(task) for task in asyncio.all_tasks() - before]
            assert not [task for task in tasks if "foxapi_async/_client" in task]
    finally:
        gc.enable()
    # Connections in the pool are kept for the next submit and the next poll.
    await fault_proxy.wait_until(
        lambda: fault_proxy.open_connections <= 2 and not fault_proxy.stalled
    )
    loud = [str(warning.message) for warning in said if warning.category is ResourceWarning]
    assert len(loud) == (leave in WITH_WARNING)
    assert all("dropped half-read" in text for text in loud)


async def test_a_collected_stream_is_closed_too(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """A stream in a reference cycle is closed, with a warning, when it is collected."""
    fault_proxy.on("GET", STREAM, Stall(body=MORE))
    holder: list[object] = []
    stream = (await submit(session_via_proxy)).stream()
    await anext(stream)
    holder.extend((holder, stream))
    del stream
    with pytest.warns(ResourceWarning, match="half-read"):
        del holder
        gc.collect()
    assert session_via_proxy.stats().streams == 0


# The session


async def test_closing_the_session_ends_every_wait(fault_proxy: FaultProxy) -> None:
    """Closing the session ends every read with SessionClosedError, also those of its copies."""
    fault_proxy.on("GET", STREAM, Stall(body=MORE))
    async with FoxSession(KEY, base_url=fault_proxy.url) as fox:
        handle = await submit(fox)
        stream, other = handle.stream(), fox.with_options(hooks=()).tasks.handle(handle.id).stream()
        reading = [asyncio.create_task(read(item)) for item in (stream, other)]
        standing = handle.stream()
        await anext(standing)
        await fault_proxy.wait_for_stalls(3)
    for task in reading:
        with pytest.raises(SessionClosedError):
            await task
    with pytest.raises(SessionClosedError):
        await read(standing)
    with pytest.raises(SessionClosedError):
        await anext(handle.stream())
    assert fox.stats().streams == 0


async def test_closing_the_session_ends_a_backoff_and_an_opening(
    scripted_gateway: Gateway, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """Closing the session ends a read that waits for a backoff or for a response."""
    async with FoxSession(KEY, base_url=scripted_gateway.url, clock=clock) as fox:
        handle = await submit(fox)
        scripted_service.script.extend([503] * 2)
        backing_off = asyncio.create_task(read(handle.stream()))
        await scripted_service.wait_until(lambda: len(scripted_service.offsets) == 2)
        await settle()
        scripted_service.holds_headers = True
        opening = asyncio.create_task(read(handle.stream()))
        await scripted_service.wait_until(lambda: len(scripted_service.offsets) == 3)
    for task in (backing_off, opening):
        with pytest.raises(SessionClosedError):
            await task
    assert clock.timers == 0


async def test_a_follower_ends_quietly_with_its_session(
    fault_proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The waiter gets SessionClosedError, and nothing is logged as a crash."""
    fault_proxy.on("GET", STREAM, Stall(body=MORE))
    async with FoxSession(KEY, base_url=fault_proxy.url) as fox:
        waiting = asyncio.create_task((await submit(fox)).result())
        await fault_proxy.wait_for_stalls()
    with pytest.raises(SessionClosedError):
        await waiting
    assert not caplog.records


async def test_a_stream_belongs_to_its_sessions_loop(fox: FoxSession) -> None:
    """Reading in another event loop raises an error that says so."""
    handle = await submit(fox)

    def elsewhere() -> None:
        async def go() -> None:
            await anext(handle.stream())

        asyncio.run(go())

    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.to_thread(elsewhere)


# Streams that submit


async def test_a_submission_without_a_reader_is_unclaimed(
    session_via_proxy: FoxSession, fault_proxy: FaultProxy
) -> None:
    """A stream that is cancelled while it submits leaves its task in fox.unclaimed."""

    async def enter() -> None:
        async with session_via_proxy.llm.stream(model="gpt-5.5", messages="count 1 to 3"):
            pass

    async def loop() -> None:
        async for _ in session_via_proxy.llm.stream(model="gpt-5.5", messages="count 1 to 3"):
            pass

    for number, use in enumerate((enter, loop), 1):
        fault_proxy.on("POST", "*", Stall(response=0), times=1)
        using = asyncio.create_task(use())
        await fault_proxy.wait_for_stalls()
        using.cancel()
        await asyncio.wait((using,))
        assert using.cancelled()
        with pytest.warns(RuntimeWarning, match="unclaimed"):
            fault_proxy.release()
            await fault_proxy.wait_until(lambda: not fault_proxy.stalled)
            while len(session_via_proxy.unclaimed) < number:
                await asyncio.sleep(0)
    for handle in session_via_proxy.unclaimed:
        assert (await handle).text == "1, 2, 3"


async def test_a_submission_that_ends_as_its_read_is_cancelled_is_unclaimed(
    fox: FoxSession,
) -> None:
    """A response that arrives in the same iteration of the loop as the cancel is not lost."""
    stream = fox.llm.stream(model="gpt-5.5", messages="count 1 to 3")
    first = asyncio.create_task(step(stream))
    once = stream._reader._source
    assert isinstance(once, SubmitOnce)
    while once._submission is None:
        await asyncio.sleep(0)
    once._submission.add_done_callback(lambda _: first.cancel())
    await asyncio.wait((first,))
    assert first.cancelled()
    handle = stream.handle
    with pytest.warns(RuntimeWarning, match="unclaimed"):
        await stream.aclose()
    assert fox.unclaimed == (handle,)


async def test_the_error_of_a_submission_is_raised_by_every_read(fox: FoxSession) -> None:
    """The first read and every later one raise the error of the submission."""
    stream = fox.with_options(validation="off").llm.stream(model="no-such", messages="hello")
    for _ in range(2):
        with pytest.raises(Exception, match="no-such"):
            await anext(stream)


# Reading on


async def test_a_read_that_times_out_loses_no_chunk(
    scripted_gateway: Gateway, scripted_service: "ScriptedService"
) -> None:
    """However often ``wait_for`` cancels a read, each chunk is delivered once, in order."""

    async def drip(response: web.StreamResponse, offset: int) -> None:
        for number in range(offset, 60):
            await scripted_service.send(response, f" {number}")
            await settle(number * 37 % 120)
        await scripted_service.finish(response, 60)

    scripted_service.script.extend([drip] * 500)
    async with FoxSession(KEY, base_url=scripted_gateway.url) as fox:
        said = ""
        async with (await submit(fox)).stream() as stream:
            for turns in range(100_000):
                reading = asyncio.create_task(step(stream))
                await settle(turns * 7 % 60)
                if not reading.done():
                    reading.cancel()
                try:
                    said += (await reading).text
                except asyncio.CancelledError:
                    continue
                except StopAsyncIteration:
                    break
    assert said == "".join(f" {number}" for number in range(60))
    assert len(scripted_service.offsets) > 5


async def test_what_was_received_is_not_read_after_the_close(fox: FoxSession) -> None:
    """A closed stream delivers nothing, and its position stays after the last delta read."""
    handle = await submit(fox)
    await handle
    stream = handle.stream()
    first = await anext(stream)
    cursor = stream.cursor
    await stream.aclose()
    await stream.aclose()
    assert (stream.offset, stream.cursor) == (1, cursor)
    assert stream.snapshot().text == first.text
    with pytest.raises(StreamConsumedError):
        await anext(stream)
    rest = [delta async for delta in handle.stream(resume=cursor)]
    assert first.text + "".join(delta.text for delta in rest) == "1, 2, 3, 4, 5, 6, 7, 8, 9"


@pytest.mark.parametrize("taken", [0, 1])
async def test_bytes_that_arrive_as_the_stream_is_closed_are_dropped(
    scripted_gateway: Gateway, scripted_service: "ScriptedService", taken: int
) -> None:
    """Bytes that arrive in the same iteration of the loop as the close are not delivered."""
    late = asyncio.Event()

    async def say(response: web.StreamResponse, offset: int) -> None:
        await scripted_service.send(response, *["one"] * taken)
        await late.wait()
        await scripted_service.send(response, "two", "three", "four")
        await scripted_service.hang(response, offset)

    scripted_service.script.append(say)
    async with (
        FoxSession(KEY, base_url=scripted_gateway.url) as fox,
        (await submit(fox)).stream() as stream,
    ):
        for _ in range(taken):
            await anext(stream)
        reading = asyncio.create_task(step(stream))
        await scripted_service.wait_until(lambda: stream._reader._connection is not None)
        connection = stream._reader._connection
        assert connection is not None
        body = connection._body
        late.set()
        await scripted_service.wait_until(lambda: bool(body._content._buffer))
        assert not reading.done()
        await stream.aclose()
        for _ in range(3):
            with pytest.raises(StreamConsumedError):
                await reading
            reading = asyncio.create_task(step(stream))
        with pytest.raises(StreamConsumedError):
            await reading
        assert stream.offset == taken


async def test_a_stream_that_has_ended_is_not_counted_as_open(
    scripted_gateway: Gateway, scripted_service: "ScriptedService"
) -> None:
    """The connection is closed, and limits.streams allows another, as the last delta arrives."""
    async with (
        FoxSession(KEY, base_url=scripted_gateway.url) as fox,
        (await submit(fox)).stream() as stream,
    ):
        for text in ("one", " two", " three", " four"):
            assert (await anext(stream)).text == text
        assert fox.stats().streams == 0
        assert [delta async for delta in stream] == []
    assert scripted_service.offsets == [0]


@asynccontextmanager
async def read_apart(
    fox: FoxSession, scripted_service: "ScriptedService"
) -> AsyncIterator[ChatStream]:
    """Open a stream that sends three chunks, one a read, and then nothing."""

    async def connection(response: web.StreamResponse, offset: int) -> None:
        for text in ("one", "two", "three"):
            await scripted_service.send(response, text)
            await settle(20)
        await scripted_service.hang(response, offset)

    scripted_service.script.append(connection)
    async with (await submit(fox)).stream() as stream:
        for _ in range(3):
            await anext(stream)
        yield stream


async def test_a_read_whose_coroutine_is_closed(
    scripted_gateway: Gateway, scripted_service: "ScriptedService"
) -> None:
    """A read whose coroutine is closed leaves no future that logs an unretrieved error."""
    async with (
        FoxSession(KEY, base_url=scripted_gateway.url) as fox,
        read_apart(fox, scripted_service) as stream,
    ):
        reading = stream.__anext__()
        reading.send(None)
        reading.close()


@pytest.mark.parametrize("waits", [False, True])
async def test_a_lent_session_that_is_closed(
    scripted_gateway: Gateway, scripted_service: "ScriptedService", *, waits: bool
) -> None:
    """When a borrowed aiohttp session is closed, a read fails, within a second if it waits."""
    clock = ManualClock()
    async with (
        aiohttp.ClientSession() as borrowed,
        FoxSession(KEY, base_url=scripted_gateway.url, http=borrowed, clock=clock) as fox,
        read_apart(fox, scripted_service) as stream,
    ):
        reading = asyncio.ensure_future(step(stream))
        if waits:
            await settle()
        await borrowed.close()
        await settle()
        if waits:
            await clock.advance(1)
        with pytest.raises(SessionClosedError, match="http="):
            await reading


async def test_a_slow_reader_holds_the_service_back(
    scripted_gateway: Gateway, scripted_service: "ScriptedService"
) -> None:
    """Of a stream of 100 MB that is read slowly, only a small part is buffered here."""
    piece = scripted_service.chunk("x" * 100_000)
    sent = 0

    async def flood(response: web.StreamResponse, _: int) -> None:
        nonlocal sent
        for _number in range(1000):
            await scripted_service.send(response, piece)
            sent += len(piece)

    async def wait_until_blocked() -> None:
        before = -1
        while before != sent:
            before = sent
            await settle(300)

    scripted_service.script.append(flood)
    async with (
        FoxSession(KEY, base_url=scripted_gateway.url) as fox,
        (await submit(fox)).stream() as stream,
    ):
        for taken in (1, 100, 100):
            for _ in range(taken):
                await anext(stream)
            await wait_until_blocked()
            # The sockets of both ends buffer some of it.
            assert sent - stream.offset * len(piece) < 16_000_000
        assert sent < 40_000_000
        assert length_hint(stream._reader.buffer.ready) <= 5
