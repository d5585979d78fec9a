"""The inspection problem, simulated: tasks of a known distribution, and when they are polled."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import erf, exp, log, sqrt
from random import Random

import numpy as np
import numpy.typing as npt

from foxapi_async._protocol.pacing import Pacer, PollContext

Floats = npt.NDArray[np.float64]

IN_FLIGHT = 10


@dataclass(frozen=True)
class Lognormal:
    """Durations whose logarithm is normal."""

    median: float
    sigma: float

    def draw(self, dice: Random) -> float:
        """Return the seconds of one task."""
        return self.median * exp(dice.gauss(0, self.sigma))

    def finished(self, ages: Floats) -> Floats:
        """Return the share of tasks that are finished at each age."""
        scaled = np.log(np.maximum(ages, 1e-12) / self.median) / (self.sigma * sqrt(2))
        return np.array([0.5 + 0.5 * erf(value) for value in scaled.tolist()])

    @property
    def longest(self) -> float:
        """An age that one task in ten million outlasts."""
        return self.median * exp(5.2 * self.sigma)


@dataclass(frozen=True)
class Mixture:
    """Tasks of two kinds under one name; ``share`` of them are of the first."""

    share: float
    first: Lognormal
    second: Lognormal

    def draw(self, dice: Random) -> float:
        """Return the seconds of one task."""
        return (self.first if dice.random() < self.share else self.second).draw(dice)

    def finished(self, ages: Floats) -> Floats:
        """Return the share of tasks that are finished at each age."""
        return self.share * self.first.finished(ages) + (1 - self.share) * self.second.finished(
            ages
        )

    @property
    def longest(self) -> float:
        """An age that hardly a task outlasts."""
        return max(self.first.longest, self.second.longest)


Distribution = Lognormal | Mixture


@dataclass(frozen=True)
class Outcome:
    """How often each task was polled, and how late its end was detected."""

    polls: Floats
    delays: Floats

    def cost(self, price: float) -> float:
        """Return the mean delay plus the polls at their cost in seconds."""
        return float(self.delays.mean() + price * self.polls.mean())

    def after(self, tasks: int) -> "Outcome":
        """Leave out the first ``tasks``."""
        return Outcome(self.polls[tasks:], self.delays[tasks:])

    def until(self, tasks: int) -> "Outcome":
        """Keep the first ``tasks`` only."""
        return Outcome(self.polls[:tasks], self.delays[:tasks])


def join(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of all tasks of several runs."""
    return Outcome(
        np.concatenate([outcome.polls for outcome in outcomes]),
        np.concatenate([outcome.delays for outcome in outcomes]),
    )


def simulate(pacer: Pacer, durations: Sequence[float], seed: int) -> Outcome:
    """Poll the tasks by ``pacer``, about ten at a time, and let it learn.

    A poll takes no time. The pacer gets the same data as in a session: the age, the number of
    polls, and the two polls between which each task finished.
    """
    dice = Random(seed)
    polls, delays = [0] * len(durations), [0.0] * len(durations)
    start = 0.0
    due: list[tuple[float, int, float, float, int]] = []  # time, task, age, age before, count
    for task, duration in enumerate(durations):
        due.append((start, task, 0.0, 0.0, 0))
        start += dice.expovariate(IN_FLIGHT / duration)
    heapq.heapify(due)
    while due:
        now, task, age, before, count = due[0]
        if count and age >= durations[task]:
            polls[task], delays[task] = count, age - durations[task]
            pacer.learn("model", age, before)
            heapq.heappop(due)
            continue
        interval = pacer.interval(PollContext("model", age, count), dice.random())
        heapq.heapreplace(due, (now + interval, task, age + interval, age, count + 1))
    return Outcome(np.array(polls, float), np.array(delays))


@cache
def grid(distribution: Distribution) -> tuple[Floats, Floats, Floats]:
    """Return ages, the share finished at each, and the integral of that share."""
    fine = np.linspace(0, distribution.longest, 200_001)
    finished = distribution.finished(fine)
    integral = np.concatenate(
        [[0.0], np.cumsum((finished[1:] + finished[:-1]) / 2 * np.diff(fine))]
    )
    # Dense where tasks finish, and still there where few do.
    ages = np.interp(np.linspace(0, 0.9999, 1500), finished, fine)
    tail = np.geomspace(distribution.longest / 1000, distribution.longest, 300)
    ages = np.unique(np.concatenate([[0.0], ages, tail]))
    return ages, np.interp(ages, fine, finished), np.interp(ages, fine, integral)


@cache
def optimum(distribution: Distribution, price: float) -> Floats:
    """Return the ages of the polls for the least expected delay and cost of polls.

    Dynamic programming from the end: ``least`` is the expected cost from each age on, times the
    share of tasks that get there.
    """
    ages, finished, integral = grid(distribution)
    least = np.zeros(len(ages))
    following = np.zeros(len(ages), int)
    for here in range(len(ages) - 2, -1, -1):
        later = slice(here + 1, None)
        delay = integral[later] - integral[here] - finished[here] * (ages[later] - ages[here])
        cost = price * (1 - finished[here]) + delay + least[later]
        best = int(np.argmin(cost))
        least[here], following[here] = cost[best], here + 1 + best
    planned: list[float] = []
    here = 0
    while here < len(ages) - 1:
        here = int(following[here])
        planned.append(float(ages[here]))
    return np.array(planned)


def keep_to(planned: Floats, durations: Sequence[float]) -> Outcome:
    """Poll every task at the same planned ages."""
    ends = np.array(durations)
    counts = np.minimum(np.searchsorted(planned, ends), len(planned) - 1)
    return Outcome(counts + 1.0, planned[counts] - ends)


def blind_bound(distribution: Distribution) -> float:
    """Return the least product of polls and mean delay, as a share of a fixed interval's.

    No policy that sees nothing of a task but whether it has finished gets below it.
    """
    ages = np.linspace(0, distribution.longest, 400_001)
    finished = distribution.finished(ages)
    left = 1 - (finished[1:] + finished[:-1]) / 2
    width = np.diff(ages)
    root = np.sqrt(np.maximum(np.diff(finished), 0) * width * left).sum()
    return float(root**2 / (left * width).sum())


def price_for(
    polls: float, outcome: Callable[[float], Outcome], *, lowest: float = 0.01, highest: float = 1.0
) -> float:
    """Return the lowest price, to 1 %, at which a task takes no more than ``polls`` polls."""
    while highest > lowest * 1.01:
        middle = exp((log(lowest) + log(highest)) / 2)
        if outcome(middle).polls.mean() > polls:
            lowest = middle
        else:
            highest = middle
    return highest
