"""Errors of requests that were not sent."""

from collections.abc import Sequence
from typing import Literal

from foxapi_async._wire.violation import Violation
from foxapi_async.errors._base import FoxAPIError


class InvalidRequestError(FoxAPIError):
    """The request is invalid, for this package or for the service. Nothing was billed."""

    advice = "Correct the member that .param names."

    code: str | None
    """The service's code for the mistake."""
    param: str | None
    """The member of the request that is wrong."""


class RequestValidationError(InvalidRequestError):
    """The request was rejected before it was sent."""

    advice: str = "Correct what .violations lists."

    def __init__(self, violations: Sequence[Violation], *, advice: str | None = None) -> None:
        self.advice = advice or self.advice
        self.violations: tuple[Violation, ...] = tuple(violations)
        """All violations of the request."""
        self.code: str | None = self.violations[0].code
        self.param: str | None = self.violations[0].param
        super().__init__("; ".join(f"{v.param}: {v.message} [{v.code}]" for v in self.violations))


class BudgetExceededError(FoxAPIError):
    """The submission would exceed a ``Budget``. Nothing was sent."""

    advice = "Raise the budget, or submit less; what is running can still be awaited."

    def __init__(
        self,
        message: str,
        *,
        unit: Literal["credits", "tokens", "tasks"],
        limit: float,
        used: float,
        needed: float,
    ) -> None:
        super().__init__(message)
        self.unit: Literal["credits", "tokens", "tasks"] = unit
        """What the budget limits."""
        self.limit = limit
        """The limit of the budget."""
        self.used = used
        """What earlier submissions have used or reserved."""
        self.needed = needed
        """What the submission would probably use."""


class InvalidTaskIdError(FoxAPIError):
    """The text cannot be a task id, so no request was sent (contract §4.1)."""

    advice = "Pass the id as the service gave it."
