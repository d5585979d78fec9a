"""How a task ended, kept for everyone who asks."""

from copy import copy
from typing import Generic, TypeVar

R_co = TypeVar("R_co", covariant=True)


class Outcome(Generic[R_co]):
    """A result or an error."""

    __slots__ = ("_error", "_value")

    def __init__(self, value: R_co | None = None, error: Exception | None = None) -> None:
        self._value = value
        self._error = error

    @property
    def error(self) -> Exception | None:
        """What the task ended with instead of a result."""
        return self._error

    def get(self) -> R_co:
        """Return the result or raise the error.

        Each raise is of a copy: one error raised many times would collect every caller's frames.
        """
        if self._error is not None:
            raise copy(self._error)
        return self._value  # type: ignore[return-value]  # no error: the value was given
