"""When to look at a task again."""

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
_MAX_PROGRESS = 98  # more is not believed: progress may stand at 100 for minutes


class PollContext(Struct, frozen=True, gc=False):
    """What is known of a task when its next look is planned.

    ``model`` is empty while nobody has said it. ``age`` is the seconds since the task was submitted
    or first waited for, on the local clock; ``polls`` the looks taken so far. ``progress`` (0 to
    100) and ``estimated``, the seconds of the whole task, are the service's hints.
    """

    model: str
    age: float
    polls: int
    progress: int = 0
    estimated: float | None = None


class Pacer(Protocol):
    """A strategy of polling, and what it has learnt."""

    def interval(self, context: PollContext, rand: float) -> float:
        """Return the seconds until the next look: more than 0, at most ``MAX_INTERVAL``.

        ``rand`` is a number drawn from [0, 1), which keeps tasks submitted together apart.
        """
        ...

    def learn(self, model: str, age: float, unfinished_at: float) -> None:
        """Take in that a task of ``model`` was seen finished at ``age``.

        ``unfinished_at`` is the age at which it was last seen unfinished, 0 if it never was.
        """
        ...


class FixedPacer:
    """Waits equally long each time."""

    __slots__ = ("_seconds",)

    def __init__(self, pacing: Fixed) -> None:
        self._seconds = min(pacing.seconds, MAX_INTERVAL)

    def interval(self, context: PollContext, rand: float) -> float:
        """Return the interval; the first is cut short by ``rand``, so that tasks stay apart."""
        return self._seconds * (1 - rand / 2) if context.polls == 0 else self._seconds

    def learn(self, model: str, age: float, unfinished_at: float) -> None:
        """Learn nothing."""


class ExponentialPacer:
    """Waits ``factor`` times longer each time."""

    __slots__ = ("_max_delay", "_pacing", "_steps")

    def __init__(self, pacing: Exponential) -> None:
        self._pacing = pacing
        self._max_delay = min(pacing.max_delay, MAX_INTERVAL)
        growth = self._max_delay / pacing.initial
        # How many steps reach the cap: further powers would only leave the range of a float.
        grows = growth > 1 and pacing.multiplier > 1
        self._steps = ceil(log(growth) / log(pacing.multiplier)) if grows else 0

    def interval(self, context: PollContext, rand: float) -> float:
        """Return the next interval; the age plays no part."""
        pacing = self._pacing
        plain = min(
            pacing.initial * pacing.multiplier ** min(context.polls, self._steps), self._max_delay
        )
        return min(plain * (1 + pacing.jitter * (2 * rand - 1)), self._max_delay)

    def learn(self, model: str, age: float, unfinished_at: float) -> None:
        """Learn nothing."""


class AdaptivePacer:
    """Looks where a task is likely to have finished, as the finished ones of its model tell.

    A look costs as much as ``price`` seconds of delay. For a known distribution of durations the
    sum of both is least, to first order, when from each look to the next the integral of the square
    root of the hazard grows by ``sqrt(2 * price)`` (Keller 1974, the inspection problem).
    """

    __slots__ = ("_first", "_hazards", "_step", "_unknown")

    def __init__(self, pacing: Adaptive) -> None:
        self._step = sqrt(2 * pacing.poll_cost)
        self._hazards: dict[str, Hazard] = {}  # the model that was longest not heard of first
        self._unknown = Hazard()
        self._first = self._unknown.advance(0.0, self._step)

    def interval(self, context: PollContext, rand: float) -> float:
        """Return the next interval by what was learnt of the model, or a shorter one by hints."""
        age = max(0.0, context.age)
        seconds = self._hazards.get(context.model, self._unknown).advance(age, self._step) - age
        if context.progress > 0 or context.estimated is not None:
            seconds = min(seconds, self._seconds_by_hints(context, age))
        seconds = min(_MAX_WITHOUT_JITTER, seconds) * (1 - _JITTER + 2 * _JITTER * rand)
        return max(MIN_INTERVAL, seconds)

    def learn(self, model: str, age: float, unfinished_at: float) -> None:
        """Take in one duration: the middle of what it may have been.

        What cannot be a duration is passed over, and so is what tells too little: a task that
        nobody looked at until long after its end would be taken for a quick one.
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
        """Return the seconds that the task's own hints leave it, infinite if they do not tell.

        A hint never asks for more looks than an unknown model gets in its first moments.
        """
        left = inf
        if context.progress > 0:
            left = age * (100 / min(context.progress, _MAX_PROGRESS) - 1)
        if context.estimated is not None and age < context.estimated < age + left:
            left = context.estimated - age
        return max(self._first, left)


def create_pacer(pacing: Fixed | Exponential | Adaptive) -> Pacer:
    """Return a pacer that keeps to these settings and has learnt nothing yet."""
    if isinstance(pacing, Fixed):
        return FixedPacer(pacing)
    if isinstance(pacing, Exponential):
        return ExponentialPacer(pacing)
    return AdaptivePacer(pacing)
