"""An error in a line or two: what is wrong, and what to do about it."""

import shlex
from collections.abc import Callable, Iterator
from typing import Any, Final

from foxapi_async import errors
from foxapi_async.cli.exit_codes import is_unknown_task
from foxapi_async.types import Violation

_LONGEST: Final = 400

_OPTIONS: Final = {
    "max_tokens": "pass --max-tokens N",
    "temperature": "see --temperature",
    "model": "`foxapi models` lists them",
    "content": "`foxapi models` tells what each model takes",
    "extra": "see --param",
}
"""What to do about a member of the request that is wrong."""


def explain(error: Exception) -> list[str]:
    """Return what is wrong with its cause, then how to go on, one sentence a line."""
    if isinstance(error, errors.RequestValidationError):
        return [_violation(item) for item in error.violations]
    fault = error.fault if isinstance(error, errors.TaskLostError) else None
    if fault is not None and is_unknown_task(error):
        return explain(fault)
    first = shortened(str(error))
    request_id = getattr(error, "request_id", None)
    if request_id and request_id not in first:
        first += f" (request id {request_id})"
    return [first, *_remedies(error)]


def _violation(violation: Violation) -> str:
    hint = _hint(violation.param)
    if hint:
        return f"{shortened(violation.message)}: {hint}"
    named = violation.param in violation.message
    return shortened(violation.message if named else f"{violation.param}: {violation.message}")


def _hint(param: str | None) -> str | None:
    """Find the option for ``max_tokens`` or ``messages[0].content[1].type``."""
    name = "content" if ".content" in (param or "") else param or ""
    return _OPTIONS.get(name)


def _remedies(error: Exception) -> Iterator[str]:
    for kind in type(error).__mro__:
        if kind in _REMEDIES:
            remedy = _REMEDIES[kind](error)
            if remedy:
                yield remedy
            return


def _wait(error: Any) -> str:
    return f"its result is there: foxapi wait {error.task_id}"


def _wait_again(error: Any) -> str:
    command = f"foxapi wait {error.task_id}"
    if error.fault is None:
        return f"the task goes on, wait again: {command}"
    return f"check the network, and FOXAPI_BASE_URL, then wait again: {command}"


def _go_on(error: Any) -> str:
    resume = f" --resume {shlex.quote(error.cursor)}" if error.cursor else ""
    return f"go on with it: foxapi stream --task {error.task_id}{resume}"


def _retry_after(error: Any) -> str:
    wait = error.retry_after
    return f"try again in {wait:g} s" if wait else "try again later"


def _account(error: Any) -> str | None:
    if "FOXAPI_API_KEY" not in str(error):
        return None
    return "no account yet? `foxapi demo` needs none, nor does `foxapi serve`"


_REMEDIES: Final[dict[type, Callable[[Any], str | None]]] = {
    errors.ConfigError: _account,
    errors.UnprocessableEntityError: lambda error: _hint(error.param),
    errors.AuthenticationError: lambda _: "check FOXAPI_API_KEY, and FOXAPI_BASE_URL",
    errors.InsufficientQuotaError: lambda _: "top up the account, or use another key",
    errors.NotFoundError: lambda _: "check the id, and FOXAPI_BASE_URL",
    errors.RateLimitError: _retry_after,
    errors.APIConnectionError: lambda _: "check the network, and FOXAPI_BASE_URL",
    errors.InvalidResponseError: lambda _: "check FOXAPI_BASE_URL",
    errors.SubmitOutcomeUnknownError: (
        lambda _: "do not resubmit blindly: a task that was accepted is billed"
    ),
    errors.TaskTimeoutError: _wait_again,
    errors.TaskLostError: lambda error: f"try again later: foxapi wait {error.task_id}",
    errors.StreamInterruptedError: _go_on,
    errors.StreamExpiredError: _wait,
    errors.StreamUnavailableError: _wait,
}
"""How to go on after an error, by its nearest listed class."""


def shortened(text: str) -> str:
    """Return a text of the service, or of the system, on one line of bearable length."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
