"""Tests with scripted answers: the model says what the test needs."""

import asyncio

import pytest

from foxapi_async import FoxSession
from foxapi_async.testing import BackgroundGateway


async def sentiment(text: str) -> str:
    """Do what your program does."""
    async with FoxSession() as fox:
        completion = await fox.llm.generate(model="gpt-5.5", messages=f"One word, mood of: {text}")
        return completion.text.strip(". ").lower()


@pytest.mark.foxapi(replies=["Positive.", "negative"])
def test_it_reads_the_answer(foxapi_gateway: BackgroundGateway) -> None:
    assert asyncio.run(sentiment("what a day")) == "positive"
    assert asyncio.run(sentiment("oh no")) == "negative"
    assert foxapi_gateway.requests[0]["messages"][0]["content"].endswith("what a day")


def test_it_calls_a_tool(foxapi_gateway: BackgroundGateway) -> None:
    call = {"name": "weather", "arguments": {"city": "Bern"}}
    foxapi_gateway.replies.add({"prompt": "weather", "tool_calls": [call]}, "sunny")

    async def ask() -> str:
        async with FoxSession() as fox:
            completion = await fox.llm.generate(model="gpt-5.5", messages="the weather in Bern?")
            assert completion.finish_reason == "tool_calls"
            return (await fox.llm.generate(model="gpt-5.5", messages="and now?")).text

    assert asyncio.run(ask()) == "sunny"
