"""Laws of the pacing of polls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.pacing import LONGEST_INTERVAL, Look, pacer
from foxapi_async.config import Exponential, Fixed
from foxapi_async.errors import ConfigError

positive = st.floats(min_value=1e-3, max_value=1e6)
rolls = st.floats(min_value=0, max_value=1, exclude_max=True)
fixed = st.builds(Fixed, seconds=positive)
exponential = st.builds(
    Exponential,
    first=positive,
    factor=st.floats(min_value=1, max_value=1e6),
    cap=positive,
    jitter=st.floats(min_value=0, max_value=1, exclude_max=True),
)


def plain(polls: int) -> Look:
    """Return a look at a task of which only the number of polls matters."""
    return Look(model="m", age=0.0, polls=polls)


@given(fixed | exponential, st.integers(min_value=0, max_value=10**9), rolls)
def test_every_interval_is_bounded(pacing: Fixed | Exponential, polls: int, roll: float) -> None:
    """No settings and no age of a task make an interval vanish or last more than 30 seconds."""
    assert 0 < pacer(pacing).interval(plain(polls), roll) <= LONGEST_INTERVAL


def test_intervals_grow_to_the_cap() -> None:
    """Each interval is the factor times the one before, until the cap."""
    growing = pacer(Exponential(first=1, factor=2, cap=5, jitter=0))
    assert [growing.interval(plain(n), 0.5) for n in range(5)] == [1, 2, 4, 5, 5]


@given(fixed, rolls)
def test_a_fixed_interval_is_drawn_once(pacing: Fixed, roll: float) -> None:
    """Tasks submitted together start apart, and then each is looked at as often as was asked."""
    steady = pacer(pacing)
    longest = min(pacing.seconds, LONGEST_INTERVAL)
    assert longest / 2 <= steady.interval(plain(0), roll) <= longest
    assert steady.interval(plain(1), roll) == longest


@pytest.mark.parametrize("jitter", [1, 1.5])
def test_a_jitter_that_could_end_in_no_interval_is_refused(jitter: float) -> None:
    """A share of a whole interval would allow looks without a pause."""
    with pytest.raises(ConfigError, match=r"Exponential\.jitter"):
        Exponential(jitter=jitter)
