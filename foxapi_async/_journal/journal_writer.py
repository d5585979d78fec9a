"""The journal of a session in a database: submissions outlive the process that sends them."""

import asyncio
from itertools import count

from foxapi_async._clock import Clock
from foxapi_async._journal.backends import AnyURL
from foxapi_async._journal.journal import Journal, with_unknown_outcome
from foxapi_async._journal.journal_rate import JournalRate
from foxapi_async._journal.operations import Claim, EntryUpdate, FindEntry
from foxapi_async._journal.protocol import error_text
from foxapi_async._journal.records import (
    ContentMark,
    Entry,
    EntryId,
    FinalRecord,
    Intent,
    Stage,
    StoredUpload,
)
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.task import Task
from foxapi_async.errors import FoxAPIError, SessionClosedError


class JournalWriter(Journal):
    """A ``Journal`` that also writes submissions: the ``JournalBackend`` of a session.

    Other processes may use it at the same time.

    The first call, or ``open``, opens it. With ``create=False`` it must exist.
    """

    is_durable: bool = True

    def __init__(
        self, location: AnyURL, *, clock: Clock | None = None, create: bool = True
    ) -> None:
        super().__init__(location, clock=clock, create=create)
        self._numbers = count(1)
        self._run_name: str | None = None

    def rate_store(self, name: str) -> JournalRate:
        """Return the rate of a name that all processes with the journal share."""
        return JournalRate(self._run, name)

    async def find(self, service: str, key: str) -> Entry | None:
        """Return the entry that holds ``key``; ``UNKNOWN`` if its process ended while sending."""
        entry = await self._find(service, key)
        if entry is None or entry.stage is not Stage.SENT:
            return entry
        run = entry.id.run
        if await self._run(lambda tables: tables.lives(run)):
            return entry
        # The process may have written more before it ended; now it writes nothing more.
        entry = await self._find(service, key)
        return with_unknown_outcome(entry) if entry is not None else None

    async def record_intent(self, intent: Intent) -> EntryId | Entry:
        """Commit the intent."""
        committer = await self._opened()
        if self._run_name is None:
            self._run_name = await self._run(lambda tables: tables.begin_run())
        if self._committer is not committer:
            raise self._is_closed()
        entry_id = EntryId(self._run_name, next(self._numbers))
        holder: Entry | None
        try:
            holder = await committer.execute(Claim(entry_id, intent))
        except asyncio.CancelledError:
            # The claim may be in the next commit, and its entry must not stay `SENT`.
            committer.execute_soon(EntryUpdate.refused(entry_id, "cancelled before it was sent"))
            raise
        return holder or entry_id

    async def record_accepted(self, entry_id: EntryId, task: Task) -> None:
        """Commit the task's id and snapshot; the request is deleted."""
        await self._write(EntryUpdate.accepted(entry_id, task))

    async def record_refused(
        self, entry_id: EntryId, fault: FoxAPIError | SessionClosedError
    ) -> None:
        """Commit that the key is free; the request is deleted."""
        await self._write(EntryUpdate.refused(entry_id, error_text(fault)))

    async def record_unknown(
        self, entry_id: EntryId, fault: FoxAPIError, task_id: str | None = None
    ) -> None:
        """Commit that the request may have been accepted, and as which task."""
        await self._write(EntryUpdate.unknown(entry_id, error_text(fault), task_id))

    def record_finished(self, record: FinalRecord) -> None:
        """Write the result with the next commit."""
        # A journal that is not open has no entry of the task.
        if self._committer is not None and not self._closed:
            self._committer.execute_soon(EntryUpdate.finished(record, self._clock.unix()))

    def record_streamed(self, service: str, task_id: str, completion: ChatCompletion) -> None:
        """Write with the next commit what a stream delivered to its end."""
        if self._committer is not None and not self._closed:
            self._committer.execute_soon(EntryUpdate.streamed(service, task_id, completion))

    def record_lost(self, service: str, task_id: str, fault: FoxAPIError) -> None:
        """Write with the next commit that the service does not know the task."""
        if self._committer is not None and not self._closed:
            self._committer.execute_soon(EntryUpdate.lost(service, task_id, error_text(fault)))

    async def find_uploads(
        self, service: str, mark: ContentMark, after: float
    ) -> list[StoredUpload]:
        """Return the uploads with this mark whose link is valid ``after`` that Unix time."""
        return await self._run(lambda tables: tables.find_uploads(service, mark, after))

    async def record_upload(self, upload: StoredUpload, now: float) -> None:
        """Commit an upload, in place of one of the same file; drop what has expired ``now``."""
        await self._run(lambda tables: tables.store_upload(upload, now))

    async def _find(self, service: str, key: str) -> Entry | None:
        committer = await self._opened()
        entry: Entry | None = await committer.execute(FindEntry(service, key))
        return entry

    async def _write(self, update: EntryUpdate) -> None:
        committer = await self._opened()
        await committer.execute(update, keep=True)
