"""Merges two JSON schemas into one that is valid only where both are."""

from collections.abc import Callable
from itertools import product
from typing import Any, Final, TypeGuard

Schema = dict[str, Any]

# Characters that one unit of work compares.
_CHARACTERS_PER_UNIT: Final = 64


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether ``value`` is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Return whether ``value`` is a JSON array."""
    return isinstance(value, list)


class UnsatisfiableError(ValueError):
    """No value matches the schema, or the generator finds none."""


class TooLargeError(UnsatisfiableError):
    """The budget of a schema is spent. Trying another option of the schema would not help."""


class WorkLimit:
    """Limits the cost of one schema. A short schema can cause unbounded work.

    Args:
        units: The limit.
        reason: Completes the error message.
    """

    __slots__ = ("_left", "_reason")

    def __init__(self, units: int, reason: str) -> None:
        self._left = units
        self._reason = reason

    def spend(self, units: int) -> None:
        """Take ``units`` from the budget; ``TooLargeError`` if fewer are left."""
        self._left -= units
        if self._left < 0:
            raise TooLargeError(f"the schema asks for too much: {self._reason}")


def merge(one: Schema, other: Schema, work: WorkLimit) -> Schema:
    """Return a schema that is valid only where ``one`` and ``other`` are.

    A keyword without a rule in ``_RULES`` is taken from ``other``.
    """
    work.spend(1 + len(one) + len(other))
    result = dict(one)
    for keyword, value in other.items():
        if keyword in result and not is_equal(result[keyword], value, work):
            rule = _RULES.get(keyword)
            result[keyword] = rule(result[keyword], value, work) if rule else value
        else:
            result[keyword] = value
    return result


def merge_any(one: object, other: object, work: WorkLimit) -> object:
    """Merge two schemas that may be ``true`` or ``false``."""
    if is_object(one) and is_object(other):
        return merge(one, other, work)
    if one is False or other is False:
        return False
    return one if is_object(one) else other


def is_equal(one: object, other: object, work: WorkLimit) -> bool:
    """Compare two JSON values; unlike in Python, ``true`` is not 1."""
    work.spend(1)
    if one is other:
        return True
    if is_object(one) and is_object(other):
        return len(one) == len(other) and all(
            name in other and is_equal(value, other[name], work) for name, value in one.items()
        )
    if is_array(one) and is_array(other):
        return len(one) == len(other) and all(
            is_equal(item, other_item, work) for item, other_item in zip(one, other, strict=True)
        )
    if isinstance(one, str):
        work.spend(len(one) // _CHARACTERS_PER_UNIT)
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _types(one: str | list[str], other: str | list[str], work: WorkLimit) -> list[str]:
    first = [one] if isinstance(one, str) else one
    second = [other] if isinstance(other, str) else other
    work.spend(len(first) * len(second))
    # "integer" and "number" have the integers in common.
    common = [
        name for name in first if name in second or (name == "integer" and "number" in second)
    ]
    if "number" in first and "integer" in second and "integer" not in common:
        common.append("integer")
    if not common:
        raise UnsatisfiableError(f"no value is both {_excerpt(one)} and {_excerpt(other)}")
    return common


def _values(one: list[Any], other: list[Any], work: WorkLimit) -> list[Any]:
    common = [
        value for value in one if any(is_equal(value, other_value, work) for other_value in other)
    ]
    if not common:
        raise UnsatisfiableError("no value is in both enumerations")
    return common


def _constants(one: object, other: object, work: WorkLimit) -> object:
    del work
    raise UnsatisfiableError(f"no value is both {_excerpt(one)} and {_excerpt(other)}")


def _properties(one: Schema, other: Schema, work: WorkLimit) -> Schema:
    work.spend(len(one) + len(other))
    return one | {
        name: merge_any(one[name], schema, work) if name in one else schema
        for name, schema in other.items()
    }


def _names(one: list[str], other: list[str], work: WorkLimit) -> list[str]:
    work.spend(len(one) + len(other))
    return list(dict.fromkeys([*one, *other]))


def _options(one: list[Any], other: list[Any], work: WorkLimit) -> list[Any]:
    work.spend(len(one) * len(other))
    return [{"allOf": [first, second]} for first, second in product(one, other)]


def _parts(one: list[Any], other: list[Any], work: WorkLimit) -> list[Any]:
    work.spend(len(one) + len(other))
    return [*one, *other]


def _minimum(one: Any, other: Any, work: WorkLimit) -> Any:
    del work
    return min(one, other)


def _maximum(one: Any, other: Any, work: WorkLimit) -> Any:
    del work
    return max(one, other)


def _excerpt(value: object) -> str:
    """Return a value as a text short enough for an error message."""
    if is_object(value) or is_array(value):
        return "a value with members" if value else repr(value)
    text = repr(value[:_CHARACTERS_PER_UNIT]) if isinstance(value, str) else repr(value)
    return text if len(text) <= 2 * _CHARACTERS_PER_UNIT else f"{text[:_CHARACTERS_PER_UNIT]}…"


_RULES: dict[str, Callable[[Any, Any, WorkLimit], Any]] = {
    "additionalProperties": merge_any,
    "allOf": _parts,
    "anyOf": _options,
    "const": _constants,
    "enum": _values,
    "exclusiveMaximum": _minimum,
    "exclusiveMinimum": _maximum,
    "items": merge_any,
    "maxItems": _minimum,
    "maxLength": _minimum,
    "maxProperties": _minimum,
    "maximum": _minimum,
    "minItems": _maximum,
    "minLength": _maximum,
    "minProperties": _maximum,
    "minimum": _maximum,
    "oneOf": _options,
    "properties": _properties,
    "required": _names,
    "type": _types,
}
