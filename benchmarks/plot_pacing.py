"""Draws the plots of the page on pacing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from inspection import Distribution, Outcome
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from foxapi_async._protocol.pacing import Pacer, PollContext

OURS, BEST, PLAIN, FIXED, FILL = "#d84315", "#212121", "#1565c0", "#757575", "#ffccbc"


@dataclass(frozen=True)
class Panel:
    """What one workload's policies came to."""

    adaptive: list[Outcome]
    optimum: list[Outcome]
    fixed: list[Outcome]
    backoff: Outcome
    marked: dict[float, Outcome]


def draw_polls(path: Path, distribution: Distribution, policies: dict[str, Pacer]) -> None:
    """Draw when tasks finish, and when two policies poll a task that does not."""
    figure, axes = plt.subplots(figsize=(8, 3.4))
    until = 40.0
    ages = np.linspace(0.01, until, 400)
    density = np.diff(distribution.finished(ages)) / np.diff(ages)
    axes.fill_between(ages[1:], density, color=FILL, linewidth=0)
    top = float(density.max())
    for row, (name, policy) in enumerate(policies.items()):
        level, color = -top * (0.15 + 0.24 * row), (OURS, PLAIN)[row]
        polls = planned(policy, until)
        axes.plot(polls, [level] * len(polls), "|", color=color, markersize=14, markeredgewidth=1.6)
        axes.annotate(
            name, (until, level), (8, 0), textcoords="offset points", color=color, va="center"
        )
    axes.annotate("tasks finish", (3.2, top * 0.5), color=OURS)
    axes.set_ylim(-top * 0.52, top * 1.05)
    axes.set_xlim(0, until)
    axes.set_yticks([])
    axes.set_xlabel("age of the task, seconds")
    axes.set_title("Polls concentrate where tasks finish", loc="left", fontsize=11)
    bare(axes)
    axes.spines["left"].set_visible(False)
    save(figure, path)


def planned(policy: Pacer, until: float) -> list[float]:
    """Return the ages at which a task that does not finish is polled."""
    ages = [0.0]
    while ages[-1] < until:
        context = PollContext("model", ages[-1], len(ages) - 1)
        ages.append(ages[-1] + policy.interval(context, 0.5))
    return ages[1:-1]


def draw_costs(path: Path, panels: dict[str, Panel]) -> None:
    """Draw the mean delay of each policy over its polls."""
    figure, row = plt.subplots(1, len(panels), figsize=(10.5, 3.9))
    for axes, (name, panel) in zip(row, panels.items(), strict=True):
        line(axes, panel.fixed, color=FIXED, linestyle=":", label="fixed interval")
        line(axes, panel.optimum, color=BEST, linestyle="--", label="optimum of one who knows")
        line(axes, panel.adaptive, color=OURS, linewidth=2.2, label="adaptive")
        for price, outcome in panel.marked.items():
            point = (float(outcome.polls.mean()), float(outcome.delays.mean()))
            axes.plot(*point, "o", color=OURS, markersize=5)
            axes.annotate(
                f"{price:g}",
                point,
                xytext=(-6, -7),
                textcoords="offset points",
                color=OURS,
                ha="right",
                va="center",
            )
        axes.plot(
            panel.backoff.polls.mean(),
            panel.backoff.delays.mean(),
            "D",
            color=PLAIN,
            markersize=7,
            label="backoff, 0.5 s x 1.5 up to 10 s",
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FormatStrFormatter("%g"))
            axis.set_minor_formatter(NullFormatter())
        axes.grid(color="#eeeeee")
        axes.set_title(name, loc="left", fontsize=11)
        axes.set_xlabel("polls per task")
        bare(axes)
    row[0].set_ylabel("mean delay, seconds")
    handles, labels = row[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="lower center", ncols=4, frameon=False, bbox_to_anchor=(0.5, -0.09)
    )
    save(figure, path)


def line(axes: Axes, outcomes: list[Outcome], **style: Any) -> None:
    """Draw a policy's outcomes from many polls to few."""
    axes.plot(
        [outcome.polls.mean() for outcome in outcomes],
        [outcome.delays.mean() for outcome in outcomes],
        **style,
    )


def bare(axes: Axes) -> None:
    """Leave out the frame that says nothing."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Write a plot that is the same each time the same is drawn, readable on a dark page too."""
    figure.tight_layout()
    with mpl.rc_context({"svg.hashsalt": "pacing"}):
        figure.savefig(path, bbox_inches="tight", facecolor="white", metadata={"Date": None})
    plt.close(figure)
