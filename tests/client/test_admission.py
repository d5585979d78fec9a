"""Laws of admission: submissions wait for a free slot, and none is dropped."""

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from foxapi_async import (
    CompletionProgress,
    Exponential,
    FoxSession,
    Limits,
    PollPolicy,
    RetryPolicy,
    SessionClosedError,
    Task,
    as_completed,
)
from foxapi_async._client.params import LLMParams
from foxapi_async._journal import EntryId
from foxapi_async.gateway import Gateway
from foxapi_async.hooks import Event, TaskFinished
from foxapi_async.testing import CannedResponse, FaultProxy, Stall

KEY = "sk-secret-0123456789abcdef"
PROMPT: LLMParams = {"model": "gpt-5.5", "messages": "count 1 to 3"}
QUICK = PollPolicy(pacing=Exponential(initial=0.01, multiplier=1.2, max_delay=0.05))


async def test_a_gather_of_many_submits_takes_its_time_and_nothing_else(gateway: Gateway) -> None:
    """With in_flight set, no more tasks are unfinished at a time, though no handle is awaited."""
    limits = Limits(max_unfinished=7, polls_per_second=None)
    async with FoxSession(KEY, base_url=gateway.url, polling=QUICK, limits=limits) as fox:
        most = 0

        async def submit() -> str:
            nonlocal most
            handle = await fox.llm.submit(**PROMPT)
            most = max(most, fox.stats().unfinished)
            return handle.id

        ids = await asyncio.gather(*(submit() for _ in range(60)))
        assert len(set(ids)) == 60
        assert gateway.stats.tasks == 60
        assert most <= 7
        stats = fox.stats()
        assert (stats.tasks, stats.submits_waiting, stats.waiting) == (60, 0, 0)


class PollsOfFinished:
    """Counts the GETs of tasks that an earlier GET has shown as finished."""

    def __init__(self) -> None:
        self.ended: set[str] = set()
        self.repeated = 0

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let the gateway answer, and check its answer."""
        self.repeated += request.path in self.ended
        response = await handler(request)
        assert isinstance(response, web.Response)
        if request.method == "GET" and json.loads(response.text or "")["status"] == "completed":
            self.ended.add(request.path)
        return response


async def test_what_admission_learns_is_known_to_every_handle() -> None:
    """A task that admission saw finished is done, is reported, and is never polled again."""
    limits, finished, calls = (
        Limits(max_unfinished=4),
        PollsOfFinished(),
        list[CompletionProgress](),
    )
    events: list[Event] = []
    gateway = Gateway()
    gateway.app.middlewares.append(finished.count)
    async with (
        gateway,
        FoxSession(
            KEY, base_url=gateway.url, polling=QUICK, limits=limits, hooks=[events.append]
        ) as fox,
    ):
        handles = await asyncio.gather(*(fox.llm.submit(**PROMPT) for _ in range(40)))
        done = [handle for handle in handles if handle.done()]
        assert len(done) >= 36
        assert len(finished.ended) == len(done)
        assert all(fox.tasks.handle(handle.id).done() for handle in done)
        arrivals = as_completed(handles, progress=calls.append)
        assert await anext(arrivals) in done
        assert len(calls) >= len(done)
        assert {handle async for handle in arrivals} <= set(handles)
        assert [progress.done for progress in calls] == list(range(1, 41))
        assert {(await handle).text for handle in handles} == {"1, 2, 3"}
    assert finished.repeated == 0
    ends = [event.task_id for event in events if isinstance(event, TaskFinished)]
    assert set(ends) == {handle.id for handle in handles}


async def test_a_task_that_ends_before_its_submit_returns_is_known_to_its_handle() -> None:
    """What is learnt while the acceptance is still being written down reaches the handle."""
    async with (
        Gateway() as gateway,
        FoxSession(
            KEY, base_url=gateway.url, polling=QUICK, limits=Limits(max_unfinished=1)
        ) as fox,
    ):
        recorder = fox._service.options.journal
        accepted, slow = recorder.record_accepted, asyncio.Event()

        async def slowly(entry_id: EntryId, task: Task) -> None:
            await accepted(entry_id, task)
            await slow.wait()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recorder, "record_accepted", slowly)
            first, second = (asyncio.create_task(fox.llm.submit(**PROMPT)) for _ in range(2))
            while fox.stats().tasks < 1 or fox.stats().unfinished:
                await asyncio.sleep(0)
            slow.set()
            handle = await first
        assert handle.done()
        polls = gateway.stats.polls
        assert (await handle).text == "1, 2, 3"
        assert gateway.stats.polls == polls
        await second


async def test_finished_tasks_free_slots_without_a_poll(gateway: Gateway) -> None:
    """An awaited task has freed its slot when its result is returned."""
    limits = Limits(max_unfinished=1)
    async with FoxSession(KEY, base_url=gateway.url, polling=QUICK, limits=limits) as fox:
        for _ in range(3):
            handle = await fox.llm.submit(**PROMPT)
            assert fox.stats().unfinished == 1
            await handle
            assert fox.stats().unfinished == 0
        polls = gateway.stats.polls
        assert fox.stats().polls == polls


async def test_a_task_of_unknown_state_does_not_hold_its_slot_for_ever(
    fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """A lost task counts no more, and the submission that waited goes on."""
    limits = Limits(max_unfinished=1)
    async with FoxSession(KEY, base_url=fault_proxy.url, polling=QUICK, limits=limits) as fox:
        fault_proxy.on("GET", "*", CannedResponse.http(404), times=3)
        await fox.llm.submit(**PROMPT)
        await fox.llm.submit(**PROMPT)
    assert gateway.stats.tasks == 2


async def test_a_refused_submission_gives_its_place_to_the_next(
    fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """A rejected submission takes no slot."""
    limits = Limits(max_unfinished=1)
    async with FoxSession(KEY, base_url=fault_proxy.url, polling=QUICK, limits=limits) as fox:
        fault_proxy.on("POST", "*", CannedResponse.http(422), times=1)
        refused, accepted = await asyncio.gather(
            fox.llm.submit(**PROMPT), fox.llm.submit(**PROMPT), return_exceptions=True
        )
        assert isinstance(refused, Exception)
        assert not isinstance(accepted, BaseException)
    assert gateway.stats.tasks == 1


async def test_a_429_pauses_all_submissions(fault_proxy: FaultProxy, gateway: Gateway) -> None:
    """While the service asks for quiet, no other submission starts, and then all do."""
    limited = CannedResponse.http(429, headers={"Retry-After": "0.4"})
    retry = RetryPolicy(resubmit_on_429="always")
    async with FoxSession(KEY, base_url=fault_proxy.url, polling=QUICK, retry=retry) as fox:
        fault_proxy.on("POST", "*", limited, times=1)
        first = asyncio.create_task(fox.llm.submit(**PROMPT))
        while not fox.stats().paused:
            await asyncio.sleep(0)
        others = [asyncio.create_task(fox.llm.submit(**PROMPT)) for _ in range(5)]
        while fox.stats().submits_waiting < 5:
            await asyncio.sleep(0)
        assert fault_proxy.count("POST") == 1
        assert 0 < fox.stats().paused <= 0.4
        await asyncio.gather(first, *others)
        assert fox.stats().paused == 0
    assert gateway.stats.tasks == 6


async def test_cancelled_submissions_give_up_their_turn(
    fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """A submission that is cancelled while it waits, or when it is admitted, takes no slot."""
    limits = Limits(submits_in_flight=1)
    async with FoxSession(KEY, base_url=fault_proxy.url, limits=limits) as fox:
        fault_proxy.on("POST", "*", Stall(response=0), times=1)
        first, second, third = (asyncio.create_task(fox.llm.submit(**PROMPT)) for _ in range(3))
        await fault_proxy.wait_for_stalls()
        second.cancel()
        fault_proxy.release()
        await first
        await third
        admission = fox._service.runtime.admission
        fourth = asyncio.create_task(admission.enter())
        await fourth
        fifth = asyncio.create_task(admission.enter())
        await asyncio.sleep(0)
        admission.leave()
        fifth.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fifth
        await fox.llm.submit(**PROMPT)
        assert second.cancelled()
    assert gateway.stats.tasks == 3


async def test_closing_wakes_submissions_that_wait(
    fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """A submission that was not let in by then gets SessionClosedError and was never sent."""
    fox = FoxSession(KEY, base_url=fault_proxy.url, limits=Limits(submits_in_flight=1))
    fault_proxy.on("POST", "*", Stall(response=0), times=1)
    first, second = (asyncio.create_task(fox.llm.submit(**PROMPT)) for _ in range(2))
    await fault_proxy.wait_for_stalls()
    closing = asyncio.create_task(fox.aclose())
    with pytest.raises(SessionClosedError):
        await second
    fault_proxy.release()
    await closing
    assert (await first).id
    with pytest.raises(SessionClosedError):
        await fox._service.runtime.admission.enter()
    assert gateway.stats.tasks == 1
