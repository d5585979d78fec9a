"""Laws of typed answers, tools and histories, end to end."""

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

import pydantic
import pytest
from msgspec import Struct

from foxapi_async import (
    ConfigError,
    FoxSession,
    OutputRefusedError,
    OutputTruncatedError,
    OutputValidationError,
    PollPolicy,
    RequestValidationError,
    TaskFailedError,
    tool_message,
)
from foxapi_async._client.params import build_request
from foxapi_async.gateway import Gateway
from foxapi_async.types import GenerationRequest

MODEL = "gpt-5.5"
RIGHT = '{"name": "Paris", "population": 2}'
WRONG = '{"name": "Paris", "population": "two"}'


class City(Struct):
    """A city."""

    name: str
    population: int


class Model(pydantic.BaseModel):
    """A city of pydantic."""

    name: str


def session(gateway: Gateway, polling: PollPolicy, **options: Any) -> FoxSession:
    """Return a session that polls often."""
    return FoxSession("sk", base_url=gateway.url, polling=polling, **options)


@pytest.mark.parametrize("annotation", [City, list[City], dict[str, City], int, Model])
async def test_parse_returns_the_value(
    gateway: Gateway, fast_polling: PollPolicy, annotation: Any
) -> None:
    """``parse`` asks for a type and returns a value of it, and so do its three parts."""
    async with session(gateway, fast_polling) as fox:
        value = await fox.llm.parse(annotation, model=MODEL, messages="Paris?")
        handle = await fox.llm.submit(model=MODEL, messages="Paris?", response_format=annotation)
        assert await handle.parse(annotation) == value
        assert (await handle).parse(annotation) == value
    first, second = gateway.requests
    assert first["response_format"] == second["response_format"]
    assert first["response_format"]["type"] == "json_schema"


async def test_a_type_of_an_adapter(gateway: Gateway, fast_polling: PollPolicy) -> None:
    """An adapter of pydantic is a type too."""
    adapter = pydantic.TypeAdapter(list[Model])
    async with session(gateway, fast_polling) as fox:
        cities = await fox.llm.parse(adapter, model=MODEL, messages="Paris?")
    assert all(type(city) is Model for city in cities)


async def test_nothing_is_asked_again_by_default(
    gateway: Gateway, fast_polling: PollPolicy
) -> None:
    """A wrong answer is an error after one generation."""
    gateway.replies.add(WRONG)
    async with session(gateway, fast_polling) as fox:
        with pytest.raises(OutputValidationError) as caught:
            await fox.llm.parse(City, model=MODEL, messages="Paris?")
    assert len(gateway.requests) == caught.value.attempts == 1
    completion = caught.value.completion
    assert completion is not None
    assert completion.task is not None
    assert caught.value.usage == completion.usage


async def test_a_reask_shows_the_mistake(
    gateway: Gateway, fast_polling: PollPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    """A reask has the answer and what is wrong with it; its right answer is the value."""
    gateway.replies.add("Sure!", WRONG, RIGHT)
    caplog.set_level(logging.INFO, logger="foxapi_async")
    async with session(gateway, fast_polling) as fox:
        city = await fox.llm.parse(City, model=MODEL, messages="Paris?", reasks=3)
    assert city == City("Paris", 2)
    messages = [(m["role"], m["content"]) for m in gateway.requests[2]["messages"]]
    assert messages[0] == ("user", "Paris?")
    assert [role for role, _ in messages[1:]] == ["assistant", "user"] * 2
    assert messages[1][1] == "Sure!"
    assert messages[3][1] == WRONG
    assert messages[4][1].startswith("`population` is not valid: Expected `int`, got `str`.")
    lines = [record.getMessage() for record in caplog.records if "is billed" in record.getMessage()]
    assert [line.rpartition("generation ")[2] for line in lines] == [
        "2 is submitted, and is billed",
        "3 is submitted, and is billed",
    ]
    assert "Paris" not in caplog.text


async def test_reasks_are_counted(gateway: Gateway, fast_polling: PollPolicy) -> None:
    """The error after the last reask has the number of generations and the tokens of all."""
    gateway.replies.add(*[WRONG] * 3)
    async with session(gateway, fast_polling) as fox:
        with pytest.raises(OutputValidationError) as caught:
            await fox.llm.parse(City, model=MODEL, messages="Paris?", reasks=2)
    error = caught.value
    assert len(gateway.requests) == error.attempts == 3
    assert error.usage is not None
    assert error.completion is not None
    assert error.completion.usage is not None
    assert error.usage.completion_tokens == 3 * error.completion.usage.completion_tokens


async def test_a_truncated_answer_is_not_asked_for_again(
    gateway: Gateway, fast_polling: PollPolicy
) -> None:
    """Truncated and refused answers take no reask."""
    gateway.replies.add({"text": RIGHT, "finish_reason": "length"})
    gateway.replies.add({"text": RIGHT, "finish_reason": "content_filter"})
    async with session(gateway, fast_polling) as fox:
        with pytest.raises(OutputTruncatedError):
            await fox.llm.parse(City, model=MODEL, messages="Paris?", reasks=3)
        with pytest.raises(OutputRefusedError):
            await fox.llm.parse(City, model=MODEL, messages="Paris?", reasks=3)
    assert len(gateway.requests) == 2


async def test_a_journal_pays_no_reask_twice(
    gateway: Gateway, fast_polling: PollPolicy, tmp_path: Path
) -> None:
    """With a key, each reask has a key of its own: the same call again submits nothing."""
    gateway.replies.add(WRONG, RIGHT)
    for _ in range(2):
        async with session(gateway, fast_polling, journal=tmp_path / "tasks.db") as fox:
            city = await fox.llm.parse(City, model=MODEL, messages="Paris?", key="row", reasks=1)
            assert city == City("Paris", 2)
    assert len(gateway.requests) == 2
    async with session(gateway, fast_polling, journal=tmp_path / "tasks.db") as fox:
        handle = await fox.llm.submit(
            model=MODEL, messages="Paris?", key="row", response_format=City
        )
        assert handle.key == "row"
        with pytest.raises(RequestValidationError, match="512"):
            await fox.llm.parse(City, model=MODEL, messages="x", key="k" * 511, reasks=1)
    assert len(gateway.requests) == 2


@pytest.mark.parametrize("reasks", [-1, 1.5, True, "1", None])
async def test_a_wrong_number_of_reasks(gateway: Gateway, reasks: Any) -> None:
    """``reasks`` is a whole number; nothing is sent otherwise."""
    async with FoxSession("sk", base_url=gateway.url) as fox:
        with pytest.raises(ConfigError, match=r"parse\(reasks=\)"):
            await fox.llm.parse(City, model=MODEL, messages="x", reasks=reasks)
    assert not gateway.requests


async def test_a_type_that_cannot_be_asked_for(gateway: Gateway) -> None:
    """A type without a schema is refused with its path, and nothing is sent."""
    async with FoxSession("sk", base_url=gateway.url) as fox:
        for wanted in (dict[str, Any], complex, Any):
            with pytest.raises(RequestValidationError, match="cannot be asked for") as caught:
                await fox.llm.parse(wanted, model=MODEL, messages="x")
            assert caught.value.param == "response_format"
        with pytest.raises(TypeError, match="leave the keyword out"):
            await fox.llm.parse(City, model=MODEL, messages="x", response_format={})  # type: ignore[call-overload]
    assert not gateway.requests


def weather(city: str, days: int = 1) -> dict[str, object]:
    """Tell the weather.

    Args:
        city: The name of the city.
        days: How many days.
    """
    return {"city": city, "days": days, "weather": "sunny"}


async def test_a_function_is_a_tool(gateway: Gateway, fast_polling: PollPolicy) -> None:
    """A function is sent as a schema, its arguments come back typed, and the result goes on."""
    call = {"name": "weather", "arguments": {"city": "Bern", "days": 2}}
    gateway.replies.add({"tool_calls": [call]}, "sunny")
    messages: list[Any] = [{"role": "user", "content": "Bern?"}]
    async with session(gateway, fast_polling) as fox:
        completion = await fox.llm.generate(model=MODEL, messages=messages, tools=[weather])
        assert completion.message.tool_calls is not None
        messages.append(completion)
        messages += [
            tool_message(found, weather(**found.parse(weather)))
            for found in completion.message.tool_calls
        ]
        assert (await fox.llm.generate(model=MODEL, messages=messages)).text == "sunny"
    assert gateway.requests[0]["tools"][0]["function"]["name"] == "weather"
    last = gateway.requests[1]["messages"][-1]
    assert json.loads(last["content"]) == {"city": "Bern", "days": 2, "weather": "sunny"}
    assert last["tool_call_id"] == gateway.requests[1]["messages"][1]["tool_calls"][0]["id"]


async def test_a_function_that_cannot_be_a_tool(gateway: Gateway) -> None:
    """A function without annotations is refused with its place, and nothing is sent."""

    def untyped(x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """Do."""

    async with FoxSession("sk", base_url=gateway.url) as fox:
        with pytest.raises(RequestValidationError, match=r"untyped.x has no annotation") as caught:
            await fox.llm.submit(model=MODEL, messages="x", tools=[weather, untyped])
        no_functions: list[Any] = [City, partial(weather, days=2)]
        for function in no_functions:
            with pytest.raises(RequestValidationError, match=r"pass one made by `def`"):
                await fox.llm.submit(model=MODEL, messages="x", tools=[function])
    assert caught.value.param == "tools[1]"


async def test_completions_and_handles_are_history(
    gateway: Gateway, fast_polling: PollPolicy
) -> None:
    """A completion, and the handle of a finished generation, stand for their answer."""
    gateway.replies.add("one", "two", "three")
    question: dict[str, object] = {"role": "user", "content": "and?"}
    async with session(gateway, fast_polling) as fox:
        first = await fox.llm.generate(model=MODEL, messages="hi")
        handle = await fox.llm.submit(model=MODEL, messages=[first, question])
        with pytest.raises(RequestValidationError, match="await it first") as caught:
            await fox.llm.submit(model=MODEL, messages=(m for m in (first, question, handle)))
        assert caught.value.param == "messages[2]"
        await handle
        await fox.llm.generate(model=MODEL, messages=[first, question, handle, question])
    contents = [message["content"] for message in gateway.requests[2]["messages"]]
    assert contents == ["one", "and?", "two", "and?"]


async def test_a_failed_task_is_no_history(gateway: Gateway, fast_polling: PollPolicy) -> None:
    """The handle of a failed task has no answer, and nothing is sent."""
    async with session(gateway, fast_polling) as fox:
        handle = await fox.llm.submit(model=MODEL, messages="[[fail:timeout]]")
        with pytest.raises(TaskFailedError):
            await handle
        with pytest.raises(RequestValidationError, match="without an answer"):
            await fox.llm.submit(model=MODEL, messages=[handle])
    assert len(gateway.requests) == 1


def test_a_request_is_plain_json() -> None:
    """Types and functions become JSON in the request, so a journal can hold it."""
    request = build_request(
        {"model": MODEL, "messages": "x", "response_format": City, "tools": [weather]}
    )
    assert isinstance(request, GenerationRequest)
    assert isinstance(request.response_format, dict)
    assert isinstance(request.tools, list | tuple)
    assert isinstance(request.tools[0], dict)


@pytest.mark.parametrize("value", [None, 42, "City", [City], {"type": "object"}])
async def test_what_is_no_type_is_refused_before_it_is_billed(
    gateway: Gateway, fox: FoxSession, value: Any
) -> None:
    """A JSON schema, which ``generate`` takes, has no values that ``parse`` could return."""
    with pytest.raises(
        TypeError, match=r"parse\(\) needs a type itself.*generate\(response_format="
    ):
        await fox.llm.parse(value, model=MODEL, messages="Paris?")
    assert gateway.stats.submits == 0


@pytest.mark.parametrize("value", ["City", 42, True, [City], len])
async def test_a_response_format_that_is_no_type_names_the_fix(
    gateway: Gateway, fox: FoxSession, value: Any
) -> None:
    """The name of a type, or any value that is neither a type nor a JSON object, is refused."""
    fix = r"and no type: pass the type itself, as in City or list\[City\], or a JSON object"
    with pytest.raises(RequestValidationError, match=fix) as caught:
        await fox.llm.generate(model=MODEL, messages="Paris?", response_format=value)
    assert caught.value.param == "response_format"
    assert gateway.stats.submits == 0
