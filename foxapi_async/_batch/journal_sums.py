"""What the tasks of a journal have cost, and how far its submissions have come."""

from collections import Counter

import msgspec
from msgspec import Struct, field

from foxapi_async.journal import Entry, Journal, Stage


class ModelSum(Struct, kw_only=True):
    """The submissions to one model."""

    submitted: int = 0
    """Submissions that were accepted, or may have been."""
    completed: int = 0
    """Tasks with a result."""
    failed: int = 0
    """Tasks that failed or were cancelled."""
    prompt_tokens: int = 0
    """Tokens of the requests of completed tasks."""
    completion_tokens: int = 0
    """Tokens of the results."""
    credits: float = 0.0
    """The consumed credits of the tasks, or the reserved ones."""
    with_credits: int = 0
    """The tasks of which the service says the credits."""


class JournalSums(Struct, kw_only=True):
    """The submissions of a journal."""

    stages: Counter[str] = field(default_factory=Counter[str])
    """The submissions by stage."""
    models: dict[str, ModelSum] = field(default_factory=dict[str, ModelSum])
    """The submissions by model."""


async def count_stages(journal: Journal) -> Counter[str]:
    """Return how many submissions are at each stage."""
    stages: Counter[str] = Counter()
    async for entry in journal.scan(omit_bodies=True):
        stages[entry.stage.value] += 1
    return stages


async def sum_journal(journal: Journal) -> JournalSums:
    """Return what the submissions of a journal have cost."""
    sums = JournalSums()
    async for entry in journal.scan():
        sums.stages[entry.stage.value] += 1
        if entry.stage not in {Stage.REFUSED, Stage.UNREADABLE}:
            _add(sums.models.setdefault(entry.model, ModelSum()), entry)
    return sums


def _add(model: ModelSum, entry: Entry) -> None:
    model.submitted += 1
    model.completed += entry.stage is Stage.COMPLETED
    model.failed += entry.stage in {Stage.FAILED, Stage.CANCELLED}
    task = _task_of(entry)
    if task is None:
        return
    usage = task.usage
    if usage is not None:
        credits_ = (
            usage.credits_reserved if usage.credits_consumed is None else usage.credits_consumed
        )
        if credits_ is not None:
            model.credits += credits_
            model.with_credits += 1
    for result in task.results or ():
        if result.usage is not None:
            model.prompt_tokens += result.usage.prompt_tokens
            model.completion_tokens += result.usage.completion_tokens


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


def _task_of(entry: Entry) -> _Task | None:
    if entry.task is None:
        return None
    try:
        return _decode(entry.task)
    except (ValueError, RecursionError):
        # A task in another form has no usage that could be summed.
        return None


def mean_credits(model: ModelSum | None) -> float | None:
    """Return what a task of the model costs on average; ``None`` if nothing tells."""
    if model is None or not model.with_credits:
        return None
    return model.credits / model.with_credits
