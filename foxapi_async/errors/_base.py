"""The class of all errors, and those of the configuration and the journal."""

from collections.abc import Callable
from typing import Any


class FoxAPIError(Exception):
    """Anything that went wrong between you and the service."""

    advice: str = "Catch this class to handle whatever can go wrong between you and the service."
    """What can be done about the error. A traceback prints it below the text."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.add_note(self.advice)

    def __reduce__(self) -> tuple[Callable[..., BaseException], tuple[Any, ...]]:
        """Rebuild from the attributes, because pickle cannot call keyword-only constructors."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(
    kind: type[BaseException], args: tuple[object, ...], state: dict[str, Any]
) -> BaseException:
    error = kind.__new__(kind, *args)
    # An OSError, which a TimeoutError is, takes its arguments in the constructor that is left out.
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigError(FoxAPIError):
    """A setting is missing or wrong; the text names it. Nothing was sent."""

    advice = "Correct the setting that the text names."


class JournalError(FoxAPIError):
    """The journal could not be written or read."""

    advice = "Correct the journal as the text says. Until then `submit` raises this error."
