"""Laws of the JSON in an answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._output.answer_text import AnswerError, read_json
from foxapi_async._output.answer_value import encode_answer

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda items: (
        st.lists(items) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), items)
    ),
)
AROUND = st.sampled_from(("", " ", "\n", "\r\n\t "))
FENCES = st.sampled_from(("{}", "```json\n{}\n```", "```\n{}\n```", "```json \r\n{}\r\n```"))


@given(value=JSON, fence=FENCES, before=AROUND, after=AROUND)
def test_whitespace_and_one_fence_are_removed(
    value: object, fence: str, before: str, after: str
) -> None:
    """JSON is read alone, in a fence, and with whitespace around it."""
    text = before + fence.replace("{}", json.dumps(value)) + after
    assert read_json(text) == value


@given(value=JSON)
def test_each_number_keeps_its_digits(value: object) -> None:
    """The JSON that the decoder of the type reads has the numbers of the answer."""
    assert json.loads(encode_answer(read_json(json.dumps(value)))) == value


@pytest.mark.parametrize(
    "digits", ["12345678901234567890.123456789", "1e300", "-0.10", f"{10**40}"]
)
def test_digits_of_a_number(digits: str) -> None:
    """No digit of a number is lost."""
    assert encode_answer(read_json(f"[{digits}]")) == f"[{digits}]".encode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Sure! {}", "is not JSON"),
        ("{} done", "is not JSON"),
        ("{} {}", "is not JSON"),
        ("```json\n{}\n```\nthat is it", "is not JSON"),
        ("```json\n{}\n```\n```json\n{}\n```", "is not JSON"),
        ("{'a': 1}", "is not JSON"),
        ('{"a": 1,}', "is not JSON"),
        ('{"a": "\n"}', "is not JSON"),
        ('{"a": 1, "a": 2}', "has an object with one member twice"),
        ('[{"a": 1, "\\u0061": 1}]', "has an object with one member twice"),
        ("", "is empty"),
        (" \n", "is empty"),
        ("```json\n```", "is not JSON"),
        ("\ufeff{}", "is not JSON"),
        ("[NaN]", "has NaN, which is no JSON"),
        ("[-Infinity]", "has -Infinity, which is no JSON"),
        ("[1e999]", "has a number that is too large"),
        ("9" * 5000, "has an integer of too many digits"),
        ("[" * 100_000, "is nested too deep"),
        ('{"a":' * 100_000, "is nested too deep"),
    ],
)
def test_nothing_is_guessed(text: str, reason: str) -> None:
    """A text that is not exactly one JSON value is refused."""
    with pytest.raises(AnswerError) as caught:
        read_json(text)
    assert caught.value.reason.startswith(reason)


def test_half_a_surrogate_pair_is_refused() -> None:
    """A text with half of a surrogate pair is no answer."""
    with pytest.raises(AnswerError, match="half of a surrogate pair"):
        encode_answer(read_json('["\\ud800"]'))
