"""Errors of commands: the exit code of each, and the lines that explain it on stderr."""

import shlex
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, Final

from foxapi_async import errors
from foxapi_async._batch.rows import BatchFileError, OutputUnwritableError
from foxapi_async.types import Violation

_MAX_LENGTH: Final = 400


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    REFUSED = 2
    UNREACHABLE = 3
    UNKNOWN = 4
    OVER_BUDGET = 5
    TOO_MANY_ERRORS = 6
    UNWRITABLE = 74
    TIMEOUT = 124
    INTERRUPTED = 130


class UsageError(Exception):
    """The command line cannot be carried out; the message names the option and the fix."""


class StdoutError(Exception):
    """stdout cannot be written; the message gives the reason."""


EXIT_CODES: Final[dict[type[Exception], ExitCode]] = {
    UsageError: ExitCode.REFUSED,
    StdoutError: ExitCode.UNWRITABLE,
    BatchFileError: ExitCode.REFUSED,
    OutputUnwritableError: ExitCode.UNWRITABLE,
    errors.ConfigError: ExitCode.REFUSED,
    errors.BudgetExceededError: ExitCode.REFUSED,
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
    # The result is still available, so the command line has to change.
    errors.StreamExpiredError: ExitCode.REFUSED,
    errors.StreamUnavailableError: ExitCode.REFUSED,
    errors.OutputError: ExitCode.FAILED,
    errors.FileTransferError: ExitCode.UNREACHABLE,
    errors.UploadOutcomeUnknownError: ExitCode.UNKNOWN,
    errors.LinkExpiredError: ExitCode.REFUSED,
    errors.LinkRefusedError: ExitCode.REFUSED,
    errors.JournalError: ExitCode.REFUSED,
    # Mistakes in a program. They say nothing about the outcome of a task.
    errors.FoxAPIError: ExitCode.UNREACHABLE,
    errors.SessionClosedError: ExitCode.UNREACHABLE,
    errors.StreamConsumedError: ExitCode.UNREACHABLE,
    errors.UnboundHandleError: ExitCode.UNREACHABLE,
}
"""The exit code of each error; a class that is not listed has the code of its nearest base."""


def exit_code(error: BaseException) -> ExitCode | None:
    """Return the exit code of ``error``, or ``None`` for an error that no command expects."""
    if is_unknown_task(error):
        return ExitCode.REFUSED
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return None


def is_unknown_task(error: BaseException) -> bool:
    """Return whether the service answered that it does not know the task, once or repeatedly."""
    return isinstance(_cause(error) or error, errors.NotFoundError)


def _cause(error: BaseException) -> errors.FoxAPIError | None:
    """Return the error of the last poll if the state of the task was never known."""
    timed_out = isinstance(error, errors.TaskTimeoutError) and getattr(error, "task", None) is None
    if isinstance(error, errors.TaskLostError) or timed_out:
        return getattr(error, "fault", None)
    return None


def explain(error: Exception) -> list[str]:
    """Return the lines for ``error``: what is wrong and why, then what to do."""
    if isinstance(error, errors.RequestValidationError):
        return [_violation_line(item) for item in error.violations]
    cause = _cause(error)
    if cause is not None and is_unknown_task(error):
        return explain(cause)
    first = one_line(str(error))
    request_id = getattr(error, "request_id", None)
    if request_id and request_id not in first:
        first += f" (request id {request_id})"
    return [first, *_advice(error)]


def one_line(text: str) -> str:
    """Return ``text`` on one line of at most 400 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_LENGTH else f"{line[:_MAX_LENGTH]}…"


_OPTION_HINTS: Final = {
    "max_tokens": "pass --max-tokens N",
    "temperature": "see --temperature",
    "model": "`foxapi models` lists the models",
    "content": "`foxapi models` shows what each model accepts",
    "extra": "see --param",
}
"""What to do about an invalid member of the request."""


def _option_hint(param: str | None) -> str | None:
    """Return the hint for a path such as ``max_tokens`` or ``messages[0].content[1].type``."""
    name = "content" if ".content" in (param or "") else param or ""
    return _OPTION_HINTS.get(name)


def _violation_line(violation: Violation) -> str:
    hint = _option_hint(violation.param)
    if hint:
        return f"{one_line(violation.message)}: {hint}"
    named = violation.param in violation.message
    return one_line(violation.message if named else f"{violation.param}: {violation.message}")


def _advice(error: Exception) -> Iterator[str]:
    for kind in type(error).__mro__:
        if kind in _ADVICE:
            advice = _ADVICE[kind](error)
            if advice:
                yield advice
            return


def _wait_for_result(error: Any) -> str:
    return f"get the result: foxapi wait {error.task_id}"


def _wait_again(error: Any) -> str:
    command = f"foxapi wait {error.task_id}"
    if error.fault is None:
        return f"the task goes on, wait again: {command}"
    return f"check the network and FOXAPI_BASE_URL, then wait again: {command}"


def _resume_stream(error: Any) -> str:
    resume = f" --resume {shlex.quote(error.cursor)}" if error.cursor else ""
    return f"resume it: foxapi stream --task {error.task_id}{resume}"


def _retry_after(error: Any) -> str:
    wait = error.retry_after
    return f"try again in {wait:g} s" if wait else "try again later"


def _no_account(error: Any) -> str | None:
    if "FOXAPI_API_KEY" not in str(error):
        return None
    return "no account yet? `foxapi demo` and `foxapi serve` need none"


_ADVICE: Final[dict[type, Callable[[Any], str | None]]] = {
    errors.ConfigError: _no_account,
    errors.UnprocessableEntityError: lambda error: _option_hint(error.param),
    errors.AuthenticationError: lambda _: "check FOXAPI_API_KEY and FOXAPI_BASE_URL",
    errors.InsufficientQuotaError: lambda _: "top up the account, or use another key",
    errors.NotFoundError: lambda _: "check the id and FOXAPI_BASE_URL",
    errors.RateLimitError: _retry_after,
    errors.APIConnectionError: lambda _: "check the network and FOXAPI_BASE_URL",
    errors.InvalidResponseError: lambda _: "check FOXAPI_BASE_URL",
    errors.SubmitOutcomeUnknownError: (
        lambda _: "do not resubmit blindly: a task that was accepted is billed"
    ),
    errors.LinkExpiredError: lambda _: "a task may have newer links: foxapi download ID",
    errors.LinkRefusedError: lambda _: "links are http(s) URLs of public addresses",
    errors.UploadOutcomeUnknownError: lambda _: "upload it again: uploads are not billed",
    errors.TaskTimeoutError: _wait_again,
    errors.TaskLostError: lambda error: f"try again later: foxapi wait {error.task_id}",
    errors.StreamInterruptedError: _resume_stream,
    errors.StreamExpiredError: _wait_for_result,
    errors.StreamUnavailableError: _wait_for_result,
}
"""What to do after an error, by its nearest listed class."""
