"""The type that an answer is to have: what a request says of it, and how an answer is decoded."""

import re
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Any, Final, Generic, TypeVar, cast, get_origin

import msgspec

from foxapi_async._output.answer_text import AnswerError, read_json
from foxapi_async._output.answer_value import encode_answer, fit
from foxapi_async._output.json_schema import (
    Schema,
    TypeNotSupportedError,
    children,
    is_schema,
    resolve,
)
from foxapi_async._output.pydantic_type import (
    pydantic_adapter,
    pydantic_decoder,
    pydantic_schema,
    uses_pydantic,
)
from foxapi_async._output.strict_schema import (
    can_be_strict,
    check_types,
    close_objects,
    make_strict,
)
from foxapi_async._output.type_schema import type_schema
from foxapi_async._wire.base import is_object
from foxapi_async._wire.decode_errors import parse_error

T = TypeVar("T")

_WRAPPER: Final = "value"
# Types that are objects: unions, `type X = ...`, new types, and adapters of pydantic.
_FORMS: Final = frozenset({"UnionType", "TypeAliasType", "NewType", "TypeAdapter"})
_MAX_NAME: Final = 64
_CACHED_TYPES: Final = 256
# What msgspec says without a word of the answer.
_SAFE_REASON: Final = re.compile(
    r"Expected `.*|Object missing required field `.*|Invalid (?:RFC3339|ISO8601|UUID|decimal).*"
)


class OutputType(Generic[T]):
    """One type of answers.

    Args:
        annotation: Any type that msgspec or pydantic decodes, or a ``TypeAdapter``.

    Raises:
        TypeNotSupportedError: Neither of them decodes the type.
    """

    def __init__(self, annotation: Any) -> None:
        self.name: str = type_name(annotation)
        if (reason := no_type(annotation)) is not None:
            raise TypeNotSupportedError(self.name, reason)
        if uses_pydantic(annotation):
            adapter = pydantic_adapter(annotation, self.name)
            self.schema: Schema = _with_object_root(pydantic_schema(adapter, self.name))
            names = frozenset(_member_names(self.schema))
            self._decode: Callable[[bytes], Any] = pydantic_decoder(adapter, names)
        else:
            self._decode = _msgspec_decoder(annotation, self.name)
            self.schema = _with_object_root(type_schema(annotation, self.name))

    @property
    def claim(self) -> str:
        """The beginning of the text of an error: what an answer is not."""
        return f"the answer is not a value of {self.name}"

    @cached_property
    def is_wrapped(self) -> bool:
        """Whether an object with one member stands around the value: the root must be an object."""
        return self.schema.get("type") != "object"

    @cached_property
    def response_format(self) -> dict[str, Any]:
        """The ``response_format`` of a request. It is shared: do not change it.

        Raises:
            TypeNotSupportedError: A model cannot be asked for the type.
        """
        check_types(self.schema, self.name)
        schema, strict = strict_form(_wrap(self.schema) if self.is_wrapped else self.schema)
        return {
            "type": "json_schema",
            "json_schema": {"name": schema_name(self.name), "schema": schema, "strict": strict},
        }

    def decode(self, text: str) -> T:
        """Return the value in an answer.

        Raises:
            AnswerError: The text is not a value of the type.
        """
        return self.convert(self.plain(text))

    def plain(self, text: str) -> Any:
        """Return the JSON value of an answer, unwrapped, as the decoder of the type takes it.

        Raises:
            AnswerError: The text is not JSON, or an object in it has an unknown member.
        """
        value = read_json(text)
        if self.is_wrapped:
            if not is_object(value) or value.keys() != {_WRAPPER}:
                raise AnswerError(f"is not an object with the one member `{_WRAPPER}`")
            value = value[_WRAPPER]
        return fit(value, self.schema)

    def unwrap(self, value: Any) -> Any:
        """Return the value in a part of an answer; ``msgspec.UNSET`` if it has not begun."""
        if not self.is_wrapped:
            return value
        return value.get(_WRAPPER, msgspec.UNSET) if is_object(value) else msgspec.UNSET

    def convert(self, value: Any) -> T:
        """Return the value of the type that a plain value stands for."""
        return cast("T", self._decode(encode_answer(value)))


def is_type(value: object) -> bool:
    """Tell whether ``value`` is a type that an answer may have, and no JSON value."""
    return (
        isinstance(value, type)
        or get_origin(value) is not None
        or type(value).__name__ in _FORMS
        or value is Any
    )


def no_type(value: object) -> str | None:
    """Return why ``value`` can be no type, with the fix; ``None`` if it may be one."""
    if is_type(value) or not (
        isinstance(value, str | int | float | list | tuple) or callable(value)
    ):
        return None
    kind = type(cast("object", value)).__name__
    return f"is a value of {kind} and no type: pass the type itself, as in City or list[City]"


def output_type(annotation: Any) -> OutputType[Any]:
    """Return the output type of ``annotation``; the last ones are kept.

    Raises:
        TypeNotSupportedError: The type is not supported.
    """
    try:
        hash(annotation)
    except TypeError:
        return OutputType(annotation)
    return _cached(annotation)


@lru_cache(maxsize=_CACHED_TYPES)
def _cached(annotation: Any) -> OutputType[Any]:
    return OutputType(annotation)


def strict_form(schema: Schema) -> tuple[Schema, bool]:
    """Return ``schema`` in the form of strict mode and true, or whole and false."""
    return (make_strict(schema), True) if can_be_strict(schema) else (close_objects(schema), False)


def type_name(annotation: Any) -> str:
    """Return the name of a type for error texts, such as ``City`` or ``list[City]``."""
    inner = getattr(annotation, "_type", None)
    if inner is not None and type(annotation).__name__ == "TypeAdapter":
        annotation = inner
    if isinstance(annotation, type) and not getattr(annotation, "__args__", None):
        return annotation.__name__
    return re.sub(r"\b(?:[A-Za-z_]\w*\.|<locals>\.)+", "", repr(annotation))[:200]


def schema_name(name: str) -> str:
    """Return ``name`` as the service takes it: 1 to 64 letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:_MAX_NAME] or "answer"


def _with_object_root(schema: Schema) -> Schema:
    """Return ``schema`` with the definition that its root refers to in the place of the root."""
    if "$ref" not in schema:
        return schema
    return {**resolve(schema, schema), "$defs": schema["$defs"]}


def _wrap(schema: Schema) -> Schema:
    value = {name: part for name, part in schema.items() if name != "$defs"}
    defs = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    return {
        "type": "object",
        "properties": {_WRAPPER: value},
        "required": [_WRAPPER],
        "additionalProperties": False,
        **defs,
    }


def _member_names(schema: Any) -> Iterator[str]:
    if is_schema(schema):
        yield from schema.get("properties", ())
        for _, part in children(schema):
            yield from _member_names(part)
        for part in schema.get("$defs", {}).values():
            yield from _member_names(part)


def _msgspec_decoder(annotation: Any, name: str) -> Callable[[bytes], Any]:
    try:
        decoder = msgspec.json.Decoder(annotation)
    except (TypeError, NameError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise TypeNotSupportedError(name, f"is not supported: {reason}") from None

    def decode(data: bytes) -> Any:
        try:
            return decoder.decode(data)
        except msgspec.ValidationError as error:
            raise _answer_error(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise AnswerError("has a text with half of a surrogate pair") from None
        except RecursionError:
            raise AnswerError("is nested too deep") from None

    return decode


def _answer_error(error: msgspec.ValidationError) -> AnswerError:
    problem = parse_error(error)
    # The text of an error that the class itself raised may have anything in it.
    is_safe = error.__cause__ is None and _SAFE_REASON.fullmatch(problem.message) is not None
    return AnswerError(
        f"is not valid: {problem.message}",
        problem.path,
        safe=f"is not valid: {problem.message}" if is_safe else "is not valid",
    )
