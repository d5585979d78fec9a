"""Converts Python values to plain JSON values, or raises an error with the path of the wrong one.

msgspec alone would encode bytes as base64, NaN as null and a set in any order, and a request with
such a member would be billed.
"""

import math
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from io import IOBase
from numbers import Integral, Real
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from foxapi_async._wire.base import ResponseStruct, WireStruct

Jsonable: TypeAlias = "dict[str, Jsonable] | list[Jsonable] | str | float | bool | None"

_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**64 - 1
_SAME: Final = frozenset({bool, type(None)})


class NotJSONError(ValueError):
    """A value that has no JSON form. ``path`` is its path, such as ``messages[0].content``."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    def nested_in(self, place: str) -> "NotJSONError":
        """Return the error with ``place`` in front of its path."""
        dot = "." if self.path and not self.path.startswith("[") else ""
        return NotJSONError(self.reason, f"{place}{dot}{self.path}")


def to_jsonable(value: object) -> Jsonable:
    """Return ``value`` as plain JSON values.

    Subclasses of the plain types and numpy scalars become the plain type; enums become their value.
    Structs, dataclasses, attrs classes and pydantic models become dicts without the members that
    are ``None``. Other iterables become lists. Members that are ``UNSET`` are left out.

    Args:
        value: Any Python value.

    Returns:
        A new value of dicts with text keys, lists, texts, numbers, booleans and ``None``.

    Raises:
        NotJSONError: JSON would change the value: bytes, NaN, infinity, integers of more than 64
            bits, lone surrogates, sets, and objects of other classes.
    """
    kind = type(value)
    if kind in _SAME:
        return cast("bool | None", value)
    quick = _EXACT_TYPES.get(kind)
    if quick is not None:
        return quick(value)
    return _convert_other(value)


def _text(value: str) -> str:
    # `isascii` is O(1), and an ASCII text has no surrogates.
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotJSONError("is not valid Unicode: it has a lone surrogate") from None
    return value


def _integer(value: int) -> int:
    if not _MIN_INTEGER <= value <= _MAX_INTEGER:
        raise NotJSONError("is an integer of more than 64 bits; pass it as a text")
    return value


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise NotJSONError(f"must be a finite number, got {value!r}")
    return value


def _object(value: Mapping[Any, object]) -> dict[str, Jsonable]:
    members: dict[str, Jsonable] = {}
    for name, member in value.items():
        if member is UNSET:
            continue
        text = name if type(name) is str and name.isascii() else _name(name)
        if text in members:
            raise NotJSONError(f"has two members that are written {text!r}")
        try:
            members[text] = to_jsonable(member)
        except NotJSONError as error:
            raise error.nested_in(text) from None
    return members


def _array(value: Iterable[object]) -> list[Jsonable]:
    items: list[Jsonable] = []
    for item in value:
        try:
            items.append(to_jsonable(item))
        except NotJSONError as error:
            raise error.nested_in(f"[{len(items)}]") from None
    return items


_EXACT_TYPES: Final[dict[type, Callable[[Any], Jsonable]]] = {
    str: _text,
    int: _integer,
    float: _number,
    dict: _object,
    list: _array,
    tuple: _array,
}


def _name(name: object) -> str:
    """Return the name of a member; integers become texts, as ``logit_bias`` needs."""
    try:
        plain = to_jsonable(name)
    except NotJSONError as error:
        raise NotJSONError(f"has a name that {error.reason}") from None
    if not isinstance(plain, str | int) or isinstance(plain, bool):
        raise NotJSONError(f"has a name that is not a text: {type(name).__name__}")
    return str(plain)


def _convert_other(value: object) -> Jsonable:
    """Convert a value whose type is not exactly a plain type."""
    for kinds, convert in _BY_BASE:
        if isinstance(value, kinds):
            return convert(value)
    if type(value).__module__ == "numpy":
        return to_jsonable(cast("Any", value).tolist())
    if isinstance(value, _UNSUPPORTED):
        raise _not_json(cast("object", value))
    if getattr(type(value), "__pydantic_root_model__", False):
        return to_jsonable(cast("Any", value).root)
    members = _members(value)
    if members is not None:
        return _object(members)
    if isinstance(value, Iterable):
        return _array(cast("Iterable[object]", value))
    raise _not_json(value)


_BY_BASE: Final[tuple[tuple[Any, Callable[[Any], Jsonable]], ...]] = (
    # An enum first: it may be a text or a number as well.
    (Enum, lambda value: to_jsonable(value.value)),
    (str, lambda value: _text(str.__str__(value))),
    (Integral, lambda value: _integer(int(value))),
    ((Real, Decimal), lambda value: _number(float(value))),
    ((datetime, date, time, UUID), msgspec.to_builtins),
)


def _members(value: object) -> Mapping[Any, object] | None:
    """Return the members of an object with named members; ``None`` for any other object."""
    if isinstance(value, Mapping):
        return cast("Mapping[Any, object]", value)
    if isinstance(value, Struct):
        return _struct_members(value)
    kind: Any = type(value)
    if is_dataclass(kind):
        named = {item.name: getattr(value, item.name) for item in fields(kind)}
    elif hasattr(kind, "__attrs_attrs__"):
        named = {item.name: getattr(value, item.name) for item in kind.__attrs_attrs__}
    elif hasattr(kind, "model_dump"):
        # In JSON mode, pydantic would convert bytes to a text.
        named = cast("Any", value).model_dump(mode="python", by_alias=True)
    else:
        return None
    return {name: member for name, member in named.items() if member is not None}


def _struct_members(value: Struct) -> Mapping[str, object]:
    """Return the members of a struct as msgspec would encode them, with ``extra``."""
    if isinstance(value, ResponseStruct):
        return value.to_dict()
    # In a request `None` is sent as null; in a struct of the caller it is left out.
    sends_null = isinstance(value, WireStruct)
    members = {
        encoded: member
        for name, encoded in zip(
            value.__struct_fields__, value.__struct_encode_fields__, strict=True
        )
        if name != "_extra"
        and (member := getattr(value, name)) is not UNSET
        and (sends_null or member is not None)
    }
    return {**members, **value.extra} if isinstance(value, WireStruct) else members


def _not_json(value: object) -> NotJSONError:
    name = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
    return NotJSONError(f"is {name}, which {_reason(value)}")


def _reason(value: object) -> str:
    """Return why ``value`` cannot be sent, and what to pass instead."""
    for kinds, why in _REASONS:
        if isinstance(value, kinds):
            return why
    if hasattr(value, "get_secret_value"):
        return "is secret: pass .get_secret_value() if it is to be sent"
    return "has no JSON form: pass a text, a number, a dict or a list"


_UNSUPPORTED: Final = (bytes, bytearray, memoryview, type, AbstractSet, IOBase)
_REASONS: Final[tuple[tuple[Any, str], ...]] = (
    (
        (bytes, bytearray, memoryview),
        "has no JSON form: .decode() a text, and pass media to content.image(), video(), ...",
    ),
    (type, "has no JSON form: pass an instance, or its JSON schema, as in .model_json_schema()"),
    (AbstractSet, "has no order: pass a list, as in sorted(...)"),
    (IOBase, "is an open file: pass its text, as in file.read()"),
    (AsyncIterable, "is asynchronous: collect it first, as in [item async for item in ...]"),
    (Awaitable, "was not awaited: pass the result of `await ...`"),
)
