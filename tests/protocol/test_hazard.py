"""Laws of learning the hazard from the durations of tasks."""

from math import exp, inf, log, pi, sqrt
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foxapi_async._protocol.hazard import MAX_DURATION, MAX_DURATIONS, Hazard

durations = st.lists(st.floats(min_value=1e-3, max_value=MAX_DURATION), max_size=100)
ages = st.floats(min_value=0, max_value=MAX_DURATION)
steps = st.floats(min_value=1e-3, max_value=10)


def taught(seen: list[float]) -> Hazard:
    """Return a hazard that has learnt these durations."""
    hazard = Hazard()
    for duration in seen:
        hazard.learn(duration)
    return hazard


@given(durations, ages, steps)
def test_advance_is_monotonic(seen: list[float], age: float, step: float) -> None:
    """A step gives a later age, and a longer step no earlier age, after any durations."""
    hazard = taught(seen)
    assert age < hazard.advance(age, step) <= hazard.advance(age, 2 * step) < inf


@given(durations, ages, steps, st.floats(min_value=0.01, max_value=0.99))
def test_steps_add_up(seen: list[float], age: float, step: float, share: float) -> None:
    """Two steps give the same age as their sum."""
    hazard = taught(seen)
    halfway = hazard.advance(age, share * step)
    whole = hazard.advance(age, step)
    assert hazard.advance(halfway, (1 - share) * step) == pytest.approx(whole, rel=1e-6, abs=1e-6)


@given(ages, steps, st.floats(min_value=1, max_value=100))
def test_an_unknown_hazard_has_no_scale(age: float, step: float, scale: float) -> None:
    """Without durations the hazard is that of a task of unknown scale, from an onset of 1 s."""
    step = min(step, 1.0)
    hazard = Hazard()
    stretched = hazard.advance(scale * (age + 1) - 1, sqrt(scale) * step)
    assert stretched + 1 == pytest.approx(scale * (hazard.advance(age, step) + 1))


@settings(max_examples=25)
@given(durations, st.lists(st.floats(min_value=1e-3, max_value=1e3), min_size=1), ages, steps)
def test_only_the_last_durations_count(
    early: list[float], late: list[float], age: float, step: float
) -> None:
    """Durations before the last 256 have no influence."""
    early = early[: len(early) // 8 * 8]  # so that both rebuild after the same duration
    late = (late * MAX_DURATIONS)[:MAX_DURATIONS]
    assert taught(early + late).advance(age, step) == taught(late).advance(age, step)


def test_memory_is_bounded() -> None:
    """After 10,000 durations there are 256 durations and at most 40 knots."""
    many = taught([1 + number * 0.618 % 1 for number in range(10_000)])
    lengths = [
        len(getattr(many, name)) for name in ("_durations", "_sorted", "_ages", "_inverse_slopes")
    ]
    assert lengths[:2] == [MAX_DURATIONS, MAX_DURATIONS]
    assert max(lengths[2:]) <= 40


def lognormal_integral(median: float, sigma: float, age: float) -> float:
    """Integrate the square root of a lognormal distribution's hazard from 0 to ``age``."""
    total, left, pieces = 0.0, 1.0, 5_000
    width = age / pieces
    for number in range(pieces):
        middle = (number + 0.5) * width
        bell = exp(-((log(middle / median) / sigma) ** 2) / 2)
        finishing = width * bell / (middle * sigma * sqrt(2 * pi))
        total += sqrt(finishing / (left - finishing / 2) * width)
        left -= finishing
    return total


@pytest.mark.parametrize("median", [0.5, 6.0, 90.0])
def test_a_known_distribution_is_learnt(median: float) -> None:
    """Between the 10th and the 90th percentile the integral is within 2% of the true one."""
    sigma = 0.5
    early, late = median * exp(-1.2816 * sigma), median * exp(1.2816 * sigma)
    truth = lognormal_integral(median, sigma, late) - lognormal_integral(median, sigma, early)
    normal = NormalDist(log(median), sigma)
    shares = [(number * 0.618034 + 0.5) % 1 for number in range(MAX_DURATIONS)]
    hazard = taught([exp(normal.inv_cdf(share)) for share in shares])
    assert hazard.advance(early, truth) == pytest.approx(late, rel=0.02)
