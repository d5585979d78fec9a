"""What the exit code says, and which error has which."""

from enum import IntEnum
from typing import Final

from foxapi_async import errors


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    REFUSED = 2
    UNREACHABLE = 3
    UNKNOWN = 4
    UNWRITABLE = 74
    TIMEOUT = 124
    INTERRUPTED = 130


class UsageError(Exception):
    """The command line asks for something that cannot be; the text names the option and the fix."""


class OutputError(Exception):
    """stdout cannot be written; the text says why."""


EXIT_CODES: Final[dict[type[Exception], ExitCode]] = {
    UsageError: ExitCode.REFUSED,
    OutputError: ExitCode.UNWRITABLE,
    errors.ConfigError: ExitCode.REFUSED,
    errors.InvalidRequestError: ExitCode.REFUSED,
    errors.InvalidTaskIdError: ExitCode.REFUSED,
    errors.APIStatusError: ExitCode.REFUSED,
    errors.RateLimitError: ExitCode.UNREACHABLE,
    errors.InternalServerError: ExitCode.UNREACHABLE,
    errors.APIConnectionError: ExitCode.UNREACHABLE,
    errors.InvalidResponseError: ExitCode.UNREACHABLE,
    errors.SubmitOutcomeUnknownError: ExitCode.UNKNOWN,
    errors.TaskError: ExitCode.FAILED,
    errors.TaskTimeoutError: ExitCode.TIMEOUT,
    errors.TaskLostError: ExitCode.UNREACHABLE,
    errors.StreamError: ExitCode.UNREACHABLE,
    # The stream cannot be had, the result can: the request has to change.
    errors.StreamExpiredError: ExitCode.REFUSED,
    errors.StreamUnavailableError: ExitCode.REFUSED,
    errors.JournalError: ExitCode.REFUSED,
    # Mistakes in a program, so never of a task: its outcome was not learnt.
    errors.FoxAPIError: ExitCode.UNREACHABLE,
    errors.SessionClosedError: ExitCode.UNREACHABLE,
    errors.StreamConsumedError: ExitCode.UNREACHABLE,
    errors.UnboundHandleError: ExitCode.UNREACHABLE,
}
"""The exit code of each error; one that is not listed has that of its nearest listed base."""


def exit_code(error: BaseException) -> ExitCode | None:
    """Return the exit code of ``error``, or ``None`` for one that no command should end with."""
    if is_unknown_task(error):
        return ExitCode.REFUSED
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return None


def is_unknown_task(error: BaseException) -> bool:
    """Tell whether the service does not know the task, at one look or at several."""
    fault = getattr(error, "fault", None) if isinstance(error, errors.TaskLostError) else error
    return isinstance(fault, errors.NotFoundError)
