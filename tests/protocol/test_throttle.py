"""Laws of the ceiling on GETs and of slowing down."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.bucket_queue import TICK
from foxapi_async._protocol.rate_limiter import MAX_PAUSE, RateLimiter

ceilings = st.integers(1, 200)


def starts(throttle: RateLimiter, begin: float, seconds: float) -> list[float]:
    """Start as many GETs as may be, looking once a tick, and return when."""
    times: list[float] = []
    for tick in range(int(seconds / TICK)):
        now = begin + tick * TICK
        while throttle.available(now):
            throttle.acquire(now)
            times.append(now)
    return times


@given(ceilings, st.lists(st.floats(0, 3), max_size=6))
def test_no_second_sees_more_starts_than_allowed(ceiling: int, gaps: list[float]) -> None:
    """However the starts are spread, no second holds more of them than the ceiling."""
    throttle = RateLimiter(ceiling)
    times: list[float] = []
    begin = 0.0
    for gap in [*gaps, 2.5]:
        times += starts(throttle, begin, 0.2)
        begin += 0.2 + gap
    times += starts(throttle, begin, 1.2)
    assert all(
        later - first > 1 - 1e-6 for first, later in zip(times, times[ceiling:], strict=False)
    )


@given(ceilings)
def test_nearly_all_that_is_allowed_can_be_used(ceiling: int) -> None:
    """The margin that keeps the ceiling costs a few percent of it."""
    assert len(starts(RateLimiter(ceiling), 0.0, 3.0)) >= 0.97 * 3 * ceiling - 1


@given(ceilings, st.floats(0, 1000))
def test_a_pause_is_kept_and_bounded(ceiling: int, pause: float) -> None:
    """After a 429 nothing starts until the pause is over, which is a minute at most."""
    throttle = RateLimiter(ceiling)
    kept = throttle.back_off(5.0, started_at=4.0, pause=pause)
    assert kept == min(pause, MAX_PAUSE)
    assert not throttle.available(5.0 + kept - 0.001)
    assert throttle.available(5.0 + kept)


@given(ceilings)
def test_the_rate_halves_once_and_grows_back(ceiling: int) -> None:
    """GETs that were under way together halve it once; half a minute later all is as before."""
    throttle = RateLimiter(ceiling)
    for _ in range(5):
        throttle.back_off(10.0, started_at=9.0, pause=1.0)
    rates = [throttle.rate(10.0 + second) for second in range(33)]
    assert rates[0] == max(ceiling / 2, min(1, ceiling))
    assert all(before <= after for before, after in pairwise(rates) if before and after)
    assert rates[-1] == ceiling


def test_without_a_ceiling_the_rate_comes_down_from_what_it_was() -> None:
    """Half of what was started in the last second is allowed, and in the end any number again."""
    throttle = RateLimiter(None)
    for number in range(400):
        assert throttle.available(number / 100)
        throttle.acquire(number / 100)
    throttle.back_off(4.0, started_at=3.9, pause=0.0)
    rate = throttle.rate(4.0)
    assert rate is not None
    assert 45 <= rate <= 55
    assert throttle.rate(40.0) is None
