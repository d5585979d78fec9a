"""What the task of an entry has cost."""

import msgspec
from msgspec import Struct

from foxapi_async._journal.records import Entry


class _Tokens(Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Result(Struct, gc=False):
    usage: _Tokens | None = None


class _Credits(Struct, gc=False):
    credits_reserved: float | None = None
    credits_consumed: float | None = None


class _Task(Struct, gc=False):
    usage: _Credits | None = None
    results: list[_Result] | None = None


_decode = msgspec.json.Decoder(_Task).decode


def read_cost(entry: Entry) -> tuple[float | None, int, int]:
    """Return the credits of an entry's task, and the tokens of its prompt and its answers.

    The credits are ``None`` if the service did not say them, and the tokens 0. Negative numbers,
    which would make room in a budget, count as not said.
    """
    if entry.task is None:
        return None, 0, 0
    try:
        task = _decode(entry.task)
    except (ValueError, RecursionError):
        # A task in another form has no usage that could be summed.
        return None, 0, 0
    used = [result.usage for result in task.results or () if result.usage is not None]
    prompt = sum(max(usage.prompt_tokens, 0) for usage in used)
    answer = sum(max(usage.completion_tokens, 0) for usage in used)
    cost = task.usage
    if cost is None:
        return None, prompt, answer
    reserved, consumed = cost.credits_reserved, cost.credits_consumed
    credits_ = reserved if consumed is None else consumed
    return None if credits_ is None or credits_ < 0 else credits_, prompt, answer
