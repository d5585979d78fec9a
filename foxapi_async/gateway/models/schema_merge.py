"""Two JSON schemas that must both hold, as one."""

from collections.abc import Callable
from itertools import product
from typing import Any, Final

from foxapi_async.gateway.models.json_types import is_array, is_object

Schema = dict[str, Any]

# A comparison of so many characters counts as one step.
_CHARACTERS: Final = 64


class UnsatisfiableError(ValueError):
    """No value is valid for the schema, or none that a simulated model can find."""


class TooLargeError(UnsatisfiableError):
    """The budget is spent. Another option of the schema would be built from the same budget."""


class Budget:
    """Bounds what one schema may cost, because a short schema can ask for unbounded work."""

    __slots__ = ("_left", "_what")

    def __init__(self, units: int, what: str) -> None:
        self._left = units
        self._what = what

    def spend(self, units: int) -> None:
        """Take ``units``; ``TooLargeError`` if fewer are left."""
        self._left -= units
        if self._left < 0:
            raise TooLargeError(f"the schema asks for too much: {self._what}")


def merged(one: Schema, other: Schema, work: Budget) -> Schema:
    """Return a schema that allows only what ``one`` and ``other`` both allow.

    A keyword with no rule here is taken from ``other``.
    """
    work.spend(1 + len(one) + len(other))
    result = dict(one)
    for keyword, value in other.items():
        if keyword in result and not is_same(result[keyword], value, work):
            rule = _RULES.get(keyword)
            result[keyword] = rule(result[keyword], value, work) if rule else value
        else:
            result[keyword] = value
    return result


def both(one: object, other: object, work: Budget) -> object:
    """Merge two schemas, either of which may be ``true`` or ``false``."""
    if is_object(one) and is_object(other):
        return merged(one, other, work)
    if one is False or other is False:
        return False
    return one if is_object(one) else other


def is_same(one: object, other: object, work: Budget) -> bool:
    """Compare as JSON does, where ``true`` is not 1."""
    work.spend(1)
    if one is other:
        return True
    if is_object(one) and is_object(other):
        return len(one) == len(other) and all(
            name in other and is_same(value, other[name], work) for name, value in one.items()
        )
    if is_array(one) and is_array(other):
        return len(one) == len(other) and all(
            is_same(item, its, work) for item, its in zip(one, other, strict=True)
        )
    if isinstance(one, str):
        work.spend(len(one) // _CHARACTERS)
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _types(one: str | list[str], other: str | list[str], work: Budget) -> list[str]:
    first = [one] if isinstance(one, str) else one
    second = [other] if isinstance(other, str) else other
    work.spend(len(first) * len(second))
    # Every integer is a number.
    common = [
        name for name in first if name in second or (name == "integer" and "number" in second)
    ]
    if "number" in first and "integer" in second and "integer" not in common:
        common.append("integer")
    if not common:
        raise UnsatisfiableError(f"no value is both {_shown(one)} and {_shown(other)}")
    return common


def _values(one: list[Any], other: list[Any], work: Budget) -> list[Any]:
    common = [value for value in one if any(is_same(value, its, work) for its in other)]
    if not common:
        raise UnsatisfiableError("no value is in both enumerations")
    return common


def _constants(one: object, other: object, work: Budget) -> object:
    del work
    raise UnsatisfiableError(f"no value is both {_shown(one)} and {_shown(other)}")


def _properties(one: Schema, other: Schema, work: Budget) -> Schema:
    work.spend(len(one) + len(other))
    return one | {
        name: both(one[name], schema, work) if name in one else schema
        for name, schema in other.items()
    }


def _names(one: list[str], other: list[str], work: Budget) -> list[str]:
    work.spend(len(one) + len(other))
    return list(dict.fromkeys([*one, *other]))


def _options(one: list[Any], other: list[Any], work: Budget) -> list[Any]:
    work.spend(len(one) * len(other))
    return [{"allOf": [first, second]} for first, second in product(one, other)]


def _parts(one: list[Any], other: list[Any], work: Budget) -> list[Any]:
    work.spend(len(one) + len(other))
    return [*one, *other]


def _least(one: Any, other: Any, work: Budget) -> Any:
    del work
    return min(one, other)


def _greatest(one: Any, other: Any, work: Budget) -> Any:
    del work
    return max(one, other)


def _shown(value: object) -> str:
    """Return a value short enough for an error text."""
    if is_object(value) or is_array(value):
        return "a value with members" if value else repr(value)
    text = repr(value[:_CHARACTERS]) if isinstance(value, str) else repr(value)
    return text if len(text) <= 2 * _CHARACTERS else f"{text[:_CHARACTERS]}…"


_RULES: dict[str, Callable[[Any, Any, Budget], Any]] = {
    "additionalProperties": both,
    "allOf": _parts,
    "anyOf": _options,
    "const": _constants,
    "enum": _values,
    "exclusiveMaximum": _least,
    "exclusiveMinimum": _greatest,
    "items": both,
    "maxItems": _least,
    "maxLength": _least,
    "maxProperties": _least,
    "maximum": _least,
    "minItems": _greatest,
    "minLength": _greatest,
    "minProperties": _greatest,
    "minimum": _greatest,
    "oneOf": _options,
    "properties": _properties,
    "required": _names,
    "type": _types,
}
