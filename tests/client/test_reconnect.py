"""Laws of reconnecting: lost and idle connections, wrong counts, and the stored result."""

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from foxapi_async import (
    APITimeoutError,
    ConfigError,
    Delta,
    FoxSession,
    Limits,
    LLMHandle,
    PermissionDeniedError,
    StreamExpiredError,
    StreamInterruptedError,
    StreamPolicy,
    StreamUnavailableError,
    TaskFailedError,
    TaskLostError,
    TaskTimeoutError,
    Timeouts,
)
from foxapi_async._protocol.sse import encode_event
from foxapi_async.gateway import Gateway
from foxapi_async.testing import ManualClock, settle

if TYPE_CHECKING:
    from tests.client.conftest import ScriptedService

KEY = "sk-secret-0123456789abcdef"
WHOLE = "one two three four"


async def submit(fox: FoxSession, model: str = "gpt-5.5") -> LLMHandle:
    """Submit a generation with a stream."""
    return await fox.llm.submit(model=model, messages="count 1 to 2", stream=True)


async def read(handle: LLMHandle) -> list[Delta]:
    """Read a stream to its end."""
    return [delta async for delta in handle.stream()]


def text(deltas: list[Delta]) -> str:
    """Join the text of the deltas."""
    return "".join(delta.text for delta in deltas)


# Timeouts and backoff


async def test_a_first_cut_is_reopened_at_once_and_the_next_ones_ever_later(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """Reconnects wait 0, 0.25, 0.5, 1 … 5 seconds; a delivered chunk resets the backoff."""
    scripted_service.script.extend(
        [
            scripted_service.cut_after("one"),
            *[scripted_service.cut_after()] * 7,
            scripted_service.cut_after(" two"),
            scripted_service.cut_after(),
        ]
    )
    reading = asyncio.create_task(read(await submit(session_on_scripted)))
    times: list[float] = []
    for number in range(1, 12):
        await scripted_service.wait_until(
            lambda number=number: len(scripted_service.offsets) >= number,  # type: ignore[misc]
            clock,
        )
        times.append(clock.time())
    assert text(await reading) == WHOLE
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps == pytest.approx([0, 0.25, 0.5, 1, 2, 4, 5, 5, 0, 0.25])
    assert scripted_service.offsets == [0] + [1] * 8 + [2] * 2


async def test_time_between_two_reads_does_not_count(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """An hour between two reads is not idle time, and the next disconnect is the first one."""
    scripted_service.script.append(scripted_service.cut_after("one", " two"))
    async with (await submit(session_on_scripted)).stream() as stream:
        await anext(stream)
        await clock.advance(3600)
        assert text([delta async for delta in stream]) == " two three four"
    assert scripted_service.polls == 0


async def test_a_connection_is_not_idle_while_it_is_not_read(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """A reader that pauses for an hour goes on with the same connection and its bytes."""

    async def slowly(response: web.StreamResponse, _: int) -> None:
        await scripted_service.send(response, "one")
        await go_on.wait()
        await scripted_service.send(response, " two", " three", " four")
        await scripted_service.finish(response, 4)

    go_on = asyncio.Event()
    scripted_service.script.append(slowly)
    async with (await submit(session_on_scripted)).stream() as stream:
        await anext(stream)
        await clock.advance(3600)
        go_on.set()
        assert text([delta async for delta in stream]) == " two three four"
    assert (scripted_service.offsets, scripted_service.polls) == ([0], 0)


async def test_an_idle_connection_polls_the_task_and_reopens(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """60 s without a byte close the connection; 300 s without progress end the stream."""
    scripted_service.script.extend([scripted_service.hang] * 20)
    scripted_service.chunks = []
    reading = asyncio.create_task(read(await submit(session_on_scripted)))
    await scripted_service.wait_until(lambda: len(scripted_service.offsets) == 1)
    await clock.advance(59)
    assert scripted_service.polls == 0
    await scripted_service.wait_until(reading.done, clock, pace=5)
    with pytest.raises(StreamInterruptedError, match="no progress for 300 s") as caught:
        await reading
    assert isinstance(caught.value.fault, APITimeoutError)
    assert "StreamPolicy.idle_timeout, 60 s" in str(caught.value)
    assert 300 <= clock.time() < 320
    assert scripted_service.polls == 5


async def test_progress_of_the_task_resets_the_limit(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """A stream without chunks is not given up while the task makes progress."""
    scripted_service.script.extend([scripted_service.hang] * 9)
    reading = asyncio.create_task(read(await submit(session_on_scripted)))
    while len(scripted_service.offsets) < 9:
        opened = len(scripted_service.offsets)
        scripted_service.progress += 1
        await scripted_service.wait_until(
            lambda opened=opened: len(scripted_service.offsets) > opened,  # type: ignore[misc]
            clock,
            5,
        )
    await scripted_service.wait_until(reading.done, clock)
    assert text(await reading) == WHOLE
    assert clock.time() > 500


async def test_what_is_interrupted_can_be_read_on_from_its_cursor(
    scripted_gateway: Gateway, scripted_service: "ScriptedService"
) -> None:
    """The error has the offset, the text so far, the task id and a cursor to resume at."""
    scripted_service.script.append(scripted_service.cut_after("one", " two"))
    scripted_service.script.extend([503] * 9)
    policy = StreamPolicy(initial=0, give_up_after=0)
    async with FoxSession(KEY, base_url=scripted_gateway.url, streaming=policy) as fox:
        handle = await submit(fox)
        seen: list[Delta] = []
        with pytest.raises(StreamInterruptedError) as caught:
            async for delta in handle.stream():
                seen.append(delta)  # noqa: PERF401 the deltas before the error are kept
        error = caught.value
        assert (error.offset, error.partial, error.task_id) == (2, text(seen), handle.id)
        scripted_service.script.clear()
        assert error.cursor is not None
        rest = [delta async for delta in handle.stream(resume=error.cursor)]
    assert text(seen) + text(rest) == WHOLE


async def test_a_retry_after_beyond_the_limit_is_not_waited_for(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService"
) -> None:
    """A Retry-After of an hour ends the stream at once, with the error of the service."""
    scripted_service.retry_after = 3600
    scripted_service.script.append(429)
    with pytest.raises(StreamInterruptedError) as caught:
        await read(await submit(session_on_scripted))
    assert getattr(caught.value.fault, "retry_after", None) == 3600


async def test_cancelled_reads_keep_the_backoff(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """Reads that are cancelled during a backoff neither shorten nor lengthen it."""
    scripted_service.script.extend([scripted_service.cut_after()] * 6)
    handle = await submit(session_on_scripted)
    async with handle.stream() as stream:
        for _ in range(12):
            step = asyncio.create_task(read_on(stream.__anext__))
            await scripted_service.wait_until(lambda: session_on_scripted.stats().streams == 1)
            await clock.advance(0.2)
            step.cancel()
            await asyncio.wait((step,))
        assert clock.time() == pytest.approx(2.4)
        # At 0 s, at once, +0.25, +0.5, +1: the last one is due at 1.75 s, and the next at 3.75 s.
        assert len(scripted_service.offsets) == 5
        step = asyncio.create_task(read_on(stream.__anext__))
        await scripted_service.wait_until(step.done, clock)
        assert (await step).text == "one"


async def read_on(step: object) -> Delta:
    """Await one step of a stream, as a coroutine for ``create_task``."""
    return await step()  # type: ignore[operator,no-any-return]


async def test_the_timeout_ends_an_opening_that_hangs(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """``stream(timeout=)`` expires while the request for the stream has no response."""
    scripted_service.holds_headers = True
    handle = await submit(session_on_scripted)
    reading = asyncio.create_task(collect(handle, timeout=5))
    await scripted_service.wait_until(lambda: len(scripted_service.offsets) == 1)
    await clock.advance(4.9)
    assert not reading.done()
    await clock.advance(0.2)
    await scripted_service.wait_until(reading.done)
    with pytest.raises(TaskTimeoutError, match="timeout=, 5 s"):
        await reading


async def test_the_timeout_ends_a_backoff(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """``stream(timeout=)`` expires between two connections."""
    scripted_service.stream_status = 503
    handle = await submit(session_on_scripted)
    reading = asyncio.create_task(collect(handle, timeout=2.5))
    await scripted_service.wait_until(reading.done, clock)
    with pytest.raises(TaskTimeoutError):
        await reading
    assert clock.time() <= 2.75


async def collect(handle: LLMHandle, *, timeout: float) -> list[Delta]:
    """Read a stream with a timeout of its own."""
    return [delta async for delta in handle.stream(timeout=timeout)]


async def test_an_opening_that_hangs_is_tried_again(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """A request without a response within Timeouts.read is repeated."""
    scripted_service.holds_headers = True
    reading = asyncio.create_task(read(await submit(session_on_scripted)))
    await scripted_service.wait_until(lambda: len(scripted_service.offsets) == 1)
    scripted_service.holds_headers = False
    await clock.advance(Timeouts().read)
    await scripted_service.wait_until(reading.done, clock)
    assert text(await reading) == WHOLE
    assert len(scripted_service.offsets) == 2


# Wrong counts and wrong chunks


async def test_chunks_after_the_end_are_dropped(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService"
) -> None:
    """Nothing after ``done`` is read, not even a second ``done``."""

    async def talkative(response: web.StreamResponse, offset: int) -> None:
        await scripted_service.send_all(response, offset)
        await scripted_service.send(response, " five")
        await scripted_service.finish(response, 5)

    scripted_service.script.append(talkative)
    assert text(await read(await submit(session_on_scripted))) == WHOLE
    assert len(scripted_service.offsets) == 1


async def test_an_end_that_counts_more_polls_the_task(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """A total above the number of chunks is a disconnect; after some, the task is polled."""
    scripted_service.total = 9
    scripted_service.store(WHOLE + " five")
    reading = asyncio.create_task(read(await submit(session_on_scripted)))
    await scripted_service.wait_until(reading.done, clock)
    assert text(await reading) == WHOLE + " five"


async def test_an_end_that_counts_less_is_no_end(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService"
) -> None:
    """Chunks beyond the total are delivered, and then the stream fails."""
    scripted_service.total = 3
    seen: list[Delta] = []
    with pytest.raises(StreamInterruptedError, match="cannot be the stream") as caught:
        async for delta in (await submit(session_on_scripted)).stream():
            seen.append(delta)  # noqa: PERF401 the deltas before the error are kept
    assert text(seen) == caught.value.partial == WHOLE
    assert caught.value.offset == 4


@pytest.mark.parametrize("restart", [("one", " other"), ("other", " one"), ()])
async def test_another_stream_is_never_spliced(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", restart: tuple[str, ...]
) -> None:
    """A replay with other chunks raises; the delivered ones stay."""
    scripted_service.script.append(scripted_service.cut_after("one", " two"))
    scripted_service.chunks = [scripted_service.chunk(word) for word in restart]
    scripted_service.honours_offset = False
    scripted_service.store("something else")
    handle = await submit(session_on_scripted)
    seen: list[Delta] = []
    try:
        async for delta in handle.stream():
            seen.append(delta)  # noqa: PERF401 the deltas before the error are kept
    except StreamInterruptedError:
        pass
    assert text(seen) in {"one two", "one two" + "".join(restart)}


async def test_an_error_event_is_checked_with_the_task(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """A stream with an ``error`` event is reopened if its task still runs."""

    async def error(response: web.StreamResponse, _: int) -> None:
        await scripted_service.send(response, "one")
        await response.write(encode_event("error", b'{"message":"upstream hiccup"}'))
        await scripted_service.send(response, " never")

    scripted_service.script.append(error)
    reading = asyncio.create_task(read(await submit(session_on_scripted)))
    await scripted_service.wait_until(reading.done, clock)
    assert text(await reading) == WHOLE
    assert scripted_service.polls == 1


async def test_an_event_beyond_the_limit_ends_with_the_stored_text(
    scripted_gateway: Gateway, scripted_service: "ScriptedService"
) -> None:
    """A stream whose events exceed limits.max_event_bytes ends with the stored text."""
    scripted_service.store(WHOLE)
    limits = Limits(max_event_bytes=64)
    policy = StreamPolicy(initial=0)
    async with FoxSession(
        KEY, base_url=scripted_gateway.url, limits=limits, streaming=policy
    ) as fox:
        assert text(await read(await submit(fox))) == WHOLE


# The task


@pytest.mark.parametrize("status", [404, 410, 500])
async def test_a_stream_that_is_gone_is_completed_from_the_task(
    session_on_scripted: FoxSession,
    scripted_service: "ScriptedService",
    status: int,
    clock: ManualClock,
) -> None:
    """When the stream cannot be opened again, one last delta has the rest and finish_reason."""
    scripted_service.script.append(scripted_service.cut_after("one", " two"))
    scripted_service.stream_status = status
    scripted_service.store(WHOLE)
    handle = await submit(session_on_scripted)
    stream = handle.stream()
    reading = asyncio.create_task(listed(stream))
    await scripted_service.wait_until(reading.done, clock)
    seen = await reading
    assert [delta.text for delta in seen] == ["one", " two", " three four"]
    assert seen[-1].finish_reason == "stop"
    assert seen[-1].usage is not None
    assert stream.reasoning_complete
    completion = await stream.completion()
    assert (completion.text, completion.source) == (WHOLE, "task")
    assert scripted_service.polls == 1


async def listed(stream: object) -> list[Delta]:
    """Read an async iterable to its end."""
    return [delta async for delta in stream]  # type: ignore[attr-defined]


async def test_streams_that_are_cut_together_ask_within_the_ceiling(
    scripted_gateway: Gateway, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """However many tasks are polled at once, limits.polls_per_second holds."""
    scripted_service.stream_status = 404
    scripted_service.store(WHOLE)
    limits = Limits(polls_per_second=10)
    async with FoxSession(KEY, base_url=scripted_gateway.url, clock=clock, limits=limits) as fox:
        handles = [await submit(fox) for _ in range(30)]
        began = clock.time()
        reading = [asyncio.create_task(read(handle)) for handle in handles]
        await scripted_service.wait_until(lambda: len(scripted_service.offsets) == 30)
        while not all(task.done() for task in reading):
            await settle(200)
            assert scripted_service.polls <= 1 + 10 * (clock.time() - began)
            await clock.advance(0.05)
        assert {text(await task) for task in reading} == {WHOLE}
    assert scripted_service.polls == 30


async def test_missing_reasoning_is_reported(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService"
) -> None:
    """The service does not store reasoning: ``reasoning_complete`` is False after a lost stream."""
    scripted_service.chunks = [
        scripted_service.chunk(reasoning_content="hm"),
        scripted_service.chunk("one"),
    ]

    async def thoughts(response: web.StreamResponse, _: int) -> None:
        await scripted_service.send(response, *scripted_service.chunks[:1])

    scripted_service.script.extend([thoughts, 410])
    scripted_service.store("one")
    handle = await submit(session_on_scripted, "kimi-k2.6")
    async with handle.stream() as stream:
        seen = [delta async for delta in stream]
        assert not stream.reasoning_complete
        completion = await stream.completion()
    assert text(seen) == "one"
    assert (completion.reasoning, completion.source) == ("hm", "task+stream")


async def test_tool_calls_and_further_choices_are_completed(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService"
) -> None:
    """The last delta has the missing arguments, the missing call and the rest of choice 1."""

    async def begin(response: web.StreamResponse, _: int) -> None:
        call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}
        await scripted_service.send(response, scripted_service.chunk("he", tool_calls=[call]))
        await scripted_service.send(response, b'{"choices":[{"index":1,"delta":{"content":"wo"}}]}')

    scripted_service.script.extend([begin, 404])
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    scripted_service.store("hello", tool_calls=calls)
    assert scripted_service.stored is not None
    scripted_service.stored["choices"].append(
        {"index": 1, "message": {"content": "world"}, "finish_reason": "length"}
    )
    async with (await submit(session_on_scripted)).stream() as stream:
        seen = [delta async for delta in stream]
        snapshot = stream.snapshot()
    completion = await stream.handle
    assert [choice.message.content for choice in snapshot.choices] == ["hello", "world"]
    assert [choice.finish_reason for choice in snapshot.choices] == ["stop", "length"]
    assert snapshot.message.tool_calls == completion.message.tool_calls
    assert len(seen) == 3


async def test_a_stream_of_a_failed_task_raises_its_error(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService"
) -> None:
    """A stream that is gone because its task failed raises the error of the task."""
    scripted_service.script.extend([scripted_service.cut_after("one"), 404])
    scripted_service.error = {"code": "timeout", "message": "too slow"}
    with pytest.raises(TaskFailedError) as caught:
        await read(await submit(session_on_scripted))
    assert caught.value.code == "timeout"


async def test_a_bare_offset_into_a_stream_that_is_gone_has_expired(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService"
) -> None:
    """The text before a bare offset is unknown, so the rest of the stored text is unknown too."""
    scripted_service.stream_status = 404
    scripted_service.store(WHOLE)
    handle = await submit(session_on_scripted)
    with pytest.raises(StreamExpiredError) as caught:
        await anext(handle.stream(offset=2))
    assert caught.value.task is handle.task is not None
    assert caught.value.offset == 2
    assert (await handle).text == WHOLE


async def test_a_cursor_into_a_stream_that_is_gone_is_completed(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """The stored text proves the position of a cursor, which then gets the rest."""
    handle = await submit(session_on_scripted)
    async with handle.stream() as stream:
        first = [await anext(stream), await anext(stream)]
        cursor = stream.cursor
    scripted_service.stream_status = 404
    scripted_service.store(WHOLE)
    again = session_on_scripted.tasks.handle(handle.id)
    rest = [delta async for delta in again.stream(resume=cursor)]
    assert text(first) + text(rest) == WHOLE
    await clock.advance(1)
    scripted_service.store("other words")
    # Another account has a record of its own, as another process has.
    other = session_on_scripted.with_options(api_key="sk-another-key-000000")
    with pytest.raises(StreamExpiredError):
        await anext(other.tasks.handle(handle.id).stream(resume=cursor))


async def test_a_cursor_after_the_stored_tail_has_nothing_left(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """The stored tail is not delivered again, even if the stream is available again."""
    scripted_service.script.extend([scripted_service.cut_after("one"), 404])
    scripted_service.store(WHOLE)
    handle = await submit(session_on_scripted)
    async with handle.stream() as stream:
        assert text([delta async for delta in stream]) == WHOLE
        cursor = stream.cursor
    again = session_on_scripted.tasks.handle(handle.id)
    async with again.stream(resume=cursor) as stream:
        assert [delta async for delta in stream] == []
        assert stream.cursor == cursor
        whole = asyncio.create_task(stream.completion())
        await scripted_service.wait_until(whole.done, clock)
        assert (await whole).text == WHOLE


async def test_an_unknown_stream_of_an_unknown_task_is_lost(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """One 404 for the stream and three for the task raise TaskLostError."""
    scripted_service.stream_status = 404
    scripted_service.poll_statuses.extend([404] * 3)
    reading = asyncio.create_task(read(session_on_scripted.tasks.handle("task-llm-1-aaaaaaaa")))
    await scripted_service.wait_until(reading.done, clock)
    with pytest.raises(TaskLostError):
        await reading
    assert scripted_service.polls == 3


async def test_failed_polls_do_not_end_a_stream(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService", clock: ManualClock
) -> None:
    """Polls that fail with 5xx, or with one 404, do not end a stream."""
    scripted_service.script.extend([scripted_service.cut_after("one"), 404, 404, 404])
    scripted_service.poll_statuses.extend([500, 404, 429])
    reading = asyncio.create_task(read(await submit(session_on_scripted)))
    await scripted_service.wait_until(reading.done, clock)
    assert text(await reading) == WHOLE


async def test_a_refused_key_ends_the_stream(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService"
) -> None:
    """A 403 for the stream or for the task is raised."""
    handle = await submit(session_on_scripted)
    scripted_service.script.append(403)
    with pytest.raises(PermissionDeniedError):
        await read(handle)
    scripted_service.script.append(404)
    scripted_service.poll_statuses.append(403)
    with pytest.raises(PermissionDeniedError):
        await read(handle)


async def test_a_task_without_a_stream_raises_at_once(
    session_on_scripted: FoxSession, scripted_service: "ScriptedService"
) -> None:
    """A 404 for a stream that the task does not mention raises StreamUnavailableError at once."""
    scripted_service.stream_status = 404
    with pytest.raises(StreamUnavailableError):
        await read(session_on_scripted.tasks.handle("task-llm-1-aaaaaaaa"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("offset", value) for value in ("5", -1, True, 1.5)],
        *[("resume", value) for value in (5, "x", b"")],
        *[("timeout", value) for value in (0, -1, float("nan"), "5", True)],
    ],
)
async def test_bad_arguments_are_rejected_at_once(
    session_on_scripted: FoxSession, name: str, value: object
) -> None:
    """An invalid position or timeout raises ConfigError before anything is sent."""
    handle = session_on_scripted.tasks.handle("task-llm-1-aaaaaaaa")
    with pytest.raises(ConfigError):
        handle.stream(**{name: value})  # type: ignore[arg-type]
