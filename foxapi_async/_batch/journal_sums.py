"""What the tasks of a journal have cost, and how far its submissions have come."""

from collections import Counter

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
    usage = entry.read_usage()
    if usage.credits is not None:
        model.credits += usage.credits
        model.with_credits += 1
    model.prompt_tokens += usage.prompt_tokens
    model.completion_tokens += usage.completion_tokens


def mean_credits(model: ModelSum | None) -> float | None:
    """Return what a task of the model costs on average; ``None`` if nothing tells."""
    if model is None or not model.with_credits:
        return None
    return model.credits / model.with_credits
