"""``foxapi journal``: look into a journal, go on with it, tidy it up."""

import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from foxapi_async.cli import options
from foxapi_async.cli.exits import ExitCode, UsageError
from foxapi_async.cli.moment import local_time
from foxapi_async.cli.running import Session, open_session, run
from foxapi_async.cli.screen import Screen, printable
from foxapi_async.cli.waiting import wait_for
from foxapi_async.journal import Entry, Journal, Note, Stage, open_journal

if TYPE_CHECKING:
    from rich.table import Table

Opened = AbstractAsyncContextManager[Journal]

_DAY: Final = 86_400.0

command: typer.Typer = typer.Typer(
    help="Look into a journal, go on with it, tidy it up. Only `resume` needs the service.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)

File = Annotated[str, typer.Argument(metavar="FILE", help="The journal, such as tasks.db.")]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="An entry, a key or a task id, as `list` shows them.")
]


@command.command("list")
def list_entries(
    *,
    file: File,
    stage: Annotated[
        list[Stage] | None,
        typer.Option("--stage", metavar="STAGE", help="Only those at this stage; repeatable."),
    ] = None,
    json: options.AsJSON = None,
) -> None:
    """List what was submitted, and what became of it."""
    screen = Screen(json=json)
    run(screen, lambda: _list(screen, open_journal(file), stage or ()))


@command.command("show")
def show_entry(*, file: File, name: Name, json: options.AsJSON = None) -> None:
    """Show one submission with its request, as long as it is kept, and its result."""
    screen = Screen(json=json)
    run(screen, lambda: _show(screen, open_journal(file), name))


@command.command()
def resume(
    *,
    file: File,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", min=0, help="The most seconds to wait."),
    ] = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="Wait also for those that the service did not know.")
    ] = False,
    json: options.AsJSON = None,
) -> None:
    """Wait for every task that is not finished, and show each result.

    The exit code is the largest of theirs, and 4 if the outcome of a submission is unknown.
    """
    screen = Screen(json=json)

    def start() -> Coroutine[Any, Any, ExitCode]:
        session = open_session(screen, patience=timeout, journal=file)
        return _resume(screen, open_journal(file), session, file, lost=lost)

    run(screen, start)


@command.command()
def export(*, file: File) -> None:
    """Write everything that is in the journal as lines of JSON, prompts and answers included."""
    screen = Screen(json=True)
    run(screen, lambda: _export(screen, open_journal(file)))


@command.command()
def prune(
    *,
    file: File,
    days: Annotated[
        float, typer.Option("--older-than", metavar="DAYS", min=0, help="How old they must be.")
    ] = 30.0,
    entry: Annotated[
        list[str] | None,
        typer.Option("--entry", metavar="ENTRY", help="Delete this entry instead; repeatable."),
    ] = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="Delete also those that the service knows no more.")
    ] = False,
    json: options.AsJSON = None,
) -> None:
    """Delete submissions that are finished or were refused; their keys are free again.

    An entry whose outcome is unknown is deleted only by `--entry`: look into your account first.
    """
    screen = Screen(json=json)
    notes = [_note(name) for name in entry or ()]
    before = time.time() - days * _DAY

    async def delete(journal: Journal) -> int:
        return await (journal.drop(notes) if notes else journal.prune(before, lost=lost))

    run(screen, lambda: _prune(screen, open_journal(file), delete, len(set(notes))))


async def _list(screen: Screen, opened: Opened, stages: Collection[Stage]) -> ExitCode:
    async with opened as journal:
        entries = await journal.entries(stages=stages or None, lean=True)
    for entry in entries:
        screen.record(**_members(entry))
    screen.print(_table(entries))
    if not entries:
        screen.note("nothing was submitted" if not stages else "nothing is at this stage")
    return ExitCode.OK


async def _show(screen: Screen, opened: Opened, name: str) -> ExitCode:
    async with opened as journal:
        found = await journal.named(name)
    if not found:
        raise UsageError(f"NAME {name[:80]!r}: there is no such entry, key or task id")
    for entry in found:
        members = _members(entry) | _contents(entry)
        screen.record(**members)
        screen.print(_sheet(members))
    return ExitCode.OK


async def _resume(
    screen: Screen, opened: Opened, session: Session, file: str, *, lost: bool
) -> ExitCode:
    # A file that is not there, or is no journal, is told of before the service is asked.
    async with opened as journal:
        gone = len(await journal.entries(stages={Stage.LOST}, lean=True))
    async with session as fox:
        recovery = await fox.recover(finished=lost)
        handles = [handle for handle in recovery.handles if not handle.done()]
        code = await wait_for(screen, handles) if handles else ExitCode.OK
        for doubt in recovery.unknown:
            named = f" (key {doubt.key})" if doubt.key is not None else ""
            screen.note(f"{doubt.entry}{named}: {doubt.fault}; {doubt.advice}", "")
        if gone and not lost:
            screen.note(
                f"{gone} lost earlier: `foxapi journal resume {file} --lost` asks again", ""
            )
        elif not handles and not recovery.unknown:
            screen.note("everything is finished")
    return max(code, ExitCode.UNKNOWN) if recovery.unknown else code


async def _export(screen: Screen, opened: Opened) -> ExitCode:
    async with opened as journal:
        async for entry in journal.scan():
            screen.record(**_members(entry), **_contents(entry))
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


def _note(name: str) -> Note:
    note = Note.parse(name)
    if note is None:
        raise typer.BadParameter(f"--entry {name[:80]!r}: take it from `foxapi journal list`")
    return note


def _members(entry: Entry) -> dict[str, Any]:
    return {
        "entry": str(entry.note),
        "key": entry.key,
        "stage": entry.stage.value,
        "model": entry.model,
        "task_id": entry.task_id,
        "sent_at": entry.sent_at,
        "ended_at": entry.ended_at,
        "service": entry.service,
        "fingerprint": entry.fingerprint,
        "fault": entry.fault,
    }


def _contents(entry: Entry) -> dict[str, Any]:
    return {
        name: None if content is None else msgspec.json.decode(content)
        for name, content in (
            ("request", entry.body),
            ("task", entry.task),
            ("answer", entry.answer),
        )
    }


def _table(entries: Iterable[Entry]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False)
    for name in ("entry", "sent", "stage", "model", "key", "task"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        cells = (
            str(entry.note),
            local_time(entry.sent_at),
            entry.stage.value,
            entry.model,
            entry.key or "",
            entry.task_id or "",
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _sheet(members: dict[str, Any]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    sheet = Table.grid(padding=(0, 2))
    sheet.add_column(style="dim")
    for name, value in members.items():
        if value is None:
            continue
        if name in {"sent_at", "ended_at"}:
            text = local_time(value)
        else:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        sheet.add_row(name, Text(printable(text)))
    return sheet
