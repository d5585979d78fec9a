"""Calls made again: tenacity turns the wheel, a pure function says when and whether."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from foxapi_async._clock import Clock, sleep
from foxapi_async._protocol.retry import GiveUp, RetryIn
from foxapi_async._transport.error_mapping import FailedAttempt
from foxapi_async._transport.judge import OnRetry

T = TypeVar("T")


async def retry_after_failure(
    attempt: Callable[[], Awaitable[T | FailedAttempt]],
    failed: FailedAttempt,
    delay: RetryIn,
    judge: Callable[[int, FailedAttempt], RetryIn | GiveUp],
    *,
    clock: Clock,
    on_retry: OnRetry | None,
) -> T | FailedAttempt:
    """Attempt again after the first attempt, which ``failed``, as long as ``judge`` says so.

    ``delay`` is what it said of the first one. Returns the first success or the last failure.
    Attempts return their failures; what they raise, a cancellation above all, ends all at once.
    """
    # tenacity counts from an attempt of its own: that is the one which has failed already.
    past = [failed]
    verdict: RetryIn | GiveUp = delay

    async def next_attempt() -> T | FailedAttempt:
        return past.pop() if past else await attempt()

    def go_on(state: tenacity.RetryCallState) -> bool:
        nonlocal verdict
        if state.outcome is None or state.outcome.failed:
            return False
        result: T | FailedAttempt = state.outcome.result()
        if not isinstance(result, FailedAttempt):
            return False
        if state.attempt_number > 1:
            verdict = judge(state.attempt_number, result)
        if isinstance(verdict, GiveUp):
            return False
        if on_retry is not None:
            on_retry(state.attempt_number, verdict.seconds, type(result.error).__name__)
        return True

    return await tenacity.AsyncRetrying(
        retry=go_on,
        wait=lambda _: verdict.seconds if isinstance(verdict, RetryIn) else 0.0,
        sleep=lambda seconds: sleep(clock, seconds),
    )(next_attempt)
