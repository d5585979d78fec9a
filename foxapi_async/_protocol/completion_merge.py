"""Merges a stored completion with a streamed one, and finds what the stream did not deliver."""

from typing import Any, Final

import msgspec
from msgspec import DecodeError
from msgspec.structs import replace

from foxapi_async._wire.chunk import DeltaChoice, DeltaMessage, FunctionDelta, ToolCallDelta
from foxapi_async._wire.completion import (
    ChatCompletion,
    Choice,
    CompletionMessage,
    Source,
    ToolCall,
    with_origin,
)

_MERGED_FIELDS: Final = ("content", "reasoning_content", "tool_calls", "refusal")
_EMPTY: Final = Choice(message=CompletionMessage())


def merge_completions(stored: ChatCompletion, streamed: ChatCompletion | None) -> ChatCompletion:
    """Return the result of a task whose stream was read to its end.

    Each member of a message is the stored one, unless that is empty; then it is the streamed one.
    The service never stores the reasoning (contract Q1). ``finish_reason``, ``logprobs`` and
    ``usage`` are merged in the same way. All other members, and ``raw``, are those of ``stored``.

    ``source`` is ``task`` if no message has a streamed member, ``stream`` if no message has a
    stored one, and ``task+stream`` otherwise.
    """
    if streamed is None:
        return stored
    streamed_choices = {choice.index: choice for choice in streamed.choices}
    merged = {choice.index: choice for choice in stored.choices}
    sources: set[Source] = set()
    for index, choice in streamed_choices.items():
        merged[index] = _merge_choice(merged.get(index, Choice(index=index)), choice, sources)
    for index in merged.keys() - streamed_choices.keys():
        if any(getattr(merged[index].message, name) for name in _MERGED_FIELDS):
            sources.add("task")
    source: Source = (
        "task+stream" if len(sources) > 1 else "stream" if "stream" in sources else "task"
    )
    completion = replace(
        stored,
        choices=tuple(merged[index] for index in sorted(merged)),
        usage=stored.usage or streamed.usage,
    )
    return with_origin(completion, source, stored.raw)


def _merge_choice(stored: Choice, streamed: Choice, sources: set[Source]) -> Choice:
    """Merge one choice; add the origins of its members to ``sources``."""
    taken: dict[str, Any] = {}
    for name in _MERGED_FIELDS:
        stored_value, streamed_value = (
            getattr(stored.message, name),
            getattr(streamed.message, name),
        )
        if streamed_value and not stored_value:
            taken[name] = streamed_value
            sources.add("stream")
        elif stored_value:
            sources.add("task")
    return replace(
        stored,
        message=replace(stored.message, **taken),
        finish_reason=stored.finish_reason or streamed.finish_reason,
        logprobs=stored.logprobs or streamed.logprobs,
    )


def lacks_streamed_member(stored: ChatCompletion, partial: ChatCompletion) -> bool:
    """Tell whether a stored completion lacks a message member that part of its stream had.

    Then neither is a whole answer: the stored one lost the member, and the rest of the streamed one
    is unknown. Reasoning does not count, because the service never stores it (contract Q1).
    """
    messages = {choice.index: choice.message for choice in stored.choices}
    return any(
        _has_value(getattr(choice.message, name))
        and not getattr(messages.get(choice.index, CompletionMessage()), name)
        for choice in partial.choices
        for name in _MERGED_FIELDS
        if name != "reasoning_content"
    )


def _has_value(value: object) -> bool:
    return bool(value.strip() if isinstance(value, str) else value)


def missing_suffix(delivered: str, stored: str) -> str | None:
    """Return what ``stored`` has beyond ``delivered``; ``None`` if it does not begin with it."""
    return stored[len(delivered) :] if stored.startswith(delivered) else None


def missing_deltas(
    stored: ChatCompletion, streamed: ChatCompletion | None, suffix: str
) -> tuple[DeltaChoice, ...] | None:
    """Return what ``stored`` has beyond the streamed chunks, choice by choice.

    Reasoning is left out, because the service does not store it (contract Q1).

    Args:
        stored: The stored completion.
        streamed: The accumulated chunks; ``None`` if only a digest of them is known. Then the
            result has ``suffix`` alone.
        suffix: The rest of the text of choice 0.

    Returns:
        One `DeltaChoice` for each choice that goes on; ``None`` if ``stored`` does not continue
        what was streamed.
    """
    if streamed is None:
        return _missing_text(stored, suffix)
    unmatched = {choice.index: choice for choice in streamed.choices}
    rest: list[DeltaChoice] = []
    for choice in stored.choices:
        before = unmatched.pop(choice.index, _EMPTY)
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
    return None if any(map(_has_content, unmatched.values())) else tuple(rest)


def _missing_text(stored: ChatCompletion, suffix: str) -> tuple[DeltaChoice, ...] | None:
    """Return the rest of a completion that is one text; ``None`` if it has anything else."""
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


def _missing(streamed: str | None, stored: str | None) -> str | None:
    return missing_suffix(streamed or "", stored or "")


def _missing_tool_calls(
    streamed: tuple[ToolCall, ...], stored: tuple[ToolCall, ...]
) -> tuple[ToolCallDelta, ...] | None:
    """Return the rest of the started calls, and the calls that were not started."""
    if len(streamed) > len(stored):
        return None
    rest: list[ToolCallDelta] = []
    for index, call in enumerate(stored):
        started = streamed[index] if index < len(streamed) else ToolCall()
        name = missing_suffix(started.function.name, call.function.name)
        arguments = _missing_arguments(started.function.arguments, call.function.arguments)
        if name is None or arguments is None:
            return None
        if index >= len(streamed):
            function = FunctionDelta(name=name, arguments=arguments)
            rest.append(ToolCallDelta(index=index, id=call.id, type=call.type, function=function))
        elif name or arguments:
            function = FunctionDelta(name=name or None, arguments=arguments or None)
            rest.append(ToolCallDelta(index=index, id=started.id or None, function=function))
    return tuple(rest)


def _missing_arguments(streamed: str, stored: str) -> str | None:
    rest = missing_suffix(streamed, stored)
    return "" if rest is None and _is_same_json(streamed, stored) else rest


def _is_same_json(streamed: str, stored: str) -> bool:
    """Tell whether two JSON texts have the same value."""
    try:
        return bool(msgspec.json.decode(streamed) == msgspec.json.decode(stored))
    except (DecodeError, RecursionError):
        return False
