"""Errors of requests that were not sent."""

from collections.abc import Sequence

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


class InvalidTaskIdError(FoxAPIError):
    """The text cannot be a task id, so no request was sent (contract §4.1)."""

    advice = "Pass the id as the service gave it."
