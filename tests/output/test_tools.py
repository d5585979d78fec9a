"""Laws of functions as tools."""

import json
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal

import pydantic
import pytest
from msgspec import Meta, Struct

from foxapi_async import OutputValidationError, tool_message
from foxapi_async._output.json_schema import TypeNotSupportedError
from foxapi_async._output.tools import function_tool
from foxapi_async.types import Function, Message, ToolCall


class Place(Struct):
    """A place."""

    city: str


def forecast(
    place: Place,
    unit: Literal["C", "F"] = "C",
    days: Annotated[int, Meta(ge=1)] = 3,
    *,
    copy: bool = False,
    since: date | None = None,
) -> str:
    """Tell the weather of a place.

    It is not billed.

    Args:
        place: Where,
            by its city.
        unit (str): The unit: Celsius
        days: How many days.
        copy: Whether to send a copy.

    Returns:
        The forecast.
    """
    return f"{place.city} {unit} {days} {copy} {since}"


class Bag(pydantic.BaseModel):
    """A bag."""

    size: int


class Shop:
    """A shop, whose methods are tools."""

    async def buy(self, bag: Bag, schema: int = 3, model_config: str = "x") -> None:
        """Buy a bag."""


def call(name: str, arguments: str) -> ToolCall:
    """Return a tool call."""
    return ToolCall(id="call-1", function=Function(name=name, arguments=arguments))


def test_the_definition_of_a_function() -> None:
    """The schema is that of the signature, and the docstring describes it."""
    definition = function_tool(forecast).definition
    function = definition["function"]
    assert definition["type"] == "function"
    assert (function["name"], function["strict"]) == ("forecast", True)
    assert function["description"] == "Tell the weather of a place.\n\nIt is not billed."
    parameters = function["parameters"]
    assert parameters["required"] == ["place", "unit", "days", "copy", "since"]
    assert parameters["properties"] == {
        "place": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
            "description": "Where, by its city.",
        },
        "unit": {
            "anyOf": [
                {
                    "type": "string",
                    "enum": ["C", "F"],
                    "description": 'The unit: Celsius Default: "C".',
                },
                {"type": "null"},
            ]
        },
        "days": {
            "anyOf": [
                {
                    "type": "integer",
                    "minimum": 1,
                    "description": "How many days. Default: 3.",
                },
                {"type": "null"},
            ]
        },
        "copy": {
            "anyOf": [
                {"type": "boolean", "description": "Whether to send a copy. Default: false."},
                {"type": "null"},
            ]
        },
        "since": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
    }


def sphinx(city: str, days: int, *, unit: str) -> str:
    """Tell the weather of a city.

    It is not billed.

    :param city: the city, at: noon,
        by its name
    :param int days: how many
    :type unit: str
    :keyword unit: of the temperature

    :returns: the forecast
    """
    return f"{city} {days} {unit}"


def test_a_docstring_of_sphinx() -> None:
    """The fields describe the parameters, and the text before them the function."""
    function = function_tool(sphinx).definition["function"]
    assert function["description"] == "Tell the weather of a city.\n\nIt is not billed."
    properties = function["parameters"]["properties"]
    assert {name: one["description"] for name, one in properties.items()} == {
        "city": "the city, at: noon, by its name",
        "days": "how many",
        "unit": "of the temperature",
    }


def test_the_arguments_of_a_call() -> None:
    """Arguments have the types of the signature, and those not given are left to the function."""
    arguments = call(
        "forecast",
        '{"place": {"city": "Oslo"}, "unit": null, "days": 2, "copy": null, "since": "2026-01-02"}',
    ).parse(forecast)
    assert arguments == {"place": Place("Oslo"), "days": 2, "since": date(2026, 1, 2)}
    assert forecast(**arguments) == "Oslo C 2 False 2026-01-02"
    assert call("forecast", '{"place": {"city": "x"}}').parse(forecast) == {"place": Place("x")}


def test_methods_coroutines_and_models() -> None:
    """Bound methods, coroutine functions and models of pydantic are taken; names do not clash."""
    buy = Shop().buy
    properties = function_tool(buy).definition["function"]["parameters"]["properties"]
    assert list(properties) == ["bag", "schema", "model_config"]
    arguments = call("buy", '{"bag": {"size": 1}, "schema": 2, "model_config": null}').parse(buy)
    assert arguments == {"bag": Bag(size=1), "schema": 2}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ("{}", ""),
        ('{"place": {"city": 1}}', "place.city"),
        ('{"place": {"city": "x"}, "days": 0}', "days"),
        ('{"place": {"city": "x"}, "nights": 1}', ""),
        ('{"place": {"city": "x"}', ""),
        ("[]", ""),
    ],
)
def test_wrong_arguments(text: str, path: str) -> None:
    """Wrong arguments are an error with their text and the path."""
    with pytest.raises(
        OutputValidationError, match="the arguments are not those of forecast: "
    ) as caught:
        call("forecast", text).parse(forecast)
    assert (caught.value.path, caught.value.text) == (path, text)
    assert caught.value.completion is None


def test_a_call_of_another_function() -> None:
    """A call of another function is an error, and its name is not in the text."""
    with pytest.raises(OutputValidationError, match="another function") as caught:
        call("secret", "{}").parse(forecast)
    assert "secret" not in str(caught.value)
    assert "'secret'" in caught.value.reason


def test_a_function_without_parameters() -> None:
    """A call without arguments may have no text."""

    def now() -> str:
        """Tell the time."""
        return "noon"

    assert call("now", "").parse(now) == {}
    assert function_tool(now).definition["function"]["parameters"]["required"] == []


def untyped(x) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Do."""


def positional(x: int, /) -> None:
    """Do."""


def anything(x: dict[str, Any]) -> None:
    """Do."""


def undefined(x: "Nothing") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Do."""


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (untyped, "untyped.x has no annotation"),
        (positional, "positional.x is positional-only"),
        (anything, "anything.x{} may be any value"),
        (undefined, "undefined has no usable signature"),
        (lambda: 1, "<lambda> is no function with a name"),
        (Place, "Place is no function with a name"),
    ],
)
def test_what_cannot_be_a_tool(function: Callable[..., Any], text: str) -> None:
    """A function that a model cannot call is refused with the name of the parameter."""
    with pytest.raises(TypeNotSupportedError) as caught:
        assert not function_tool(function).definition
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("result", "content"),
    [
        ("sunny", "sunny"),
        (3, "3"),
        (None, "null"),
        ({"a": [1, date(2026, 1, 2)]}, '{"a":[1,"2026-01-02"]}'),
        (Place("Oslo"), '{"city":"Oslo"}'),
        (Bag(size=1), '{"size":1}'),
    ],
)
def test_the_message_of_a_result(result: object, content: str) -> None:
    """A text is sent as it is, everything else as JSON."""
    message = tool_message(call("f", "{}"), result)
    assert message == Message(role="tool", tool_call_id="call-1", content=content)


def test_a_result_without_json() -> None:
    """A result without a JSON form is a ``TypeError`` with its path."""
    with pytest.raises(TypeError, match=r"result.a\[0\] is bytes"):
        tool_message(call("f", "{}"), {"a": [b"x"]})


def test_a_definition_is_json() -> None:
    """The definition of a tool is plain JSON."""
    definition = function_tool(forecast).definition
    assert json.loads(json.dumps(definition)) == definition
