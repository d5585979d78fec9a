"""Text that neither a count nor the stored result proves whole is an error, never a result."""

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from foxapi_async import FoxSession, LLMHandle, StreamInterruptedError, StreamPolicy, TaskLostError
from foxapi_async._protocol.sse import encode_event
from foxapi_async.gateway import Gateway
from foxapi_async.testing import ManualClock

if TYPE_CHECKING:
    from tests.client.conftest import ScriptedService

KEY = "sk-secret-0123456789abcdef"
WHOLE = "one two three four"


async def submit(fox: FoxSession, model: str = "kimi-k2.6") -> LLMHandle:
    """Submit a generation with a stream."""
    return await fox.llm.submit(model=model, messages="count 1 to 2", stream=True)


async def outcome_of(doing: Any) -> Any:
    """Return a result, or the error in its place."""
    try:
        return await doing
    except StreamInterruptedError as error:
        return error


async def text_of(handle: LLMHandle) -> str:
    """Read a stream to its end and return its text."""
    return "".join([delta.text async for delta in handle.stream()])


async def completion_of(handle: LLMHandle) -> str:
    """Return the text of ``stream.completion()``."""
    async with handle.stream() as stream:
        return (await stream.completion()).text


@pytest.mark.parametrize("stored", ["", None])
@pytest.mark.parametrize("way", ["loop", "completion", "await", "generate"])
async def test_a_cut_answer_that_is_not_stored_is_an_error(
    session_on_scripted: FoxSession,
    scripted_service: "ScriptedService",
    clock: ManualClock,
    stored: str | None,
    way: str,
) -> None:
    """A lost stream without a stored text raises; the error has text, completion and cursor."""
    scripted_service.script.append(scripted_service.cut_after("one", " two"))
    scripted_service.stream_status = 404
    scripted_service.store(stored)
    if way == "generate":
        doing = asyncio.ensure_future(
            outcome_of(session_on_scripted.llm.generate(model="kimi-k2.6", messages="count"))
        )
    else:
        handle = await submit(session_on_scripted)
        ways: dict[str, Callable[[LLMHandle], Awaitable[object]]] = {
            "loop": text_of,
            "completion": completion_of,
            "await": LLMHandle.result,
        }
        take = ways[way]
        doing = asyncio.ensure_future(outcome_of(take(handle)))
    await scripted_service.wait_until(doing.done, clock)
    error = doing.result()
    assert isinstance(error, StreamInterruptedError)
    assert (error.offset, error.partial) == (2, "one two")
    assert error.completion is not None
    assert error.completion.text == "one two"
    assert error.cursor


@pytest.mark.parametrize("way", ["loop", "completion", "await", "generate"])
async def test_the_error_of_a_lost_task_has_what_its_stream_delivered(
    session_on_scripted: FoxSession,
    scripted_service: "ScriptedService",
    clock: ManualClock,
    way: str,
) -> None:
    """A cut stream of a task that the service does not know any more loses no delivered text."""
    scripted_service.script.append(scripted_service.cut_after("one", " two"))
    scripted_service.stream_status = 404
    scripted_service.poll_statuses.extend([404] * 1000)
    fox = session_on_scripted
    if way == "generate":
        doing = asyncio.ensure_future(fox.llm.generate(model="kimi-k2.6", messages="count"))
    else:
        handle = await submit(fox)
        ways: dict[str, Callable[[LLMHandle], Awaitable[Any]]] = {
            "loop": text_of,
            "completion": completion_of,
            "await": LLMHandle.result,
        }
        doing = asyncio.ensure_future(ways[way](handle))
    await scripted_service.wait_until(doing.done, clock)
    error = doing.exception()
    assert isinstance(error, TaskLostError)
    assert error.partial == "one two"
    assert error.completion is not None
    assert error.completion.text == "one two"
    assert error.cursor
    again = pickle.loads(pickle.dumps(error))
    assert (again.partial, again.cursor) == (error.partial, error.cursor)


async def test_every_later_wait_raises_until_the_stream_is_read_whole(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService"
) -> None:
    """Each await raises the error again, until the stream is available and read to its end."""
    scripted_service.script.extend([scripted_service.cut_after("one", " two"), 404])
    scripted_service.store("")
    handle = await submit(session_on_scripted)
    with pytest.raises(StreamInterruptedError, match="has no text") as caught:
        await text_of(handle)
    for _ in range(2):
        with pytest.raises(StreamInterruptedError, match="lacks text"):
            await handle
    rest = [delta.text async for delta in handle.stream(resume=caught.value.cursor)]
    assert caught.value.partial + "".join(rest) == WHOLE
    completion = await handle
    assert (completion.text, completion.source) == (WHOLE, "stream")


async def test_the_result_must_contain_what_a_closed_stream_delivered(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """Text that a closed stream delivered must be in the stored result."""
    handle = await submit(session_on_scripted)
    async with handle.stream() as stream:
        assert (await anext(stream)).text == "one"
    scripted_service.stream_status = 404
    scripted_service.store("")
    waiting = asyncio.ensure_future(outcome_of(handle.result()))
    await scripted_service.wait_until(waiting.done, clock)
    assert waiting.result().partial == "one"


async def test_a_whole_stored_answer_is_the_result_of_a_cut_stream(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService"
) -> None:
    """If the stored text differs from the streamed one, reading raises and awaiting returns it."""
    scripted_service.script.extend([scripted_service.cut_after("one", " two"), 404])
    scripted_service.store("one three")
    handle = await submit(session_on_scripted)
    with pytest.raises(StreamInterruptedError, match="stored result differs") as caught:
        await text_of(handle)
    assert caught.value.doubtful_from == 1
    assert "chunks 1 and later may be wrong" in str(caught.value)
    completion = await handle
    assert (completion.text, completion.source) == ("one three", "task")


@pytest.mark.parametrize("stored", [WHOLE, WHOLE + " five", "", "other"])
async def test_an_end_without_a_count_is_proved_by_the_task(
    session_on_scripted: FoxSession,
    scripted_service: "ScriptedService",
    clock: ManualClock,
    stored: str,
) -> None:
    """After a ``done`` without a count, the stored text must continue the streamed text."""
    scripted_service.total = -1
    scripted_service.store(stored)
    handle = await submit(session_on_scripted)
    reading = asyncio.ensure_future(outcome_of(text_of(handle)))
    await scripted_service.wait_until(reading.done, clock)
    if stored.startswith(WHOLE):
        assert reading.result() == stored
        assert (await handle).text == stored
    else:
        assert reading.result().partial == WHOLE


async def test_an_end_without_a_count_waits_for_the_task(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """While the task runs, a ``done`` without a count does not end the stream."""
    scripted_service.total = -1
    reading = asyncio.ensure_future(outcome_of(text_of(await submit(session_on_scripted))))
    await scripted_service.wait_until(lambda: scripted_service.polls == 3, clock)
    assert not reading.done()
    scripted_service.store(WHOLE)
    await scripted_service.wait_until(reading.done, clock)
    assert reading.result() == WHOLE


@pytest.mark.parametrize("total", [2, 9])
async def test_a_count_that_does_not_match_is_no_proof(
    session_on_scripted: FoxSession,
    scripted_service: "ScriptedService",
    clock: ManualClock,
    total: int,
) -> None:
    """A count that differs from the chunks is an error if no text is stored."""
    scripted_service.total = total
    scripted_service.store("")
    handle = await submit(session_on_scripted)
    waiting = asyncio.ensure_future(outcome_of(handle.result()))
    await scripted_service.wait_until(waiting.done, clock)
    assert waiting.result().partial == WHOLE


@pytest.mark.parametrize(
    "calls",
    [
        None,
        [{"id": "a", "function": {"name": "f", "arguments": '{"y":1}'}}],
        [{"id": "a", "function": {"name": "g", "arguments": '{"x":1}'}}],
    ],
)
async def test_a_tool_call_that_does_not_go_on_is_an_error(
    session_on_scripted: FoxSession,
    scripted_service: "ScriptedService",
    calls: list[dict[str, Any]] | None,
) -> None:
    """A streamed part of a tool call that the stored result does not continue is an error."""

    async def begin(response: web.StreamResponse, _: int) -> None:
        call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}
        await scripted_service.send(response, scripted_service.chunk("he", tool_calls=[call]))

    scripted_service.script.extend([begin, 404])
    scripted_service.store("hello", tool_calls=calls)
    handle = await submit(session_on_scripted)
    with pytest.raises(StreamInterruptedError):
        await text_of(handle)
    if calls is None:
        with pytest.raises(StreamInterruptedError):
            await handle
    else:
        assert (await handle).text == "hello"


async def test_a_stream_read_to_its_last_chunk_is_whole(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """A reader that stops after the last chunk, without asking for the end, has read it all."""
    scripted_service.store("")
    async with (await submit(session_on_scripted)).stream() as stream:
        for _ in scripted_service.chunks:
            await anext(stream)
        scripted_service.stream_status = 404
        whole = asyncio.ensure_future(stream.completion())
        await scripted_service.wait_until(whole.done, clock)
        assert (await whole).text == WHOLE


async def test_a_replay_at_a_wrong_offset_is_detected(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService"
) -> None:
    """A server that replays one chunk too many or too few never corrupts the text unnoticed."""

    async def early(response: web.StreamResponse, offset: int) -> None:
        await scripted_service.send(response, *scripted_service.chunks[max(offset - 1, 0) :])
        await scripted_service.finish(response, len(scripted_service.chunks))

    async def late(response: web.StreamResponse, offset: int) -> None:
        await scripted_service.send(response, *scripted_service.chunks[offset + 1 :])
        await scripted_service.finish(response, len(scripted_service.chunks))

    scripted_service.script.extend([scripted_service.cut_after("one", " two"), early])
    assert await text_of(await submit(session_on_scripted)) == WHOLE
    scripted_service.script.extend([scripted_service.cut_after("one", " two"), late])
    with pytest.raises(StreamInterruptedError) as caught:
        await text_of(await submit(session_on_scripted))
    assert (caught.value.partial, caught.value.doubtful_from) == ("one two four", 2)


async def test_a_cut_stream_stays_cut_after_a_restart(
    scripted_gateway: Gateway, scripted_service: "ScriptedService", tmp_path: Path
) -> None:
    """After a restart, awaiting still raises that the stored text is not whole."""
    scripted_service.script.append(scripted_service.cut_after("one", " two"))
    scripted_service.stream_status = 404
    scripted_service.store("")
    options: dict[str, Any] = {
        "base_url": scripted_gateway.url,
        "journal": tmp_path / "tasks.db",
        "streaming": StreamPolicy(initial=0),
    }
    async with FoxSession(KEY, **options) as fox:
        handle = await fox.llm.submit(model="kimi-k2.6", messages="count", stream=True, key="k")
        with pytest.raises(StreamInterruptedError):
            await handle
    async with FoxSession(KEY, **options) as fox:
        again = await fox.llm.submit(model="kimi-k2.6", messages="count", stream=True, key="k")
        with pytest.raises(StreamInterruptedError) as caught:
            await again
    assert caught.value.partial == "one two"


async def test_a_count_of_another_type_is_no_proof(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """A count of another type is ignored."""

    async def finish(response: web.StreamResponse, offset: int) -> None:
        await scripted_service.send(response, *scripted_service.chunks[offset:])
        await response.write(encode_event("done", b'{"total_chunks":{}}'))

    scripted_service.script.extend([finish] * 20)
    scripted_service.store(WHOLE)
    reading = asyncio.ensure_future(text_of(await submit(session_on_scripted)))
    await scripted_service.wait_until(reading.done, clock)
    assert await reading == WHOLE
    assert scripted_service.polls == 1


async def test_a_stream_that_is_closed_twice_is_not_whole(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """A half-read stream is not taken for the whole answer when it is closed twice."""
    handle = await submit(session_on_scripted)
    stream = handle.stream()
    assert (await anext(stream)).text == "one"
    # All chunks and the end arrived in the same read.
    assert session_on_scripted.stats().streams == 0
    for _ in range(2):
        await stream.aclose()
    scripted_service.stream_status = 404
    scripted_service.store("")
    waiting = asyncio.ensure_future(outcome_of(handle.result()))
    await scripted_service.wait_until(waiting.done, clock)
    error = waiting.result()
    assert isinstance(error, StreamInterruptedError)
    assert error.partial == "one"
