"""Values for a JSON schema match the schema."""

import json
import re
from collections.abc import Mapping
from math import isclose
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async.gateway.models.schema_merge import UnsatisfiableError
from foxapi_async.gateway.models.schema_values import generate

FORMATS = {
    "date": r"\d{4}-\d\d-\d\d",
    "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "duration": r"P[\dTDMHS]+",
    "email": r"[^@]+@[^@]+",
    "ipv4": r"\d+\.\d+\.\d+\.\d+",
    "time": r"\d\d:\d\d:\d\dZ",
    "uri": r"https?://\S+",
    "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}


def is_valid(value: Any, schema: Any, root: Any) -> bool:
    """Validate ``value`` as the specification says, independently of the code under test."""
    if isinstance(schema, bool):
        return schema is True
    rules: Mapping[str, Any] = schema
    if "$ref" in rules:
        target = root
        for part in rules["$ref"].split("/")[1:]:
            target = target[part]
        if not is_valid(value, target, root):
            return False
    return (
        _fits_type(value, rules)
        and ("const" not in rules or _same(value, rules["const"]))
        and ("enum" not in rules or any(_same(value, item) for item in rules["enum"]))
        and all(is_valid(value, part, root) for part in rules.get("allOf", ()))
        and ("anyOf" not in rules or any(is_valid(value, part, root) for part in rules["anyOf"]))
        and (not isinstance(value, str) or _fits_text(value, rules))
        and (isinstance(value, bool) or not isinstance(value, int | float) or _fits(value, rules))
        and (not isinstance(value, list) or _fits_array(value, rules, root))
        and (not isinstance(value, dict) or _fits_object(value, rules, root))
    )


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _fits_type(value: Any, rules: Mapping[str, Any]) -> bool:
    names = rules.get("type", [])
    kinds: dict[str, bool] = {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "string": isinstance(value, str),
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
    }
    allowed: list[str] = [names] if isinstance(names, str) else names
    return not allowed or any(kinds[name] for name in allowed)


def _fits_text(value: str, rules: Mapping[str, Any]) -> bool:
    least: int = rules.get("minLength", 0)
    most: int = rules.get("maxLength", len(value))
    return least <= len(value) <= most


def _fits(value: float, rules: Mapping[str, Any]) -> bool:
    step = rules.get("multipleOf")
    return (
        rules.get("minimum", value) <= value <= rules.get("maximum", value)
        and ("exclusiveMinimum" not in rules or rules["exclusiveMinimum"] < value)
        and ("exclusiveMaximum" not in rules or value < rules["exclusiveMaximum"])
        and (step is None or isclose(value / step, round(value / step), abs_tol=1e-9))
    )


def _fits_array(value: list[Any], rules: Mapping[str, Any], root: Any) -> bool:
    prefix = rules.get("prefixItems", [])
    parts = [*prefix, *[rules.get("items", True)] * len(value)]
    texts = [json.dumps(item, sort_keys=True) for item in value]
    return (
        rules.get("minItems", 0) <= len(value) <= rules.get("maxItems", len(value))
        and all(is_valid(item, part, root) for item, part in zip(value, parts, strict=False))
        and (not rules.get("uniqueItems") or len(set(texts)) == len(texts))
    )


def _fits_object(value: dict[str, Any], rules: Mapping[str, Any], root: Any) -> bool:
    properties = rules.get("properties", {})
    return (
        all(name in value for name in rules.get("required", ()))
        and rules.get("minProperties", 0) <= len(value) <= rules.get("maxProperties", len(value))
        and all(
            is_valid(item, properties.get(name, rules.get("additionalProperties", True)), root)
            for name, item in value.items()
        )
    )


JSON = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=3)
NAMES = st.sampled_from(["name", "age", "tags", "größe"])


@st.composite
def texts(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a schema of texts."""
    schema: dict[str, Any] = {"type": "string"}
    low = draw(st.integers(0, 40))
    if draw(st.booleans()):
        schema["minLength"] = low
    if draw(st.booleans()):
        schema["maxLength"] = low + draw(st.integers(0, 40))
    if draw(st.booleans()):
        schema["format"] = draw(st.sampled_from([*FORMATS, "hostname", "ipv6", "unknown"]))
    return schema


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a schema of numbers that has a value."""
    schema: dict[str, Any] = {"type": draw(st.sampled_from(["integer", "number"]))}
    low = draw(st.integers(-50, 50) | st.floats(-50, 50).map(lambda value: round(value, 2)))
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        high = low + draw(st.integers(20, 50))
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = high
    if draw(st.booleans()):
        schema["multipleOf"] = draw(st.sampled_from([1, 2, 5, 0.5, 0.25, 0.1, 2.5]))
    return schema


def arrays(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a schema of arrays."""

    @st.composite
    def draw_one(draw: st.DrawFn) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array", "items": draw(parts)}
        low = draw(st.integers(0, 3))
        if draw(st.booleans()):
            schema["minItems"] = low
        if draw(st.booleans()):
            schema["maxItems"] = low + draw(st.integers(0, 3))
        if draw(st.booleans()):
            schema["prefixItems"] = draw(st.lists(parts, max_size=2))
        if draw(st.integers(0, 4)) == 0:
            schema |= {"uniqueItems": True, "items": {"type": "integer"}, "prefixItems": []}
        return schema

    return draw_one()


def objects(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a schema of objects."""

    @st.composite
    def draw_one(draw: st.DrawFn) -> dict[str, Any]:
        properties = draw(st.dictionaries(NAMES, parts, max_size=4))
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        required = draw(st.lists(st.sampled_from([*properties, "more"]), unique=True))
        schema["required"] = required
        if draw(st.booleans()):
            schema["additionalProperties"] = "more" in required or draw(st.booleans())
        if draw(st.booleans()) and schema.get("additionalProperties", True):
            schema["minProperties"] = draw(st.integers(0, 6))
        elif draw(st.booleans()):
            schema["maxProperties"] = len(required) + draw(st.integers(0, 3))
        return schema

    return draw_one()


def options(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a schema of options, one of which is sure to have a value."""
    hopeless = st.sampled_from(
        [False, {"enum": []}, {"type": "integer", "minimum": 2, "maximum": 1}]
    )
    options = st.tuples(st.lists(hopeless, max_size=2), st.lists(parts, min_size=1, max_size=3))
    return options.map(lambda pair: {"anyOf": [*pair[0], *pair[1]]})


LEAVES = st.one_of(
    texts(),
    numbers(),
    st.sampled_from(
        [{}, True, {"type": "boolean"}, {"type": "null"}, {"type": ["null", "string"]}]
    ),
    JSON.map(lambda value: {"const": value}),
    st.lists(JSON, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    st.just({"$ref": "#/$defs/node"}),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda parts: arrays(parts) | objects(parts) | options(parts),
    max_leaves=12,
)
NODE = {
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
    },
    "required": ["value", "next", "children"],
    "additionalProperties": False,
}


@given(schema=SCHEMAS)
def test_every_value_matches_its_schema(schema: Any) -> None:
    """For any schema of the supported keywords, the value matches and is JSON."""
    root = {"allOf": [schema], "$defs": {"node": NODE}}
    value = generate(root)
    assert is_valid(value, root, root), value
    assert json.loads(json.dumps(value)) == value
    assert _same(generate(root), value)


@given(parts=st.lists(numbers() | texts(), min_size=1, max_size=3))
def test_all_of_means_every_part(parts: list[dict[str, Any]]) -> None:
    """A value for ``allOf`` matches every part, or there is none."""
    root = {"allOf": parts}
    try:
        value = generate(root)
    except UnsatisfiableError:
        return
    # The generator supports one step, not the common multiple of two.
    if len({part.get("multipleOf") for part in parts} - {None}) < 2:
        assert is_valid(value, root, root)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_formats_are_kept(name: str) -> None:
    """A text with a format has that format, also in several variants."""
    values = generate({"type": "array", "items": {"type": "string", "format": name}, "minItems": 5})
    assert len(values) == 5
    assert all(re.fullmatch(FORMATS[name], value) for value in values)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"enum": []},
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
        {"type": "number", "minimum": 0.1, "maximum": 0.9, "multipleOf": 1},
        {"type": "string", "minLength": 5, "maxLength": 4},
        {"type": "array", "minItems": 10**9, "items": {}},
        {"type": "array", "minItems": 3, "uniqueItems": True, "items": {"type": "boolean"}},
        {"type": "array", "minItems": 1, "items": False},
        {"required": ["a"], "additionalProperties": False},
        {"required": ["a", "b"], "maxProperties": 1},
        {"minProperties": 10**9},
        {"$ref": "#/missing"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"anyOf": [False, {"allOf": [{"const": 1}, {"const": 2}]}]},
        {"type": "nonsense"},
        {"type": "object", "properties": [1]},
        {"type": "object", "required": 5},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "string", "minLength": 10**12},
        None,
        5,
    ],
)
def test_an_unsatisfiable_schema_is_an_error(schema: Any) -> None:
    """A schema without a value, over the budget, or that is malformed, is an error."""
    with pytest.raises(UnsatisfiableError):
        generate(schema)


def test_a_schema_may_be_recursive() -> None:
    """A schema that contains itself has a finite value."""
    tree = {
        "type": "object",
        "properties": {name: {"$ref": "#"} for name in "abcdefgh"},
    }
    assert is_valid(generate(tree), tree, tree)
    forest = {"$ref": "#/$defs/node", "$defs": {"node": NODE}}
    assert is_valid(generate(forest), forest, forest)
