"""What tasks have cost, in sums by model, and whether a budget has room for one more."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from foxapi_async.config import Budget
from foxapi_async.errors import BudgetExceededError

Unit = Literal["credits", "tokens", "tasks"]
"""What a budget limits."""
UNITS: Final[tuple[Unit, ...]] = ("credits", "tokens", "tasks")

# Sums of credits have the noise of floats.
_NOISE: Final = 1e-9
# Bounds of what the service says about one task, so that no sum overflows.
_MAX_CREDITS: Final = 1e12
_MAX_TOKENS: Final = 10**12


class PriceUnknownError(Exception):
    """The price of a model is not known yet, and another process has the first task of it."""


class Cost(NamedTuple):
    """What one or more submissions cost."""

    credits: float = 0.0
    tokens: int = 0
    tasks: int = 0


class CostState(StrEnum):
    """How certain the cost of a submission is."""

    FIRST = "first"
    """The price of the model was not known when it was sent: others wait for its end."""
    OPEN = "open"
    """Its task is not known to have ended."""
    ENDED = "ended"
    """Its task has ended."""
    SILENT = "silent"
    """Its task is completed, and the service has not said its credits."""
    REPLACED = "replaced"
    """Its outcome is unknown, and another submission has taken its place: both may be billed."""


class TaskCost(Struct, frozen=True, kw_only=True):
    """The cost of one submission."""

    tokens: int
    """Its tokens, or how many are expected."""
    credits: float | None = None
    """Its credits, as the service says; ``None`` counts as the mean of the model."""
    answer_tokens: int | None = None
    """The tokens of its answer, if it has one."""
    state: CostState = CostState.OPEN
    """How certain it is."""

    def accepted(self, credits_: float | None) -> "TaskCost":
        """Return the cost of an accepted task. Without its credits, a first one stays the first."""
        found = _bounded(credits_)
        if found is None or self.state not in UNDER_WAY:
            return self
        return TaskCost(tokens=self.tokens, credits=found)

    def opened(self) -> "TaskCost":
        """Return the cost of a submission for which no other one waits any more."""
        if self.state is not CostState.FIRST:
            return self
        return TaskCost(tokens=self.tokens, credits=self.credits)

    def ended(
        self,
        *,
        credits_: float | None,
        prompt_tokens: int,
        answer_tokens: int,
        is_completed: bool,
    ) -> "TaskCost":
        """Return the cost of a task that has ended. What is not said stays as it was."""
        found = _bounded(credits_)
        if found is None:
            found = self.credits
        prompt_tokens, answer_tokens = _tokens(prompt_tokens), _tokens(answer_tokens)
        is_silent = is_completed and found is None
        return TaskCost(
            tokens=prompt_tokens + answer_tokens or self.tokens,
            credits=found,
            answer_tokens=answer_tokens or self.answer_tokens,
            state=CostState.SILENT if is_silent else CostState.ENDED,
        )


UNDER_WAY: Final = frozenset({CostState.FIRST, CostState.OPEN})
"""The states of a submission whose end is not known."""


class ModelSpent(Struct, frozen=True, kw_only=True):
    """The sums of one model."""

    tasks: int = 0
    """Its submissions."""
    tokens: int = 0
    """Their tokens, used or expected."""
    priced: int = 0
    """The submissions of which the service has said the credits."""
    credits: float = 0.0
    """The credits of these."""
    answers: int = 0
    """The tasks of which the tokens of the answer are known."""
    answer_tokens: int = 0
    """The tokens of these answers."""
    silent: int = 0
    """The completed tasks of which the service has not said the credits."""

    def changed(self, before: TaskCost | None, after: TaskCost | None) -> "ModelSpent":
        """Return the sums with one cost in place of another."""
        sums = self
        if before is not None:
            sums = sums.plus(before, -1)
        if after is not None:
            sums = sums.plus(after, 1)
        return sums

    def plus(self, cost: TaskCost, sign: int) -> "ModelSpent":
        """Return the sums with a cost more, or, with a ``sign`` of -1, without it."""
        is_priced = cost.credits is not None
        priced = self.priced + sign * is_priced
        has_answer = cost.answer_tokens is not None
        return ModelSpent(
            tasks=self.tasks + sign,
            tokens=self.tokens + sign * cost.tokens,
            priced=priced,
            # The noise of floats must not outlive the last cost.
            credits=self.credits + sign * (cost.credits or 0.0) if priced else 0.0,
            answers=self.answers + sign * has_answer,
            answer_tokens=self.answer_tokens + sign * (cost.answer_tokens or 0),
            silent=self.silent + sign * (cost.state is CostState.SILENT),
        )


_NOTHING_SPENT: Final = ModelSpent()


class Spent:
    """The sums of all models."""

    __slots__ = ("models",)

    def __init__(self, models: Mapping[str, ModelSpent] | None = None) -> None:
        self.models: dict[str, ModelSpent] = dict(models or {})

    def change(self, model: str, before: TaskCost | None, after: TaskCost | None) -> None:
        """Count one cost in place of another."""
        self.models[model] = self.models.get(model, _NOTHING_SPENT).changed(before, after)

    def price(self, model: str) -> float | None:
        """Return the mean credits of a task; ``None`` if nothing tells.

        It is 0 if a task is completed and the service has said the credits of none.
        """
        sums = self.models.get(model, _NOTHING_SPENT)
        if sums.priced > 0:
            return max(sums.credits, 0.0) / sums.priced
        return 0.0 if sums.silent > 0 else None

    def answer_tokens(self, model: str) -> int | None:
        """Return the mean tokens of an answer; ``None`` if there is none yet."""
        sums = self.models.get(model, _NOTHING_SPENT)
        return round(sums.answer_tokens / sums.answers) if sums.answers > 0 else None

    def total(self, prices: "Spent | None" = None) -> Cost:
        """Return the cost of all submissions.

        One whose credits are not known counts as the mean of its model in ``prices``, which are
        these sums by default.
        """
        prices = prices or self
        credits_ = 0.0
        tokens = tasks = 0
        for model, sums in self.models.items():
            unpriced = sums.tasks - sums.priced
            credits_ += sums.credits + unpriced * (prices.price(model) or 0.0)
            tokens += sums.tokens
            tasks += sums.tasks
        return Cost(max(credits_, 0.0), max(tokens, 0), max(tasks, 0))

    def needed(self, model: str, tokens: int) -> Cost:
        """Return what a submission will probably cost."""
        return Cost(self.price(model) or 0.0, tokens, 1)


def limits_credits(limits: Iterable[Budget]) -> bool:
    """Tell whether one of the budgets limits credits, so that prices must be known."""
    return any(limit.credits is not None for limit in limits)


def find_exceeded(limits: Iterable[Budget], used: Cost, needed: Cost) -> BudgetExceededError | None:
    """Return the error of the first budget that has too little left."""
    for limit in limits:
        for unit in UNITS:
            most: float | None = getattr(limit, unit)
            before, more = getattr(used, unit), getattr(needed, unit)
            # A budget that is used up has no room for a submission of unknown cost either.
            if most is not None and (
                before + more > most + _NOISE or (more == 0 and before >= most)
            ):
                return BudgetExceededError(
                    f"the budget of {most:,.10g} {unit} is used up: {before:,.10g} are used or "
                    f"reserved, and this submission needs about {more:,.10g}; nothing was sent",
                    unit=unit,
                    limit=most,
                    used=before,
                    needed=more,
                )
    return None


def _bounded(credits_: float | None) -> float | None:
    """Return credits that a sum can hold; negative ones would make room that the budget forbids."""
    return min(credits_, _MAX_CREDITS) if credits_ is not None and credits_ >= 0 else None


def _tokens(tokens: int) -> int:
    return min(max(tokens, 0), _MAX_TOKENS)
