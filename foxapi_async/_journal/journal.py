"""An open journal: reading it, and deleting entries."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from foxapi_async._clock import Clock, LoopClock
from foxapi_async._journal.backends import AnyURL, open_reader, open_tables
from foxapi_async._journal.position import START, FinishedEntry, Position, settled
from foxapi_async._journal.records import FINISHED, Entry, EntryId, Stage
from foxapi_async._sql import DatabaseThread, GroupCommitter
from foxapi_async.errors import JournalError

if TYPE_CHECKING:
    from foxapi_async._journal.tables import JournalTables

T = TypeVar("T")

_PROCESS_ENDED = "the process that sent it ended before the answer came"


class Journal:
    """An open journal. Other processes may write to it meanwhile. Nothing here is billed.

    Every method raises ``JournalError`` if the journal cannot be read or written.
    """

    def __init__(
        self, location: AnyURL, *, clock: Clock | None = None, create: bool = True
    ) -> None:
        self._location = location
        self._clock: Clock = clock or LoopClock()
        self._create = create
        self._lock = asyncio.Lock()
        self._committer: GroupCommitter[JournalTables] | None = None
        # A connection of its own, so that no submission waits for a long list.
        self._reader: GroupCommitter[JournalTables] | None = None
        self._closed = False
        self._pid: int | None = None

    @property
    def name(self) -> str:
        """The path of the file, or the URL of the database without its password."""
        return self._location.name

    async def open(self) -> None:
        """Open the database and bring its tables up to date; further calls do nothing."""
        await self._opened()

    async def entries(
        self,
        service: str | None = None,
        stages: Collection[Stage] | None = None,
        *,
        omit_bodies: bool = False,
    ) -> list[Entry]:
        """Return entries in the order they were sent.

        An entry that cannot be read may have been at any stage, so it is returned too, as
        ``UNREADABLE``.

        Args:
            service: The base URL of the entries; all services by default.
            stages: The stages of the entries; all by default.
            omit_bodies: Leave out requests and results, which may be large.
        """
        # In this order: a run that has ended can write nothing between the two reads.
        dead = await self._dead_runs()
        wanted = _widened(stages)
        found = await self._read(
            lambda tables: tables.entries(service, wanted, omit_bodies=omit_bodies)
        )
        return list(_as_of_now(found, dead, stages))

    def scan(
        self,
        service: str | None = None,
        stages: Collection[Stage] | None = None,
        *,
        omit_bodies: bool = False,
    ) -> AsyncIterator[Entry]:
        """Iterate over the entries that ``entries`` returns, with one page of them in memory.

        The entries of each run of a process come together, in the order they were sent. Entries
        that are written meanwhile may be left out.

        Args:
            service: The base URL of the entries; all services by default.
            stages: The stages of the entries; all by default.
            omit_bodies: Leave out requests and results, which may be large.
        """
        return self._scan(service, stages, omit_bodies=omit_bodies)

    async def _scan(
        self, service: str | None, stages: Collection[Stage] | None, *, omit_bodies: bool
    ) -> AsyncGenerator[Entry, None]:
        dead = await self._dead_runs()
        wanted = _widened(stages)
        for run in await self._read(lambda tables: tables.runs()):
            last = EntryId(run, 0)
            while found := await self._read(_page(last, service, wanted, omit_bodies=omit_bodies)):
                last = found[-1].id
                for entry in _as_of_now(found, dead, stages):
                    yield entry

    def results(
        self,
        service: str | None = None,
        stages: Collection[Stage] = FINISHED,
        *,
        after: str | None = None,
    ) -> AsyncIterator[FinishedEntry]:
        """Iterate over the entries that have ended, in that order, with one page in memory.

        A later call goes on after the position of an entry. It may repeat what ended within the
        minute before that entry was read, because machines write at once. It leaves out an end that
        was written more than a minute late: after an outage of the database, begin without
        ``after``.

        Args:
            service: The base URL of the entries; all services by default.
            stages: Completed, failed and cancelled ones by default.
            after: The ``position`` of the last entry that is not wanted again.

        Raises:
            ValueError: ``after`` is no position.
        """
        return self._results(service, stages, START if after is None else Position.parse(after))

    async def _results(
        self, service: str | None, stages: Collection[Stage], last: Position
    ) -> AsyncGenerator[FinishedEntry, None]:
        while True:
            limit = max(settled(self._clock.unix()), START)
            found = await self._read(_ended(last, service, stages))
            if not found:
                return
            for position, entry in found:
                yield FinishedEntry(entry=entry, position=str(min(position, limit)))
            last = found[-1][0]

    async def lookup(self, name: str) -> list[Entry]:
        """Return the entries whose id, key or task id is ``name``."""
        try:
            name.encode()
        except UnicodeEncodeError:
            return []  # half of a surrogate pair, which no journal can hold
        if "\0" in name:
            return []  # neither can a PostgreSQL server hold this
        dead = await self._dead_runs()
        entry_id = EntryId.parse(name)
        found = await self._read(lambda tables: tables.lookup(name, entry_id))
        return list(_as_of_now(found, dead, None))

    async def prune(
        self, before: float, *, lost: bool = False, stages: Collection[Stage] | None = None
    ) -> int:
        """Delete the finished and refused entries that were sent before a Unix time.

        Their keys are free again, and their room is given back to the disk. Entries whose outcome
        is unknown, or which cannot be read, stay unless ``stages`` names them: they may be billed.

        Args:
            before: A Unix time; entries that were sent later stay.
            lost: Delete also the entries whose tasks the service does not know.
            stages: Delete the entries at these stages instead.

        Returns:
            How many entries were deleted.

        Raises:
            ValueError: ``stages`` has ``SENT`` or ``ACCEPTED``, which are under way.
        """
        if stages is None:
            stages = FINISHED | {Stage.REFUSED, *([Stage.LOST] if lost else [])}
        if under_way := {Stage.SENT, Stage.ACCEPTED} & {*stages}:
            raise ValueError(f"stage {min(under_way)} is under way: delete its entry instead")
        computed = {Stage.UNKNOWN, Stage.UNREADABLE} & {*stages}
        stored = {*stages} - computed
        pruned = await self._run(lambda tables: tables.prune(before, stored))
        if computed:
            old = [
                entry.id
                async for entry in self.scan(stages=computed)
                if entry.stage in computed and entry.sent_at < before
            ]
            pruned += await self.delete(old)
        await self._vacuum()
        return pruned

    async def delete(self, ids: Collection[EntryId]) -> int:
        """Delete these entries at any stage; return how many there were.

        A ``SENT`` entry of a living process stays, because its answer is still to be written.
        """
        sending = await self._run(lambda tables: tables.runs_sending())
        living = sending - await self._run(lambda tables: tables.dead_runs())
        deleted = await self._run(lambda tables: tables.delete(ids, living))
        await self._vacuum()
        return deleted

    async def aclose(self) -> None:
        """Write what is not written yet and close the database; further calls do nothing."""
        self._closed = True
        if self._is_forked:
            # The thread and the unwritten entries are the parent's.
            return
        async with self._lock:
            committer, self._committer = self._committer, None
            reader, self._reader = self._reader, None
            try:
                if reader is not None:
                    await reader.aclose()
            finally:
                if committer is not None:
                    await committer.aclose()

    async def _opened(self) -> "GroupCommitter[JournalTables]":
        if self._is_forked:
            raise JournalError(
                f"the journal {self._location.name} was opened by the process that this one was "
                "forked from: build a FoxSession of its own in each process"
            )
        if self._committer is not None:
            return self._committer
        async with self._lock:
            if self._committer is None:
                self._committer = await self._connected(
                    partial(open_tables, self._location, create=self._create)
                )
                self._pid = os.getpid()
            return self._committer

    async def _opened_reader(
        self, committer: "GroupCommitter[JournalTables]"
    ) -> "GroupCommitter[JournalTables]":
        # What is to be written goes first: a list has what was recorded before it.
        is_checked = await committer.run(lambda tables: tables.is_checked)
        async with self._lock:
            if self._reader is None:
                self._reader = await self._connected(
                    partial(open_reader, self._location, is_checked=is_checked)
                )
            return self._reader

    async def _connected(
        self, open_database: "Callable[[], JournalTables]"
    ) -> "GroupCommitter[JournalTables]":
        if self._closed:
            raise self._is_closed()
        thread = DatabaseThread(open_database)
        await thread.open()
        return GroupCommitter(thread, self._clock)

    @property
    def _is_forked(self) -> bool:
        return self._pid is not None and self._pid != os.getpid()

    async def _run(self, work: "Callable[[JournalTables], T]") -> T:
        """Run ``work`` on the connection that writes."""
        return await (await self._opened()).run(lambda tables: tables.perform(work))

    async def _read(self, work: "Callable[[JournalTables], T]") -> T:
        """Run ``work``, which may take long, on a connection beside the one that writes."""
        reader = await self._opened_reader(await self._opened())
        return await reader.run(lambda tables: tables.perform(work))

    async def _dead_runs(self) -> set[str]:
        """Return the runs that have ended and left submissions whose outcome is not written."""
        return await self._read(lambda tables: tables.dead_runs())

    async def _vacuum(self) -> None:
        while await self._run(lambda tables: tables.incremental_vacuum()):
            pass

    def _is_closed(self) -> JournalError:
        return JournalError(f"the journal {self._location.name} is closed")


def _page(
    after: EntryId, service: str | None, stages: Collection[Stage] | None, *, omit_bodies: bool
) -> "Callable[[JournalTables], list[Entry]]":
    return lambda tables: tables.page(after, service, stages, omit_bodies=omit_bodies)


def _ended(
    after: Position, service: str | None, stages: Collection[Stage]
) -> "Callable[[JournalTables], list[tuple[Position, Entry]]]":
    return lambda tables: tables.ended(after, service, stages)


def _widened(stages: Collection[Stage] | None) -> set[Stage] | None:
    """Return the stages to select: what a dead run has sent is ``UNKNOWN``.

    An ``UNREADABLE`` entry is found only by reading all of them.
    """
    if stages is None or Stage.UNREADABLE in stages:
        return None
    return {*stages, Stage.SENT} if Stage.UNKNOWN in stages else {*stages}


def _as_of_now(
    entries: Iterable[Entry], dead: Collection[str], stages: Collection[Stage] | None
) -> Iterator[Entry]:
    """Yield entries at the stage that follows from the dead runs, if it is one of ``stages``."""
    for entry in entries:
        current = with_unknown_outcome(entry) if entry.id.run in dead else entry
        if stages is None or current.stage in stages or current.stage is Stage.UNREADABLE:
            yield current


def with_unknown_outcome(entry: Entry) -> Entry:
    """Return the entry of a run that has ended: the outcome of what it was sending is unknown."""
    if entry.stage is not Stage.SENT:
        return entry
    return replace(entry, stage=Stage.UNKNOWN, fault=_PROCESS_ENDED)
