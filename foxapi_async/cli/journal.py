"""``foxapi journal``: look into a journal, go on with it, tidy it up."""

import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from foxapi_async.cli import options
from foxapi_async.cli.exit_codes import ExitCode, UsageError
from foxapi_async.cli.moment import local_time
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import Session, open_session, run
from foxapi_async.cli.settling import confirm, forget_unknown, retry_unknown, unsettled
from foxapi_async.cli.waiting import wait_for
from foxapi_async.errors import JournalError
from foxapi_async.journal import Entry, EntryId, Journal, Stage, open_journal

if TYPE_CHECKING:
    from rich.text import Text

Opened = AbstractAsyncContextManager[Journal]

_DAY: Final = 86_400.0
_MONTH: Final = 30.0
_UNDER_WAY: Final = frozenset({Stage.SENT, Stage.ACCEPTED})
_DOUBTFUL: Final = frozenset({Stage.UNKNOWN, Stage.UNREADABLE})

command: typer.Typer = typer.Typer(
    help="Look into a journal, go on with it, tidy it up.\n\nOnly `resume`, and `settle` with "
    "`--retry-unknown`, need the service.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)


@command.callback()
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


File = Annotated[str, typer.Argument(metavar="FILE", help="The journal, such as tasks.db.")]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="An entry, a key or a task id, as `list` shows them.")
]


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


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
    run(screen, lambda: _list(screen, open_journal(file), stage or (), file))


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

    The exit code is the largest of theirs, and 4 if the outcome of a submission is unknown, or
    an entry cannot be read.
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
        float | None,
        typer.Option(
            "--older-than",
            metavar="DAYS",
            min=0,
            help="How old they must be: 30 days, or any age with `--stage`.",
            show_default=False,
        ),
    ] = None,
    stage: Annotated[
        list[Stage] | None,
        typer.Option(
            "--stage",
            metavar="STAGE",
            help="Delete what is at this stage instead, such as `failed`; repeatable.",
        ),
    ] = None,
    entry: Annotated[
        list[str] | None,
        typer.Option("--entry", metavar="ENTRY", help="Delete this entry instead; repeatable."),
    ] = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="Delete also those that the service knows no more.")
    ] = False,
    yes: Yes = False,
    json: options.AsJSON = None,
) -> None:
    """Delete submissions that are finished or were refused; their keys are free again.

    What may be billed, at the stages `unknown` and `unreadable`, is deleted only by `--stage` or
    `--entry`: look into your account first.
    """
    screen = Screen(json=json)
    ids = [_entry_id(name) for name in entry or ()]
    stages = {*(stage or ())}
    if stages & _UNDER_WAY:
        raise typer.BadParameter(
            f"--stage {min(stages & _UNDER_WAY)}: these are under way; delete one by --entry"
        )
    if stages and lost:
        stages.add(Stage.LOST)
    before = time.time() - ((0.0 if stages else _MONTH) if days is None else days) * _DAY

    async def delete(journal: Journal) -> int:
        if ids:
            return await journal.delete(ids)
        if doubtful := stages & _DOUBTFUL:
            found = await journal.entries(stages=doubtful, omit_bodies=True)
            count = sum(entry.stage in doubtful and entry.sent_at < before for entry in found)
            if count:
                confirm(screen, f"{count} submissions that may be billed are forgotten.", yes=yes)
        return await journal.prune(before, lost=lost, stages=stages or None)

    run(screen, lambda: _prune(screen, open_journal(file), delete, len(set(ids))))


@command.command()
def settle(
    *,
    file: File,
    forget: Annotated[
        bool,
        typer.Option("--forget-unknown", help="Delete them: their keys are free again."),
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

    Each may have been accepted, and then it is billed: look into your account first. Without an
    option they are listed, and the exit code is 4 if there are any. Those whose task id was seen
    stay: `resume` waits for them.
    """
    screen = Screen(json=json)
    if forget and retry:
        raise typer.BadParameter("take either --forget-unknown or --retry-unknown")
    if retry:

        def start() -> Coroutine[Any, Any, ExitCode]:
            session = open_session(screen, journal=file)
            return retry_unknown(screen, open_journal(file), session, yes=yes)

        run(screen, start)
    elif forget:
        run(screen, lambda: forget_unknown(screen, open_journal(file), yes=yes))
    else:
        run(screen, lambda: _show_unknown(screen, open_journal(file), file))


async def _list(screen: Screen, opened: Opened, stages: Collection[Stage], file: str) -> ExitCode:
    async with opened as journal:
        entries = await journal.entries(stages=stages or None, omit_bodies=True)
    _show_entries(screen, entries, file)
    if not entries:
        screen.note("nothing was submitted" if not stages else "nothing is at this stage")
    return ExitCode.OK


def _show_entries(screen: Screen, entries: Collection[Entry], file: str) -> None:
    for entry in entries:
        screen.record(**_members(entry))
    if entries:
        screen.print(_table(entries))
    for entry in entries:
        if entry.stage is Stage.UNREADABLE:
            screen.note(
                f"{entry.id}: {entry.fault}; look for it in your account, then delete it with "
                f"`foxapi journal prune {file} --entry {entry.id}`",
                "",
            )


async def _show_unknown(screen: Screen, opened: Opened, file: str) -> ExitCode:
    async with opened as journal:
        unknown = await unsettled(journal)
    _show_entries(screen, unknown, file)
    if not unknown:
        screen.note("nothing is unknown")
        return ExitCode.OK
    screen.note(
        f"{len(unknown)} unknown: look in your account for them, then `foxapi journal settle {file}"
        "` with --forget-unknown or --retry-unknown",
        "",
    )
    return ExitCode.UNKNOWN


async def _show(screen: Screen, opened: Opened, name: str) -> ExitCode:
    async with opened as journal:
        found = await journal.lookup(name)
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
        gone = len(await journal.entries(stages={Stage.LOST}, omit_bodies=True))
    async with session as fox:
        recovery = await fox.recover(finished=lost)
        handles = [handle for handle in recovery.handles if not handle.done()]
        code = await wait_for(screen, handles) if handles else ExitCode.OK
        for entry in recovery.unreadable:
            screen.note(f"{entry.entry}: {entry.fault}; {entry.advice}", "")
        for doubt in recovery.unknown:
            named = f" (key {doubt.key})" if doubt.key is not None else ""
            screen.note(f"{doubt.entry}{named}: {doubt.fault}; {doubt.advice}", "")
        if gone and not lost:
            screen.note(
                f"{gone} lost earlier: `foxapi journal resume {file} --lost` asks again", ""
            )
        elif not handles and not recovery.unknown and not recovery.unreadable:
            screen.note("everything is finished")
    return max(code, ExitCode.UNKNOWN) if recovery.unknown or recovery.unreadable else code


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


def _entry_id(name: str) -> EntryId:
    entry_id = EntryId.parse(name)
    if entry_id is None:
        raise typer.BadParameter(f"--entry {name[:80]!r}: take it from `foxapi journal list`")
    return entry_id


def _members(entry: Entry) -> dict[str, Any]:
    return {
        "entry": str(entry.id),
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
        "request": _content(entry, "request", entry.body),
        "task": _content(entry, "task", entry.task),
        "answer": _content(entry, "answer", entry.streamed_completion),
    }


def _content(entry: Entry, name: str, content: bytes | None) -> Any:
    try:
        return None if content is None else msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise JournalError(f"the {name} of entry {entry.id} is damaged") from None


def _table(entries: Iterable[Entry]) -> "Text":
    from foxapi_async.cli.table import table

    # The ids come first, so that a terminal of 80 columns breaks none of them.
    return table(
        ("entry", "task", "stage", "sent", "key", "model"),
        [
            (
                str(entry.id),
                entry.task_id or "",
                entry.stage.value,
                local_time(entry.sent_at),
                entry.key or "",
                entry.model,
            )
            for entry in entries
        ],
    )


def _sheet(members: dict[str, Any]) -> "Text":
    from foxapi_async.cli.table import sheet

    return sheet({name: _shown(name, value) for name, value in members.items()})


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in {"sent_at", "ended_at"}:
        return local_time(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
