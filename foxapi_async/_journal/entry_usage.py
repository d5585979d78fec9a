"""What the task of an entry has used."""

import msgspec
from msgspec import Struct

from foxapi_async._wire.task import TaskUsage


class EntryUsage(Struct, frozen=True, kw_only=True):
    """What the service says that a task has used."""

    credits: float | None = None
    """The credits that the task has cost, or else the reserved ones; ``None`` if not said."""
    prompt_tokens: int = 0
    """The tokens of the prompt; 0 if not said."""
    completion_tokens: int = 0
    """The tokens of all results; 0 if not said."""


class _Tokens(Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Result(Struct, gc=False):
    usage: _Tokens | None = None


class _Task(Struct, gc=False):
    usage: TaskUsage | None = None
    results: list[_Result] | None = None


_decode = msgspec.json.Decoder(_Task).decode


def decode_usage(task: bytes) -> EntryUsage:
    """Return what the JSON of a task says about its usage.

    Negative numbers, which would make room in a budget, count as not said.
    """
    try:
        read = _decode(task)
    except (ValueError, RecursionError):
        # A task in another form has no usage that could be summed.
        return EntryUsage()
    used = [result.usage for result in read.results or () if result.usage is not None]
    found = read.usage.credits if read.usage is not None else None
    return EntryUsage(
        credits=None if found is None or found < 0 else found,
        prompt_tokens=sum(max(usage.prompt_tokens, 0) for usage in used),
        completion_tokens=sum(max(usage.completion_tokens, 0) for usage in used),
    )
