"""The default local model, with its real weights."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

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


# A small model may go on writing a text for ever, and a pattern is a rule of its grammar.
Words = Annotated[str, Meta(pattern="^[A-Za-z ]{1,24}$")]


class Place(Struct):
    """A place."""

    name: Words
    continent: Literal["Africa", "America", "Asia", "Europe", "Oceania"]


class Trip(Struct):
    """A journey to two places."""

    title: Words
    start: Place
    end: Place
    days: Annotated[int, Meta(ge=1, le=30)]
    tags: Annotated[list[Literal["food", "sea", "city", "hike"]], Meta(max_length=3)]
    note: Words | None = None


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


async def test_typed_answers_need_no_reask(fox: FoxSession) -> None:
    """20 answers of a nested type are all of the type at the first attempt."""

    async def plan(number: int) -> Trip:
        return await fox.llm.parse(
            Trip,
            model=MODEL,
            messages=f"Plan trip number {number}, in a few words. Answer with short JSON.",
            temperature=0.7,
            seed=number,
            max_tokens=400,
        )

    trips = await asyncio.gather(*map(plan, range(20)))
    assert len(trips) == 20
    assert all(1 <= trip.days <= 30 for trip in trips)
