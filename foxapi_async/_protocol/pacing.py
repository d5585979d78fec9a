"""When to look at a task again."""

from math import ceil, log
from typing import Protocol

from msgspec import Struct

from foxapi_async.config import Exponential, Fixed

LONGEST_INTERVAL = 30.0


class Look(Struct, frozen=True, gc=False):
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

    def interval(self, look: Look, roll: float) -> float:
        """Return the seconds until the next look: more than 0, at most ``LONGEST_INTERVAL``.

        ``roll`` is a number drawn from [0, 1), which keeps tasks submitted together apart.
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
        self._seconds = min(pacing.seconds, LONGEST_INTERVAL)

    def interval(self, look: Look, roll: float) -> float:
        """Return the interval; the first is cut short by ``roll``, so that tasks stay apart."""
        return self._seconds * (1 - roll / 2) if look.polls == 0 else self._seconds

    def learn(self, model: str, age: float, unfinished_at: float) -> None:
        """Learn nothing."""


class ExponentialPacer:
    """Waits ``factor`` times longer each time."""

    __slots__ = ("_longest", "_pacing", "_steps")

    def __init__(self, pacing: Exponential) -> None:
        self._pacing = pacing
        self._longest = min(pacing.cap, LONGEST_INTERVAL)
        growth = self._longest / pacing.first
        # How many steps reach the cap: further powers would only leave the range of a float.
        grows = growth > 1 and pacing.factor > 1
        self._steps = ceil(log(growth) / log(pacing.factor)) if grows else 0

    def interval(self, look: Look, roll: float) -> float:
        """Return the next interval; the age plays no part."""
        pacing = self._pacing
        plain = min(pacing.first * pacing.factor ** min(look.polls, self._steps), self._longest)
        return min(plain * (1 + pacing.jitter * (2 * roll - 1)), self._longest)

    def learn(self, model: str, age: float, unfinished_at: float) -> None:
        """Learn nothing."""


def pacer(pacing: Fixed | Exponential) -> Pacer:
    """Return a pacer that keeps to these settings and has learnt nothing yet."""
    if isinstance(pacing, Fixed):
        return FixedPacer(pacing)
    return ExponentialPacer(pacing)
