"""Laws of the pacing of polls."""

from collections.abc import Iterable
from math import exp, inf, log, nan
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.pacing import (
    MAX_INTERVAL,
    MAX_MODELS,
    MIN_INTERVAL,
    AdaptivePacer,
    Pacer,
    PollContext,
    create_pacer,
)
from foxapi_async.config import Adaptive, Exponential, Fixed, PollPolicy
from foxapi_async.errors import ConfigError

positive = st.floats(min_value=1e-3, max_value=1e6)
rolls = st.floats(min_value=0, max_value=1, exclude_max=True)
fixed = st.builds(Fixed, seconds=positive)
exponential = st.builds(
    Exponential,
    initial=positive,
    multiplier=st.floats(min_value=1, max_value=1e6),
    max_delay=positive,
    jitter=st.floats(min_value=0, max_value=1, exclude_max=True),
)
prices = st.floats(min_value=1e-6, max_value=1e6)
adaptive = st.builds(Adaptive, poll_cost=prices)
anything = st.floats(allow_nan=True, allow_infinity=True)
durations = st.lists(st.floats(min_value=0.05, max_value=1000), max_size=80)
ages = st.floats(min_value=0, max_value=2000)
looks = st.builds(
    PollContext,
    model=st.sampled_from(["", "m", "other"]),
    age=anything,
    polls=st.integers(min_value=0, max_value=10**9),
    progress=st.integers(),
    estimated=st.none() | anything,
)


def plain(polls: int = 0, age: float = 0.0) -> PollContext:
    """Return a look at a task that gives no hints."""
    return PollContext(model="m", age=age, polls=polls)


def taught(price: float, seen: Iterable[float]) -> Pacer:
    """Return an adaptive pacer that was told when tasks of one model finished."""
    learner = create_pacer(Adaptive(price))
    for duration in seen:
        learner.learn("m", duration, duration)
    return learner


def shares(count: int, stride: float) -> list[float]:
    """Return numbers that fill (0, 1) evenly, in an order that looks like chance."""
    return [(number * stride + 0.5) % 1 for number in range(count)]


def schedule(learner: Pacer, until: float) -> list[float]:
    """Return the ages at which a task would be looked at, without chance."""
    planned = [0.0]
    while planned[-1] < until:
        planned.append(planned[-1] + learner.interval(plain(age=planned[-1]), 0.5))
    return planned[1:]


@given(fixed | exponential | adaptive, durations, looks, rolls)
def test_every_interval_is_bounded(
    pacing: Fixed | Exponential | Adaptive, seen: list[float], look: PollContext, roll: float
) -> None:
    """No settings, no hints and nothing learnt make an interval vanish or exceed 30 seconds."""
    learner = create_pacer(pacing)
    for duration in seen:
        learner.learn("m", duration, 0.0)
    assert 0 < learner.interval(look, roll) <= MAX_INTERVAL


@given(fixed | exponential | adaptive, durations, looks, rolls)
def test_equal_pacers_agree(
    pacing: Fixed | Exponential | Adaptive, seen: list[float], look: PollContext, roll: float
) -> None:
    """An interval depends on what was learnt, the look and the roll, and on nothing else."""
    first, second = create_pacer(pacing), create_pacer(pacing)
    for duration in seen:
        first.learn("m", duration, duration / 2)
        second.learn("m", duration, duration / 2)
        first.interval(look, 0.9)
    assert first.interval(look, roll) == second.interval(look, roll)


def test_intervals_grow_to_the_cap() -> None:
    """Each interval is the factor times the one before, until the cap."""
    growing = create_pacer(Exponential(initial=1, multiplier=2, max_delay=5, jitter=0))
    assert [growing.interval(plain(n), 0.5) for n in range(5)] == [1, 2, 4, 5, 5]


@given(fixed, rolls)
def test_a_fixed_interval_is_drawn_once(pacing: Fixed, roll: float) -> None:
    """Tasks submitted together start apart, and then each is looked at as often as was asked."""
    steady = create_pacer(pacing)
    longest = min(pacing.seconds, MAX_INTERVAL)
    assert longest / 2 <= steady.interval(plain(0), roll) <= longest
    assert steady.interval(plain(1), roll) == longest


@given(adaptive, durations, ages)
def test_tasks_submitted_together_part(pacing: Adaptive, seen: list[float], age: float) -> None:
    """The roll spreads every adaptive interval by a tenth to both sides, the longest ones too."""
    learner = taught(pacing.poll_cost, seen)
    soonest, middle, latest = (learner.interval(plain(age=age), roll) for roll in (0, 0.5, 1))
    if middle > 2 * MIN_INTERVAL:
        assert soonest == pytest.approx(0.9 * middle)
        assert latest == pytest.approx(1.1 * middle)


@given(adaptive, durations, ages, rolls, st.integers(), st.none() | anything)
def test_hints_only_shorten(
    pacing: Adaptive,
    seen: list[float],
    age: float,
    roll: float,
    progress: int,
    estimated: float | None,
) -> None:
    """Whatever progress and estimate the service gives, the look comes no later for it."""
    learner = taught(pacing.poll_cost, seen)
    hinted = PollContext(model="m", age=age, polls=3, progress=progress, estimated=estimated)
    assert learner.interval(hinted, roll) <= learner.interval(plain(age=age), roll)


@pytest.mark.parametrize(
    ("hints", "remaining"),
    [
        ({"progress": 80}, 10.0),
        ({"estimated": 43.0}, 3.0),
        ({"progress": 80, "estimated": 43.0}, 3.0),
        ({"progress": 95, "estimated": 60.0}, 40 * 5 / 95),
    ],
)
def test_a_look_comes_when_the_hints_say_done(hints: dict[str, float], remaining: float) -> None:
    """An interval that would step over the end that the service foretells stops at it."""
    learner = taught(0.05, [300.0] * 64)
    assert learner.interval(plain(age=40), 0.5) > 15
    hinted = PollContext(model="m", age=40, polls=3, **hints)  # type: ignore[arg-type]
    assert learner.interval(hinted, 0.5) == pytest.approx(remaining)


def test_hints_that_do_not_come_true_cost_little() -> None:
    """A task that stands at 100 percent for ten minutes is looked at ever more seldom."""
    learner = taught(0.05, [700.0] * 64)
    age, polls = 10.0, 0
    while age < 600:
        age += learner.interval(PollContext(model="m", age=age, polls=polls, progress=100), 0.5)
        polls += 1
    assert polls < 210


@given(durations, ages, rolls, prices, st.floats(min_value=1, max_value=100))
def test_a_higher_price_never_looks_sooner(
    seen: list[float], age: float, roll: float, price: float, factor: float
) -> None:
    """When a look costs more, no interval gets shorter."""
    cheap, dear = taught(price, seen), taught(price * factor, seen)
    assert cheap.interval(plain(age=age), roll) <= dear.interval(plain(age=age), roll) * (1 + 1e-9)


@given(st.floats(min_value=0.01, max_value=1), ages)
def test_an_unknown_model_is_looked_at_by_its_age(price: float, age: float) -> None:
    """While nothing is known, an interval is about the root of twice the price times the age."""
    cold = create_pacer(Adaptive(price))
    expected = (2 * price * (age + 1)) ** 0.5 + price / 2
    assert cold.interval(plain(age=age), 0.5) == pytest.approx(min(expected, MAX_INTERVAL / 1.1))


def test_looks_gather_where_tasks_finish() -> None:
    """A model of two kinds of task is looked at when either kind finishes, seldom in between."""
    quick, slow = NormalDist(2, 0.2), NormalDist(20, 1)
    rolls = shares(128, 0.618034)
    seen = [kind.inv_cdf(share) for share in rolls for kind in (quick, slow)]
    planned = schedule(taught(0.01, seen), 22)
    assert sum(1.5 <= age <= 2.6 for age in planned) >= 4
    assert sum(18 <= age <= 22 for age in planned) >= 8
    assert sum(4 <= age <= 16 for age in planned) <= 6


@pytest.mark.parametrize("price", [0.01, 0.05, 0.2])
def test_seeing_less_hardly_matters(price: float) -> None:
    """A pacer that saw tasks finish between two of its own looks paces like one that was told."""
    seeing, told = create_pacer(Adaptive(price)), create_pacer(Adaptive(price))
    chance = iter(shares(100_000, 0.414214))
    normal = NormalDist(log(20), 0.5)
    for share in shares(512, 0.618034):
        duration = exp(normal.inv_cdf(share))
        age = unfinished_at = 0.0
        while age < duration:
            unfinished_at = age
            age += seeing.interval(plain(age=age), next(chance))
        seeing.learn("m", age, unfinished_at)
        told.learn("m", duration, duration)
    assert len(schedule(seeing, 60)) == pytest.approx(len(schedule(told, 60)), rel=0.1, abs=1)
    for age in (10.0, 20.0, 30.0):
        interval = seeing.interval(plain(age=age), 0.5)
        assert interval == pytest.approx(told.interval(plain(age=age), 0.5), rel=0.35)


def test_a_task_nobody_waited_for_teaches_nothing() -> None:
    """Handles awaited one after another, long after their tasks finished, mislead nobody."""
    learner = create_pacer(Adaptive())
    before = schedule(learner, 60)
    for _ in range(100):
        learner.learn("m", 60.0, 0.0)
    assert schedule(learner, 60) == before


@given(st.lists(st.tuples(st.sampled_from(["m", "", "x" * 257]), anything, anything)))
def test_nonsense_teaches_nothing(told: list[tuple[str, float, float]]) -> None:
    """Ages that are negative, infinite or no number, and names that are none, change nothing."""
    learner = taught(0.05, [5.0, 6.0, 7.0])
    before = schedule(learner, 30)
    for model, age, unfinished_at in told:
        if model != "m" or not 0 <= unfinished_at <= age <= 1e6:
            learner.learn(model, age, unfinished_at)
    for age, unfinished_at in (
        (nan, 0.0),
        (1.0, nan),
        (inf, 0.0),
        (1.0, 2.0),
        (0.0, 0.0),
        (-1, -2),
    ):
        learner.learn("m", age, unfinished_at)
    assert schedule(learner, 30) == before


def test_models_do_not_mix() -> None:
    """What one model teaches changes no other model's intervals."""
    learner = taught(0.05, [90.0] * 64)
    other = PollContext(model="other", age=10.0, polls=1)
    assert learner.interval(other, 0.5) == create_pacer(Adaptive(0.05)).interval(other, 0.5)
    assert learner.interval(plain(age=10.0), 0.5) > 2 * learner.interval(other, 0.5)


def test_only_the_latest_models_are_remembered() -> None:
    """However many names the service invents, the 64 models last heard of are what is kept."""
    learner = AdaptivePacer(Adaptive(0.05))
    cold = learner.interval(plain(age=10.0), 0.5)
    for duration in [90.0] * 32:
        learner.learn("m", duration, duration)
    for number in range(MAX_MODELS - 1):
        learner.learn(f"model-{number}", 1.0, 1.0)
    assert learner.interval(plain(age=10.0), 0.5) > 2 * cold
    learner.learn("one too many", 1.0, 1.0)
    assert learner.interval(plain(age=10.0), 0.5) == cold


@pytest.mark.parametrize("jitter", [1, 1.5])
def test_a_jitter_that_could_end_in_no_interval_is_refused(jitter: float) -> None:
    """A share of a whole interval would allow looks without a pause."""
    with pytest.raises(ConfigError, match=r"Exponential\.jitter"):
        Exponential(jitter=jitter)


@pytest.mark.parametrize("price", [0, -1, nan, inf, "0.05"])
def test_a_price_that_is_none_is_refused(price: float) -> None:
    """A look costs more than nothing, and a finite number of seconds."""
    with pytest.raises(ConfigError, match=r"Adaptive\.poll_cost"):
        Adaptive(price)


def test_a_pacing_that_is_none_is_refused() -> None:
    """The error names the setting and what it may be."""
    with pytest.raises(ConfigError, match=r"PollPolicy\.pacing must be Adaptive"):
        PollPolicy(pacing=0.5)  # type: ignore[arg-type]
