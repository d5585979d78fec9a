"""``foxapi journal settle``: list, delete or resubmit submissions whose outcome is unknown."""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final

from foxapi_async.cli.errors import ExitCode, UsageError
from foxapi_async.cli.journal_entries import show_entries
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import Session, report_error
from foxapi_async.errors import FoxAPIError
from foxapi_async.journal import Entry, Journal, Stage

if TYPE_CHECKING:
    from foxapi_async import LLM, FoxSession, Media, TaskHandle, UnknownSubmission

_YES: Final = frozenset({"y", "yes"})


def confirm(screen: Screen, question: str, *, yes: bool) -> None:
    """Ask whether to go on. ``UsageError`` for a no, or if stdin is not a terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Add --yes to confirm")
    screen.note(f"{question} Go on? [y/N]", "")
    if sys.stdin.readline().strip().lower() not in _YES:
        raise UsageError("nothing was changed")


async def _unsettled(journal: Journal) -> list[Entry]:
    """Return the entries of unknown outcome that have no task id."""
    found = await journal.entries(stages={Stage.UNKNOWN}, omit_bodies=True)
    return [entry for entry in found if entry.stage is Stage.UNKNOWN and entry.task_id is None]


async def show_unknown(screen: Screen, opened: AbstractAsyncContextManager[Journal]) -> ExitCode:
    """Show the entries of unknown outcome, and how to settle them."""
    async with opened as journal:
        unknown = await _unsettled(journal)
    show_entries(screen, unknown, journal.name)
    if not unknown:
        screen.note("no submission is unknown")
        return ExitCode.OK
    screen.note(
        f"{len(unknown)} unknown: check your account, then `foxapi journal settle {journal.name}"
        "` with --forget-unknown or --retry-unknown",
        "",
    )
    return ExitCode.UNKNOWN


async def forget_unknown(
    screen: Screen, opened: AbstractAsyncContextManager[Journal], *, yes: bool
) -> ExitCode:
    """Delete the entries of unknown outcome, and show how many were deleted."""
    async with opened as journal:
        unknown = await _unsettled(journal)
        if unknown:
            question = f"{len(unknown)} submissions that may be billed are deleted."
            confirm(screen, question, yes=yes)
        deleted = await journal.delete([entry.id for entry in unknown])
    screen.record(forgotten=deleted)
    screen.print(f"{deleted} deleted")
    return ExitCode.OK


async def retry_unknown(
    screen: Screen, opened: AbstractAsyncContextManager[Journal], session: Session, *, yes: bool
) -> ExitCode:
    """Resubmit the entries of unknown outcome, show each new id and how many were accepted."""
    # A missing or invalid file is an error before any request is sent.
    async with opened as journal:
        count = len(await _unsettled(journal))
    async with session as fox:
        unknown = (await fox.recover()).unknown
        if unknown:
            question = f"{len(unknown)} submissions are sent again and billed, maybe a second time."
            confirm(screen, question, yes=yes)

        async def resubmit(submission: "UnknownSubmission") -> ExitCode:
            try:
                handle = await _resource(fox, submission).resubmit(submission)
            except FoxAPIError as error:
                screen.record(entry=submission.entry, key=submission.key, error=str(error))
                return report_error(screen, error)
            _show_accepted(screen, submission, handle)
            return ExitCode.OK

        codes = await asyncio.gather(*map(resubmit, unknown))
    accepted = codes.count(ExitCode.OK)
    screen.record(resubmitted=accepted, failed=len(codes) - accepted)
    screen.print(f"{accepted} submitted again, {len(codes) - accepted} not")
    if count > len(unknown):
        screen.note(
            f"{count - len(unknown)} belong to another base URL: set FOXAPI_BASE_URL to it", ""
        )
    return max(codes, default=ExitCode.OK)


def _resource(fox: "FoxSession", submission: "UnknownSubmission") -> "LLM | Media":
    """Return what submits tasks of the kind of a submission."""
    media = {each.kind: each for each in (fox.images, fox.videos, fox.audios, fox.documents)}
    return fox.llm if submission.kind == "llm" else media[submission.kind]


def _show_accepted(
    screen: Screen, submission: "UnknownSubmission", handle: "TaskHandle[Any]"
) -> None:
    screen.record(entry=submission.entry, key=submission.key, id=handle.id)
    screen.print(f"{handle.id}  {submission.key or submission.entry}")
