"""Laws of sessions with a journal: a key is paid for once, and nothing paid for is lost."""

import asyncio
import sqlite3
import stat
import threading
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from foxapi_async import (
    APIConnectionError,
    ConfigError,
    JournalError,
    ModelNotSupportedError,
    RequestValidationError,
    RetryPolicy,
    SessionClosedError,
    SubmitOutcomeUnknownError,
    TaskFailedError,
)
from foxapi_async._client.params import LLMParams
from foxapi_async._wire.request import GenerationRequest, PromptRequest
from foxapi_async.gateway import Gateway
from foxapi_async.hooks import Event, TaskSubmitted, TaskUnrecorded
from foxapi_async.testing import WHOLE, FaultProxy, ManualClock, Reset, Stall, settle

PROMPT: LLMParams = {"model": "gpt-5.5", "messages": "count 1 to 3"}
KEYED: LLMParams = {**PROMPT, "key": "row-17"}
OTHER: LLMParams = {**KEYED, "messages": "count 1 to 4"}


async def test_a_known_key_is_not_submitted_again(open_fox: Any, gateway: Gateway) -> None:
    """A script that is run again gets its handles by their keys, and its results from the file."""
    async with open_fox() as fox:
        handle = await fox.llm.submit(**KEYED)
        assert await fox.llm.submit(**KEYED) is handle
        completion = await handle
    polls = gateway.stats.polls
    async with open_fox() as fox:
        again = await fox.llm.submit(**KEYED)
        assert (again.id, again.key, again.done()) == (handle.id, "row-17", True)
        assert await again == completion
        assert (again.model, again.created) == (handle.model, handle.created)
        assert (await fox.llm.generate(**KEYED)).text == "1, 2, 3"
    assert (gateway.stats.submits, gateway.stats.polls) == (1, polls)


async def test_an_unfinished_task_is_recovered(open_fox: Any, gateway: Gateway) -> None:
    """What was submitted and not awaited comes back as a handle, once, until it is finished."""
    async with open_fox() as fox:
        ids = {(await fox.llm.submit(**PROMPT)).id for _ in range(3)}
    async with open_fox() as fox:
        recovery = await fox.recover()
        assert {handle.id for handle in recovery.handles} == ids
        assert recovery.unknown == ()
        assert [(await handle).text for handle in recovery.handles] == ["1, 2, 3"] * 3
    async with open_fox() as fox:
        assert (await fox.recover()).handles == ()
        done = await fox.recover(finished=True)
        assert {handle.id for handle in done.handles} == ids
        assert all(handle.done() for handle in done.handles)
    assert gateway.stats.submits == 3


async def test_a_failed_task_stays_failed(open_fox: Any, gateway: Gateway) -> None:
    """The stored end of a task is the end, also when it is a failure."""
    params: LLMParams = {**KEYED, "messages": "[[fail:content_policy_violation]]"}
    for _ in range(2):
        async with open_fox() as fox:
            with pytest.raises(TaskFailedError) as caught:
                await fox.llm.generate(**params)
            assert caught.value.code == "content_policy_violation"
    assert gateway.stats.submits == 1


async def test_the_thinking_is_stored(open_fox: Any, gateway: Gateway) -> None:
    """Reasoning, which the service forgets, is still in the answer of a later session."""
    params: LLMParams = {"model": "kimi-k2.6", "messages": "count 1 to 3", "key": "thought"}
    async with open_fox() as fox:
        first = await fox.llm.generate(**params)
    async with open_fox() as fox:
        again = await fox.llm.generate(**params)
    assert first.reasoning
    assert (again.reasoning, again.text, again.source) == (
        first.reasoning,
        first.text,
        first.source,
    )
    assert gateway.stats.submits == 1


async def test_what_a_stream_has_said_is_stored(open_fox: Any, gateway: Gateway) -> None:
    """The thinking of a stream that was read, and never awaited, outlives the stream."""
    params: LLMParams = {"model": "kimi-k2.6", "messages": "count 1 to 3", "key": "thought"}
    async with open_fox() as fox, fox.llm.stream(**params) as stream:
        reasoning = "".join([delta.reasoning async for delta in stream])
    gateway.faults.add("stream:expired")
    async with open_fox() as fox:
        (handle,) = (await fox.recover()).handles
        completion = await handle
    assert reasoning
    assert (completion.reasoning, completion.text) == (reasoning, "1, 2, 3")
    async with open_fox() as fox:
        assert (await fox.llm.generate(**params)).reasoning == reasoning
    assert gateway.stats.submits == 1


async def test_a_stream_has_a_key_too(open_fox: Any, gateway: Gateway) -> None:
    """A stream with a known key follows the task that there is, to the same text."""
    texts = []
    for _ in range(2):
        async with open_fox() as fox, fox.llm.stream(**KEYED) as stream:
            texts.append("".join([delta.text async for delta in stream]))
    assert texts == ["1, 2, 3"] * 2
    assert gateway.stats.submits == 1


async def test_a_key_stands_for_one_request(open_fox: Any, gateway: Gateway) -> None:
    """The same key with another request is refused, before anything is sent."""
    async with open_fox() as fox:
        await fox.llm.submit(**KEYED)
    async with open_fox() as fox:
        with pytest.raises(RequestValidationError, match="another request") as caught:
            await fox.llm.submit(**OTHER)
    assert (caught.value.code, caught.value.param) == ("key_conflict", "key")
    assert gateway.stats.submits == 1


async def test_a_refused_key_is_free(open_fox: Any, gateway: Gateway) -> None:
    """What was provably not accepted may be submitted again under its key, and mended."""
    for _ in range(2):
        async with open_fox() as fox:
            with pytest.raises(ModelNotSupportedError):
                await fox.llm.submit(model="gpt-9", messages="hi", key="row-17")
    async with open_fox() as fox:
        assert (await fox.llm.generate(**KEYED)).text == "1, 2, 3"
        assert (await fox.recover()).unknown == ()
    assert (gateway.stats.submits, gateway.stats.tasks) == (3, 1)


async def test_a_key_that_was_never_sent_is_free(
    open_fox: Any, fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """A submission that found no connection leaves its key free."""
    async with open_fox(base_url=fault_proxy.url, retry=RetryPolicy(attempts=1)) as fox:
        async with fault_proxy.unreachable():
            with pytest.raises(APIConnectionError):
                await fox.llm.submit(**KEYED)
        assert (await fox.llm.generate(**KEYED)).text == "1, 2, 3"
    assert gateway.stats.tasks == 1


async def test_an_unknown_outcome_stays_unknown(
    open_fox: Any, fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """An unknown outcome is raised again for its key by any session, and is listed."""
    fault_proxy.on("POST", "*", Reset(request=WHOLE))
    errors = []
    for _ in range(2):
        async with open_fox(base_url=fault_proxy.url) as fox:
            for _ in range(2):
                with pytest.raises(SubmitOutcomeUnknownError) as caught:
                    await fox.llm.submit(**KEYED)
                errors.append(caught.value)
    async with open_fox(base_url=fault_proxy.url) as fox:
        recovery = await fox.recover()
    (lost,) = recovery.unknown
    assert recovery.handles == ()
    assert lost.request == errors[0].request
    assert isinstance(lost.request, GenerationRequest)
    assert lost.request.messages[0].content == "count 1 to 3"
    assert (lost.key, lost.model) == ("row-17", "gpt-5.5")
    assert "APIConnectionError" in lost.fault
    assert lost.entry in lost.advice
    assert "count" not in repr(lost)
    assert {error.sent_at for error in errors} == {lost.sent_at}
    assert {error.fingerprint for error in errors} == {lost.fingerprint}
    assert (fault_proxy.count("POST"), gateway.stats.tasks) == (1, 1)


@pytest.mark.parametrize(
    "form", [{}, {"image_urls": ["https://a/1.png"], "system_prompt": "be brief", "stream": True}]
)
async def test_a_lost_prompt_is_given_back_and_submitted_again(
    open_fox: Any, fault_proxy: FaultProxy, gateway: Gateway, form: dict[str, Any]
) -> None:
    """A request with a prompt comes out of the journal as it was, and is submitted again so."""
    params = {"model": "gpt-5.5", "prompt": "count 1 to 3", "key": "row-17", **form}
    fault_proxy.on("POST", "*", Reset(request=WHOLE), times=1)
    async with open_fox(base_url=fault_proxy.url) as fox:
        with pytest.raises(SubmitOutcomeUnknownError) as caught:
            await fox.llm.submit(**params)
    async with open_fox(base_url=fault_proxy.url) as fox:
        (lost,) = (await fox.recover()).unknown
        assert isinstance(lost.request, PromptRequest)
        assert lost.request == caught.value.request
        assert (lost.key, lost.fingerprint) == ("row-17", caught.value.fingerprint)
        assert "count" not in repr(lost)
        handle = await fox.llm.resubmit(lost)
        assert handle.id.startswith("task-llmrouter-")
    async with open_fox(base_url=fault_proxy.url) as fox:
        (recovered,) = (await fox.recover()).handles
        assert (recovered.id, recovered.key) == (handle.id, "row-17")
        assert (await recovered).text == "1, 2, 3"
        assert (await (await fox.llm.submit(**params))).text == "1, 2, 3"
    sent = {name: value for name, value in params.items() if name != "key"}
    assert gateway.requests == [sent, sent]


@pytest.mark.parametrize("sent", [True, False])
async def test_a_close_writes_down_what_it_let_go_of(
    open_fox: Any, fault_proxy: FaultProxy, gateway: Gateway, sent: bool
) -> None:
    """What may have left when the session closed is unknown, what did not leaves its key free."""
    clock = ManualClock()
    fox = open_fox(
        base_url=fault_proxy.url, clock=clock, retry=RetryPolicy(initial=50, max_delay=50)
    )
    async with AsyncExitStack() as network:
        if sent:
            fault_proxy.on("POST", "*", Stall(response=0), times=1)
        else:
            await network.enter_async_context(fault_proxy.unreachable())
        submitting = asyncio.create_task(fox.llm.submit(**KEYED))
        # Either it waits for an answer, or for its next attempt.
        while not (fault_proxy.stalled if sent else clock.timers):
            await asyncio.sleep(0)
        leaving = asyncio.create_task(fox.aclose())
        await settle()
        await clock.advance(5)
        await leaving
        with pytest.raises(SubmitOutcomeUnknownError if sent else SessionClosedError):
            await submitting
    async with open_fox(base_url=fault_proxy.url) as fox:
        unknown = (await fox.recover()).unknown
        if sent:
            assert [lost.key for lost in unknown] == ["row-17"]
            assert "the session was closed" in unknown[0].fault
        else:
            assert unknown == ()
            assert (await fox.llm.generate(**KEYED)).text == "1, 2, 3"
    assert gateway.stats.tasks == 1


@pytest.mark.parametrize("journaled", [True, False])
async def test_two_submits_of_one_key_make_one_post(
    open_fox: Any, fault_proxy: FaultProxy, gateway: Gateway, journaled: bool
) -> None:
    """Of submits with one key at once one is sent, and all get its handle."""
    options = {} if journaled else {"journal": None}
    fault_proxy.on("POST", "*", Stall(response=0), times=1)
    async with open_fox(base_url=fault_proxy.url, **options) as fox:
        submits = [asyncio.create_task(fox.llm.submit(**KEYED)) for _ in range(5)]
        await fault_proxy.wait_for_stalls()
        with pytest.raises(RequestValidationError, match="another request"):
            await fox.llm.submit(**OTHER)
        fault_proxy.release()
        handles = await asyncio.gather(*submits)
        assert len(set(handles)) == 1
    assert gateway.stats.submits == 1


async def test_sessions_share_a_file(
    open_fox: Any, fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """Two sessions on one file at once make one POST of a key, and see each other's tasks."""
    fault_proxy.on("POST", "*", Stall(response=0), times=1)
    async with open_fox(base_url=fault_proxy.url) as one, open_fox(base_url=fault_proxy.url) as two:
        first = asyncio.create_task(one.llm.submit(**KEYED))
        await fault_proxy.wait_for_stalls()
        second = asyncio.create_task(two.llm.submit(**KEYED))
        # What another living session is just sending is neither unknown nor a task yet.
        recovery = await two.recover()
        assert (recovery.handles, recovery.unknown) == ((), ())
        fault_proxy.release()
        assert (await first).id == (await second).id
        assert [handle.id for handle in (await two.recover()).handles] == [(await first).id]
    assert gateway.stats.submits == 1


async def test_without_a_journal_a_key_lasts_a_session(open_fox: Any, gateway: Gateway) -> None:
    """Without a journal a key is known to its session alone, and nothing can be recovered."""
    async with open_fox(journal=None) as fox:
        assert await fox.llm.submit(**KEYED) is await fox.llm.submit(**KEYED)
        with pytest.raises(RequestValidationError):
            await fox.llm.submit(**OTHER)
        with pytest.raises(ConfigError, match="journal="):
            await fox.recover()
    async with open_fox(journal=None) as fox:
        await fox.llm.submit(**KEYED)
    assert gateway.stats.submits == 2


async def test_another_service_has_keys_of_its_own(open_fox: Any) -> None:
    """The tasks of one base URL are not given out for another."""
    async with Gateway() as one, Gateway() as two:
        async with open_fox(base_url=one.url) as fox:
            await fox.llm.submit(**KEYED)
        async with open_fox(base_url=two.url) as fox:
            assert (await fox.recover()).handles == ()
            assert (await fox.llm.generate(**OTHER)).text == "1, 2, 3, 4"
        assert (one.stats.tasks, two.stats.tasks) == (1, 1)


@pytest.mark.parametrize("key", ["", "x" * 513, "a\0b", "\ud800", 17])
async def test_a_key_that_no_journal_can_hold_is_refused(open_fox: Any, key: Any) -> None:
    """A key is a text of 1 to 512 characters, with a journal or without."""
    async with open_fox(journal=None) as fox:
        with pytest.raises(RequestValidationError) as caught:
            await fox.llm.submit(**(PROMPT | {"key": key}))
    assert caught.value.param == "key"


async def test_an_unclaimed_task_is_in_the_journal(open_fox: Any, fault_proxy: FaultProxy) -> None:
    """A task whose caller was cancelled is recovered like any other."""
    fault_proxy.on("POST", "*", Stall(response=0), times=1)
    async with open_fox(base_url=fault_proxy.url) as fox:
        submitting = asyncio.create_task(fox.llm.submit(**KEYED))
        await fault_proxy.wait_for_stalls()
        submitting.cancel()
        with pytest.warns(RuntimeWarning, match="unclaimed"):
            fault_proxy.release()
            while not fox.unclaimed:
                await asyncio.sleep(0)
        (unclaimed,) = fox.unclaimed
        assert await fox.llm.submit(**KEYED) is unclaimed
    async with open_fox(base_url=fault_proxy.url) as fox:
        assert [handle.id for handle in (await fox.recover()).handles] == [unclaimed.id]


@pytest.mark.sqlite_only
async def test_the_file_is_private(open_fox: Any, file: Path) -> None:
    """The journal and all its side files are readable by their owner alone, and are its own."""
    async with open_fox() as fox:
        await fox.llm.submit(**KEYED)
        modes = await asyncio.to_thread(
            lambda: [stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()]
        )
        assert modes == [0o600] * 4
    assert await asyncio.to_thread(lambda: list(file.parent.iterdir())) == [file]


@pytest.mark.sqlite_only
async def test_the_key_is_never_written(open_fox: Any, file: Path) -> None:
    """The API key is in no byte of the file, and the prompt only while it may be needed."""
    secret: LLMParams = {"model": "gpt-5.5", "messages": "[[fail:timeout]] a private question"}
    async with open_fox() as fox:
        await fox.llm.submit(**secret)
    assert b"sk-secret" not in await asyncio.to_thread(file.read_bytes)
    assert await asyncio.to_thread(rows, file, "SELECT body FROM foxapi_submissions") == [(None,)]


async def test_nothing_is_left_running(open_fox: Any) -> None:
    """Closing ends the journal's thread, and a closed session says so."""
    before = set(threading.enumerate())
    fox = open_fox()
    await fox.llm.submit(**KEYED)
    await fox.aclose()
    await fox.aclose()
    left = [thread for thread in set(threading.enumerate()) - before if "sqlite" in repr(thread)]
    assert not left
    with pytest.raises(SessionClosedError):
        await fox.recover()


async def test_a_copy_may_have_a_journal_of_its_own(open_fox: Any, file: Path | str) -> None:
    """``with_options(journal=...)`` writes elsewhere, and closing the original closes both."""
    async with open_fox(journal=None) as fox:
        copy = fox.with_options(journal=file)
        handle = await copy.llm.submit(**KEYED)
    async with open_fox() as fox:
        assert [known.id for known in (await fox.recover()).handles] == [handle.id]


@pytest.mark.sqlite_only
async def test_a_full_disk_stops_submitting(
    open_fox: Any, set_pragma: Any, gateway: Gateway
) -> None:
    """When the intent cannot be written down nothing is sent, and it works again afterwards."""
    async with open_fox() as fox:
        await fox.llm.submit(**PROMPT)
        await set_pragma(fox, "max_page_count = 1")
        big: LLMParams = {"model": "gpt-5.5", "messages": "count 1 to 3 " + "x" * 200_000}
        with pytest.raises(JournalError, match="disk is full"):
            await fox.llm.submit(**big)
        assert gateway.stats.submits == 1
        await set_pragma(fox, "max_page_count = 1000000")
        await fox.llm.submit(**big)
    assert gateway.stats.submits == 2


async def test_a_failing_write_hides_no_id(
    open_fox: Any,
    set_read_only: Any,
    fault_proxy: FaultProxy,
    caplog: pytest.LogCaptureFixture,
    gateway: Gateway,
) -> None:
    """An id that cannot be written is returned, logged and emitted, and written later."""
    events: list[Event] = []
    fault_proxy.on("POST", "*", Stall(response=0), times=1)
    async with open_fox(base_url=fault_proxy.url, hooks=[events.append]) as fox:
        submitting = asyncio.create_task(fox.llm.submit(**KEYED))
        await fault_proxy.wait_for_stalls()
        await set_read_only(fox, on=True)
        fault_proxy.release()
        handle = await submitting
        about = [event for event in events if isinstance(event, TaskUnrecorded | TaskSubmitted)]
        assert [type(event) for event in about] == [TaskUnrecorded, TaskSubmitted]
        assert {(event.task_id, event.key) for event in about} == {(handle.id, "row-17")}
        assert handle.id in caplog.text
        assert "read-only" in caplog.text
        with pytest.raises(JournalError, match="read-only"):
            await fox.llm.submit(**PROMPT)
        await set_read_only(fox, on=False)
    assert gateway.stats.submits == 1
    async with open_fox(base_url=fault_proxy.url) as fox:
        assert [known.id for known in (await fox.recover()).handles] == [handle.id]


async def test_a_close_that_cannot_write_says_so(open_fox: Any, set_read_only: Any) -> None:
    """Results that are lost at the close raise, after everything else was closed."""
    fox = open_fox()
    handle = await fox.llm.submit(**KEYED)
    await set_read_only(fox, on=True)
    await handle
    with pytest.raises(JournalError, match="read-only"):
        await fox.aclose()
    async with open_fox() as fox:
        assert [known.id for known in (await fox.recover()).handles] == [handle.id]


def rows(file: Path, query: str) -> list[Any]:
    """Ask the file itself."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()
