"""Laws of converting values for JSON: no value is changed silently."""

import math
from collections import OrderedDict, UserDict
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._wire.jsonable import NotJSONError, to_jsonable

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20
)
WRONG = st.sampled_from(
    [b"x", bytearray(b"x"), memoryview(b"x"), math.nan, -math.inf, 2**64, "\ud800", {1}, object()]
)


@given(JSON)
def test_a_json_value_is_not_changed(value: Any) -> None:
    """A JSON value is returned equal, also after encoding and decoding."""
    plain = to_jsonable(value)
    assert plain == value
    assert msgspec.json.decode(msgspec.json.encode(plain)) == value


@given(JSON, WRONG, st.lists(st.integers(0, 2), max_size=5))
def test_a_wrong_value_is_found_at_any_depth(value: Any, wrong: object, steps: list[int]) -> None:
    """The error for a value without a JSON form has its path, at any depth."""
    path, nested = "", wrong
    for step in steps:
        dot = "." if path and not path.startswith("[") else ""
        if step == 0:
            path, nested = f"[1]{dot}{path}", [value, nested]
        else:
            path = f"deep{dot}{path}"
            members = {"before": value, "deep": nested}
            nested = members if step == 1 else MappingProxyType(members)
    with pytest.raises(NotJSONError) as caught:
        to_jsonable(nested)
    assert caught.value.path == path
    assert caught.value.reason


@pytest.mark.parametrize("kind", [OrderedDict, UserDict, MappingProxyType])
def test_any_mapping_is_an_object(kind: Any) -> None:
    """A mapping keeps its order, integers become names, and ``UNSET`` members are left out."""
    given = kind({"b": 1, 7: (2,), "c": msgspec.UNSET})
    assert list(to_jsonable(given).items()) == [("b", 1), ("7", [2])]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [None, True, 1.5, b"x", ("a",), "\ud800"])
def test_an_invalid_name_is_rejected(name: object) -> None:
    """A name must be a text or an integer, and must be unique."""
    with pytest.raises(NotJSONError, match="name"):
        to_jsonable({name: 1})
    with pytest.raises(NotJSONError, match="two members"):
        to_jsonable({1: 1, "1": 2})
