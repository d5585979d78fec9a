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
    TIMEOUT = 124
    INTERRUPTED = 130


class UsageError(Exception):
    """The command line asks for something that cannot be; the text names the option and the fix."""


EXIT_CODES: Final[dict[type[Exception], ExitCode]] = {
    UsageError: ExitCode.REFUSED,
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
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return None
