"""Events of the attempts of one call. Built only if the session has a hook or logs at DEBUG."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from foxapi_async._clock import Clock
from foxapi_async._transport.error_mapping import FailedAttempt
from foxapi_async.errors import APIStatusError, InvalidResponseError
from foxapi_async.hooks import Event, RequestFinished, RequestStarted, RetryScheduled

T = TypeVar("T")

Emit = Callable[[Event], object]
"""Sends an event to the hooks. It must not raise."""


class AttemptTrace:
    """Emits ``RequestStarted`` when it is entered and ``RequestFinished`` when it is left.

    It is entered once for each attempt of one call, and counts the attempts. Set ``status`` when
    a response arrives; the status of an error is read from the error.
    """

    __slots__ = ("_attempt", "_clock", "_emit", "_error", "_method", "_path", "_started", "status")

    def __init__(self, emit: Emit, clock: Clock, *, method: str, path: str) -> None:
        self._emit = emit
        self._clock = clock
        self._method = method
        self._path = path
        self._attempt = 0
        self._started = 0.0
        self._error: BaseException | None = None
        self.status: int | None = None

    def record(self, result: T | FailedAttempt) -> T | FailedAttempt:
        """Keep the error of an attempt that returns its failure; return ``result``."""
        if isinstance(result, FailedAttempt):
            self._error = result.error
        return result

    def retry_scheduled(self, attempt: int, delay: float, reason: str) -> None:
        """Emit ``RetryScheduled``."""
        self._emit(
            RetryScheduled(
                method=self._method, path=self._path, attempt=attempt, delay=delay, reason=reason
            )
        )

    def __enter__(self) -> Self:
        self._attempt += 1
        self._error = self.status = None
        self._started = self._clock.time()
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
                seconds=self._clock.time() - self._started,
                status=status,
                error=_error_name(error),
            )
        )


def _error_name(error: BaseException | None) -> str | None:
    if isinstance(error, asyncio.CancelledError):
        # Its subclass CancelledInFlight is a signal between layers.
        return asyncio.CancelledError.__name__
    return None if error is None else type(error).__name__
