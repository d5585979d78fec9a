"""The journal of a session in a database: submissions outlive the process that sends them."""

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from foxapi_async._clock import Clock
from foxapi_async._journal.backends import AnyURL
from foxapi_async._journal.entry_usage import EntryUsage
from foxapi_async._journal.journal import Journal, with_unknown_outcome
from foxapi_async._journal.journal_rate import JournalRate
from foxapi_async._journal.operations import (
    Claim,
    ClaimResult,
    CostChange,
    CostKind,
    EntryUpdate,
    FindEntry,
)
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
from foxapi_async._protocol.spent import Spent
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.task import Task
from foxapi_async.errors import FoxAPIError, SessionClosedError

if TYPE_CHECKING:
    from foxapi_async._journal.tables import JournalTables


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
        # The sums of the services that have a budget in this process.
        self._spent: dict[str, Spent] = {}
        self._summing = asyncio.Lock()
        # The entries under way that have a reservation, and their services.
        self._reserved: dict[EntryId, str] = {}

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
        result: Entry | ClaimResult | None
        try:
            result = await committer.execute(Claim(entry_id, intent))
        except asyncio.CancelledError:
            # The claim may be in the next commit, and its entry must not stay `SENT`.
            committer.execute_soon(EntryUpdate.refused(entry_id, "cancelled before it was sent"))
            if intent.reservation is not None:
                self._change_cost(CostChange(intent.service, entry_id, "released"))
            raise
        if isinstance(result, ClaimResult):
            return self._claimed(entry_id, intent, result)
        return result or entry_id

    def _claimed(self, entry_id: EntryId, intent: Intent, result: ClaimResult) -> EntryId | Entry:
        self._spent[intent.service] = result.spent
        if result.error is not None:
            raise result.error
        if result.holder is not None:
            return result.holder
        self._reserved[entry_id] = intent.service
        return entry_id

    def spent(self, service: str) -> Spent | None:
        """Return what the entries of a service have cost, as of the last commit."""
        return self._spent.get(service)

    async def sum_up(self, service: str) -> Spent:
        """Bring the costs of a service up to date, at the first call, and return the sums.

        Entries of sessions without a budget are counted, and the costs of tasks that have ended
        since are corrected.
        """
        async with self._summing:
            if service not in self._spent:
                await self._run_pages(lambda tables, last: tables.add_uncounted(service, last))
                await self._run_pages(lambda tables, last: tables.end_open_costs(service, last))
                self._spent[service] = await self._run(lambda tables: tables.sum_up_costs(service))
        return self._spent[service]

    def end_turn(self, service: str, task_id: str) -> None:
        """Let others submit to the model of a task whose cost stays unknown."""
        if service in self._spent:
            self._change_cost(CostChange(service, task_id, "opened"))

    async def _run_pages(self, work: "Callable[[JournalTables, EntryId], EntryId | None]") -> None:
        """Run ``work`` a page at a time, so that others may write in between."""
        last: EntryId | None = EntryId("", 0)
        while last is not None:
            last = await self._run(partial(_page, work, last))

    async def record_accepted(self, entry_id: EntryId, task: Task) -> None:
        """Commit the task's id and snapshot; the request is deleted."""
        usage = task.usage
        credits_ = usage.credits if usage is not None else None
        self._change_reserved(entry_id, "accepted", EntryUsage(credits=credits_))
        await self._write(EntryUpdate.accepted(entry_id, task))

    async def record_refused(
        self, entry_id: EntryId, fault: FoxAPIError | SessionClosedError
    ) -> None:
        """Commit that the key is free; the request is deleted."""
        self._change_reserved(entry_id, "released")
        await self._write(EntryUpdate.refused(entry_id, error_text(fault)))

    async def record_unknown(
        self, entry_id: EntryId, fault: FoxAPIError, task_id: str | None = None
    ) -> None:
        """Commit that the request may have been accepted, and as which task."""
        self._change_reserved(entry_id, "opened")
        await self._write(EntryUpdate.unknown(entry_id, error_text(fault), task_id))

    def record_finished(self, record: FinalRecord) -> None:
        """Write the result with the next commit."""
        # A journal that is not open has no entry of the task.
        if self._committer is not None and not self._closed:
            update = EntryUpdate.finished(record, self._clock.unix())
            if record.service in self._spent:
                self._change_cost(CostChange.ended(record, update.values["new_task"]))
            self._committer.execute_soon(update)

    def record_streamed(self, service: str, task_id: str, completion: ChatCompletion) -> None:
        """Write with the next commit what a stream delivered to its end."""
        if self._committer is not None and not self._closed:
            self._committer.execute_soon(EntryUpdate.streamed(service, task_id, completion))

    def record_lost(self, service: str, task_id: str, fault: FoxAPIError) -> None:
        """Write with the next commit that the service does not know the task."""
        if self._committer is not None and not self._closed:
            self.end_turn(service, task_id)
            self._committer.execute_soon(EntryUpdate.lost(service, task_id, error_text(fault)))

    async def find_uploads(
        self, service: str, mark: ContentMark, after: float
    ) -> list[StoredUpload]:
        """Return the uploads with this mark whose link is valid ``after`` that Unix time."""
        return await self._run(lambda tables: tables.find_uploads(service, mark, after))

    async def record_upload(self, upload: StoredUpload, now: float) -> None:
        """Commit an upload, in place of one of the same file; drop what has expired ``now``."""
        await self._run(lambda tables: tables.store_upload(upload, now))

    def _change_reserved(
        self,
        entry_id: EntryId,
        kind: CostKind,
        usage: EntryUsage = EntryUsage(),  # noqa: B008
    ) -> None:
        service = self._reserved.pop(entry_id, None)
        if service is not None:
            self._change_cost(CostChange(service, entry_id, kind, usage))

    def _change_cost(self, change: CostChange) -> None:
        """Change a cost with the next commit."""
        if self._committer is not None:
            self._committer.execute_soon(change, partial(self._on_spent, change.service))

    def _on_spent(self, service: str, spent: Spent) -> None:
        self._spent[service] = spent

    async def _find(self, service: str, key: str) -> Entry | None:
        committer = await self._opened()
        entry: Entry | None = await committer.execute(FindEntry(service, key))
        return entry

    async def _write(self, update: EntryUpdate) -> None:
        committer = await self._opened()
        await committer.execute(update, keep=True)


def _page(
    work: "Callable[[JournalTables, EntryId], EntryId | None]",
    last: EntryId,
    tables: "JournalTables",
) -> EntryId | None:
    return work(tables, last)
