"""The timeouts of a session: each ends its own kind of waiting, and none hides another."""

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from foxapi_async import FoxSession, RetryPolicy, TaskTimeoutError, Timeouts
from foxapi_async.errors import APITimeoutError, FoxAPIError
from foxapi_async.testing import FaultProxy, ManualClock, Stall

if TYPE_CHECKING:
    from tests.client.conftest import Resolver

TASK_ID = "task-llm-1776874565-yq3szvcu"


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("stuck", ["poll", "name"])
async def test_no_stuck_poll_hides_the_timeout_of_a_wait(
    fault_proxy: FaultProxy, clock: ManualClock, resolver: "Resolver", *, stuck: str, own: bool
) -> None:
    """A wait times out while its poll hangs in a response or in name resolution."""
    connector = aiohttp.TCPConnector(resolver=resolver)
    timeouts = Timeouts(read=30, connect=30, wait=60 if own else 5)
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        FoxSession(
            "sk-x",
            base_url=f"http://{'localhost' if stuck == 'name' else '127.0.0.1'}:{fault_proxy.port}",
            clock=clock,
            timeouts=timeouts,
            http=http,
        ) as fox,
    ):
        fault_proxy.on("GET", "*", Stall(response=0))
        handle = fox.tasks.handle(TASK_ID)
        waiting = asyncio.create_task(handle.result(5) if own else handle.result())
        while not clock.timers:
            await asyncio.sleep(0)
        await clock.advance(0.5)
        await (resolver.asked.wait() if stuck == "name" else fault_proxy.wait_for_stalls())
        await clock.advance(4.4)
        assert not waiting.done()
        await clock.advance(0.2)
        with pytest.raises(TaskTimeoutError, match=r"timeout=|Timeouts\.wait"):
            await waiting


async def test_the_error_names_the_timeout_that_expired(
    fault_proxy: FaultProxy, clock: ManualClock
) -> None:
    """The shorter of two timeouts ends a call, and the error names its setting."""
    fault_proxy.on("*", "*", Stall(response=0))
    for number, (timeouts, name) in enumerate(
        [
            (Timeouts(read=3), "Timeouts.read, 3 s"),
            (Timeouts(read=3, call=2), "Timeouts.call, 2 s"),
            (Timeouts(submit=3, read=1), "Timeouts.submit, 3 s"),
            (Timeouts(submit=3, call=2), "Timeouts.call, 2 s"),
        ],
        start=1,
    ):
        async with FoxSession(
            "sk-x",
            base_url=fault_proxy.url,
            clock=clock,
            timeouts=timeouts,
            retry=RetryPolicy(attempts=1),
        ) as fox:
            doing: asyncio.Future[Any] = asyncio.ensure_future(
                fox.llm.submit(model="gpt-5.5", messages="hi")
                if timeouts.submit == 3
                else fox.models.list()
            )
            await fault_proxy.wait_for_requests(number)
            await fault_proxy.wait_for_stalls()
            await clock.advance(3)
            with pytest.raises(FoxAPIError) as caught:
                await doing
            fault = getattr(caught.value, "fault", caught.value)
            assert isinstance(fault, APITimeoutError)
            assert name in str(caught.value)
