"""When to look at a task again."""

from math import ceil, log
from typing import Protocol

from foxapi_async.config import Exponential

LONGEST_INTERVAL = 30.0


class Pacer(Protocol):
    """A strategy of polling."""

    def interval(self, *, age: float, polls: int, roll: float) -> float:
        """Return the seconds until the next look at a task.

        ``age`` is the seconds since it was submitted or first waited for, ``polls`` the looks taken
        so far, ``roll`` a number drawn from [0, 1).
        """
        ...


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

    def interval(self, *, age: float, polls: int, roll: float) -> float:
        """Return the next interval; ``age`` plays no part."""
        del age
        pacing = self._pacing
        plain = min(pacing.first * pacing.factor ** min(polls, self._steps), self._longest)
        return min(plain * (1 + pacing.jitter * (2 * roll - 1)), self._longest)
