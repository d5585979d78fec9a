"""The retry decision of one call, on the session's clock."""

from collections.abc import Callable

from foxapi_async._clock import Clock
from foxapi_async._protocol.retry import Effect, GiveUp, RetryIn, decide
from foxapi_async._transport.error_mapping import FailedAttempt
from foxapi_async.config import RetryPolicy

OnRetry = Callable[[int, float, str], object]
"""Told of each retry: which attempt failed, the seconds until the next, the error's class."""


class RetryDecider:
    """The retry decision of one call, with the times and the chance that it needs filled in."""

    __slots__ = ("_began", "_clock", "_effect", "_ends", "_policy", "_roll")

    def __init__(
        self,
        effect: Effect,
        policy: RetryPolicy,
        *,
        clock: Clock,
        roll: Callable[[], float],
        began: float,
        ends: float | None,
    ) -> None:
        self._effect = effect
        self._policy = policy
        self._clock = clock
        self._roll = roll
        self._began = began
        self._ends = ends

    def __call__(self, attempt: int, failed: FailedAttempt) -> RetryIn | GiveUp:
        """Judge attempt number ``attempt``."""
        now = self._clock.time()
        return decide(
            self._effect,
            attempt,
            failed.facts,
            self._policy,
            rand=self._roll(),
            elapsed=now - self._began,
            remaining=None if self._ends is None else self._ends - now,
        )
