"""The journal of a session that is built inside a running loop, which must not wait for imports."""

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from foxapi_async._clock import Clock
from foxapi_async._journal.journal_url import JournalURL
from foxapi_async._journal.protocol import JournalBackend
from foxapi_async._journal.records import Entry, EntryId, FinalRecord, Intent, Stage
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.task import Task
from foxapi_async.errors import FoxAPIError, SessionClosedError

if TYPE_CHECKING:
    from foxapi_async._journal.journal import Journal


class LateJournal(JournalBackend):
    """A ``Journal`` whose libraries are loaded in a thread when it is first used."""

    def __init__(
        self, location: JournalURL, clock: Clock, load: "Callable[[], type[Journal]]"
    ) -> None:
        self._location = location
        self._clock = clock
        self._load = load
        self._journal: Journal | None = None

    async def open(self) -> None:
        """Load what is needed, and open the file."""
        await (await self._loaded()).open()

    async def find(self, service: str, key: str) -> Entry | None:
        """Return what ``key`` was used for."""
        return await (await self._loaded()).find(service, key)

    async def intended(self, intent: Intent) -> EntryId | Entry:
        """Commit the intent to the file."""
        return await (await self._loaded()).intended(intent)

    async def accepted(self, note: EntryId, task: Task) -> None:
        """Commit the task's id."""
        await (await self._loaded()).accepted(note, task)

    async def refused(self, note: EntryId, fault: FoxAPIError | SessionClosedError) -> None:
        """Commit that the key is free."""
        await (await self._loaded()).refused(note, fault)

    async def unknown(self, note: EntryId, fault: FoxAPIError, task_id: str | None = None) -> None:
        """Commit that the request may have been accepted."""
        await (await self._loaded()).unknown(note, fault, task_id)

    def finished(self, ending: FinalRecord) -> None:
        """Write the result down soon; a journal that was never opened has no entry of it."""
        if self._journal is not None:
            self._journal.finished(ending)

    def heard(self, service: str, task_id: str, answer: ChatCompletion, *, wins: bool) -> None:
        """Write down soon what a stream has said to its end."""
        if self._journal is not None:
            self._journal.heard(service, task_id, answer, wins=wins)

    def lost(self, service: str, task_id: str, fault: FoxAPIError) -> None:
        """Write down soon that the service does not know the task."""
        if self._journal is not None:
            self._journal.lost(service, task_id, fault)

    async def entries(
        self, service: str | None = None, stages: Collection[Stage] | None = None
    ) -> list[Entry]:
        """Return entries in the order they were sent."""
        return await (await self._loaded()).entries(service, stages)

    async def aclose(self) -> None:
        """Close the file, if it was opened."""
        if self._journal is not None:
            await self._journal.aclose()

    async def _loaded(self) -> "Journal":
        if self._journal is None:
            journal = await asyncio.to_thread(self._load)
            if self._journal is None:
                self._journal = journal(self._location, clock=self._clock)
        return self._journal
