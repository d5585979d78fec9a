"""What a budget has left, and what a submission will probably cost."""

from typing import Literal, NamedTuple

from msgspec import Struct

from foxapi_async.config import Budget
from foxapi_async.errors import BudgetExceededError

Unit = Literal["credits", "tokens", "tasks"]
_UNITS: tuple[Unit, ...] = ("credits", "tokens", "tasks")
# Sums of credits have the noise of floats.
_NOISE = 1e-9


class Cost(NamedTuple):
    """What one or more submissions cost."""

    credits: float = 0.0
    tokens: int = 0
    tasks: int = 0

    def plus(self, other: "Cost") -> "Cost":
        """Return the sum."""
        return Cost(
            self.credits + other.credits, self.tokens + other.tokens, self.tasks + other.tasks
        )


class BudgetUse(Struct, frozen=True, kw_only=True):
    """What the submissions under a budget have cost."""

    limit: Budget
    """The budget."""
    credits: float
    """Credits that are used or reserved."""
    tokens: int
    """Tokens that are used or expected."""
    tasks: int
    """Submissions that are accepted or under way, or whose outcome is unknown."""


class BudgetMeter:
    """Counts submissions against one budget."""

    __slots__ = ("_credits", "_tasks", "_tokens", "is_loaded", "limit")

    def __init__(self, limit: Budget) -> None:
        self.limit: Budget = limit
        # Whether the entries of the journal are counted.
        self.is_loaded: bool = False
        self._credits = 0.0
        self._tokens = 0
        self._tasks = 0

    @property
    def use(self) -> BudgetUse:
        """What is used."""
        return BudgetUse(
            limit=self.limit,
            credits=round(max(self._credits, 0.0), 9),
            tokens=max(self._tokens, 0),
            tasks=self._tasks,
        )

    def check(self, cost: Cost) -> None:
        """Raise ``BudgetExceededError`` if ``cost`` is more than what is left."""
        used = Cost(self._credits, self._tokens, self._tasks)
        for unit in _UNITS:
            limit: float | None = getattr(self.limit, unit)
            before, needed = getattr(used, unit), getattr(cost, unit)
            # A budget that is used up has no room for a submission of unknown cost either.
            is_exceeded = limit is not None and (
                before + needed > limit + _NOISE or (needed == 0 and before >= limit)
            )
            if is_exceeded and limit is not None:
                raise BudgetExceededError(
                    f"the budget of {limit:,.10g} {unit} is used up: {before:,.10g} are used or "
                    f"reserved, and this submission needs about {needed:,.10g}; nothing was sent",
                    unit=unit,
                    limit=limit,
                    used=before,
                    needed=needed,
                )

    def add(self, cost: Cost, *, instead_of: Cost = Cost()) -> None:  # noqa: B008 a tuple
        """Count ``cost``, in place of what was counted before."""
        self._credits += cost.credits - instead_of.credits
        self._tokens += cost.tokens - instead_of.tokens
        self._tasks += cost.tasks - instead_of.tasks


class Reservation:
    """The cost of one submission, as the budgets count it."""

    __slots__ = ("_meters", "cost", "model")

    def __init__(self, model: str, cost: Cost, meters: tuple[BudgetMeter, ...]) -> None:
        """Count ``cost``. ``BudgetExceededError`` if one of the budgets has too little left."""
        for meter in meters:
            meter.check(cost)
        self.model: str = model
        self.cost: Cost = cost
        self._meters = meters
        for meter in meters:
            meter.add(cost)

    def update(self, cost: Cost) -> None:
        """Count ``cost`` in place of what was expected."""
        for meter in self._meters:
            meter.add(cost, instead_of=self.cost)
        self.cost = cost

    def release(self) -> None:
        """Count nothing, because the service did not accept the submission."""
        self.update(Cost())


class _Mean:
    """The mean of the values so far, of which there is at least one."""

    __slots__ = ("_count", "_sum")

    def __init__(self, value: float) -> None:
        self._count, self._sum = 1, value

    def add(self, value: float) -> None:
        self._count += 1
        self._sum += value

    @property
    def value(self) -> float:
        return self._sum / self._count


def _add(means: dict[str, _Mean], model: str, value: float) -> None:
    if model in means:
        means[model].add(value)
    else:
        means[model] = _Mean(value)


class CostEstimates:
    """What tasks of each model have cost."""

    def __init__(self) -> None:
        self._credits: dict[str, _Mean] = {}
        self._answer_tokens: dict[str, _Mean] = {}
        # Models of which a response did not tell the credits.
        self._silent: set[str] = set()

    def knows_credits(self, model: str) -> bool:
        """Tell whether the service has said what a task of the model costs, or will not say."""
        return model in self._credits or model in self._silent

    def saw_credits(self, model: str, credits_: float | None) -> None:
        """Record the credits of one task, or that the service did not say them."""
        if credits_ is None:
            self._silent.add(model)
        else:
            _add(self._credits, model, credits_)

    def saw_answer(self, model: str, tokens: int) -> None:
        """Record the tokens of one answer."""
        _add(self._answer_tokens, model, tokens)

    def estimate(self, model: str, *, prompt_tokens: int, max_tokens: int | None) -> Cost:
        """Return the probable cost of one submission."""
        credits_, answer = self._credits.get(model), self._answer_tokens.get(model)
        bounds = [round(answer.value)] if answer is not None else []
        if max_tokens is not None:
            bounds.append(max_tokens)
        return Cost(
            credits=credits_.value if credits_ is not None else 0.0,
            tokens=prompt_tokens + min(bounds, default=0),
            tasks=1,
        )
