"""Reads the value of a type out of a completion."""

from typing import Any

from foxapi_async._output.answer_text import AnswerError
from foxapi_async._output.output_type import OutputType, output_type
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async.errors import (
    OutputRefusedError,
    OutputTruncatedError,
    OutputValidationError,
)


def parse_completion(completion: ChatCompletion, annotation: Any, choice: int = 0) -> Any:
    """Return the value of the type in a choice of ``completion``.

    Args:
        completion: A whole completion.
        annotation: The type, as in ``ChatCompletion.parse``.
        choice: The position of the choice.

    Raises:
        TypeNotSupportedError: The type is not supported.
        OutputRefusedError: The model or a filter refused.
        OutputTruncatedError: The answer ends at the limit of tokens.
        OutputValidationError: The answer is not a value of the type.
    """
    output = output_type(annotation)
    text = answer_of(completion, output, choice)
    try:
        return output.decode(text)
    except AnswerError as error:
        raise validation_error(error, output.claim, completion, text) from None


def answer_of(completion: ChatCompletion, output: OutputType[Any], choice: int = 0) -> str:
    """Return the text of a choice that is an answer, or raise why it is none."""
    if choice not in range(len(completion.choices)):
        error = AnswerError(f"has no choice {choice}: the completion has {len(completion.choices)}")
        raise validation_error(error, output.claim, completion, "")
    found = completion.choices[choice]
    message, text = found.message, found.message.content or ""
    if message.refusal or found.finish_reason == "content_filter":
        held = "a filter held the answer back" if not message.refusal else "the model refused"
        raise OutputRefusedError(
            f"{held}: there is no {output.name}; see .refusal and .completion",
            refusal=message.refusal,
            completion=completion,
            text=text,
            usage=completion.usage,
        )
    if found.finish_reason == "length":
        raise OutputTruncatedError(
            f"the answer ends at the limit of tokens, so it is no whole {output.name}: "
            "raise max_tokens",
            completion=completion,
            text=text,
            usage=completion.usage,
        )
    if not text and message.tool_calls:
        error = AnswerError("has tool calls in the place of a text: see completion.message")
        raise validation_error(error, output.claim, completion, text)
    return text


def validation_error(
    error: AnswerError, claim: str, completion: ChatCompletion | None, text: str
) -> OutputValidationError:
    """Return the public form of ``error``; its text, ``claim`` first, has no word of the answer."""
    place = f"`{error.safe_path}` " if error.safe_path else ""
    return OutputValidationError(
        f"{claim}: {place}{error.safe}",
        path=error.path,
        reason=error.reason,
        completion=completion,
        text=text,
        usage=completion.usage if completion is not None else None,
    )
