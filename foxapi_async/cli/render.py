"""An answer in two shapes: members of a JSON object, and words for people."""

from typing import Any

from foxapi_async.cli.output import Screen
from foxapi_async.types import ChatCompletion, Choice


def answer_members(completion: ChatCompletion) -> dict[str, Any]:
    """Return what a program wants of an answer; ``choices`` are there if there are several."""
    members: dict[str, Any] = {
        "model": completion.model,
        "text": completion.text,
        "reasoning": completion.reasoning,
        "finish_reason": completion.finish_reason,
        "tool_calls": [call.to_dict() for call in completion.message.tool_calls or ()],
        "usage": completion.usage.to_dict() if completion.usage is not None else None,
    }
    if len(completion.choices) > 1:
        members["choices"] = [choice.to_dict() for choice in completion.choices]
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
