"""Further generations of ``parse`` after an answer that is not of the type."""

import logging
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from foxapi_async._client.submit_options import SubmitOptions, numbered_key, validate_key
from foxapi_async._wire.completion import Usage
from foxapi_async._wire.request import GenerationRequest, LLMRequest, Message
from foxapi_async.config import is_whole_number
from foxapi_async.errors import ConfigError, OutputError, OutputValidationError

_log = logging.getLogger("foxapi_async")


class Reask:
    """Counts the generations of one ``parse``, and builds the request of the next one.

    Args:
        most: How many further generations may be made.
        key: The key of the first generation.
    """

    def __init__(self, most: int, key: str | None) -> None:
        self._most = most
        self._key = key
        self._attempts = 0
        self._usage: Usage | None = None

    @classmethod
    def from_params(cls, reasks: object, params: Mapping[str, Any]) -> "Reask":
        """Check the number of reasks, and the keys that they will have.

        Raises:
            ConfigError: ``reasks`` is not a whole number.
            RequestValidationError: A key would be too long.
        """
        if not is_whole_number(reasks) or reasks < 0:
            raise ConfigError(f"parse(reasks=) must be a whole number from 0, got {reasks!r}")
        key = validate_key(params.get("key"))
        if key is not None and reasks:
            validate_key(numbered_key(key, reasks + 1))
        return cls(reasks, key)

    def count(self, error: OutputError) -> bool:
        """Count the generation that ended in ``error``; tell whether another one may be made."""
        self._attempts += 1
        self._usage = _sum(self._usage, error.usage)
        error.attempts, error.usage = self._attempts, self._usage
        return isinstance(error, OutputValidationError) and self._attempts <= self._most

    def next(
        self, request: LLMRequest, options: SubmitOptions, error: OutputError
    ) -> tuple[LLMRequest, SubmitOptions]:
        """Return the next request, which shows the model its answer and what is wrong with it."""
        attempt = self._attempts + 1
        task = error.completion.task if error.completion is not None else None
        _log.info(
            "the answer of task %s is not of the type: generation %d is submitted, and is billed",
            task.id if task is not None else "?",
            attempt,
        )
        if self._key is not None:
            options = replace(options, key=numbered_key(self._key, attempt))
        if isinstance(request, GenerationRequest) and isinstance(error, OutputValidationError):
            request = replace(request, messages=(*request.messages, *_messages(error)))
        return request, options


def _messages(error: OutputValidationError) -> tuple[Message, ...]:
    place = f"`{error.path}` " if error.path else "The answer "
    correction = Message(
        role="user",
        content=f"{place}{error.reason}. Answer again, with JSON of the schema and nothing else.",
    )
    # A service may refuse an empty message.
    answer = (Message(role="assistant", content=error.text),) if error.text else ()
    return (*answer, correction)


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    if one is None or other is None:
        return one or other
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        total_tokens=one.total_tokens + other.total_tokens,
    )
