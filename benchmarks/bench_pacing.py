"""What does adaptive pacing cost next to the best that could be done, and next to a backoff?

Simulated durations, and the product's own pacer. A poll costs only its price here: its cost
on the network is the same for every policy.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from random import Random

import inspection
import numpy as np
import plot_pacing
import report
from inspection import Distribution, Lognormal, Mixture, Outcome

from foxapi_async._protocol.pacing import Pacer, PollContext, create_pacer
from foxapi_async.config import Adaptive, Exponential, Fixed

ASSETS = Path(__file__).parent.parent / "docs" / "assets"

LLM = Lognormal(6, 0.8)
BIMODAL = Mixture(0.6, Lognormal(2, 0.3), Lognormal(20, 0.35))
VIDEO = Lognormal(90, 0.35)
SLOWER = Lognormal(15, 0.5)

PRICES = (0.01, 0.02, 0.05, 0.1, 0.2)
HIGH_PRICES = (0.5, 1.0)
COST_GOAL = 1.15
DECISION_GOAL = 1.5  # microseconds
BACKOFF = Exponential(initial=0.5, multiplier=1.5, max_delay=10, jitter=0.1)
FEWER = 0.9
LEARNING = 100  # tasks at the start of a run that are reported apart from the rest


@dataclass(frozen=True)
class Workload:
    """Tasks one after another, and how much sooner than by backoff half of them must be seen."""

    phases: tuple[Distribution, ...]
    sooner: float | None = None


WORKLOADS = {
    "LLM": Workload((LLM,), 0.30),
    "two kinds": Workload((BIMODAL,), 0.20),
    "video": Workload((VIDEO,), 0.50),
    "shift": Workload((LLM, SLOWER)),
}


@dataclass(frozen=True)
class Study:
    """How much is simulated: so many tasks, so many times."""

    tasks: int
    runs: int

    @cache  # noqa: B019 one study lives as long as the process
    def durations(self, name: str, run: int) -> list[list[float]]:
        """Return each phase's durations."""
        dice = Random(f"{name} {run}")
        phases = WORKLOADS[name].phases
        return [[phase.draw(dice) for _ in range(self.tasks // len(phases))] for phase in phases]

    def paced(self, name: str, settings: Adaptive | Exponential | Fixed) -> list[Outcome]:
        """Return the outcome of each run, learning included."""
        return [
            inspection.simulate(
                create_pacer(settings), list(chain(*self.durations(name, run))), run
            )
            for run in range(self.runs)
        ]

    def settled(self, name: str, settings: Adaptive | Exponential | Fixed) -> Outcome:
        """Return the outcome of all runs, without the first tasks of each."""
        return inspection.join([run.after(LEARNING) for run in self.paced(name, settings)])

    def best(self, name: str, price: float) -> list[Outcome]:
        """Return what the optimum does, which knows each phase's distribution and when it ends."""
        return [
            inspection.join(
                [
                    inspection.keep_to(inspection.optimum(phase, price), durations)
                    for phase, durations in zip(
                        WORKLOADS[name].phases, self.durations(name, run), strict=True
                    )
                ]
            )
            for run in range(self.runs)
        ]

    def ratio(self, name: str, price: float) -> dict[str, float]:
        """Return the cost as a multiple of the optimum's, once learnt and while learning."""
        paced, best = self.paced(name, Adaptive(price)), self.best(name, price)

        def over(part: Sequence[Outcome], whole: Sequence[Outcome]) -> float:
            return inspection.join(part).cost(price) / inspection.join(whole).cost(price)

        return {
            "settled": over(
                [run.after(LEARNING) for run in paced], [run.after(LEARNING) for run in best]
            ),
            "first": over(
                [run.until(LEARNING) for run in paced], [run.until(LEARNING) for run in best]
            ),
        }

    def against_backoff(self, name: str) -> dict[str, float]:
        """Compare with the backoff, at a price that buys 0.9 times its polls."""
        backoff = self.settled(name, BACKOFF)
        price = inspection.price_for(
            FEWER * float(backoff.polls.mean()),
            lambda price: self.settled(name, Adaptive(price)),
        )
        ours = self.settled(name, Adaptive(price))
        middle, theirs = float(np.median(ours.delays)), float(np.median(backoff.delays))
        return {
            "price": price,
            "polls": float(ours.polls.mean()),
            "backoff_polls": float(backoff.polls.mean()),
            "median": middle,
            "backoff_median": theirs,
            "p95": float(np.quantile(ours.delays, 0.95)),
            "backoff_p95": float(np.quantile(backoff.delays, 0.95)),
            "sooner": 1 - middle / theirs,
        }


def learnt(price: float, distribution: Distribution) -> Pacer:
    """Return a pacer that has seen five hundred tasks finish."""
    learner, dice = create_pacer(Adaptive(price)), Random(1)
    for _ in range(500):
        duration = distribution.draw(dice)
        learner.learn("model", duration, duration)
    return learner


def microseconds() -> dict[str, float]:
    """Return the CPU time of one decision and of one lesson; the best of many rounds."""
    learner, dice = learnt(0.05, LLM), Random(2)
    contexts = [PollContext("model", LLM.draw(dice), 3) for _ in range(1000)]
    hinted = [PollContext("model", context.age, 3, 40, 30.0) for context in contexts]
    lessons = [LLM.draw(dice) for _ in range(1000)]

    def decide(asked: list[PollContext]) -> None:
        for context in asked:
            learner.interval(context, 0.3)

    def teach() -> None:
        for duration in lessons:
            learner.learn("model", duration, 0.9 * duration)

    subjects: dict[str, Callable[[], None]] = {
        "decision": lambda: decide(contexts),
        "hinted": lambda: decide(hinted),
        "lesson": teach,
    }
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(100):
        for name, work in subjects.items():
            start = time.process_time_ns()
            work()
            taken[name].append((time.process_time_ns() - start) / 1e3 / 1000)
    return {name: min(costs) for name, costs in taken.items()}


def main() -> int:
    """Simulate, print, write the figures and the plots; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=3000, help="tasks of each run")
    parser.add_argument("--runs", type=int, default=3, help="runs of each workload and price")
    asked = parser.parse_args()
    study = Study(asked.tasks, asked.runs)

    ratios = {
        name: {price: study.ratio(name, price) for price in (*PRICES, *HIGH_PRICES)}
        for name in WORKLOADS
    }
    compared = {
        name: study.against_backoff(name)
        for name, workload in WORKLOADS.items()
        if workload.sooner is not None
    }
    cpu = microseconds()
    show(study, ratios, compared)

    goals = [
        report.Goal(
            f"{name}: cost over the optimum's, worst price",
            round(max(row[price]["settled"] for price in PRICES), 3),
            at_most=COST_GOAL,
        )
        for name, row in ratios.items()
    ]
    goals += [
        report.Goal(
            f"{name}: median delay below the backoff's",
            round(row["sooner"], 3),
            at_least=WORKLOADS[name].sooner,
        )
        for name, row in compared.items()
    ]
    goals.append(
        report.Goal("microseconds of a decision", round(cpu["decision"], 2), at_most=DECISION_GOAL)
    )
    report.write(
        "pacing",
        "Mean delay + price * polls of Adaptive against the optimum that knows the distribution, "
        "and its delays against a backoff's at 0.9 times the polls; simulated",
        {
            "tasks": asked.tasks,
            "runs": asked.runs,
            "learning": LEARNING,
            "cost_over_optimum": {
                name: {
                    f"{price:g}": {part: round(value, 3) for part, value in ratio.items()}
                    for price, ratio in row.items()
                }
                for name, row in ratios.items()
            },
            "against_backoff": {
                name: {figure: round(value, 3) for figure, value in row.items()}
                for name, row in compared.items()
            },
            "microseconds": {name: round(value, 2) for name, value in cpu.items()},
        },
        goals=goals,
    )
    draw(study, compared["two kinds"])
    return report.print_goals(goals)


def show(
    study: Study,
    ratios: dict[str, dict[float, dict[str, float]]],
    compared: dict[str, dict[str, float]],
) -> None:
    """Print the tables, and write them for the docs."""
    prices = (*PRICES, *HIGH_PRICES)
    head = (
        "cost, optimum = 1",
        *(f"poll_cost {price:g}" for price in prices),
        "first 100, poll_cost 0.05",
    )
    rows = [
        (name, *(f"{row[price]['settled']:.2f}" for price in prices), f"{row[0.05]['first']:.2f}")
        for name, row in ratios.items()
    ]
    print(report.table(head, rows), end="\n\n")
    report.figures("pacing-cost", head, rows)

    head = (
        "backoff, adaptive",
        *(f"{figure}, {who}" for figure in ("polls", "p50", "p95") for who in ("b.", "a.")),
        "p50 lower by",
    )
    rows = [
        (
            name,
            f"{row['backoff_polls']:.1f}",
            f"{row['polls']:.1f}",
            f"{row['backoff_median']:.2f} s",
            f"{row['median']:.2f} s",
            f"{row['backoff_p95']:.2f} s",
            f"{row['p95']:.2f} s",
            f"{row['sooner']:.0%}",
        )
        for name, row in compared.items()
    ]
    print(report.table(head, rows), end="\n\n")
    report.figures("pacing-backoff", head, rows)

    head = ("at the default poll_cost", "polls per task", "delay p50", "delay p95", "blind bound")
    rows = []
    for name in compared:
        outcome = study.settled(name, Adaptive())
        rows.append(
            (
                name,
                f"{outcome.polls.mean():.1f}",
                f"{np.median(outcome.delays):.2f} s",
                f"{np.quantile(outcome.delays, 0.95):.2f} s",
                f"{inspection.blind_bound(WORKLOADS[name].phases[0]):.2f}",
            )
        )
    print(report.table(head, rows), end="\n\n")
    report.figures("pacing-default", head, rows)


def described(name: str, polls: float, middle: float) -> str:
    """Return what a plot says of a policy."""
    return f"{name}: {polls:.1f} polls per task,\nhalf are seen within {middle:.2f} s"


def draw(study: Study, two_kinds: dict[str, float]) -> None:
    """Draw the two plots of the docs."""
    ASSETS.mkdir(exist_ok=True)
    plot_pacing.draw_polls(
        ASSETS / "pacing-looks.svg",
        BIMODAL,
        {
            described("adaptive", two_kinds["polls"], two_kinds["median"]): learnt(
                two_kinds["price"], BIMODAL
            ),
            described(
                "backoff", two_kinds["backoff_polls"], two_kinds["backoff_median"]
            ): create_pacer(BACKOFF),
        },
    )
    few = Study(study.tasks, 1)
    panels: dict[str, plot_pacing.Panel] = {}
    for name, (distribution,) in {
        "LLM, median 6 s": (LLM,),
        "two kinds, 2 s and 20 s": (BIMODAL,),
        "video, median 90 s": (VIDEO,),
    }.items():
        key = next(key for key, load in WORKLOADS.items() if load.phases == (distribution,))
        swept = np.geomspace(0.005, 0.6, 12).tolist()
        panels[name] = plot_pacing.Panel(
            adaptive=[few.settled(key, Adaptive(price)) for price in swept],
            optimum=[inspection.join(few.best(key, price)).after(LEARNING) for price in swept],
            fixed=[
                few.settled(key, Fixed(float(seconds)))
                for seconds in np.geomspace(0.25, 8 if distribution != VIDEO else 16, 8)
            ],
            backoff=few.settled(key, BACKOFF),
            marked={price: few.settled(key, Adaptive(price)) for price in (0.01, 0.05, 0.2)},
        )
    plot_pacing.draw_costs(ASSETS / "pacing-cost.svg", panels)


if __name__ == "__main__":
    sys.exit(main())
