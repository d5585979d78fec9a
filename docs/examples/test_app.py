"""Tests of a program that uses FoxAPI. They need no account: ``pytest test_app.py``."""

import asyncio

import pytest

from foxapi_async import FoxSession, SubmitOutcomeUnknownError
from foxapi_async.testing import BackgroundGateway


async def summary(text: str) -> str:
    """Do what your program does; it finds the gateway as it would find the service."""
    async with FoxSession() as fox:
        completion = await fox.llm.generate(model="gpt-5.5", messages=f"Summarise: {text}")
        return completion.text


def test_it_answers_and_pays_once(foxapi_gateway: BackgroundGateway) -> None:
    assert asyncio.run(summary("a long story"))
    [task_id] = foxapi_gateway.billed
    foxapi_gateway.assert_billed_once(task_id)


@pytest.mark.foxapi(faults=["query:429:retry_after=0,nth=1", "query:503:every=2"])
def test_it_survives_a_bad_day(foxapi_gateway: BackgroundGateway) -> None:
    assert asyncio.run(summary("a long story"))
    assert foxapi_gateway.stats.faults >= 1


@pytest.mark.foxapi(faults=["submit:reset:late"])
def test_it_never_pays_twice(foxapi_gateway: BackgroundGateway) -> None:
    with pytest.raises(SubmitOutcomeUnknownError):
        asyncio.run(summary("a long story"))
    assert len(foxapi_gateway.billed) == 1


@pytest.mark.foxapi(queue_delay=3600)
def test_it_waits_an_hour_in_no_time(
    foxapi_gateway: BackgroundGateway, foxapi_clock: BackgroundGateway
) -> None:
    async def submit_and_wait() -> str:
        async with FoxSession() as fox:
            handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
            foxapi_clock.advance(2 * 3600)
            return (await handle).text

    assert asyncio.run(submit_and_wait()) == "1, 2, 3"
    assert foxapi_gateway.stats.completed == 1
