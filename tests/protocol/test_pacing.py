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
rands = st.floats(min_value=0, max_value=1, exclude_max=True)
fixed = st.builds(Fixed, seconds=positive)
exponential = st.builds(
    Exponential,
    initial=positive,
    multiplier=st.floats(min_value=1, max_value=1e6),
    max_delay=positive,
    jitter=st.floats(min_value=0, max_value=1, exclude_max=True),
)
costs = st.floats(min_value=1e-6, max_value=1e6)
adaptive = st.builds(Adaptive, poll_cost=costs)
anything = st.floats(allow_nan=True, allow_infinity=True)
durations = st.lists(st.floats(min_value=0.05, max_value=1000), max_size=80)
ages = st.floats(min_value=0, max_value=2000)
contexts = st.builds(
    PollContext,
    model=st.sampled_from(["", "m", "other"]),
    age=anything,
    polls=st.integers(min_value=0, max_value=10**9),
    progress=st.integers(),
    estimated=st.none() | anything,
)


def plain(polls: int = 0, age: float = 0.0) -> PollContext:
    """Return the context of a poll without hints."""
    return PollContext(model="m", age=age, polls=polls)


def taught(cost: float, seen: Iterable[float]) -> Pacer:
    """Return an adaptive pacer that has learnt these durations of one model."""
    learner = create_pacer(Adaptive(cost))
    for duration in seen:
        learner.learn("m", duration, duration)
    return learner


def shares(count: int, stride: float) -> list[float]:
    """Return numbers that fill (0, 1) evenly, in an irregular order."""
    return [(number * stride + 0.5) % 1 for number in range(count)]


def schedule(learner: Pacer, until: float) -> list[float]:
    """Return the ages at which a task is polled, without jitter."""
    planned = [0.0]
    while planned[-1] < until:
        planned.append(planned[-1] + learner.interval(plain(age=planned[-1]), 0.5))
    return planned[1:]


@given(fixed | exponential | adaptive, durations, contexts, rands)
def test_every_interval_is_bounded(
    pacing: Fixed | Exponential | Adaptive, seen: list[float], context: PollContext, rand: float
) -> None:
    """For any settings, hints and learnt durations an interval is within (0, 30] seconds."""
    learner = create_pacer(pacing)
    for duration in seen:
        learner.learn("m", duration, 0.0)
    assert 0 < learner.interval(context, rand) <= MAX_INTERVAL


@given(fixed | exponential | adaptive, durations, contexts, rands)
def test_equal_pacers_agree(
    pacing: Fixed | Exponential | Adaptive, seen: list[float], context: PollContext, rand: float
) -> None:
    """An interval depends only on the learnt durations, the context and ``rand``."""
    first, second = create_pacer(pacing), create_pacer(pacing)
    for duration in seen:
        first.learn("m", duration, duration / 2)
        second.learn("m", duration, duration / 2)
        first.interval(context, 0.9)
    assert first.interval(context, rand) == second.interval(context, rand)


def test_intervals_grow_to_the_maximum() -> None:
    """Each interval is ``multiplier`` times the one before, up to ``max_delay``."""
    growing = create_pacer(Exponential(initial=1, multiplier=2, max_delay=5, jitter=0))
    assert [growing.interval(plain(n), 0.5) for n in range(5)] == [1, 2, 4, 5, 5]


@given(fixed, rands)
def test_only_the_first_fixed_interval_is_random(pacing: Fixed, rand: float) -> None:
    """The first interval is random, so that tasks spread; all others are fixed."""
    steady = create_pacer(pacing)
    longest = min(pacing.seconds, MAX_INTERVAL)
    assert longest / 2 <= steady.interval(plain(0), rand) <= longest
    assert steady.interval(plain(1), rand) == longest


@given(adaptive, durations, ages)
def test_jitter_spreads_the_polls_of_tasks(pacing: Adaptive, seen: list[float], age: float) -> None:
    """``rand`` changes every adaptive interval by at most a tenth, the longest ones too."""
    learner = taught(pacing.poll_cost, seen)
    soonest, middle, latest = (learner.interval(plain(age=age), rand) for rand in (0, 0.5, 1))
    if middle > 2 * MIN_INTERVAL:
        assert soonest == pytest.approx(0.9 * middle)
        assert latest == pytest.approx(1.1 * middle)


@given(adaptive, durations, ages, rands, st.integers(), st.none() | anything)
def test_hints_only_shorten(
    pacing: Adaptive,
    seen: list[float],
    age: float,
    rand: float,
    progress: int,
    estimated: float | None,
) -> None:
    """No progress and no estimate of the service makes an interval longer."""
    learner = taught(pacing.poll_cost, seen)
    hinted = PollContext(model="m", age=age, polls=3, progress=progress, estimated=estimated)
    assert learner.interval(hinted, rand) <= learner.interval(plain(age=age), rand)


@pytest.mark.parametrize(
    ("hints", "remaining"),
    [
        ({"progress": 80}, 10.0),
        ({"estimated": 43.0}, 3.0),
        ({"progress": 80, "estimated": 43.0}, 3.0),
        ({"progress": 95, "estimated": 60.0}, 40 * 5 / 95),
    ],
)
def test_a_poll_comes_when_the_hints_predict_the_end(
    hints: dict[str, float], remaining: float
) -> None:
    """An interval ends at the time at which the hints predict the end of the task."""
    learner = taught(0.05, [300.0] * 64)
    assert learner.interval(plain(age=40), 0.5) > 15
    hinted = PollContext(model="m", age=40, polls=3, **hints)  # type: ignore[arg-type]
    assert learner.interval(hinted, 0.5) == pytest.approx(remaining)


def test_wrong_hints_cost_few_polls() -> None:
    """A task that stays at 100 percent for ten minutes is polled less and less often."""
    learner = taught(0.05, [700.0] * 64)
    age, polls = 10.0, 0
    while age < 600:
        age += learner.interval(PollContext(model="m", age=age, polls=polls, progress=100), 0.5)
        polls += 1
    assert polls < 210


@given(durations, ages, rands, costs, st.floats(min_value=1, max_value=100))
def test_a_higher_poll_cost_never_polls_sooner(
    seen: list[float], age: float, rand: float, cost: float, growth: float
) -> None:
    """A higher ``poll_cost`` makes no interval shorter."""
    cheap, dear = taught(cost, seen), taught(cost * growth, seen)
    assert cheap.interval(plain(age=age), rand) <= dear.interval(plain(age=age), rand) * (1 + 1e-9)


@given(st.floats(min_value=0.01, max_value=1), ages)
def test_the_interval_of_an_unknown_model_depends_on_the_age(cost: float, age: float) -> None:
    """Without durations, an interval is about the root of twice the poll cost times the age."""
    cold = create_pacer(Adaptive(cost))
    expected = (2 * cost * (age + 1)) ** 0.5 + cost / 2
    assert cold.interval(plain(age=age), 0.5) == pytest.approx(min(expected, MAX_INTERVAL / 1.1))


def test_polls_concentrate_where_tasks_finish() -> None:
    """With two kinds of task, polls concentrate on the usual ends of both kinds."""
    fast, slow = NormalDist(2, 0.2), NormalDist(20, 1)
    rands = shares(128, 0.618034)
    seen = [kind.inv_cdf(share) for share in rands for kind in (fast, slow)]
    planned = schedule(taught(0.01, seen), 22)
    assert sum(1.5 <= age <= 2.6 for age in planned) >= 4
    assert sum(18 <= age <= 22 for age in planned) >= 8
    assert sum(4 <= age <= 16 for age in planned) <= 6


@pytest.mark.parametrize("cost", [0.01, 0.05, 0.2])
def test_learning_from_polls_is_nearly_as_good_as_exact_ends(cost: float) -> None:
    """A pacer that knows ends only between its own polls paces like one with exact ends."""
    polling, exact = create_pacer(Adaptive(cost)), create_pacer(Adaptive(cost))
    jitter = iter(shares(100_000, 0.414214))
    normal = NormalDist(log(20), 0.5)
    for share in shares(512, 0.618034):
        duration = exp(normal.inv_cdf(share))
        age = unfinished_at = 0.0
        while age < duration:
            unfinished_at = age
            age += polling.interval(plain(age=age), next(jitter))
        polling.learn("m", age, unfinished_at)
        exact.learn("m", duration, duration)
    assert len(schedule(polling, 60)) == pytest.approx(len(schedule(exact, 60)), rel=0.1, abs=1)
    for age in (10.0, 20.0, 30.0):
        interval = polling.interval(plain(age=age), 0.5)
        assert interval == pytest.approx(exact.interval(plain(age=age), 0.5), rel=0.35)


def test_a_task_that_was_not_polled_teaches_nothing() -> None:
    """Tasks that were first polled long after their end change no interval."""
    learner = create_pacer(Adaptive())
    before = schedule(learner, 60)
    for _ in range(100):
        learner.learn("m", 60.0, 0.0)
    assert schedule(learner, 60) == before


@given(st.lists(st.tuples(st.sampled_from(["m", "", "x" * 257]), anything, anything)))
def test_impossible_durations_teach_nothing(samples: list[tuple[str, float, float]]) -> None:
    """Negative, infinite and NaN ages, and invalid names, change no interval."""
    learner = taught(0.05, [5.0, 6.0, 7.0])
    before = schedule(learner, 30)
    for model, age, unfinished_at in samples:
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
    """The durations of one model change no interval of another model."""
    learner = taught(0.05, [90.0] * 64)
    other = PollContext(model="other", age=10.0, polls=1)
    assert learner.interval(other, 0.5) == create_pacer(Adaptive(0.05)).interval(other, 0.5)
    assert learner.interval(plain(age=10.0), 0.5) > 2 * learner.interval(other, 0.5)


def test_only_the_latest_models_are_remembered() -> None:
    """Only the 64 models with the latest durations are kept."""
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
def test_a_jitter_of_a_whole_interval_is_rejected(jitter: float) -> None:
    """A jitter of 1 or more would allow polls without a delay, and raises ``ConfigError``."""
    with pytest.raises(ConfigError, match=r"Exponential\.jitter"):
        Exponential(jitter=jitter)


@pytest.mark.parametrize("cost", [0, -1, nan, inf, "0.05"])
def test_an_invalid_poll_cost_is_rejected(cost: float) -> None:
    """``poll_cost`` must be a positive, finite number."""
    with pytest.raises(ConfigError, match=r"Adaptive\.poll_cost"):
        Adaptive(cost)


def test_an_invalid_pacing_is_rejected() -> None:
    """The error names the setting and the allowed values."""
    with pytest.raises(ConfigError, match=r"PollPolicy\.pacing must be Adaptive"):
        PollPolicy(pacing=0.5)  # type: ignore[arg-type]
