"""An answer in two shapes: members of a JSON object, and words for people."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from foxapi_async._wire.base import read_json
from foxapi_async.cli.output import Screen
from foxapi_async.types import ChatCompletion, Choice, Extra


def plain(value: object) -> Any:
    """Return what the service sent as plain JSON values, members without a name here included."""
    if isinstance(value, msgspec.Raw):
        return read_json(value)
    if isinstance(value, msgspec.Struct):
        # A name that begins with an underscore is bookkeeping and no member of the JSON.
        named = {
            item.encode_name: plain(getattr(value, item.name))
            for item in msgspec.structs.fields(value)
            if not item.name.startswith("_") and getattr(value, item.name) is not msgspec.UNSET
        }
        extra = getattr(value, "extra", None)
        if not isinstance(extra, Extra):
            return named
        return named | {name: plain(extra[name]) for name in extra if name not in named}
    if isinstance(value, Mapping):
        members = cast("Mapping[str, object]", value)
        return {name: plain(member) for name, member in members.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("Iterable[object]", value)]
    return value


def answer_members(completion: ChatCompletion) -> dict[str, Any]:
    """Return what a program wants of an answer; ``choices`` are there if there are several."""
    members: dict[str, Any] = {
        "model": completion.model,
        "text": completion.text,
        "reasoning": completion.reasoning,
        "finish_reason": completion.finish_reason,
        "tool_calls": plain(completion.message.tool_calls or ()),
        "usage": plain(completion.usage),
    }
    if len(completion.choices) > 1:
        members["choices"] = plain(completion.choices)
    return members


def show_answer(screen: Screen, completion: ChatCompletion) -> None:
    """Show the text of each choice, and the calls that the model asks for."""
    for choice in completion.choices:
        screen.print(_said(choice))
    if not completion.text and completion.finish_reason == "length":
        screen.note("the answer is empty: --max-tokens was used up before it began")


def _said(choice: Choice) -> str:
    message = choice.message
    calls = (
        f"{call.function.name}({call.function.arguments})" for call in message.tool_calls or ()
    )
    return "\n".join(filter(None, (message.content or message.refusal, *calls)))
