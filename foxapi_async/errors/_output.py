"""Errors of answers that are not of the type that they were asked for."""

from foxapi_async._wire.completion import ChatCompletion, Usage
from foxapi_async.errors._base import FoxAPIError


class OutputError(FoxAPIError):
    """An answer, which is billed, does not give a value of the type."""

    advice = "See .completion and .text: the answer itself is not lost."

    def __init__(
        self,
        message: str,
        *,
        completion: ChatCompletion | None = None,
        text: str = "",
        usage: Usage | None = None,
        attempts: int = 1,
    ) -> None:
        super().__init__(message)
        self.completion = completion
        """The completion; ``None`` for the arguments of a tool call."""
        self.text = text
        """The answer, or the arguments of a tool call."""
        self.usage = usage
        """The tokens of all ``attempts``, as far as they are known; or ``None``."""
        self.attempts = attempts
        """How many generations were billed: 1, and one for each of ``reasks`` that was made."""


class OutputValidationError(OutputError):
    """The answer is not a value of the type, or not JSON. Its text is in ``.text`` only."""

    advice = (
        "See .path, .reason and .text; reasks=1 of fox.llm.parse asks the model again, which is "
        "billed."
    )

    def __init__(
        self,
        message: str,
        *,
        path: str = "",
        reason: str = "",
        completion: ChatCompletion | None = None,
        text: str = "",
        usage: Usage | None = None,
        attempts: int = 1,
    ) -> None:
        super().__init__(message, completion=completion, text=text, usage=usage, attempts=attempts)
        self.path = path
        """The path of the wrong value, such as ``pets[0].age``; empty for the whole answer."""
        self.reason = reason
        """What is wrong. Unlike the text of the error, it may have words of the answer."""


class OutputTruncatedError(OutputError):
    """The answer ends at the limit of tokens, so it is not used even where it is valid JSON."""

    advice = "Raise max_tokens, or ask for less; reasoning counts too."


class OutputRefusedError(OutputError):
    """The model refused to answer, or a filter of the provider held the answer back."""

    advice = "See .refusal, and change the prompt or the model; asking again is not likely to help."

    def __init__(
        self,
        message: str,
        *,
        refusal: str | None = None,
        completion: ChatCompletion | None = None,
        text: str = "",
        usage: Usage | None = None,
        attempts: int = 1,
    ) -> None:
        super().__init__(message, completion=completion, text=text, usage=usage, attempts=attempts)
        self.refusal = refusal
        """What the model says about it; ``None`` if a filter held the answer back."""
