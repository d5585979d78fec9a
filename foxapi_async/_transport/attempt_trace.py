"""What hooks are told of one attempt. Nobody builds this when nobody listens."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from foxapi_async._clock import Clock
from foxapi_async._transport.error_mapping import FailedAttempt
from foxapi_async._transport.response import HTTPResponse
from foxapi_async.errors import APIStatusError, InvalidResponseError
from foxapi_async.hooks import Event, RequestFinished, RequestStarted

T = TypeVar("T")

Emit = Callable[[Event], object]
"""Takes an event to whoever listens. It must not raise."""


class AttemptTrace:
    """Tells that an attempt begins when it is entered, and how it ended when it is left.

    ``status`` is to be set by whoever gets an answer; that of an error is read from the error.
    """

    __slots__ = ("_attempt", "_began", "_clock", "_emit", "_error", "_method", "_path", "status")

    def __init__(
        self, emit: Emit, clock: Clock, *, method: str, path: str, attempt: int = 1
    ) -> None:
        self._emit = emit
        self._clock = clock
        self._method = method
        self._path = path
        self._attempt = attempt
        self._began = 0.0
        self._error: BaseException | None = None
        self.status: int | None = None

    def note(self, result: T | FailedAttempt) -> T | FailedAttempt:
        """Remember the error of an attempt that returns its failure; hand the result on."""
        if isinstance(result, FailedAttempt):
            self._error = result.error
        return result

    def watch(self, finish: Callable[[HTTPResponse], T]) -> Callable[[HTTPResponse], T]:
        """Return ``finish``, which also notes the status of the answer that it is given."""

        def seen(answer: HTTPResponse) -> T:
            self.status = answer.status
            return finish(answer)

        return seen

    def __enter__(self) -> Self:
        self._began = self._clock.time()
        self._emit(RequestStarted(method=self._method, path=self._path, attempt=self._attempt))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        error = error or self._error
        status = self.status
        if isinstance(error, APIStatusError | InvalidResponseError):
            status = error.status
        self._emit(
            RequestFinished(
                method=self._method,
                path=self._path,
                attempt=self._attempt,
                seconds=self._clock.time() - self._began,
                status=status,
                error=_named(error),
            )
        )


def _named(error: BaseException | None) -> str | None:
    if isinstance(error, asyncio.CancelledError):
        # What else a cancellation tells is between the layers.
        return asyncio.CancelledError.__name__
    return None if error is None else type(error).__name__
