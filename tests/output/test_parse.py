"""Laws of reading a value out of a completion."""

import copy
import pickle
from typing import Any

import pytest
from msgspec import Struct

from foxapi_async import (
    ChatCompletion,
    OutputRefusedError,
    OutputTruncatedError,
    OutputValidationError,
    Usage,
)
from foxapi_async.types import Choice, CompletionMessage, Function, ToolCall


class City(Struct):
    """A city."""

    name: str
    population: int


class Ages(Struct):
    """A struct with a dict."""

    pets: dict[int, int]


ANSWER = '{"name": "Paris", "population": 2100000}'
USAGE = Usage(total_tokens=7)


def completion(*messages: CompletionMessage, finish_reason: str | None = "stop") -> ChatCompletion:
    """Return a completion with one choice for each message."""
    choices = tuple(
        Choice(index=number, message=message, finish_reason=finish_reason)
        for number, message in enumerate(messages)
    )
    return ChatCompletion(choices=choices, usage=USAGE)


def said(text: str, finish_reason: str | None = "stop") -> ChatCompletion:
    """Return a completion of one text."""
    return completion(CompletionMessage(content=text), finish_reason=finish_reason)


@pytest.mark.parametrize("text", [ANSWER, f"\n{ANSWER} ", f"```json\n{ANSWER}\n```"])
@pytest.mark.parametrize("finish_reason", ["stop", None, "tool_calls"])
def test_the_value_of_an_answer(text: str, finish_reason: str | None) -> None:
    """An answer of the type is its value."""
    assert said(text, finish_reason).parse(City) == City("Paris", 2_100_000)


def test_each_choice_can_be_parsed() -> None:
    """``choice`` names the choice; one that does not exist is an error."""
    two = completion(CompletionMessage(content="{}"), CompletionMessage(content=ANSWER))
    assert two.parse(City, choice=1) == City("Paris", 2_100_000)
    for choice in (2, -1):
        with pytest.raises(OutputValidationError, match="has no choice"):
            two.parse(City, choice=choice)
    with pytest.raises(OutputValidationError, match="has no choice 0"):
        ChatCompletion().parse(City)


def test_a_wrong_answer() -> None:
    """The error has the completion, the text, the path and the usage; its text has no answer."""
    answer = '{"name": "secret", "population": "secret"}'
    with pytest.raises(OutputValidationError) as caught:
        said(answer).parse(City)
    error = caught.value
    assert str(error) == (
        "the answer is not a value of City: `population` is not valid: Expected `int`, got `str`"
    )
    assert (error.completion, error.text, error.usage) == (said(answer), answer, USAGE)
    assert (error.path, error.attempts) == ("population", 1)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (other.path, other.reason, other.text) == (error.path, error.reason, answer)


def test_a_truncated_answer_is_never_used() -> None:
    """An answer that ends at the limit is an error even where it is valid JSON."""
    with pytest.raises(OutputTruncatedError, match="raise max_tokens") as caught:
        said(ANSWER, "length").parse(City)
    assert (caught.value.text, caught.value.usage) == (ANSWER, USAGE)


def test_a_refused_answer() -> None:
    """A refusal and a filter are one error; the refusal is not in its text."""
    refused = completion(CompletionMessage(refusal="my secret reason"))
    with pytest.raises(OutputRefusedError, match="the model refused") as caught:
        refused.parse(City)
    assert caught.value.refusal == "my secret reason"
    assert "secret" not in str(caught.value)
    with pytest.raises(OutputRefusedError, match="a filter held the answer back") as caught:
        said(ANSWER, "content_filter").parse(City)
    assert caught.value.refusal is None


def test_tool_calls_are_no_answer() -> None:
    """Tool calls in the place of a text are said to be that."""
    call = ToolCall(id="c", function=Function(name="f", arguments="{}"))
    with pytest.raises(OutputValidationError, match="tool calls in the place of a text"):
        completion(CompletionMessage(tool_calls=(call,))).parse(City)


def test_a_type_that_is_not_supported() -> None:
    """A type without a schema is a ``TypeError``, which is no error of the answer."""
    with pytest.raises(TypeError, match="complex"):
        said(ANSWER).parse(complex)
    no_types: tuple[Any, ...] = ("City", 42, [City], len)
    for value in no_types:
        with pytest.raises(TypeError, match=r"no type: pass the type itself"):
            said(ANSWER).parse(value)


def test_a_wrong_member_name() -> None:
    """The error of a key has the path of its object, and not the key."""
    with pytest.raises(OutputValidationError) as caught:
        said('{"pets": {"secret": 1}}').parse(Ages)
    error = caught.value
    assert str(error) == (
        "the answer is not a value of Ages: `pets` is not valid: Expected `int`, got `str`, "
        "as a member name"
    )
    assert error.path == "pets"
