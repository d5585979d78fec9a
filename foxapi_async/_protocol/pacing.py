"""Decides when a task is polled again."""

from math import ceil, inf, log, sqrt
from typing import Protocol

from msgspec import Struct

from foxapi_async._protocol.hazard import MAX_DURATION, Hazard
from foxapi_async.config import Adaptive, Exponential, Fixed

MIN_INTERVAL = 0.02
MAX_INTERVAL = 30.0
MAX_MODELS = 64

_MAX_NAME_LENGTH = 256
_JITTER = 0.1
_MAX_WITHOUT_JITTER = MAX_INTERVAL / (1 + _JITTER)
_MAX_UNCERTAINTY = 4.0
_MAX_PROGRESS = 98  # more is not trusted: progress may stay at 100 for minutes


class PollContext(Struct, frozen=True, gc=False):
    """What is known of a task when its next poll is planned."""

    model: str
    """The model; empty while it is unknown."""
    age: float
    """Seconds since the submit or the first wait, on the local clock."""
    polls: int
    """The number of polls so far."""
    progress: int = 0
    """The progress from 0 to 100 that the service reported."""
    estimated: float | None = None
    """The duration of the whole task in seconds that the service estimated."""


class Pacer(Protocol):
    """A polling strategy with its learnt state."""

    def interval(self, context: PollContext, rand: float) -> float:
        """Return the seconds until the next poll: more than 0, at most ``MAX_INTERVAL``.

        ``rand`` is a random number from [0, 1), which spreads tasks that are submitted together.
        """
        ...

    def learn(self, model: str, age: float, unfinished_at: float) -> None:
        """Learn that a poll found a task of ``model`` finished at ``age``.

        ``unfinished_at`` is the age at the last poll that found it unfinished; 0 without one.
        """
        ...


class FixedPacer:
    """Polls at a fixed interval."""

    __slots__ = ("_seconds",)

    def __init__(self, pacing: Fixed) -> None:
        self._seconds = min(pacing.seconds, MAX_INTERVAL)

    def interval(self, context: PollContext, rand: float) -> float:
        """Return the interval; ``rand`` shortens the first one, which spreads the tasks."""
        return self._seconds * (1 - rand / 2) if context.polls == 0 else self._seconds

    def learn(self, model: str, age: float, unfinished_at: float) -> None:
        """Do nothing: the interval is fixed by the settings."""


class ExponentialPacer:
    """Multiplies the interval by ``multiplier`` after each poll."""

    __slots__ = ("_max_delay", "_pacing", "_steps")

    def __init__(self, pacing: Exponential) -> None:
        self._pacing = pacing
        self._max_delay = min(pacing.max_delay, MAX_INTERVAL)
        growth = self._max_delay / pacing.initial
        # The number of steps to the maximum. Higher powers would only overflow.
        grows = growth > 1 and pacing.multiplier > 1
        self._steps = ceil(log(growth) / log(pacing.multiplier)) if grows else 0

    def interval(self, context: PollContext, rand: float) -> float:
        """Return the next interval, which depends only on the number of polls."""
        pacing = self._pacing
        plain = min(
            pacing.initial * pacing.multiplier ** min(context.polls, self._steps), self._max_delay
        )
        return min(plain * (1 + pacing.jitter * (2 * rand - 1)), self._max_delay)

    def learn(self, model: str, age: float, unfinished_at: float) -> None:
        """Do nothing: the interval is fixed by the settings."""


class AdaptivePacer:
    """Polls when a task has probably finished, judged by the finished tasks of its model.

    A poll costs as much as ``poll_cost`` seconds of delay. For a known distribution of durations
    the total cost is minimal, to first order, if the integral of the square root of the hazard
    grows by ``sqrt(2 * poll_cost)`` from each poll to the next (Keller 1974, the inspection
    problem).
    """

    __slots__ = ("_first", "_hazards", "_step", "_unknown")

    def __init__(self, pacing: Adaptive) -> None:
        self._step = sqrt(2 * pacing.poll_cost)
        # In order of use: the model that has not finished a task for the longest time comes first.
        self._hazards: dict[str, Hazard] = {}
        self._unknown = Hazard()
        self._first = self._unknown.advance(0.0, self._step)

    def interval(self, context: PollContext, rand: float) -> float:
        """Return the next interval by the learnt hazard of the model; hints only shorten it."""
        age = max(0.0, context.age)
        seconds = self._hazards.get(context.model, self._unknown).advance(age, self._step) - age
        if context.progress > 0 or context.estimated is not None:
            seconds = min(seconds, self._seconds_by_hints(context, age))
        seconds = min(_MAX_WITHOUT_JITTER, seconds) * (1 - _JITTER + 2 * _JITTER * rand)
        return max(MIN_INTERVAL, seconds)

    def learn(self, model: str, age: float, unfinished_at: float) -> None:
        """Learn one duration: the middle of the interval in which the task finished.

        An impossible duration is ignored. So is an interval that is too wide, because a task that
        was not polled until long after its end would look like a fast one.
        """
        if not (0 <= unfinished_at <= age <= MAX_DURATION and age > 0):
            return
        if not 0 < len(model) <= _MAX_NAME_LENGTH:
            return
        hazard = self._hazards.pop(model, None) or Hazard()
        self._hazards[model] = hazard
        if len(self._hazards) > MAX_MODELS:
            del self._hazards[next(iter(self._hazards))]
        width = age - unfinished_at
        planned = hazard.advance(unfinished_at, self._step) - unfinished_at
        if width <= _MAX_UNCERTAINTY * planned or width <= age / 2:
            hazard.learn(unfinished_at + width / 2)

    def _seconds_by_hints(self, context: PollContext, age: float) -> float:
        """Return the remaining seconds by the hints of the service; infinite without hints.

        The result is never shorter than the first interval of an unknown model.
        """
        left = inf
        if context.progress > 0:
            left = age * (100 / min(context.progress, _MAX_PROGRESS) - 1)
        if context.estimated is not None and age < context.estimated < age + left:
            left = context.estimated - age
        return max(self._first, left)


def create_pacer(pacing: Fixed | Exponential | Adaptive) -> Pacer:
    """Return a pacer with these settings that has learnt nothing yet."""
    if isinstance(pacing, Fixed):
        return FixedPacer(pacing)
    if isinstance(pacing, Exponential):
        return ExponentialPacer(pacing)
    return AdaptivePacer(pacing)
