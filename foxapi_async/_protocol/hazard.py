"""Learns from finished tasks when the tasks of one model finish.

The hazard is the probability per second that a task finishes now, given that it has not finished
yet. The integral of its square root over time is the scale on which polls are best spread evenly
(see ``pacing``).
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from math import log, sqrt

MAX_DURATIONS = 256
MAX_DURATION = 1e6

_ONSET = 1.0  # the hazard of an unknown model is 1 / (age + 1 s)
_KNOTS = 32
_MIN_KNOT_DISTANCE = 1e-3  # seconds between two knots
_UNBATCHED = 32  # the first durations are used one by one, later ones in batches of _BATCH
_BATCH = 8


class Hazard:
    """The integral of the square root of a hazard, as a line between knots.

    The knots are observed durations. After the last one, and without any, the hazard is that of a
    task of unknown scale: the longer it has lasted, the longer it may last. A small share of that
    hazard remains everywhere, so that polls notice a model that becomes faster.
    """

    __slots__ = ("_ages", "_durations", "_integrals", "_inverse_slopes", "_sorted", "_unused")

    def __init__(self) -> None:
        self._durations: deque[float] = deque()
        self._sorted: list[float] = []
        self._unused = 0
        self._ages = [0.0]
        self._integrals = [0.0]
        self._inverse_slopes: list[float] = []  # seconds per unit of the integral, after each knot

    def advance(self, age: float, step: float) -> float:
        """Return the age at which the integral has grown by ``step`` since ``age``."""
        ages, integrals = self._ages, self._integrals
        if age < ages[-1]:
            knot = bisect_right(ages, age) - 1
            target = integrals[knot] + (age - ages[knot]) / self._inverse_slopes[knot] + step
            if target < integrals[-1]:
                knot = bisect_right(integrals, target, knot) - 1
                return ages[knot] + (target - integrals[knot]) * self._inverse_slopes[knot]
            step = target - integrals[-1]
            age = ages[-1]
        root = sqrt(age + _ONSET) + step / 2
        return root * root - _ONSET

    def learn(self, duration: float) -> None:
        """Add the duration of a finished task in seconds; the last ``MAX_DURATIONS`` are kept."""
        self._durations.append(duration)
        insort(self._sorted, duration)
        if len(self._durations) > MAX_DURATIONS:
            del self._sorted[bisect_left(self._sorted, self._durations.popleft())]
        self._unused += 1
        if self._unused >= _BATCH or len(self._durations) <= _UNBATCHED:
            self._unused = 0
            self._rebuild()

    def _rebuild(self) -> None:
        count = len(self._sorted)
        trust = count / (count + 1)
        ages, integrals = [0.0], [0.0]
        paces: list[float] = []
        left = count + 1  # the observed tasks, and one that outlasts them all
        for rank in _ranks(count):
            age = max(self._sorted[rank - 1], ages[-1] + _MIN_KNOT_DISTANCE)
            width = age - ages[-1]
            seen = log(left / (count + 1 - rank)) / width
            unknown = 1 / (ages[-1] + width / 2 + _ONSET)
            root = sqrt(trust * seen + (1 - trust) * unknown)
            left = count + 1 - rank
            ages.append(age)
            integrals.append(integrals[-1] + root * width)
            paces.append(1 / root)
        self._ages, self._integrals, self._inverse_slopes = ages, integrals, paces


def _ranks(count: int) -> list[int]:
    """Return which sorted durations become knots: evenly spread, and more at both ends."""
    even = {number * count // _KNOTS for number in range(1, _KNOTS)}
    ends = {1, 2, 4, count - 4, count - 2, count - 1}
    return sorted(rank for rank in even | ends if 0 < rank < max(count, 2))
