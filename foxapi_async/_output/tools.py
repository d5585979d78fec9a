"""Functions as tools: their schema, the arguments of a call, and the message with its result."""

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from inspect import Parameter
from typing import Annotated, Any, Final, cast, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from foxapi_async._output.answer_text import AnswerError
from foxapi_async._output.docstring import description, parameter_texts
from foxapi_async._output.json_schema import Schema, TypeNotSupportedError
from foxapi_async._output.output_type import OutputType, strict_form
from foxapi_async._output.parse import validation_error
from foxapi_async._output.pydantic_type import uses_pydantic
from foxapi_async._output.strict_schema import check_types
from foxapi_async._wire.base import encode
from foxapi_async._wire.completion import ToolCall
from foxapi_async._wire.jsonable import NotJSONError, to_jsonable
from foxapi_async._wire.request import Message

_CACHED_FUNCTIONS: Final = 256
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class _Field(Struct, frozen=True):
    """One parameter of a function, and the member of the class of its arguments."""

    alias: str
    name: str
    annotation: Any
    required: bool
    description: str


class FunctionTool:
    """A function that a model may call.

    Args:
        function: A function or a method. Each parameter has an annotation.

    Raises:
        TypeNotSupportedError: The function has a parameter that a model cannot give.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name: str = _function_name(function)
        text = inspect.getdoc(function) or ""
        self.description: str = description(text)
        self._fields = tuple(_read_fields(function, self.name, text))
        self._output: OutputType[Any] = OutputType(_arguments_class(self.name, self._fields))

    @property
    def definition(self) -> dict[str, Any]:
        """The tool as a member of ``tools`` of a request."""
        check_types(self._output.schema, self.name)
        parameters, strict = strict_form(self._output.schema)
        function: Schema = {"name": self.name, "parameters": parameters, "strict": strict}
        if self.description:
            function["description"] = self.description
        return {"type": "function", "function": function}

    def arguments(self, call: ToolCall) -> dict[str, Any]:
        """Return the checked keyword arguments of a call; those that are not given are left out.

        Raises:
            OutputValidationError: The arguments are wrong, or the call is of another function.
        """
        text = call.function.arguments
        try:
            self._check_name(call.function.name)
            # Some models write nothing for a function without parameters.
            values = self._output.decode(text if text.strip() else "{}")
        except AnswerError as error:
            claim = f"the arguments are not those of {self.name}"
            raise validation_error(error, claim, None, text) from None
        # A model of pydantic says which of its fields are set.
        is_set: frozenset[str] | None = getattr(values, "model_fields_set", None)
        return {
            field.name: value
            for field in self._fields
            if (value := getattr(values, field.alias)) is not UNSET
            and (is_set is None or field.alias in is_set)
        }

    def _check_name(self, name: str) -> None:
        if name != self.name:
            raise AnswerError(f"calls {name!r}", safe="calls another function: see .reason")


def function_tool(function: Callable[..., Any]) -> FunctionTool:
    """Return the tool of ``function``; the last ones are kept."""
    try:
        hash(function)
    except TypeError:
        return FunctionTool(function)
    return _cached(function)


@lru_cache(maxsize=_CACHED_FUNCTIONS)
def _cached(function: Callable[..., Any]) -> FunctionTool:
    return FunctionTool(function)


def tool_message(call: ToolCall, result: object) -> Message:
    """Build the message that answers a tool call; append it to ``messages`` after the call.

    Args:
        call: The tool call of a completion.
        result: What the function returned. A text is sent as it is, everything else as JSON:
            dicts, lists, numbers, dataclasses, structs and pydantic models.

    Returns:
        A message of the role ``tool``.

    Raises:
        TypeError: ``result`` has no JSON form.
    """
    if isinstance(result, str):
        return Message(role="tool", tool_call_id=call.id, content=str.__str__(result))
    try:
        content = encode(to_jsonable(result)).decode()
    except NotJSONError as error:
        place = f"result.{error.path}" if error.path else "result"
        raise TypeError(f"tool_message: {place} {error.reason}") from None
    return Message(role="tool", tool_call_id=call.id, content=content)


def _function_name(function: Callable[..., Any]) -> str:
    name: object = getattr(function, "__name__", None)
    is_function = inspect.isroutine(cast("object", function))
    if not is_function or not isinstance(name, str) or not _NAME.fullmatch(name):
        named = name if isinstance(name, str) else type(function).__name__
        raise TypeNotSupportedError(named, "is no function with a name: pass one made by `def`")
    return name


def _read_fields(function: Callable[..., Any], name: str, text: str) -> Iterator[_Field]:
    try:
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters.values()
    except (NameError, TypeError, ValueError) as error:
        raise TypeNotSupportedError(name, f"has no usable signature: {error}") from None
    texts = parameter_texts(text)
    for number, parameter in enumerate(parameters):
        path = f"{name}.{parameter.name}"
        if parameter.kind in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}:
            continue
        if parameter.kind is Parameter.POSITIONAL_ONLY:
            raise TypeNotSupportedError(path, "is positional-only, and a call names its arguments")
        if parameter.name not in hints:
            raise TypeNotSupportedError(path, "has no annotation: give it a type")
        required = parameter.default is Parameter.empty
        note = "" if required else _default_note(parameter.default)
        described = " ".join(filter(None, (texts.get(parameter.name), note)))
        yield _Field(f"p{number}", parameter.name, hints[parameter.name], required, described)


def _default_note(default: Any) -> str:
    if default is None:
        return ""
    try:
        return f"Default: {json.dumps(to_jsonable(default), ensure_ascii=False)}."
    except NotJSONError:
        # Only the function knows it.
        return ""


def _arguments_class(name: str, fields: tuple[_Field, ...]) -> type[Any]:
    """Return a class whose members are the parameters, under names that clash with nothing."""
    if any(uses_pydantic(field.annotation) for field in fields):
        pydantic: Any = sys.modules["pydantic"]
        members: dict[str, Any] = {
            field.alias: (
                field.annotation,
                pydantic.Field(
                    default=... if field.required else None,
                    alias=field.name,
                    description=field.description or None,
                ),
            )
            for field in fields
        }
        made: type[Any] = pydantic.create_model(name, **members)
        return made
    return msgspec.defstruct(
        name,
        [
            (field.alias, _described(field), msgspec.field(name=field.name))
            if field.required
            else (
                field.alias,
                _described(field) | UnsetType,
                msgspec.field(default=UNSET, name=field.name),
            )
            for field in fields
        ],
        kw_only=True,
    )


def _described(field: _Field) -> Any:
    if not field.description:
        return field.annotation
    return Annotated[field.annotation, Meta(description=field.description)]
