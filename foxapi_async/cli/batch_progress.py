"""The progress of a batch: its rate, the time that is left, and how it is drawn."""

from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from foxapi_async._batch.report import duration
from foxapi_async._batch.run import BatchRun
from foxapi_async.cli.output import Screen

_WINDOW_SECONDS: Final = 15.0
_BAR_WIDTH: Final = 24
_PER_CENT: Final = 100.0


class ProgressMeter:
    """Measures how fast a batch is.

    Args:
        rows: The run.
    """

    def __init__(self, rows: BatchRun) -> None:
        self.rows: BatchRun = rows
        self._samples: deque[tuple[float, int]] = deque()

    def rate(self) -> float:
        """Return the rows a second of the last fifteen seconds."""
        now, finished = self.rows.elapsed, self.rows.totals.finished
        self._samples.append((now, finished))
        while len(self._samples) > 2 and self._samples[1][0] < now - _WINDOW_SECONDS:  # noqa: PLR2004
            self._samples.popleft()
        then, before = self._samples[0]
        return (finished - before) / (now - then) if now > then else finished / max(now, 1e-9)

    def total(self) -> int | None:
        """Return about how many rows there are, with those in the output; ``None`` if unknown."""
        plan, totals = self.rows.plan, self.rows.totals
        if plan is None:
            return None
        settings = plan.settings
        if settings.sample is not None:
            return settings.sample if self.rows.seen else None
        fraction = self.rows.fraction
        found = self.rows.seen / fraction if fraction and self.rows.seen else None
        if settings.limit is not None:
            return settings.limit if found is None else min(settings.limit, round(found))
        return None if found is None else max(round(found), totals.read)


def progress_members(meter: ProgressMeter) -> dict[str, Any]:
    """Return the progress as members of a JSON object."""
    rows, totals = meter.rows, meter.rows.totals
    rate, total = meter.rate(), meter.total()
    left = _left(meter, rate, total)
    return {
        "event": "progress",
        "seconds": round(rows.elapsed, 3),
        "rows": rows.done,
        "total": total,
        "answered": totals.earlier + totals.answered,
        "failed": totals.failed,
        "invalid": totals.invalid,
        "unknown": totals.unknown,
        "in_flight": rows.in_flight,
        "submits_queued": rows.submits_queued,
        "rows_per_second": round(rate, 3),
        "eta_seconds": None if left is None else round(left, 1),
        "prompt_tokens": totals.prompt_tokens,
        "completion_tokens": totals.completion_tokens,
        "credits": round(totals.credits, 6) if totals.with_credits else None,
    }


def _left(meter: ProgressMeter, rate: float, total: int | None) -> float | None:
    if total is None or rate <= 0:
        return None
    return max(total - meter.rows.done, 0) / rate


@contextmanager
def progress_bar(screen: Screen, meter: ProgressMeter) -> Generator[None, None, None]:
    """Draw the progress on stderr."""
    live = Live(
        _Status(meter),
        console=screen.err,
        refresh_per_second=5,
        transient=True,
        # A program may read stdout.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with live:
        yield


class _Status:
    """The two lines that a terminal shows during a run."""

    def __init__(self, meter: ProgressMeter) -> None:
        self._meter = meter

    def __rich__(self) -> Table:
        meter, totals = self._meter, self._meter.rows.totals
        done, rate, total = meter.rows.done, meter.rate(), meter.total()
        share = min(done / total, 1.0) if total else 0.0
        left = _left(meter, rate, total)
        first = Table.grid(padding=(0, 1))
        bar = ProgressBar(
            total=_PER_CENT,
            completed=share * _PER_CENT,
            width=_BAR_WIDTH,
            complete_style="cyan",
        )
        of_total = f"{done:,}" if total is None else f"{done:,}/{total:,}"
        first.add_row(
            bar,
            Text(of_total),
            Text(f"{rate:,.4g} rows/s", "dim"),
            Text("" if left is None else f"{duration(left)} left", "dim"),
        )
        second = [
            f"{totals.earlier + totals.answered:,} answered",
            f"{totals.errors_total:,} errors",
            f"{meter.rows.in_flight:,} in flight",
            f"{totals.prompt_tokens + totals.completion_tokens:,} tokens",
        ]
        if (queued := meter.rows.submits_queued) > 0:
            second.append(f"{queued:,} wait for the rate")
        if totals.with_credits:
            second.append(f"{totals.credits:,.6g} credits")
        both = Table.grid()
        both.add_row(first)
        both.add_row(Text(", ".join(second), "red" if totals.errors_total else "dim"))
        return both
