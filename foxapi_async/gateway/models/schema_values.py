"""A value that is valid for a JSON schema.

Understood are ``type``, ``enum``, ``const``, ``properties``, ``required``, ``minProperties``,
``additionalProperties``, ``maxProperties``, ``items``, ``prefixItems``, ``minItems``, ``maxItems``,
``uniqueItems``, ``minLength``, ``maxLength``, ``format``, the bounds of numbers, ``multipleOf``,
``anyOf``, ``allOf``, ``$ref`` within the schema, and ``oneOf`` as if it were ``anyOf``.
``pattern``, ``not``, ``if``, ``contains`` and the like are not read.
"""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any, Final
from urllib.parse import unquote

from foxapi_async.gateway.models.json_types import is_array, is_object
from foxapi_async.gateway.models.schema_merge import (
    Budget,
    Schema,
    TooLargeError,
    UnsatisfiableError,
    both,
    is_same,
    merged,
)
from foxapi_async.gateway.models.schema_scalars import scalar, size

# What is not required is left out below this depth, or once there are this many values: a schema
# may speak of itself.
_GENEROUS_DEPTH: Final = 4
_GENEROUS_VALUES: Final = 200
_DEEPEST: Final = 40
_SHOWN: Final = 64
_MOST_VALUES: Final = 5000
# A schema of 2 kB can refer to itself a thousand million times, and name a text of 1 MB as often.
_MOST_WORK: Final = 200_000
_MOST_CHARACTERS: Final = 200_000
_HINTS: Final = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "minProperties": "object",
    "maxProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "maxItems": "array",
    "uniqueItems": "array",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
}


def generate(schema: object) -> Any:
    """Return the same valid value each time; ``UnsatisfiableError`` when none was found."""
    try:
        return _Builder(schema).value(schema, "answer")
    except UnsatisfiableError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        # A schema is anything that a user sends: `properties` may be a list, `minimum` a text.
        raise UnsatisfiableError("the schema is not well formed") from error


class _Builder:
    def __init__(self, root: object) -> None:
        self._root = root
        self._values = 0
        self._work = Budget(_MOST_WORK, "its parts refer to each other too often")
        self._text = Budget(_MOST_CHARACTERS, "its shortest value is too long")

    def value(self, schema: object, name: str, depth: int = 0, variant: int = 0) -> Any:
        """Build a value; ``name`` is what texts speak of, ``variant`` asks for another value."""
        self._values += 1
        if self._values > _MOST_VALUES:
            raise TooLargeError("the schema asks for too much: its value has too many parts")
        if depth > _DEEPEST:
            raise UnsatisfiableError("the schema never comes to an end")
        plain = self._plain(schema)
        if "const" in plain:
            return self._given(plain["const"])
        if is_array(plain.get("enum")):
            self._work.spend(len(plain["enum"]))
            return self._given(_one_of(plain, variant))
        for keyword in ("anyOf", "oneOf"):
            if is_array(plain.get(keyword)):
                rest = {word: item for word, item in plain.items() if word != keyword}
                parts = plain[keyword]
                self._work.spend(len(parts))
                if depth >= _GENEROUS_DEPTH:
                    parts = sorted(parts, key=_has_parts)
                options = [{"allOf": [rest, part]} for part in parts]
                return self._first(options, name, depth + 1, variant)
        types = _types(plain)
        if len(types) == 1:
            return self._typed(types[0], plain, name, depth, variant)
        self._work.spend(len(types) * len(plain))
        return self._first([plain | {"type": item} for item in types], name, depth, variant)

    def _first(self, options: list[Schema], name: str, depth: int, variant: int) -> Any:
        """Build the first option that can be built."""
        for option in options:
            try:
                return self.value(option, name, depth, variant)
            except TooLargeError:
                raise
            except UnsatisfiableError:
                # That is what the other options are for.
                continue
        raise UnsatisfiableError("none of the options can be met")

    def _plain(self, schema: object) -> Schema:
        """Return the schema without ``$ref`` and ``allOf``."""
        for _ in range(_DEEPEST):
            if schema is True:
                return {}
            if not is_object(schema):
                raise UnsatisfiableError("no value is allowed here")
            self._work.spend(1 + len(schema))
            plain = dict(schema)
            if isinstance(plain.get("$ref"), str):
                reference: str = plain.pop("$ref")
                self._work.spend(len(reference))
                schema = both(_pointed_at(self._root, reference), plain, self._work)
            elif is_array(plain.get("allOf")):
                parts: list[object] = plain.pop("allOf")
                for part in parts:
                    plain = merged(plain, self._plain(part), self._work)
                schema = plain
            else:
                return plain
        raise UnsatisfiableError("the schema refers to itself")

    def _typed(self, type: str, schema: Schema, name: str, depth: int, variant: int) -> Any:
        if type == "object":
            return self._object(schema, depth, variant)
        if type == "array":
            return self._array(schema, name, depth, variant)
        return self._given(scalar(type, schema, name, variant))

    def _given(self, value: Any) -> Any:
        """Return a value that is written as it is, once there is room for it."""
        self._text.spend(len(json.dumps(value, ensure_ascii=False)))
        return value

    def _is_generous(self, depth: int) -> bool:
        return depth < _GENEROUS_DEPTH and self._values < _GENEROUS_VALUES

    def _object(self, schema: Schema, depth: int, variant: int) -> dict[str, Any]:
        properties: Schema = schema.get("properties") or {}
        required: list[str] = schema.get("required") or []
        self._work.spend(len(properties) + len(required))
        others = schema.get("additionalProperties", True)
        most = size(schema, "maxProperties", _MOST_VALUES)
        members = self._declared(properties, required, most, depth, variant)
        missing = (name for name in required if name not in members)
        spare = _new_names(properties)
        while (name := next(missing, None)) or len(members) < size(schema, "minProperties", 0):
            name = name or next(name for name in spare if name not in members)
            part = properties.get(name, others)
            self._text.spend(len(name))
            members[name] = self.value(part, name, depth + 1, variant)
        if len(members) > most:
            raise UnsatisfiableError(f"the object needs more than {most} members")
        return members

    def _declared(
        self, properties: Schema, required: list[str], most: int, depth: int, variant: int
    ) -> dict[str, Any]:
        """Build the members that are declared: the required ones, others while there is room."""
        needed = set(required)
        room = most - len(needed)
        members: dict[str, Any] = {}
        for name, part in properties.items():
            if name in needed:
                self._text.spend(len(name))
                members[name] = self.value(part, name, depth + 1, variant)
            elif room > 0 and self._is_generous(depth):
                try:
                    self._text.spend(len(name))
                    members[name] = self.value(part, name, depth + 1, variant)
                except TooLargeError:
                    raise
                except UnsatisfiableError:
                    # An optional member that has no value is left out.
                    continue
                room -= 1
        return members

    def _array(self, schema: Schema, name: str, depth: int, variant: int) -> list[Any]:
        least, most = size(schema, "minItems", 0), size(schema, "maxItems", _MOST_VALUES)
        if least > most:
            raise UnsatisfiableError(f"no array has {least} to {most} items")
        prefix, rest = _item_schemas(schema)
        wanted = min(max(least, len(prefix), 1), most) if self._is_generous(depth) else least
        items: list[Any] = []
        for position in range(wanted):
            part = prefix[position] if position < len(prefix) else rest
            try:
                if schema.get("uniqueItems") is True:
                    items.append(self._other_than(items, part, name, depth, variant))
                else:
                    items.append(self.value(part, name, depth + 1, variant + position))
            except TooLargeError:
                raise
            except UnsatisfiableError:
                if position < least:
                    raise
                break
        return items

    def _other_than(
        self, items: list[Any], schema: object, name: str, depth: int, variant: int
    ) -> Any:
        """Build a value that is not among ``items``."""
        for shift in range(2 * len(items) + 8):
            item = self.value(schema, name, depth + 1, variant + shift)
            if not any(is_same(item, other, self._work) for other in items):
                return item
        raise UnsatisfiableError("there are not as many different values")


def _one_of(schema: Schema, variant: int) -> Any:
    """Return a value of the enumeration that is of the type, if one is named beside it."""
    declared = _types(schema) if "type" in schema else None
    values = [value for value in schema["enum"] if declared is None or _is_typed(value, declared)]
    if not values:
        raise UnsatisfiableError("the enumeration has no value of its type")
    return values[variant % len(values)]


def _types(schema: Schema) -> list[str]:
    declared = schema.get("type")
    if isinstance(declared, str):
        return [declared]
    if is_array(declared) and declared:
        return declared
    return [next((kind for keyword, kind in _HINTS.items() if keyword in schema), "string")]


def _is_typed(value: object, types: list[str]) -> bool:
    names: dict[type, tuple[str, ...]] = {
        bool: ("boolean",),
        int: ("integer", "number"),
        float: ("number", "integer")
        if isinstance(value, float) and value.is_integer()
        else ("number",),
        str: ("string",),
        list: ("array",),
        dict: ("object",),
    }
    return any(name in types for name in names.get(type(value), ("null",)))


def _has_parts(schema: object) -> bool:
    return is_object(schema) and any(
        keyword in schema for keyword in ("$ref", "properties", "items", "prefixItems", "anyOf")
    )


def _item_schemas(schema: Schema) -> tuple[list[Any], Any]:
    """Return the schemas of the first items, and the one of all further items."""
    items = schema.get("items", True)
    if is_array(items):
        return items, schema.get("additionalItems", True)
    return schema.get("prefixItems") or [], items


def _new_names(properties: Schema) -> Iterator[str]:
    """Yield names for members that nobody has asked for, the declared ones first."""
    yield from properties
    yield from (name for number in count(1) if (name := f"extra_{number}") not in properties)


def _pointed_at(root: object, reference: str) -> object:
    """Follow a ``$ref`` within the schema."""
    if not reference.startswith("#"):
        raise UnsatisfiableError(f"{reference[:_SHOWN]!r} lies outside the schema")
    target = root
    for part in unquote(reference[1:]).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if is_object(target) and name in target:
            target = target[name]
        elif is_array(target) and name.isdecimal() and int(name) < len(target):
            target = target[int(name)]
        else:
            raise UnsatisfiableError(f"{reference[:_SHOWN]!r} points at nothing")
    return target
