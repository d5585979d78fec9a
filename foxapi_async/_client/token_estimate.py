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


class TokenEstimates:
    """How many tokens submissions will probably use, by the answers of each model so far."""

    def __init__(self) -> None:
        # Their number and the sum of their tokens.
        self._sums: dict[str, tuple[int, int]] = {}

    def saw_answer(self, model: str, tokens: int) -> None:
        """Record the tokens of one answer."""
        answers, total = self._sums.get(model, (0, 0))
        self._sums[model] = answers + 1, total + tokens

    def estimate(self, request: TaskRequest) -> int:
        """Return about how many tokens a request and its answers have."""
        answers, total = self._sums.get(request.model, (0, 0))
        mean = round(total / answers) if answers else None
        return prompt_tokens_of(request) + answer_tokens_of(request, mean)


def answer_tokens_of(request: TaskRequest, mean: int | None) -> int:
    """Return about how many tokens the answers have, of which ``mean`` is that of the model."""
    return min((it for it in (mean, max_tokens_of(request)) if it is not None), default=0)
