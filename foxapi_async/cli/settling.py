"""Settling at once all submissions whose outcome is unknown."""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final

from foxapi_async.cli.exit_codes import ExitCode, UsageError
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import Session, report_error
from foxapi_async.errors import FoxAPIError
from foxapi_async.journal import Entry, Journal, Stage

if TYPE_CHECKING:
    from foxapi_async import LLMHandle, UnknownSubmission

_YES: Final = frozenset({"y", "yes"})


def confirm(screen: Screen, what: str, *, yes: bool) -> None:
    """Ask whether to go on; ``UsageError`` for a no, and where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{what} Add --yes to do so")
    screen.note(f"{what} Go on? [y/N]", "")
    if sys.stdin.readline().strip().lower() not in _YES:
        raise UsageError("nothing was done")


async def unsettled(journal: Journal) -> list[Entry]:
    """Return the entries of unknown outcome of which no task id was seen."""
    found = await journal.entries(stages={Stage.UNKNOWN}, omit_bodies=True)
    return [entry for entry in found if entry.stage is Stage.UNKNOWN and entry.task_id is None]


async def forget_unknown(
    screen: Screen, opened: AbstractAsyncContextManager[Journal], *, yes: bool
) -> ExitCode:
    """Delete what is unknown, and tell how much it was."""
    async with opened as journal:
        unknown = await unsettled(journal)
        if unknown:
            what = f"{len(unknown)} submissions that may be billed are forgotten."
            confirm(screen, what, yes=yes)
        forgotten = await journal.delete([entry.id for entry in unknown])
    screen.record(forgotten=forgotten)
    screen.print(f"{forgotten} forgotten")
    return ExitCode.OK


async def retry_unknown(
    screen: Screen, opened: AbstractAsyncContextManager[Journal], session: Session, *, yes: bool
) -> ExitCode:
    """Submit again what is unknown, show each new id, and tell how many there were of which end."""
    # A file that is not there, or is no journal, is told of before the service is asked.
    async with opened as journal:
        count = len(await unsettled(journal))
    async with session as fox:
        lost = (await fox.recover()).unknown
        if lost:
            what = f"{len(lost)} submissions are sent again, and billed, maybe a second time."
            confirm(screen, what, yes=yes)

        async def again(one: "UnknownSubmission") -> ExitCode:
            try:
                handle = await fox.llm.resubmit(one)
            except FoxAPIError as error:
                screen.record(entry=one.entry, key=one.key, error=str(error))
                return report_error(screen, error)
            _show_accepted(screen, one, handle)
            return ExitCode.OK

        codes = await asyncio.gather(*map(again, lost))
    accepted = codes.count(ExitCode.OK)
    screen.record(resubmitted=accepted, failed=len(codes) - accepted)
    screen.print(f"{accepted} submitted again, {len(codes) - accepted} not")
    if count > len(lost):
        screen.note(f"{count - len(lost)} of another base URL: set FOXAPI_BASE_URL to theirs", "")
    return max(codes, default=ExitCode.OK)


def _show_accepted(screen: Screen, lost: "UnknownSubmission", handle: "LLMHandle") -> None:
    screen.record(entry=lost.entry, key=lost.key, id=handle.id)
    screen.print(f"{handle.id}  {lost.key or lost.entry}")
