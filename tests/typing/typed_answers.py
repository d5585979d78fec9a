"""Typed answers as the type checkers see them: ``parse`` returns the type that it gets.

Nothing here runs. An unused ``type: ignore`` is an error, so each of them is a test.
"""

import enum
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypedDict, assert_type

import pydantic
from msgspec import Struct

from foxapi_async import ChatCompletion, FoxSession, LLMHandle, Message, ToolCall, tool_message


class City(Struct):
    """A city."""

    name: str


@dataclass
class Place:
    """A place."""

    name: str


class Row(TypedDict):
    """A row."""

    name: str


class Point(NamedTuple):
    """A point."""

    x: float


class Color(enum.Enum):
    """A color."""

    RED = "red"


class Model(pydantic.BaseModel):
    """A model of pydantic."""

    name: str


def weather(city: str) -> str:
    """Tell the weather."""
    return city


async def right(fox: FoxSession, handle: LLMHandle, completion: ChatCompletion) -> None:
    """``parse`` returns the type; forms that are no class are ``Any``."""
    assert_type(await fox.llm.parse(City, model="m", messages="hi"), City)
    assert_type(await fox.llm.parse(Model, model="m", messages="hi", reasks=1, timeout=3), Model)
    assert_type(await fox.llm.parse(list[City], model="m", messages="hi"), list[City])
    assert_type(await handle.parse(Place, timeout=5), Place)
    assert_type(await handle.parse(int), int)
    assert_type(completion.parse(Row), Row)
    assert_type(completion.parse(Point, choice=1), Point)
    assert_type(completion.parse(Color), Color)
    assert_type(completion.parse(dict[str, City]), dict[str, City])
    adapter = pydantic.TypeAdapter(list[Model])
    assert_type(completion.parse(adapter), list[Model])
    assert_type(await handle.parse(adapter), list[Model])
    assert_type(await fox.llm.parse(adapter, model="m", messages="hi"), list[Model])
    answer: City | Place = completion.parse(City | Place)
    word: Literal["a", "b"] = completion.parse(Literal["a", "b"])
    del answer, word
    await fox.llm.submit(model="m", messages="hi", response_format=City)
    await fox.llm.submit(model="m", messages="hi", response_format={"type": "json_object"})
    await fox.llm.submit(model="m", messages=[completion, handle], tools=[weather, {"type": "x"}])


async def calls(call: ToolCall) -> None:
    """Pass the arguments of a call on, and its result back."""
    arguments = call.parse(weather)
    assert_type(arguments, dict[str, Any])
    assert_type(tool_message(call, weather(**arguments)), Message)


async def wrong(fox: FoxSession, handle: LLMHandle, completion: ChatCompletion) -> None:
    """Make an error of what fails, or costs money, at run time."""
    city = await fox.llm.parse(City, model="m", messages="hi")
    city.size.bit_length()  # type: ignore[attr-defined]
    place = completion.parse(Place)
    place.size.bit_length()  # type: ignore[attr-defined]
    await fox.llm.parse(City, messages="hi")  # type: ignore[call-overload]
    await fox.llm.parse(City, model="m", messages="hi", max_token=1)  # type: ignore[call-overload]
    await fox.llm.parse(City, model="m", messages="hi", response_format={})  # type: ignore[call-overload]
    await fox.llm.parse(City, model="m", messages="hi", reasks="1")  # type: ignore[call-overload]
    await fox.llm.parse(City, model="m", prompt="hi")  # type: ignore[call-overload]
    await handle.parse(City, reasks=1)  # type: ignore[call-overload]
    completion.parse(City, choice="0")  # type: ignore[call-overload]
