"""One budget of a session: what is used of it, and what was said about that."""

from typing import Final

from msgspec import Struct

from foxapi_async._protocol.spent import UNITS, Cost, Spent, Unit
from foxapi_async.config import Budget

WARNED_SHARE: Final = 0.8
"""The share of a budget that is worth a warning."""


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
    """One budget, and what is used of it."""

    __slots__ = ("is_exceeded", "is_nearly_used", "limit", "spent")

    def __init__(self, limit: Budget) -> None:
        self.limit: Budget = limit
        # Where no journal counts: what this budget has paid for.
        self.spent: Spent = Spent()
        # Whether these were reported.
        self.is_nearly_used: bool = False
        self.is_exceeded: bool = False

    def use(self, total: Cost) -> BudgetUse:
        """Return ``total`` as users see it."""
        return BudgetUse(
            limit=self.limit,
            credits=round(total.credits, 9),
            tokens=total.tokens,
            tasks=total.tasks,
        )

    def find_nearly_used(self, total: Cost) -> tuple[Unit, float, float] | None:
        """Return the unit of which 80 % are used, its limit and what is used; ``None`` if none."""
        for unit in UNITS:
            limit: float | None = getattr(self.limit, unit)
            used: float = getattr(total, unit)
            if limit and used >= WARNED_SHARE * limit:
                return unit, limit, used
        return None
