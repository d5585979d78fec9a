"""The values of a request that are types, functions, completions and handles."""
# pyright: reportPrivateUsage=false

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, cast

from foxapi_async._client.handle import TaskHandle
from foxapi_async._output.json_schema import TypeNotSupportedError
from foxapi_async._output.output_type import is_type, no_type, output_type
from foxapi_async._output.tools import function_tool
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.jsonable import NotJSONError

_NO_LISTS: Final = (str, bytes, bytearray, memoryview, Mapping, AbstractSet)


def replace_objects(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a request with JSON in the place of types, functions and answers.

    ``response_format`` may be a type, an item of ``tools`` a function, and an item of ``messages``
    a completion or the handle of a finished generation.

    Raises:
        NotJSONError: A type or a function is not supported, or a handle has no answer.
    """
    replaced = dict(members)
    if is_type(wanted := members.get("response_format")):
        try:
            replaced["response_format"] = output_type(wanted).response_format
        except TypeNotSupportedError as error:
            raise NotJSONError(f"cannot be asked for: {error}", "response_format") from None
    elif (reason := no_type(wanted)) is not None:
        raise NotJSONError(f"{reason}, or a JSON object", "response_format")
    for name, replace in (("tools", _tool), ("messages", _message)):
        items: object = members.get(name)
        # A model of pydantic is iterable too.
        if (
            isinstance(items, Iterable)
            and not isinstance(items, _NO_LISTS)
            and not hasattr(cast("object", items), "model_dump")
        ):
            replaced[name] = [
                replace(item, f"{name}[{place}]")
                for place, item in enumerate(cast("Iterable[object]", items))
            ]
    return replaced


def _tool(item: object, path: str) -> object:
    if not callable(item):
        return item
    try:
        return function_tool(item).definition
    except TypeNotSupportedError as error:
        raise NotJSONError(f"cannot be a tool: {error}", path) from None


def _message(item: object, path: str) -> object:
    if isinstance(item, ChatCompletion):
        return item.message
    if not isinstance(item, TaskHandle):
        return item
    outcome = item._record.outcome
    if outcome is None:
        raise NotJSONError("is a handle whose answer is not known: await it first", path)
    if outcome.error is not None or item.kind != "llm":
        raise NotJSONError("is a handle without an answer: its task gave no completion", path)
    return cast("ChatCompletion", outcome.get()).message
