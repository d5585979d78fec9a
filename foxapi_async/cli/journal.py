"""``foxapi journal``: inspect a journal, resume its tasks, delete entries."""

import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Final

import typer

from foxapi_async.cli import options
from foxapi_async.cli.errors import ExitCode, UsageError
from foxapi_async.cli.journal_entries import (
    entry_contents,
    entry_members,
    member_table,
    show_entries,
)
from foxapi_async.cli.journal_settle import confirm, forget_unknown, retry_unknown, show_unknown
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import Session, open_session, run
from foxapi_async.cli.wait import wait_for
from foxapi_async.journal import EntryId, Journal, Stage, open_journal

Opened = AbstractAsyncContextManager[Journal]

_DAY: Final = 86_400.0
_MONTH: Final = 30.0
_IN_PROGRESS: Final = frozenset({Stage.SENT, Stage.ACCEPTED})
_MAYBE_BILLED: Final = frozenset({Stage.UNKNOWN, Stage.UNREADABLE})

command: typer.Typer = typer.Typer(
    help="Inspect a journal, resume its tasks, delete entries.\n\nOnly `resume` and "
    "`settle --retry-unknown` send requests.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)


@command.callback()
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


File = Annotated[str, typer.Argument(metavar="FILE", help="The journal file, such as tasks.db.")]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="An entry, a key or a task id from `list`.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


@command.command("list")
def list_entries(
    *,
    file: File,
    stage: Annotated[
        list[Stage] | None,
        typer.Option("--stage", metavar="STAGE", help="Only entries at this stage; repeatable."),
    ] = None,
    json: options.AsJSON = None,
) -> None:
    """List the submissions and their stages."""
    screen = Screen(json=json)
    run(screen, lambda: _list(screen, open_journal(file), stage or ()))


@command.command("show")
def show_entry(*, file: File, name: Name, json: options.AsJSON = None) -> None:
    """Show a submission with its result, and with its request while the journal keeps it."""
    screen = Screen(json=json)
    run(screen, lambda: _show(screen, open_journal(file), name))


@command.command()
def resume(
    *,
    file: File,
    timeout: options.WaitTimeout = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="Also wait for tasks that the service did not find.")
    ] = False,
    json: options.AsJSON = None,
) -> None:
    """Wait for every task that is not finished and show each result.

    The exit code is the largest of the exit codes of all tasks. It is at least 4 if the outcome of
    a submission is unknown or an entry cannot be read.
    """
    screen = Screen(json=json)

    def start() -> Coroutine[Any, Any, ExitCode]:
        session = open_session(screen, wait_timeout=timeout, journal=file)
        return _resume(screen, open_journal(file), session, lost=lost)

    run(screen, start)


@command.command()
def export(*, file: File) -> None:
    """Write the whole journal as lines of JSON, prompts and answers included."""
    screen = Screen(json=True)
    run(screen, lambda: _export(screen, open_journal(file)))


@command.command()
def prune(
    *,
    file: File,
    days: Annotated[
        float | None,
        typer.Option(
            "--older-than",
            metavar="DAYS",
            min=0,
            help="Delete entries older than this: 30 days, or any age with `--stage`.",
            show_default=False,
        ),
    ] = None,
    stage: Annotated[
        list[Stage] | None,
        typer.Option(
            "--stage",
            metavar="STAGE",
            help="Delete entries at this stage instead, such as `failed`; repeatable.",
        ),
    ] = None,
    entry: Annotated[
        list[str] | None,
        typer.Option("--entry", metavar="ENTRY", help="Delete this entry instead; repeatable."),
    ] = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="Also delete tasks that the service no longer finds.")
    ] = False,
    yes: Yes = False,
    json: options.AsJSON = None,
) -> None:
    """Delete submissions that are finished or were refused; their keys can be used again.

    Entries at the stages `unknown` and `unreadable` may be billed. They are deleted only by
    `--stage` or `--entry`: check your account first.
    """
    screen = Screen(json=json)
    ids = [_entry_id(name) for name in entry or ()]
    stages = {*(stage or ())}
    if stages & _IN_PROGRESS:
        raise typer.BadParameter(
            f"--stage {min(stages & _IN_PROGRESS)}: these tasks are in progress; use --entry"
        )
    if stages and lost:
        stages.add(Stage.LOST)
    before = time.time() - ((0.0 if stages else _MONTH) if days is None else days) * _DAY

    async def delete(journal: Journal) -> int:
        if ids:
            return await journal.delete(ids)
        if maybe_billed := stages & _MAYBE_BILLED:
            found = await journal.entries(stages=maybe_billed, omit_bodies=True)
            count = sum(entry.stage in maybe_billed and entry.sent_at < before for entry in found)
            if count:
                confirm(screen, f"{count} submissions that may be billed are deleted.", yes=yes)
        return await journal.prune(before, lost=lost, stages=stages or None)

    run(screen, lambda: _prune(screen, open_journal(file), delete, len(set(ids))))


@command.command()
def settle(
    *,
    file: File,
    forget: Annotated[
        bool,
        typer.Option("--forget-unknown", help="Delete them; their keys can be used again."),
    ] = False,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry-unknown", help="Submit each again, once, which is billed; show the new ids."
        ),
    ] = False,
    yes: Yes = False,
    json: options.AsJSON = None,
) -> None:
    """Settle all submissions whose outcome is unknown, such as after a `kill -9`.

    Each may have been accepted, and is then billed: check your account first. Without an option
    they are listed, and the exit code is 4 if there are any. Submissions with a task id are not
    touched: `resume` waits for them.
    """
    screen = Screen(json=json)
    if forget and retry:
        raise typer.BadParameter("use either --forget-unknown or --retry-unknown")
    if retry:

        def start() -> Coroutine[Any, Any, ExitCode]:
            session = open_session(screen, journal=file)
            return retry_unknown(screen, open_journal(file), session, yes=yes)

        run(screen, start)
    elif forget:
        run(screen, lambda: forget_unknown(screen, open_journal(file), yes=yes))
    else:
        run(screen, lambda: show_unknown(screen, open_journal(file)))


async def _list(screen: Screen, opened: Opened, stages: Collection[Stage]) -> ExitCode:
    async with opened as journal:
        entries = await journal.entries(stages=stages or None, omit_bodies=True)
    show_entries(screen, entries, journal.name)
    if not entries:
        screen.note("the journal has no entries" if not stages else "no entries are at this stage")
    return ExitCode.OK


async def _show(screen: Screen, opened: Opened, name: str) -> ExitCode:
    async with opened as journal:
        found = await journal.lookup(name)
    if not found:
        raise UsageError(f"NAME {name[:80]!r}: the journal has no such entry, key or task id")
    for entry in found:
        members = entry_members(entry) | entry_contents(entry)
        screen.record(**members)
        screen.print(member_table(members))
    return ExitCode.OK


async def _resume(screen: Screen, opened: Opened, session: Session, *, lost: bool) -> ExitCode:
    # A missing or invalid file is an error before any request is sent.
    async with opened as journal:
        lost_before = len(await journal.entries(stages={Stage.LOST}, omit_bodies=True))
    async with session as fox:
        recovery = await fox.recover(finished=lost)
        handles = [handle for handle in recovery.handles if not handle.done()]
        code = await wait_for(screen, handles) if handles else ExitCode.OK
        for entry in recovery.unreadable:
            screen.note(f"{entry.entry}: {entry.fault}; {entry.advice}", "")
        for submission in recovery.unknown:
            named = f" (key {submission.key})" if submission.key is not None else ""
            screen.note(f"{submission.entry}{named}: {submission.fault}; {submission.advice}", "")
        if lost_before and not lost:
            screen.note(
                f"{lost_before} lost earlier: `foxapi journal resume {journal.name} --lost` polls "
                "again",
                "",
            )
        elif not handles and not recovery.unknown and not recovery.unreadable:
            screen.note("all tasks are finished")
    return max(code, ExitCode.UNKNOWN) if recovery.unknown or recovery.unreadable else code


async def _export(screen: Screen, opened: Opened) -> ExitCode:
    async with opened as journal:
        async for entry in journal.scan():
            screen.record(**entry_members(entry), **entry_contents(entry))
    return ExitCode.OK


async def _prune(
    screen: Screen, opened: Opened, delete: Callable[[Journal], Awaitable[int]], named: int
) -> ExitCode:
    async with opened as journal:
        pruned = await delete(journal)
    screen.record(pruned=pruned)
    screen.print(f"{pruned} deleted")
    if pruned < named:
        raise UsageError("--entry: not all of these entries are in the journal")
    return ExitCode.OK


def _entry_id(name: str) -> EntryId:
    entry_id = EntryId.parse(name)
    if entry_id is None:
        raise typer.BadParameter(f"--entry {name[:80]!r}: take it from `foxapi journal list`")
    return entry_id
