"""A journal as something to look into: what was submitted, and what became of it.

A session writes its journal by itself, see ``FoxSession(journal=...)``. This door is for those who
want to read one, or to tidy it up, with or without a session. It needs the extra ``journal``.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from foxapi_async._clock import LoopClock
from foxapi_async._journal import Entry, EntryId, Stage, load_journal
from foxapi_async._journal.journal_url import JournalURL

__all__ = ["Entry", "EntryId", "Journal", "Stage", "open_journal"]


class Journal(Protocol):
    """An open journal. Other processes may write to it meanwhile. Nothing here is billed."""

    async def entries(
        self,
        service: str | None = None,
        stages: Collection[Stage] | None = None,
        *,
        lean: bool = False,
    ) -> list[Entry]:
        """Return entries in the order they were sent.

        ``service`` is the base URL of those that are wanted, ``stages`` how far they have come.
        ``lean`` leaves requests and results out, which may be large. What cannot be read may have
        been at any stage, and comes too, as ``UNREADABLE``.
        """
        ...

    def scan(
        self,
        service: str | None = None,
        stages: Collection[Stage] | None = None,
        *,
        lean: bool = False,
    ) -> AsyncIterator[Entry]:
        """Iterate over what ``entries`` returns, however much it is: a page of it is in memory.

        The entries of each run of a process come together, in the order they were sent. What is
        written meanwhile may come or not.
        """
        ...

    async def named(self, name: str) -> list[Entry]:
        """Return the entries with this name: their own, your key or the task id."""
        ...

    async def prune(
        self, before: float, *, lost: bool = False, stages: Collection[Stage] | None = None
    ) -> int:
        """Delete what is finished or refused and was sent before a Unix time; return how many.

        With ``lost`` what the service knows no more too; with ``stages`` what is at one of these
        instead. Their keys are free again, and so is their room on the disk. Entries whose outcome
        is unknown, or which cannot be read, stay unless ``stages`` names them: they may be billed.
        ``ValueError`` for ``SENT`` and ``ACCEPTED``, which are under way.
        """
        ...

    async def drop(self, notes: Collection[EntryId]) -> int:
        """Delete these entries, and return how many there were.

        At any stage, but for ``SENT``: that is still under way in a living process.
        """
        ...


def open_journal(file: str | os.PathLike[str]) -> AbstractAsyncContextManager[Journal]:
    """Return a context that opens the journal ``file`` on entering and closes it on leaving.

    Entering raises ``JournalError`` for a file that is not there, or is no journal, and
    ``ConfigError`` that names the extra if it is missing.
    """
    return _opened(JournalURL.parse(file))


@asynccontextmanager
async def _opened(location: JournalURL) -> AsyncGenerator[Journal, None]:
    # A database library takes its time to load, and the loop must not wait for it.
    load = await asyncio.to_thread(load_journal)
    journal = load(location, clock=LoopClock(), create=False)
    try:
        await journal.open()
        yield journal
    finally:
        await journal.aclose()
