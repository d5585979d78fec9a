"""Generates a value that matches a JSON schema.

Supported keywords: ``type``, ``enum``, ``const``, ``properties``, ``required``, ``minProperties``,
``additionalProperties``, ``maxProperties``, ``items``, ``prefixItems``, ``minItems``, ``maxItems``,
``uniqueItems``, ``minLength``, ``maxLength``, ``format``, the bounds of numbers, ``multipleOf``,
``anyOf``, ``allOf``, ``$ref`` within the schema, and ``oneOf`` with the meaning of ``anyOf``.
Other keywords, such as ``pattern``, ``not``, ``if`` and ``contains``, are ignored.
"""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any, Final
from urllib.parse import unquote

from foxapi_async.gateway.models.schema_merge import (
    Schema,
    TooLargeError,
    UnsatisfiableError,
    WorkLimit,
    is_array,
    is_equal,
    is_object,
    merge,
    merge_any,
)
from foxapi_async.gateway.models.schema_scalars import generate_scalar, read_size

# Optional parts are omitted from this depth on, or after this many values: a schema may be
# recursive.
_OPTIONAL_DEPTH: Final = 4
_OPTIONAL_VALUES: Final = 200
_MAX_DEPTH: Final = 40
_MAX_REFERENCE: Final = 64
_MAX_VALUES: Final = 5000
# References can make the expansion of a 2 kB schema exponentially large.
_MAX_WORK: Final = 200_000
_MAX_CHARACTERS: Final = 200_000
# The type that a keyword implies where `type` is missing.
_IMPLIED_TYPES: Final = {
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
    """Return a value that matches ``schema``: the same value at each call.

    Raises:
        UnsatisfiableError: No matching value was found.
        TooLargeError: The schema exceeds the budget of work or of text.
    """
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
        # The schema comes from a client: `properties` may be a list and `minimum` a text.
        raise UnsatisfiableError("the schema is not well formed") from error


class _Builder:
    def __init__(self, root: object) -> None:
        self._root = root
        self._values = 0
        self._work = WorkLimit(_MAX_WORK, "its parts refer to each other too often")
        self._text = WorkLimit(_MAX_CHARACTERS, "its shortest value is too long")

    def value(self, schema: object, name: str, depth: int = 0, variant: int = 0) -> Any:
        """Build a value. Texts mention ``name``; each ``variant`` gives another value."""
        self._values += 1
        if self._values > _MAX_VALUES:
            raise TooLargeError("the schema asks for too much: its value has too many parts")
        if depth > _MAX_DEPTH:
            raise UnsatisfiableError("the schema never comes to an end")
        resolved = self._resolved(schema)
        if "const" in resolved:
            return self._literal(resolved["const"])
        if is_array(resolved.get("enum")):
            self._work.spend(len(resolved["enum"]))
            return self._literal(_enum_value(resolved, variant))
        for keyword in ("anyOf", "oneOf"):
            if is_array(resolved.get(keyword)):
                rest = {word: item for word, item in resolved.items() if word != keyword}
                parts = resolved[keyword]
                self._work.spend(len(parts))
                if depth >= _OPTIONAL_DEPTH:
                    parts = sorted(parts, key=_has_parts)
                options = [{"allOf": [rest, part]} for part in parts]
                return self._first(options, name, depth + 1, variant)
        types = _types(resolved)
        if len(types) == 1:
            return self._typed(types[0], resolved, name, depth, variant)
        self._work.spend(len(types) * len(resolved))
        return self._first([resolved | {"type": item} for item in types], name, depth, variant)

    def _first(self, options: list[Schema], name: str, depth: int, variant: int) -> Any:
        """Build the first option that can be built."""
        for option in options:
            try:
                return self.value(option, name, depth, variant)
            except TooLargeError:
                raise
            except UnsatisfiableError:
                # The next option may have a value.
                continue
        raise UnsatisfiableError("none of the options can be met")

    def _resolved(self, schema: object) -> Schema:
        """Return the schema with ``$ref`` and ``allOf`` resolved."""
        for _ in range(_MAX_DEPTH):
            if schema is True:
                return {}
            if not is_object(schema):
                raise UnsatisfiableError("no value is allowed here")
            self._work.spend(1 + len(schema))
            resolved = dict(schema)
            if isinstance(resolved.get("$ref"), str):
                reference: str = resolved.pop("$ref")
                self._work.spend(len(reference))
                schema = merge_any(_dereference(self._root, reference), resolved, self._work)
            elif is_array(resolved.get("allOf")):
                parts: list[object] = resolved.pop("allOf")
                for part in parts:
                    resolved = merge(resolved, self._resolved(part), self._work)
                schema = resolved
            else:
                return resolved
        raise UnsatisfiableError("the schema refers to itself")

    def _typed(self, type: str, schema: Schema, name: str, depth: int, variant: int) -> Any:
        if type == "object":
            return self._object(schema, depth, variant)
        if type == "array":
            return self._array(schema, name, depth, variant)
        return self._literal(generate_scalar(type, schema, name, variant))

    def _literal(self, value: Any) -> Any:
        """Charge the text budget for ``value`` and return it."""
        self._text.spend(len(json.dumps(value, ensure_ascii=False)))
        return value

    def _allows_optional(self, depth: int) -> bool:
        return depth < _OPTIONAL_DEPTH and self._values < _OPTIONAL_VALUES

    def _object(self, schema: Schema, depth: int, variant: int) -> dict[str, Any]:
        properties: Schema = schema.get("properties") or {}
        required: list[str] = schema.get("required") or []
        self._work.spend(len(properties) + len(required))
        additional = schema.get("additionalProperties", True)
        most = read_size(schema, "maxProperties", _MAX_VALUES)
        members = self._declared(properties, required, most, depth, variant)
        missing = (name for name in required if name not in members)
        new_names = _new_names(properties)
        while (name := next(missing, None)) or len(members) < read_size(schema, "minProperties", 0):
            name = name or next(name for name in new_names if name not in members)
            part = properties.get(name, additional)
            self._text.spend(len(name))
            members[name] = self.value(part, name, depth + 1, variant)
        if len(members) > most:
            raise UnsatisfiableError(f"the object needs more than {most} members")
        return members

    def _declared(
        self, properties: Schema, required: list[str], most: int, depth: int, variant: int
    ) -> dict[str, Any]:
        """Build the declared members: the required ones, and optional ones up to ``most``."""
        needed = set(required)
        optional_left = most - len(needed)
        members: dict[str, Any] = {}
        for name, part in properties.items():
            if name in needed:
                self._text.spend(len(name))
                members[name] = self.value(part, name, depth + 1, variant)
            elif optional_left > 0 and self._allows_optional(depth):
                try:
                    self._text.spend(len(name))
                    members[name] = self.value(part, name, depth + 1, variant)
                except TooLargeError:
                    raise
                except UnsatisfiableError:
                    # An optional member without a matching value is omitted.
                    continue
                optional_left -= 1
        return members

    def _array(self, schema: Schema, name: str, depth: int, variant: int) -> list[Any]:
        least, most = read_size(schema, "minItems", 0), read_size(schema, "maxItems", _MAX_VALUES)
        if least > most:
            raise UnsatisfiableError(f"no array has {least} to {most} items")
        prefix, rest = _item_schemas(schema)
        wanted = min(max(least, len(prefix), 1), most) if self._allows_optional(depth) else least
        items: list[Any] = []
        for position in range(wanted):
            part = prefix[position] if position < len(prefix) else rest
            try:
                if schema.get("uniqueItems") is True:
                    items.append(self._distinct(items, part, name, depth, variant))
                else:
                    items.append(self.value(part, name, depth + 1, variant + position))
            except TooLargeError:
                raise
            except UnsatisfiableError:
                if position < least:
                    raise
                break
        return items

    def _distinct(
        self, items: list[Any], schema: object, name: str, depth: int, variant: int
    ) -> Any:
        """Build a value that is not equal to any of ``items``."""
        for shift in range(2 * len(items) + 8):
            item = self.value(schema, name, depth + 1, variant + shift)
            if not any(is_equal(item, other, self._work) for other in items):
                return item
        raise UnsatisfiableError("there are not as many different values")


def _enum_value(schema: Schema, variant: int) -> Any:
    """Return a value of ``enum`` that has the declared type, if there is one."""
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
    return [next((kind for keyword, kind in _IMPLIED_TYPES.items() if keyword in schema), "string")]


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
    """Return the schemas of the first items, and the schema of all further items."""
    items = schema.get("items", True)
    if is_array(items):
        return items, schema.get("additionalItems", True)
    return schema.get("prefixItems") or [], items


def _new_names(properties: Schema) -> Iterator[str]:
    """Yield names for additional members, declared ones first."""
    yield from properties
    yield from (name for number in count(1) if (name := f"extra_{number}") not in properties)


def _dereference(root: object, reference: str) -> object:
    """Return the part of the schema that a ``$ref`` points at."""
    if not reference.startswith("#"):
        raise UnsatisfiableError(f"{reference[:_MAX_REFERENCE]!r} lies outside the schema")
    target = root
    for part in unquote(reference[1:]).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if is_object(target) and name in target:
            target = target[name]
        elif is_array(target) and name.isdecimal() and int(name) < len(target):
            target = target[int(name)]
        else:
            raise UnsatisfiableError(f"{reference[:_MAX_REFERENCE]!r} points at nothing")
    return target
