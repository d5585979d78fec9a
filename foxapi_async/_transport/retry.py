"""Calls made again: tenacity turns the wheel, a pure function says when and whether."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from foxapi_async._clock import Clock, sleep
from foxapi_async._protocol.backoff import Delay, Stop
from foxapi_async._transport.faults import Failure
from foxapi_async._transport.judge import OnRetry

T = TypeVar("T")


async def again(
    attempt: Callable[[], Awaitable[T | Failure]],
    failed: Failure,
    delay: Delay,
    judge: Callable[[int, Failure], Delay | Stop],
    *,
    clock: Clock,
    on_retry: OnRetry | None,
) -> T | Failure:
    """Attempt again after the first attempt, which ``failed``, as long as ``judge`` says so.

    ``delay`` is what it said of the first one. Returns the first success or the last failure.
    Attempts return their failures; what they raise, a cancellation above all, ends all at once.
    """
    # tenacity counts from an attempt of its own: that is the one which has failed already.
    past = [failed]
    verdict: Delay | Stop = delay

    async def next_attempt() -> T | Failure:
        return past.pop() if past else await attempt()

    def go_on(state: tenacity.RetryCallState) -> bool:
        nonlocal verdict
        if state.outcome is None or state.outcome.failed:
            return False
        result: T | Failure = state.outcome.result()
        if not isinstance(result, Failure):
            return False
        if state.attempt_number > 1:
            verdict = judge(state.attempt_number, result)
        if isinstance(verdict, Stop):
            return False
        if on_retry is not None:
            on_retry(state.attempt_number, verdict.seconds, type(result.error).__name__)
        return True

    return await tenacity.AsyncRetrying(
        retry=go_on,
        wait=lambda _: verdict.seconds if isinstance(verdict, Delay) else 0.0,
        sleep=lambda seconds: sleep(clock, seconds),
    )(next_attempt)
