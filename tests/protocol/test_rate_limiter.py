"""Laws of the rate limit of GETs and of slowing down."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.bucket_queue import TICK
from foxapi_async._protocol.rate_limiter import MAX_PAUSE, RateLimiter

ceilings = st.integers(1, 200)


def starts(limiter: RateLimiter, begin: float, seconds: float) -> list[float]:
    """Start as many GETs as allowed at each tick; return their times."""
    times: list[float] = []
    for tick in range(int(seconds / TICK)):
        now = begin + tick * TICK
        while limiter.available(now):
            limiter.acquire(now)
            times.append(now)
    return times


@given(ceilings, st.lists(st.floats(0, 3), max_size=6))
def test_no_second_sees_more_starts_than_allowed(ceiling: int, gaps: list[float]) -> None:
    """In no second do more GETs start than the ceiling, whatever the gaps between them."""
    limiter = RateLimiter(ceiling)
    times: list[float] = []
    begin = 0.0
    for gap in [*gaps, 2.5]:
        times += starts(limiter, begin, 0.2)
        begin += 0.2 + gap
    times += starts(limiter, begin, 1.2)
    assert all(
        later - first > 1 - 1e-6 for first, later in zip(times, times[ceiling:], strict=False)
    )


@given(ceilings)
def test_nearly_the_whole_rate_can_be_used(ceiling: int) -> None:
    """The safety margin costs only a few percent of the rate."""
    assert len(starts(RateLimiter(ceiling), 0.0, 3.0)) >= 0.97 * 3 * ceiling - 1


@given(ceilings, st.floats(0, 1000))
def test_a_pause_is_kept_and_bounded(ceiling: int, pause: float) -> None:
    """After a 429 no GET starts during the pause, which is at most a minute."""
    limiter = RateLimiter(ceiling)
    kept = limiter.back_off(5.0, started_at=4.0, pause=pause)
    assert kept == min(pause, MAX_PAUSE)
    assert not limiter.available(5.0 + kept - 0.001)
    assert limiter.available(5.0 + kept)


@given(ceilings)
def test_the_rate_halves_once_and_grows_back(ceiling: int) -> None:
    """GETs that were in flight together halve the rate once; after 30 s it is the full rate."""
    limiter = RateLimiter(ceiling)
    for _ in range(5):
        limiter.back_off(10.0, started_at=9.0, pause=1.0)
    rates = [limiter.rate(10.0 + second) for second in range(33)]
    assert rates[0] == max(ceiling / 2, min(1, ceiling))
    assert all(before <= after for before, after in pairwise(rates) if before and after)
    assert rates[-1] == ceiling


def test_without_a_ceiling_the_measured_rate_is_halved() -> None:
    """Half of the GETs of the last second are allowed, and in the end there is no limit again."""
    limiter = RateLimiter(None)
    for number in range(400):
        assert limiter.available(number / 100)
        limiter.acquire(number / 100)
    limiter.back_off(4.0, started_at=3.9, pause=0.0)
    rate = limiter.rate(4.0)
    assert rate is not None
    assert 45 <= rate <= 55
    assert limiter.rate(40.0) is None
