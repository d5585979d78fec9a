"""What a stored answer has beyond the chunks that were delivered before their stream was lost."""

import msgspec
from msgspec import DecodeError

from foxapi_async._protocol.accumulator import missing_suffix
from foxapi_async._wire.chunk import DeltaChoice, DeltaMessage, FunctionDelta, ToolCallDelta
from foxapi_async._wire.completion import ChatCompletion, Choice, CompletionMessage, ToolCall

_EMPTY = Choice(message=CompletionMessage())


def missing_deltas(
    stored: ChatCompletion, streamed: ChatCompletion | None, suffix: str
) -> tuple[DeltaChoice, ...] | None:
    """Return what is left to say, choice by choice; ``None`` if the stored answer does not go on.

    ``streamed`` is what the chunks add up to, and ``suffix`` the rest of the text of the choice
    with index 0: all that can be told where a cursor alone knows the chunks, which are then
    ``None``. Reasoning is left out: the service does not store it (contract Q1).
    """
    if streamed is None:
        return _missing_text(stored, suffix)
    heard = {choice.index: choice for choice in streamed.choices}
    rest: list[DeltaChoice] = []
    for choice in stored.choices:
        before = heard.pop(choice.index, _EMPTY)
        text = (
            suffix
            if choice.index == 0
            else _missing(before.message.content, choice.message.content)
        )
        refusal = _missing(before.message.refusal, choice.message.refusal)
        calls = _missing_tool_calls(
            before.message.tool_calls or (), choice.message.tool_calls or ()
        )
        if text is None or refusal is None or calls is None:
            return None
        reason = None if before.finish_reason else choice.finish_reason
        if text or refusal or calls or reason:
            message = DeltaMessage(
                content=text or None, refusal=refusal or None, tool_calls=calls or None
            )
            rest.append(DeltaChoice(index=choice.index, delta=message, finish_reason=reason))
    return None if any(map(_has_content, heard.values())) else tuple(rest)


def _missing_text(stored: ChatCompletion, suffix: str) -> tuple[DeltaChoice, ...] | None:
    """Return the rest of an answer that is nothing but one text, ``None`` if it is more."""
    first, others = stored.choices[:1], stored.choices[1:]
    message = first[0].message if first else CompletionMessage()
    if any(map(_has_content, others)) or message.tool_calls or message.refusal:
        return None
    if not suffix:
        return ()
    reason = first[0].finish_reason
    return (DeltaChoice(delta=DeltaMessage(content=suffix), finish_reason=reason),)


def _has_content(choice: Choice) -> bool:
    message = choice.message
    return bool(message.content or message.refusal or message.tool_calls)


def _missing(said: str | None, stored: str | None) -> str | None:
    return missing_suffix(said or "", stored or "")


def _missing_tool_calls(
    said: tuple[ToolCall, ...], stored: tuple[ToolCall, ...]
) -> tuple[ToolCallDelta, ...] | None:
    """Return what goes on a call that was begun, and the calls that were not."""
    if len(said) > len(stored):
        return None
    rest: list[ToolCallDelta] = []
    for index, call in enumerate(stored):
        begun = said[index] if index < len(said) else ToolCall()
        name = missing_suffix(begun.function.name, call.function.name)
        arguments = _missing_arguments(begun.function.arguments, call.function.arguments)
        if name is None or arguments is None:
            return None
        if index >= len(said):
            function = FunctionDelta(name=name, arguments=arguments)
            rest.append(ToolCallDelta(index=index, id=call.id, type=call.type, function=function))
        elif name or arguments:
            function = FunctionDelta(name=name or None, arguments=arguments or None)
            rest.append(ToolCallDelta(index=index, id=begun.id or None, function=function))
    return tuple(rest)


def _missing_arguments(said: str, stored: str) -> str | None:
    rest = missing_suffix(said, stored)
    return "" if rest is None and _is_same_json(said, stored) else rest


def _is_same_json(said: str, stored: str) -> bool:
    """Tell whether arguments that were written otherwise are the same."""
    try:
        return bool(msgspec.json.decode(said) == msgspec.json.decode(stored))
    except (DecodeError, RecursionError):
        return False
