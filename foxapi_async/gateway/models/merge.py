"""Two JSON schemas that must both hold, as one."""

from collections.abc import Callable
from itertools import product
from typing import Any

from foxapi_async.gateway.models.kind import is_object

Schema = dict[str, Any]


class UnsatisfiableError(ValueError):
    """No value is valid for the schema, or none that a simulated model can find."""


def merged(one: Schema, other: Schema) -> Schema:
    """Return a schema that allows only what ``one`` and ``other`` both allow.

    A keyword with no rule here is taken from ``other``.
    """
    result = dict(one)
    for keyword, value in other.items():
        if keyword in result and result[keyword] != value:
            rule = _RULES.get(keyword)
            result[keyword] = rule(result[keyword], value) if rule else value
        else:
            result[keyword] = value
    return result


def both(one: object, other: object) -> object:
    """Merge two schemas, either of which may be ``true`` or ``false``."""
    if is_object(one) and is_object(other):
        return merged(one, other)
    if one is False or other is False:
        return False
    return one if is_object(one) else other


def _types(one: str | list[str], other: str | list[str]) -> list[str]:
    first = [one] if isinstance(one, str) else one
    second = [other] if isinstance(other, str) else other
    # Every integer is a number.
    common = [
        name for name in first if name in second or (name == "integer" and "number" in second)
    ]
    if "number" in first and "integer" in second and "integer" not in common:
        common.append("integer")
    if not common:
        raise UnsatisfiableError(f"no value is both {one} and {other}")
    return common


def _values(one: list[Any], other: list[Any]) -> list[Any]:
    common = [value for value in one if value in other]
    if not common:
        raise UnsatisfiableError("no value is in both enumerations")
    return common


def _constants(one: object, other: object) -> object:
    raise UnsatisfiableError(f"no value is both {one!r} and {other!r}")


def _properties(one: Schema, other: Schema) -> Schema:
    return one | {
        name: both(one[name], schema) if name in one else schema for name, schema in other.items()
    }


def _names(one: list[str], other: list[str]) -> list[str]:
    return list(dict.fromkeys([*one, *other]))


def _options(one: list[Any], other: list[Any]) -> list[Any]:
    return [{"allOf": [first, second]} for first, second in product(one, other)]


_RULES: dict[str, Callable[[Any, Any], Any]] = {
    "additionalProperties": both,
    "allOf": lambda one, other: [*one, *other],
    "anyOf": _options,
    "const": _constants,
    "enum": _values,
    "exclusiveMaximum": min,
    "exclusiveMinimum": max,
    "items": both,
    "maxItems": min,
    "maxLength": min,
    "maxProperties": min,
    "maximum": min,
    "minItems": max,
    "minLength": max,
    "minProperties": max,
    "minimum": max,
    "oneOf": _options,
    "properties": _properties,
    "required": _names,
    "type": _types,
}
