"""Laws of reading msgspec's error texts."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, ValidationError

from foxapi_async._wire.decode_errors import (
    missing_member,
    nested_error,
    parse_error,
    wrong_type,
)


class Leaf(Struct, forbid_unknown_fields=True):
    """An object with one required and one optional member."""

    number: int
    text: str | None = None


steps = st.lists(st.sampled_from(["list", "member"]), max_size=5)


def nested(leaf: object, path: list[str]) -> tuple[type, object, str]:
    """Return a type, a value of it with ``leaf`` inside, and the path of the leaf as text."""
    kind: Any = Leaf
    value, text = leaf, ""
    for number, step in enumerate(path):
        if step == "list":
            kind, value, text = list[kind], [value], f"[0]{text}"
        else:
            name = f"member{number}"
            kind = msgspec.defstruct(f"Box{number}", [(name, kind)])
            value = {name: value}
            text = f".{name}{text}"
    return kind, value, text.removeprefix(".")


def error_of(kind: type, value: object) -> ValidationError:
    """Return the error with which msgspec rejects ``value``."""
    with pytest.raises(ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(value), type=kind)
    return caught.value


@given(steps)
def test_a_wrong_type_is_found_at_any_path(path: list[str]) -> None:
    """Msgspec's text for a value of another type gives the path and the first expected type."""
    kind, value, where = nested({"number": "five"}, path)
    problem = parse_error(error_of(kind, value))
    assert problem.path == problem.param == ".".join(filter(None, (where, "number")))
    assert (problem.expected, problem.missing, problem.unknown) == ("int", None, None)
    assert problem.message == "Expected `int`, got `str`"


@given(steps)
def test_a_missing_member_is_found_at_any_path(path: list[str]) -> None:
    """Msgspec's text for a missing member gives its name and the path of its object."""
    kind, value, where = nested({}, path)
    problem = parse_error(error_of(kind, value))
    assert (problem.path, problem.missing, problem.expected) == (where, "number", None)
    assert problem.param == ".".join(filter(None, (where, "number")))


@given(steps)
def test_an_unknown_member_is_found_at_any_path(path: list[str]) -> None:
    """Msgspec's text for a forbidden member gives its name and the path of its object."""
    kind, value, where = nested({"number": 1, "nubmer": 2}, path)
    problem = parse_error(error_of(kind, value))
    assert (problem.path, problem.unknown, problem.missing) == (where, "nubmer", None)


def test_the_first_of_several_types_is_named() -> None:
    """The first type of a union is kept."""
    problem = parse_error(error_of(Leaf, {"number": 1, "text": 5}))
    assert (problem.path, problem.expected) == ("text", "str")


@given(st.lists(st.sampled_from([".member", "[0]", "[12]"]), max_size=5))
def test_errors_that_are_built_here_read_like_those_of_msgspec(places: list[str]) -> None:
    """A nested error has a longer path and the same message."""
    error = wrong_type("object", [])
    for place in places:
        error = nested_error(error, place)
    problem = parse_error(error)
    assert problem.path == "".join(reversed(places)).removeprefix(".")
    assert (problem.message, problem.expected) == ("Expected `object`, got `list`", "object")
    assert parse_error(missing_member("id")).param == "id"


@given(st.text(st.characters(exclude_characters="`")))
def test_any_other_text_is_the_message(text: str) -> None:
    """A text that msgspec did not write is the message, without a path or a member."""
    problem = parse_error(ValidationError(text))
    assert (problem.message, problem.param) == (text, "")
    assert problem.expected is problem.missing is problem.unknown is None
