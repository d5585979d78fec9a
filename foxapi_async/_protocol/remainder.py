"""What a stored answer has beyond the chunks that were delivered before their stream was lost."""

from collections.abc import Iterator

from foxapi_async._protocol.accumulate import missing_suffix
from foxapi_async._wire.chunk import DeltaChoice, DeltaMessage, FunctionDelta, ToolCallDelta
from foxapi_async._wire.completion import ChatCompletion, Choice, CompletionMessage, ToolCall

_NOTHING = Choice(message=CompletionMessage())


def remainder(
    stored: ChatCompletion, said: ChatCompletion | None, suffix: str
) -> tuple[DeltaChoice, ...] | None:
    """Return what is left to say, choice by choice; ``None`` if some text does not go on.

    ``said`` is what the chunks add up to, and ``suffix`` the rest of the text of the choice with
    index 0: all that can be told where a cursor alone knows the chunks, which are then ``None``. A
    tool call that does not go on as it began is left to the completion.
    """
    heard = {choice.index: choice for choice in said.choices} if said is not None else {}
    rest: list[DeltaChoice] = []
    for choice in stored.choices:
        if said is None:
            if choice.index == 0 and suffix:
                message = DeltaMessage(content=suffix)
                rest.append(DeltaChoice(delta=message, finish_reason=choice.finish_reason))
            continue
        before = heard.get(choice.index, _NOTHING)
        text = (
            suffix if choice.index == 0 else _rest(before.message.content, choice.message.content)
        )
        refusal = _rest(before.message.refusal, choice.message.refusal)
        if text is None or refusal is None:
            return None
        calls = tuple(_calls(before.message.tool_calls or (), choice.message.tool_calls or ()))
        reason = None if before.finish_reason else choice.finish_reason
        if text or refusal or calls or reason:
            message = DeltaMessage(
                content=text or None, refusal=refusal or None, tool_calls=calls or None
            )
            rest.append(DeltaChoice(index=choice.index, delta=message, finish_reason=reason))
    return tuple(rest)


def _rest(said: str | None, stored: str | None) -> str | None:
    return missing_suffix(said or "", stored or "")


def _calls(said: tuple[ToolCall, ...], stored: tuple[ToolCall, ...]) -> Iterator[ToolCallDelta]:
    """Yield what goes on a call that was begun, and the calls that were not."""
    for index, call in enumerate(stored):
        whole = call.function.arguments
        if index >= len(said):
            function = FunctionDelta(name=call.function.name, arguments=whole)
            yield ToolCallDelta(index=index, id=call.id, type=call.type, function=function)
        elif rest := missing_suffix(said[index].function.arguments, whole):
            yield ToolCallDelta(index=index, function=FunctionDelta(arguments=rest))
