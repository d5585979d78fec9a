"""The usage of an answer, from what an upstream sends of it."""

from collections.abc import Sequence
from typing import Final

from foxapi_async._wire import completion
from foxapi_async.gateway import response_structs

_MAX_COUNT: Final = 2**53


class UsageCounter:
    """Finds the usage of all choices among the usages in the events of one answer.

    Servers send the usage in three ways. OpenAI sends that of the whole answer in one event without
    choices. vLLM, if it is configured so, also sends the usage so far of a choice with each of its
    chunks. llama.cpp sends one usage for each choice, in events without choices.

    Args:
        choices: The number of choices that the request asks for.
    """

    def __init__(self, choices: int) -> None:
        self._count = choices
        # The usages of events without choices, and the last usage of each choice.
        self._totals: list[completion.Usage] = []
        self._by_choice: dict[int, completion.Usage] = {}

    def add(self, received: completion.Usage, choices: Sequence[int]) -> None:
        """Add the usage of an event; one that cannot be true is ignored.

        Args:
            received: The usage.
            choices: The indexes of the choices of the event.
        """
        usage = _plausible_usage(received)
        if usage is None:
            return
        if self._count == 1 or len(choices) > 1:
            # The usage is that of all choices so far.
            self._totals = [usage]
        elif choices:
            self._by_choice[choices[0]] = usage
        else:
            self._totals.append(usage)

    @property
    def usage(self) -> completion.Usage | None:
        """The usage of the answer; ``None`` if it is unknown."""
        if len(self._totals) == 1:
            return self._totals[0]
        usages = self._totals or [*self._by_choice.values()]
        # Another number of usages leaves open which of them belong together.
        return _sum(usages) if len(usages) == self._count else None


def _sum(usages: Sequence[completion.Usage]) -> completion.Usage | None:
    """Add the usages of the choices, which share one prompt."""
    if len({usage.prompt_tokens for usage in usages}) != 1:
        return None
    prompt = usages[0].prompt_tokens
    tokens = sum(usage.completion_tokens for usage in usages)
    return response_structs.Usage(
        prompt_tokens=prompt, completion_tokens=tokens, total_tokens=prompt + tokens
    )


def _plausible_usage(usage: completion.Usage) -> completion.Usage | None:
    """Return the usage without unknown members; ``None`` if it cannot be true."""
    counts = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens
    named = {"prompt_tokens", "completion_tokens", "total_tokens"}
    total = sum(counts[:2])
    if named & usage.extra.keys() or min(counts) < 0 or max(counts) > _MAX_COUNT or not total:
        return None
    if usage.total_tokens and usage.total_tokens < total:
        return None
    return response_structs.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens or total,
        prompt_tokens_details=usage.prompt_tokens_details,
        completion_tokens_details=usage.completion_tokens_details,
    )
