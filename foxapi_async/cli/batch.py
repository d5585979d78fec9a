"""``foxapi batch``: answer the rows of a file."""

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from functools import partial
from typing import Any

import typer

from foxapi_async._batch.estimate import estimate_rows
from foxapi_async._batch.plan import BatchOptions
from foxapi_async._batch.rows import BatchFileError
from foxapi_async._batch.state import BatchPaths, absolute, is_masked
from foxapi_async._batch.status import is_journal, options_of, read_status, require_state
from foxapi_async.cli import batch_options as given
from foxapi_async.cli import options
from foxapi_async.cli.batch_run import RunOptions, run_rows
from foxapi_async.cli.batch_show import show_cost, show_estimate, show_stages, show_status
from foxapi_async.cli.errors import ExitCode
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import fast_loop, open_session, run
from foxapi_async.config import Limits

command: typer.Typer = typer.Typer(
    help="Answer the rows of a file: run it again, and it goes on where it was.\n\nOnly `run` and "
    "`retry-failed` send requests.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)


@command.callback()
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@command.command("run")
def run_batch(
    *,
    input_: given.Input,
    output: given.Output,
    model: given.Model = None,
    prompt: given.Prompt = None,
    system: given.System = None,
    param: options.Params = None,
    image_column: given.ImageColumn = None,
    schema: given.Schema = None,
    key_column: given.KeyColumn = None,
    input_format: given.InputFormat = None,
    output_format: given.OutputFormat = None,
    delimiter: given.Delimiter = None,
    errors: given.Errors = None,
    journal: given.Journal = None,
    in_flight: given.InFlight = "256",
    limit: given.Limit = None,
    sample: given.Sample = None,
    seed: given.Seed = 0,
    max_errors: given.MaxErrors = None,
    budget: given.BudgetText = None,
    submits_per_minute: given.SubmitsPerMinute = None,
    tokens_per_minute: given.TokensPerMinute = None,
    unknown: given.Unknown = "error",
    retry_failed: given.RetryFailed = False,
    dry_run: given.DryRun = False,
    progress: given.Progress = "auto",
    report: given.Report = None,
    json: options.AsJSON = None,
) -> None:
    """Answer the rows of INPUT and write each answer to OUT as soon as it is there.

    Each row is billed once. Run the same command again after a crash, Ctrl-C or errors: rows that
    OUT has are left out, submitted tasks are waited for, and only what is missing is submitted.
    Ctrl-C waits for the rows in flight; a second one exits at once, and loses no paid answer.

    Exit codes: 0 all rows are answered, 1 some failed, 2 wrong usage, or the account
    was refused, 4 the outcome of some is unknown, 5 --budget was reached, 6 --max-errors was
    reached, 74 a file could not be written, 130 Ctrl-C.
    """
    screen = Screen(json=True if progress == "json" else json)

    def start() -> Coroutine[Any, Any, ExitCode]:
        columns = (model, prompt, system, image_column, key_column)
        batch = given.check_options(
            BatchOptions(
                input=input_,
                output=output,
                input_format=input_format,
                format=output_format,
                delimiter=delimiter,
                errors=errors,
                journal=journal,
                request=given.request_settings(columns, param, schema),
                limit=limit,
                sample=sample,
                seed=seed,
                in_flight=given.parse_in_flight(in_flight),
                unknown=unknown,
                max_errors=max_errors,
            )
        )
        limits = given.parse_rates(submits_per_minute, tokens_per_minute)
        if dry_run:
            return _estimate(screen, batch)
        how = given.parse_budget(budget), progress, report
        return _run(screen, batch, RunOptions(*how, retry_failed=retry_failed), limits)

    run(screen, start, loop_factory=fast_loop())


@command.command("retry-failed")
def retry_failed_rows(
    *,
    output: given.OutputArgument,
    journal: given.Journal = None,
    max_errors: given.MaxErrors = None,
    budget: given.BudgetText = None,
    submits_per_minute: given.SubmitsPerMinute = None,
    tokens_per_minute: given.TokensPerMinute = None,
    progress: given.Progress = "auto",
    report: given.Report = None,
    json: options.AsJSON = None,
) -> None:
    """Run the batch of OUT again, as it was begun, and submit the rows whose tasks failed again.

    Each of them is billed again. The exit codes are those of `run`.
    """
    screen = Screen(json=True if progress == "json" else json)

    def start() -> Coroutine[Any, Any, ExitCode]:
        batch = options_of(require_state(output), journal)
        if max_errors is not None:
            batch = given.check_options(_with_max_errors(batch, max_errors))
        limits = given.parse_rates(submits_per_minute, tokens_per_minute)
        how = given.parse_budget(budget), progress, report
        return _run(screen, batch, RunOptions(*how, retry_failed=True), limits)

    run(screen, start, loop_factory=fast_loop())


@command.command()
def status(*, target: given.Target, json: options.AsJSON = None) -> None:
    """Show how far a batch is: its answers, errors and submissions. Sends nothing."""
    screen = Screen(json=json)
    run(screen, lambda: _status(screen, target))


@command.command()
def cost(*, target: given.Target, json: options.AsJSON = None) -> None:
    """Show what the submissions of a batch's journal have used, by model. Sends nothing."""
    screen = Screen(json=json)
    run(screen, lambda: _cost(screen, target))


def _run(
    screen: Screen, batch: BatchOptions, how: RunOptions, limits: Limits
) -> Coroutine[Any, Any, ExitCode]:
    journal = absolute(batch.journal or str(BatchPaths(batch.output).journal))
    session = open_session(screen, journal=journal, limits=limits)
    return run_rows(screen, session, batch, how)


def _with_max_errors(batch: BatchOptions, max_errors: str) -> BatchOptions:
    from msgspec.structs import replace

    return replace(batch, max_errors=max_errors)


async def _estimate(screen: Screen, batch: BatchOptions) -> ExitCode:
    with ExitStack() as stack:
        estimate = await asyncio.to_thread(partial(estimate_rows, batch, stack))
    await show_estimate(screen, estimate)
    return ExitCode.OK


async def _status(screen: Screen, target: str) -> ExitCode:
    if await asyncio.to_thread(is_journal, target):
        await show_stages(screen, target)
    else:
        await show_status(screen, await asyncio.to_thread(read_status, target))
    return ExitCode.OK


def _journal_of(target: str) -> str:
    return target if is_journal(target) else require_state(target).settings.journal


async def _cost(screen: Screen, target: str) -> ExitCode:
    journal = await asyncio.to_thread(_journal_of, target)
    if is_masked(journal):
        raise BatchFileError("the password of the journal is not stored: pass its URL")
    await show_cost(screen, journal)
    return ExitCode.OK
