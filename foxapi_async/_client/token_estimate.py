"""About how many tokens a request has, and how many its answer may have."""

from typing import Final

from msgspec import UNSET

from foxapi_async._wire.media_request import MediaRequest, TaskRequest
from foxapi_async._wire.request import GenerationRequest

# Measured on English prose. Other languages have up to one token a character.
_BYTES_PER_TOKEN: Final = 4
_TOKENS_PER_MESSAGE: Final = 4


def prompt_tokens_of(request: TaskRequest) -> int:
    """Return about how many tokens the texts of a request have; media do not count."""
    if isinstance(request, MediaRequest):
        return 0
    if isinstance(request, GenerationRequest):
        texts = [block.text for message in request.messages for block in message.blocks]
        framing = _TOKENS_PER_MESSAGE * len(request.messages)
    else:
        texts = [request.prompt, request.system_prompt or UNSET]
        framing = _TOKENS_PER_MESSAGE
    size = sum(len(text.encode()) for text in texts if isinstance(text, str))
    return framing + size // _BYTES_PER_TOKEN


def max_tokens_of(request: TaskRequest) -> int | None:
    """Return how many tokens the answers may have; ``None`` if the request does not say."""
    if isinstance(request, MediaRequest):
        return 0
    limit = request.max_tokens
    choices = 1
    if isinstance(request, GenerationRequest):
        limit = limit or request.max_completion_tokens
        choices = request.n if isinstance(request.n, int) else 1
    return limit * choices if isinstance(limit, int) else None
