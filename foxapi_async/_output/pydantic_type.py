"""Types of pydantic: recognised where pydantic is already imported, which this package never does.

Their schema is pydantic's own, and so is their check, in strict mode: no text becomes a number.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any, Final, cast, get_args, get_type_hints, is_typeddict

from foxapi_async._output.answer_text import AnswerError
from foxapi_async._output.json_schema import Schema, TypeNotSupportedError

_PACKAGES: Final = frozenset({"pydantic", "pydantic_core", "pydantic_extra_types"})
# Values of these names in an error of pydantic come from the schema, not from the answer.
_SCHEMA_WORDS: Final = frozenset(
    {"ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "actual_length"}
    | {"expected", "class_name", "field_type", "pattern", "max_digits", "decimal_places"}
    | {"whole_digits", "tz_expected", "discriminator", "expected_tags", "class"}
)


def uses_pydantic(annotation: Any) -> bool:
    """Tell whether a type is one of pydantic, or has one in it."""
    return "pydantic" in sys.modules and any(map(_is_pydantic, _parts(annotation, [])))


def pydantic_adapter(annotation: Any, name: str) -> Any:
    """Return the ``TypeAdapter`` of a type.

    Raises:
        TypeNotSupportedError: pydantic does not know the type. ``name`` stands for its path.
    """
    pydantic = sys.modules["pydantic"]
    if isinstance(annotation, pydantic.TypeAdapter):
        return annotation
    try:
        return pydantic.TypeAdapter(annotation)
    except (pydantic.errors.PydanticUserError, NameError) as error:
        raise TypeNotSupportedError(name, f"has no schema: {_first_line(error)}") from None


def pydantic_schema(adapter: Any, name: str) -> Schema:
    """Return the JSON schema of a ``TypeAdapter``."""
    pydantic = sys.modules["pydantic"]
    try:
        return cast("Schema", adapter.json_schema(schema_generator=_schema_generator()))
    except (pydantic.errors.PydanticUserError, NameError) as error:
        raise TypeNotSupportedError(name, f"has no schema: {_first_line(error)}") from None


def pydantic_decoder(adapter: Any, known_names: frozenset[str]) -> Callable[[bytes], Any]:
    """Return the function that decodes JSON with a ``TypeAdapter``.

    It raises ``AnswerError``. ``known_names`` are the member names of the schema.
    """
    validation_error = cast("type[ValueError]", sys.modules["pydantic"].ValidationError)

    def decode(data: bytes) -> Any:
        try:
            return adapter.validate_json(data, strict=True)
        except validation_error as error:
            raise _answer_error(error, known_names) from None
        except RecursionError:
            raise AnswerError("is nested too deep") from None

    return decode


def _parts(annotation: Any, seen: list[Any]) -> Iterator[Any]:
    """Yield a type and the types in it: its arguments, and the annotations of its members."""
    if any(annotation is other for other in seen):
        return
    seen.append(annotation)
    yield annotation
    arguments: list[Any] = [*get_args(annotation), *getattr(annotation, "__metadata__", ())]
    known: Any = annotation
    if isinstance(annotation, type) and (
        is_dataclass(known) or is_typeddict(known) or hasattr(known, "_fields")
    ):
        try:
            arguments += get_type_hints(known, include_extras=True).values()
        except NameError:
            # The decoder of the type says which name is not defined.
            return
    for argument in arguments:
        yield from _parts(argument, seen)


def _is_pydantic(part: Any) -> bool:
    if hasattr(part, "__get_pydantic_core_schema__") or hasattr(part, "__pydantic_validator__"):
        return True
    module: Any = getattr(part if isinstance(part, type) else type(part), "__module__", "")
    return isinstance(module, str) and module.partition(".")[0] in _PACKAGES


def _schema_generator() -> type[Any]:
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        """Asks for a decimal as a number: a text may be anything."""

        def decimal_schema(self, schema: Any) -> dict[str, Any]:
            made = super().decimal_schema(schema)
            numbers = [one for one in made.get("anyOf", ()) if one.get("type") == "number"]
            return numbers[0] if numbers else made

    return Generator


def _answer_error(error: Any, known_names: frozenset[str]) -> AnswerError:
    """Return what the first error of pydantic says."""
    first = error.errors(include_input=False)[0]
    reason = str(first["msg"])
    context = first.get("ctx", {})
    # Only an error of pydantic itself has a page. Any other may have words of the answer.
    is_own = "url" in first and first["type"] not in {"value_error", "assertion_error"}
    is_safe = is_own and context.keys() <= _SCHEMA_WORDS
    return AnswerError(
        reason,
        _path(first["loc"]),
        safe=None if is_safe else "is not valid",
        safe_path=_path(
            step if isinstance(step, int) or step in known_names else ... for step in first["loc"]
        ),
    )


def _path(steps: Any) -> str:
    path = ""
    for step in steps:
        if step is ...:
            path += "[...]"
        elif isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}"
    return path.lstrip(".")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
