"""What the task of an entry has cost."""

import msgspec
from msgspec import Struct

from foxapi_async._journal.records import Entry
from foxapi_async._wire.task import TaskUsage


class EntryTokens(Struct, gc=False):
    """The tokens of one result."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Result(Struct, gc=False):
    usage: EntryTokens | None = None


class _Task(Struct, gc=False):
    usage: TaskUsage | None = None
    results: list[_Result] | None = None


_decode = msgspec.json.Decoder(_Task).decode


def read_usage(entry: Entry) -> tuple[float | None, list[EntryTokens]]:
    """Return the credits of an entry's task, and the tokens of each result, as the service says.

    The credits are ``None`` if the service did not say them.
    """
    if entry.task is None:
        return None, []
    try:
        task = _decode(entry.task)
    except (ValueError, RecursionError):
        # A task in another form has no usage that could be summed.
        return None, []
    used = [result.usage for result in task.results or () if result.usage is not None]
    return task.usage.credits if task.usage is not None else None, used


def read_cost(entry: Entry) -> tuple[float | None, int, int]:
    """Return the credits of an entry's task, and the tokens of its prompt and its answers.

    The credits are ``None`` if the service did not say them, and the tokens 0. Negative numbers,
    which would make room in a budget, count as not said.
    """
    credits_, used = read_usage(entry)
    prompt = sum(max(usage.prompt_tokens, 0) for usage in used)
    answer = sum(max(usage.completion_tokens, 0) for usage in used)
    return None if credits_ is None or credits_ < 0 else credits_, prompt, answer
