"""Laws of a generation that is paid for and whose caller goes: its handle is never lost."""

import asyncio
from typing import Any

import pytest

from foxapi_async import (
    AuthenticationError,
    ConfigError,
    FoxSession,
    SessionClosedError,
    TaskFailedError,
    TaskTimeoutError,
)
from foxapi_async._client import runtime
from foxapi_async._client.params import LLMParams
from foxapi_async._client.runtime import Unclaimed
from foxapi_async.gateway import Gateway
from foxapi_async.hooks import Event, SubmitUnclaimed
from foxapi_async.testing import CannedResponse, FaultProxy, Stall

PROMPT: LLMParams = {"model": "gpt-5.5", "messages": "count 1 to 3", "key": "row-17"}
THINKING: LLMParams = {"model": "kimi-k2.6", "messages": "count 1 to 3"}


async def waiting(fox: FoxSession, params: LLMParams = PROMPT) -> "asyncio.Task[Any]":
    """Start a ``generate`` and return it when it waits for its result."""
    generating = asyncio.create_task(fox.llm.generate(**params))
    while not fox.stats().waiting:
        await asyncio.sleep(0)
    return generating


@pytest.mark.parametrize("params", [PROMPT, THINKING])
async def test_a_generate_that_is_cancelled_leaves_its_handle(
    fault_proxy: FaultProxy, params: LLMParams, caplog: pytest.LogCaptureFixture, gateway: Gateway
) -> None:
    """Cancelled while it waits, it is in ``fox.unclaimed``, in the log and emitted, and awaits."""
    events: list[Event] = []
    fault_proxy.on("GET", "*", Stall(response=0))
    async with FoxSession("sk-x", base_url=fault_proxy.url, hooks=[events.append]) as fox:
        generating = await waiting(fox, params)
        generating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await generating
        (handle,) = fox.unclaimed
        emitted = [event for event in events if isinstance(event, SubmitUnclaimed)]
        assert [(event.task_id, event.model, event.key) for event in emitted] == [
            (handle.id, params["model"], params.get("key"))
        ]
        (line,) = [record for record in caplog.records if record.levelname == "WARNING"]
        assert handle.id in line.getMessage()
        fault_proxy.clear()
        assert (await handle).text == "1, 2, 3"
        assert fox.unclaimed == ()
    assert gateway.stats.tasks == 1


async def test_a_generate_that_is_timed_out_leaves_its_handle(fault_proxy: FaultProxy) -> None:
    """``asyncio.timeout`` around it ends in ``TimeoutError``, and the handle is kept."""
    fault_proxy.on("GET", "*", Stall(response=0))
    async with FoxSession("sk-x", base_url=fault_proxy.url) as fox:
        generating = await waiting(fox)
        generating.cancel()
        await asyncio.wait((generating,))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await fox.llm.generate(**PROMPT)
        # The same key is the same task, which is there once.
        assert [handle.key for handle in fox.unclaimed] == ["row-17"]


async def test_a_close_names_the_tasks_that_were_awaited(fault_proxy: FaultProxy) -> None:
    """A waiter at the close raises an error with the task id, which is in ``unclaimed``."""
    fault_proxy.on("GET", "*", Stall(response=0))
    fox = FoxSession("sk-x", base_url=fault_proxy.url)
    generating = await waiting(fox)
    await fox.aclose()
    with pytest.raises(SessionClosedError) as caught:
        await generating
    (handle,) = fox.unclaimed
    assert handle.id in str(caught.value)


async def test_a_key_that_is_rejected_at_a_poll_leaves_the_handle(
    fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """The error of a rejected poll has no task id, so the handle is kept."""
    refusal = CannedResponse.http(
        401, b'{"error":{"message":"no"}}', content_type="application/json"
    )
    fault_proxy.on("GET", "*", refusal, times=1)
    async with FoxSession("sk-x", base_url=fault_proxy.url) as fox:
        with pytest.raises(AuthenticationError):
            await fox.llm.generate(**PROMPT)
        (handle,) = fox.unclaimed
        assert (await handle).text == "1, 2, 3"
    assert gateway.stats.tasks == 1


async def test_what_names_its_task_is_not_unclaimed(gateway: Gateway) -> None:
    """An error that carries the id, and the task's own failure, leave nothing behind."""
    async with FoxSession("sk-x", base_url=gateway.url) as fox:
        with pytest.raises(TaskTimeoutError) as caught:
            await fox.llm.generate(timeout=0, **PROMPT)
        assert caught.value.task_id.startswith("task-")
        with pytest.raises(TaskFailedError):
            await fox.llm.generate(model="gpt-5.5", messages="[[fail:timeout]]")
        assert fox.unclaimed == ()


@pytest.mark.parametrize("timeout", [-1, float("nan"), "soon"])
async def test_a_timeout_that_cannot_be_is_refused_before_it_costs(
    fox: FoxSession, gateway: Gateway, timeout: Any
) -> None:
    """A ``timeout`` that no wait can last is refused before anything is sent."""
    with pytest.raises(ConfigError, match="timeout="):
        await fox.llm.generate(timeout=timeout, **PROMPT)
    assert gateway.stats.submits == 0


class FakeHandle:
    """A handle that lies there."""

    def __init__(self, *, done: bool = False) -> None:
        self._done = done

    def done(self) -> bool:
        """Tell what the test says."""
        return self._done

    def finish(self) -> None:
        """Count as awaited."""
        self._done = True


def test_what_was_awaited_is_dropped() -> None:
    """A handle stays until its outcome is retrieved; the order is that of the arrival."""
    kept = Unclaimed()
    handles = [FakeHandle() for _ in range(5)]
    assert [kept.add(handle) for handle in handles] == [True] * 5
    assert not kept.add(handles[0])
    handles[2].finish()
    assert kept.handles() == (*handles[:2], *handles[3:])
    late = FakeHandle(
        done=True
    )  # its result came in the turn of the loop that cancelled its caller
    kept.add(late)
    assert kept.handles()[-1] is late
    assert len(kept) == 5


def test_a_server_that_is_cancelled_all_day_keeps_its_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Handles that were awaited go by themselves, and of the others the newest are kept."""
    monkeypatch.setattr(runtime, "_MAX_UNCLAIMED", 1000)
    kept = Unclaimed()
    for _ in range(5000):
        handle = FakeHandle()
        kept.add(handle)
        handle.finish()
        assert len(kept._handles) <= 130
    handles = [FakeHandle() for _ in range(5000)]
    for handle in handles:
        kept.add(handle)
    assert kept.handles() == tuple(handles[-1000:])
