"""Retries of one call: tenacity runs the loop, ``foxapi_async._protocol.retry`` decides."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from foxapi_async._clock import Clock, sleep
from foxapi_async._protocol.retry import Effect, GiveUp, RetryIn, decide_retry
from foxapi_async._transport.error_mapping import FailedAttempt
from foxapi_async.config import RetryPolicy

if TYPE_CHECKING:
    import tenacity

T = TypeVar("T")

OnRetry = Callable[[int, float, str], object]
"""Called before each retry: the number of the failed attempt, the delay in seconds until the next
one, the class name of the error."""


class RetryDecider:
    """The retry decision of one call, with its clock, its random numbers and its deadline."""

    __slots__ = ("_clock", "_deadline", "_effect", "_policy", "_rand", "_started")

    def __init__(
        self,
        effect: Effect,
        policy: RetryPolicy,
        *,
        clock: Clock,
        rand: Callable[[], float],
        started: float,
        deadline: float | None,
    ) -> None:
        self._effect = effect
        self._policy = policy
        self._clock = clock
        self._rand = rand
        self._started = started
        self._deadline = deadline

    def decide(self, attempt: int, failed: FailedAttempt) -> RetryIn | GiveUp:
        """Return what follows attempt number ``attempt``, the first being 1."""
        now = self._clock.time()
        return decide_retry(
            self._effect,
            attempt,
            failed.facts,
            self._policy,
            rand=self._rand(),
            elapsed=now - self._started,
            remaining=None if self._deadline is None else self._deadline - now,
        )


async def retry_after_failure(
    attempt: Callable[[], Awaitable[T | FailedAttempt]],
    failed: FailedAttempt,
    decision: RetryIn,
    decider: RetryDecider,
    *,
    clock: Clock,
    on_retry: OnRetry | None,
) -> T | FailedAttempt:
    """Make further attempts after the first one has failed, as long as ``decider`` allows.

    An exception from ``attempt``, such as a cancellation, ends the retries at once.

    Args:
        attempt: Makes one attempt; it returns its failure.
        failed: The failure of the first attempt.
        decision: What ``decider`` has decided after the first attempt.
        decider: Decides after each further attempt.
        clock: The clock of the delays.
        on_retry: Called before each delay.

    Returns:
        The first success, or the last failure.
    """
    import tenacity

    # tenacity makes the first attempt itself: it gets the result of the attempt that failed.
    first = [failed]
    current: RetryIn | GiveUp = decision

    async def next_attempt() -> T | FailedAttempt:
        return first.pop() if first else await attempt()

    def should_retry(state: "tenacity.RetryCallState") -> bool:
        nonlocal current
        if state.outcome is None or state.outcome.failed:
            return False
        result: T | FailedAttempt = state.outcome.result()
        if not isinstance(result, FailedAttempt):
            return False
        if state.attempt_number > 1:
            current = decider.decide(state.attempt_number, result)
        if isinstance(current, GiveUp):
            return False
        if on_retry is not None:
            on_retry(state.attempt_number, current.seconds, type(result.error).__name__)
        return True

    return await tenacity.AsyncRetrying(
        retry=should_retry,
        wait=lambda _: current.seconds if isinstance(current, RetryIn) else 0.0,
        sleep=lambda seconds: sleep(clock, seconds),
    )(next_attempt)
