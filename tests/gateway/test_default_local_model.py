"""The default local model, with its real weights."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from foxapi_async import FoxSession
from foxapi_async.gateway import Gateway
from foxapi_async.gateway.models.local.weights import SMOLLM2

pytestmark = pytest.mark.weights
MODEL = SMOLLM2.model
PLACE = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 30},
        "continent": {"enum": ["Africa", "Asia", "Europe"]},
    },
    "required": ["city", "continent"],
    "additionalProperties": False,
}


@pytest.fixture
async def fox() -> AsyncIterator[FoxSession]:
    """Return a session with a gateway that has the model."""
    async with Gateway(local=True) as gateway, FoxSession("sk", base_url=gateway.url) as session:
        yield session


async def test_it_knows_a_capital(fox: FoxSession) -> None:
    """A simple question has a right answer."""
    prompt = "What is the capital city of France? Answer in one English sentence."
    completion = await fox.llm.generate(model=MODEL, messages=prompt, temperature=0, max_tokens=40)
    assert "Paris" in completion.text
    assert completion.usage is not None
    assert completion.usage.prompt_tokens > 10


async def test_it_obeys_a_schema(fox: FoxSession) -> None:
    """The answer is JSON of the schema."""
    completion = await fox.llm.generate(
        model=MODEL,
        messages="Name a city and its continent, as JSON.",
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "place", "schema": PLACE, "strict": True},
        },
    )
    place = json.loads(completion.text)
    assert sorted(place) == ["city", "continent"]
    assert place["continent"] in {"Africa", "Asia", "Europe"}


async def test_it_stops(fox: FoxSession) -> None:
    """`stop` and `max_tokens` end an answer."""
    prompt = "Count from one to ten in words."
    completion = await fox.llm.generate(model=MODEL, messages=prompt, stop=[" "], max_tokens=50)
    assert " " not in completion.text
    completion = await fox.llm.generate(model=MODEL, messages=prompt, max_tokens=3)
    assert completion.finish_reason == "length"


@pytest.mark.parametrize("streams", [1, 8, 24])
async def test_its_streams_are_whole(fox: FoxSession, streams: int) -> None:
    """Streams at once are all read to their end, and are what is stored."""

    async def follow(number: int) -> None:
        async with fox.llm.stream(
            model=MODEL, messages=f"Tell me about the number {number}.", max_tokens=24
        ) as stream:
            text = "".join([delta.text async for delta in stream])
            assert text
            assert text == (await stream.completion()).text

    await asyncio.gather(*map(follow, range(streams)))
