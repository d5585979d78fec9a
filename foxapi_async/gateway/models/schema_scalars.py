"""Generates texts and numbers that match a JSON schema. Each ``variant`` gives another value."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor, isfinite, lcm
from typing import Any, Final

from foxapi_async.gateway.models.schema_merge import Schema, UnsatisfiableError

_MAX_LENGTH: Final = 100_000

_FORMATS: Final[dict[str, Callable[[int], str]]] = {
    "date": lambda variant: f"2026-01-{variant % 28 + 1:02}",
    "date-time": lambda variant: f"2026-01-{variant % 28 + 1:02}T09:30:00Z",
    "duration": lambda variant: f"PT{variant + 1}M",
    "email": lambda variant: f"fox{variant}@example.com",
    "hostname": lambda variant: f"fox{variant}.example.com",
    "ipv4": lambda variant: f"192.0.2.{variant % 254 + 1}",
    "ipv6": lambda variant: f"2001:db8::{variant + 1:x}",
    "time": lambda variant: f"09:{variant % 60:02}:00Z",
    "uri": lambda variant: f"https://example.com/{variant}",
    "uuid": lambda variant: f"00000000-0000-4000-8000-{variant:012x}",
}


def generate_scalar(
    type: str, schema: Schema, name: str, variant: int
) -> str | float | bool | None:
    """Return a value that is no object or array; a text mentions ``name``."""
    if type == "string":
        return _text(schema, name, variant)
    if type == "boolean":
        return variant % 2 == 0
    if type in {"integer", "number"}:
        return (_integer if type == "integer" else _number)(schema, variant)
    if type != "null":
        raise UnsatisfiableError(f"{type[:64]!r} is not a type")
    return None


def _text(schema: Schema, name: str, variant: int) -> str:
    """Return a text of a valid length, in the format if the length allows it."""
    shortest = read_size(schema, "minLength", 0)
    longest = read_size(schema, "maxLength", _MAX_LENGTH)
    if shortest > min(longest, _MAX_LENGTH):
        raise UnsatisfiableError(f"no text has {shortest} to {longest} characters")
    template = _FORMATS.get(str(schema.get("format")))
    formatted = template(variant) if template else ""
    if template and shortest <= len(formatted) <= longest:
        return formatted
    words = f"some {name}" if variant == 0 else f"{variant + 1} {name}"
    return words.ljust(shortest, ".")[:longest]


def _integer(schema: Schema, variant: int) -> int:
    """Return an integer within the bounds; 1 if it is valid."""
    step = _step(schema)
    whole = 1 if step is None else lcm(1, step.numerator)
    return int(_multiple(schema, Fraction(whole), variant))


def _number(schema: Schema, variant: int) -> int | float:
    """Return a number within the bounds."""
    step = _step(schema)
    if step is not None:
        value = _multiple(schema, step, variant)
        return int(value) if value.denominator == 1 else float(value)
    low, high, _, _ = _bounds(schema)
    if low is None and high is None:
        return 1.5 + variant
    if high is None:
        return _plain((low or 0) + 1 + variant)
    if low is None:
        return _plain(high - 1 - variant)
    return _between(schema, low, high, variant)


def _between(schema: Schema, low: Fraction, high: Fraction, variant: int) -> int | float:
    _, _, low_excluded, high_excluded = _bounds(schema)
    if low == high and not low_excluded and not high_excluded:
        return _plain(low)
    value = _plain(low + (high - low) * Fraction(variant % 97 + 1, 98))
    # There may be no float between two bounds.
    for bound, fits in (
        (value, low < value < high),
        (low, not low_excluded),
        (high, not high_excluded),
    ):
        if fits and low <= high:
            return _plain(bound)
    raise UnsatisfiableError(f"no number lies between {float(low)} and {float(high)}")


def _multiple(schema: Schema, step: Fraction, variant: int) -> Fraction:
    """Return a multiple of ``step`` within the bounds."""
    low, high, low_excluded, high_excluded = _bounds(schema)
    first = None if low is None else ceil(low / step)
    last = None if high is None else floor(high / step)
    if low_excluded and first is not None and first * step == low:
        first += 1
    if high_excluded and last is not None and last * step == high:
        last -= 1
    if first is not None and last is not None:
        if first > last:
            raise UnsatisfiableError(f"no multiple of {float(step)} lies within the bounds")
        start = min(max(1, first), last)
        return step * (first + (start - first + variant) % (last - first + 1))
    if last is not None:
        return step * (min(1, last) - variant)
    return step * (max(1, first if first is not None else 1) + variant)


def _bounds(schema: Schema) -> tuple[Fraction | None, Fraction | None, bool, bool]:
    """Return the minimum, the maximum, and for each whether it is exclusive."""
    low, low_excluded = _bound(schema, "minimum", "exclusiveMinimum", max)
    high, high_excluded = _bound(schema, "maximum", "exclusiveMaximum", min)
    return low, high, low_excluded, high_excluded


def _bound(
    schema: Schema, name: str, exclusive_name: str, tighter: Callable[[Any, Any], Any]
) -> tuple[Fraction | None, bool]:
    plain, exclusive = _fraction(schema.get(name)), _fraction(schema.get(exclusive_name))
    if exclusive is None:
        # In draft 4 the keyword is a boolean that makes the other bound exclusive.
        return plain, schema.get(exclusive_name) is True
    if plain is None:
        return exclusive, True
    bound: Fraction = tighter(plain, exclusive)
    return bound, bound == exclusive


def _step(schema: Schema) -> Fraction | None:
    step = _fraction(schema.get("multipleOf"))
    return step or None


def _fraction(value: object) -> Fraction | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    # From the decimal text, so that 0.1 is exactly one tenth.
    return Fraction(str(value))


def _plain(value: float | Fraction) -> int | float:
    return int(value) if value == int(value) else float(value)


def read_size(schema: Schema, keyword: str, default: int) -> int:
    """Return the value of a keyword such as ``minLength``."""
    value = schema.get(keyword)
    return default if isinstance(value, bool) or not isinstance(value, int | float) else int(value)
