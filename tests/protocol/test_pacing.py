"""Laws of the pacing of polls."""

from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.pacing import LONGEST_INTERVAL, ExponentialPacer
from foxapi_async.config import Exponential

positive = st.floats(min_value=1e-3, max_value=1e6)


@given(
    st.builds(
        Exponential,
        first=positive,
        factor=st.floats(min_value=1, max_value=1e6),
        cap=positive,
        jitter=st.floats(min_value=0, max_value=1),
    ),
    st.integers(min_value=0, max_value=10**9),
    st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_every_interval_is_bounded(pacing: Exponential, polls: int, roll: float) -> None:
    """No settings and no age of a task make an interval negative or longer than 30 seconds."""
    interval = ExponentialPacer(pacing).interval(age=0.0, polls=polls, roll=roll)
    assert 0 <= interval <= min(pacing.cap, LONGEST_INTERVAL)


def test_intervals_grow_to_the_cap() -> None:
    """Each interval is the factor times the one before, until the cap."""
    pacer = ExponentialPacer(Exponential(first=1, factor=2, cap=5, jitter=0))
    assert [pacer.interval(age=0, polls=n, roll=0.5) for n in range(5)] == [1, 2, 4, 5, 5]
