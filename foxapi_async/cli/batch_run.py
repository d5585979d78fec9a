"""The run of ``foxapi batch``: progress, Ctrl-C, the summary and the exit code."""

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from foxapi_async._batch.output_file import write_whole
from foxapi_async._batch.plan import BatchOptions
from foxapi_async._batch.report import duration, render_report
from foxapi_async._batch.rows import BatchFileError, OutputUnwritableError
from foxapi_async._batch.run import BatchRun
from foxapi_async._batch.state import BatchPaths, BatchState, masked_url
from foxapi_async._batch.totals import Totals
from foxapi_async.cli.batch_progress import ProgressMeter, progress_bar, progress_members
from foxapi_async.cli.errors import ExitCode
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import Session, report_error
from foxapi_async.config import Budget

_PROGRESS_SECONDS: Final = 1.0


class RunOptions(Struct, frozen=True):
    """How a batch is run and shown."""

    budget: Budget | None
    progress: str
    report: str | None
    retry_failed: bool


async def run_rows(
    screen: Screen,
    session: Session,
    batch: BatchOptions,
    how: RunOptions,
) -> ExitCode:
    """Answer the rows, show the progress and the sums, and return the exit code."""
    check_files = partial(
        BatchPaths(batch.output).check_files,
        input_=batch.input,
        errors=batch.errors,
        journal=batch.journal,
        report=how.report,
    )
    await asyncio.to_thread(check_files)
    rows = BatchRun(batch, session, retry_failed=how.retry_failed, budget=how.budget)
    state: BatchState | None = None
    await asyncio.to_thread(_check_folder, how.report)
    try:
        with _draining(screen, rows):
            async with _showing(screen, rows, how.progress):
                state = final = await rows.run()
    finally:
        # To run the command again is how the tasks in flight are waited for.
        screen.forget_all()
        if rows.plan is not None and how.report is not None:
            reported = state or BatchState(settings=rows.plan.settings, totals=rows.totals)
            await asyncio.to_thread(_write_report, how.report, reported)
    _show_summary(screen, final)
    if rows.budget_error is not None:
        screen.note(f"{rows.budget_error}; run again with a larger --budget to go on", "")
    if rows.failure is not None:
        return report_error(screen, rows.failure)
    return exit_code_of(final.totals)


def exit_code_of(totals: Totals) -> ExitCode:
    """Return the exit code of a run that has ended."""
    by_end = {
        "interrupted": ExitCode.INTERRUPTED,
        "budget": ExitCode.OVER_BUDGET,
        "errors": ExitCode.TOO_MANY_ERRORS,
    }
    if totals.end in by_end:
        return by_end[totals.end]
    if totals.unknown:
        return ExitCode.UNKNOWN
    return ExitCode.FAILED if totals.errors_total else ExitCode.OK


def _check_folder(report: str | None) -> None:
    """Refuse a report that could not be written after all rows are paid for."""
    if report is None:
        return
    if Path(report).is_dir():
        raise BatchFileError(f"--report {report} is a folder: name a file")
    if not Path(report).parent.is_dir():
        raise BatchFileError(
            f"--report {report}: the folder {Path(report).parent} does not exist: create it"
        )


def _write_report(path: str, state: BatchState) -> None:
    text = render_report(state).encode()
    try:
        write_whole(Path(path), lambda file: file.write(text))
    except OSError as error:
        raise OutputUnwritableError(f"--report {path}: {error.strerror or error}") from error


def summary_members(state: BatchState) -> dict[str, Any]:
    """Return the sums of a run as members of a JSON object."""
    totals, settings = state.totals, state.settings
    return {
        "event": "summary",
        "end": totals.end,
        "answered": totals.earlier + totals.answered,
        "earlier": totals.earlier,
        "failed": totals.failed,
        "invalid": totals.invalid,
        "unknown": totals.unknown,
        "skipped": totals.skipped,
        "prompt_tokens": totals.prompt_tokens,
        "completion_tokens": totals.completion_tokens,
        "credits": round(totals.credits, 6) if totals.with_credits else None,
        "seconds": round(totals.seconds, 3),
        "codes": {code: kind.count for code, kind in totals.errors.items()},
        "output": settings.output,
        "errors": settings.errors,
        "journal": masked_url(settings.journal),
    }


def _show_summary(screen: Screen, state: BatchState) -> None:
    members = summary_members(state)
    screen.record(**members)
    totals = state.totals
    earlier = f", {totals.earlier:,} of them earlier" if totals.earlier else ""
    screen.print(
        f"{members['answered']:,} answered{earlier}, {totals.failed:,} failed, "
        f"{totals.invalid:,} invalid, {totals.unknown:,} unknown in {duration(totals.seconds)}"
    )
    if not totals.read and not totals.earlier:
        screen.note(f"{state.settings.input} has no rows", "")
    for code, kind in sorted(totals.errors.items(), key=lambda item: -item[1].count):
        example = kind.examples[0]
        screen.print(f"  {kind.count:,} {code}, as in line {example.line}: {example.message}")
    if totals.errors_total:
        screen.note(f"errors: {state.settings.errors}", "")
    if totals.end in _NOTES:
        screen.note(_NOTES[totals.end], "")


_NOTES: Final = {
    "errors": "stopped at --max-errors: run again to go on",
    "interrupted": "interrupted: run again to go on",
}


@contextmanager
def _draining(screen: Screen, rows: BatchRun) -> Generator[None, None, None]:
    """Let the first Ctrl-C end the input, and the second one the command."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)

    def drain() -> None:
        rows.stop()
        screen.note(
            f"no more rows are taken; waiting for {rows.in_flight:,} in flight; Ctrl-C again "
            "exits at once, and running again waits for them",
            "",
        )

    def on_interrupt(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        loop.call_soon_threadsafe(drain)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@asynccontextmanager
async def _showing(screen: Screen, rows: BatchRun, mode: str) -> AsyncGenerator[None, None]:
    """Show the progress while the rows are answered."""
    meter = ProgressMeter(rows)
    if mode == "json":
        ticker = asyncio.create_task(_tick(lambda: _record(screen, meter)), name="progress")
        try:
            yield
        finally:
            ticker.cancel()
            await asyncio.wait([ticker])
            _record(screen, meter)
    elif mode == "bar" or (mode == "auto" and screen.err.is_terminal):
        with progress_bar(screen, meter):
            yield
    else:
        yield


def _record(screen: Screen, meter: ProgressMeter) -> None:
    screen.record(**progress_members(meter))


async def _tick(show: Callable[[], object]) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_SECONDS)
        show()
