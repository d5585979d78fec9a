"""The journal in a file: what is submitted outlives the process that submits it."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import count
from typing import TypeVar

from msgspec.structs import replace
from sqlalchemy import Connection

from foxapi_async._clock import Clock, LoopClock
from foxapi_async._journal import statements
from foxapi_async._journal.database import Database, give_back
from foxapi_async._journal.group_commit import GroupCommitter
from foxapi_async._journal.journal_url import JournalURL
from foxapi_async._journal.process_lock import ProcessLock, is_alive, remove_stale
from foxapi_async._journal.protocol import error_text
from foxapi_async._journal.records import FINISHED, Entry, EntryId, FinalRecord, Intent, Stage
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.task import Task
from foxapi_async.errors import FoxAPIError, JournalError, SessionClosedError

T = TypeVar("T")

_ORPHANED = "the process that sent it ended before the answer came"


class Journal:
    """A ``Recorder`` in an SQLite file, which other processes may use at the same time.

    The file is opened by the first call, or by ``open``. With ``create=False`` a file that is not
    there is not made.
    """

    def __init__(
        self, location: JournalURL, *, clock: Clock | None = None, create: bool = True
    ) -> None:
        self._location = location
        self._clock = clock or LoopClock()
        self._create = create
        self._lock = asyncio.Lock()
        self._database: Database | None = None
        self._writer: GroupCommitter | None = None
        self._run: ProcessLock | None = None
        self._numbers = count(1)
        self._closed = False
        self._pid: int | None = None

    async def open(self) -> None:
        """Open the file and bring it up to date; ``JournalError`` says why that cannot be."""
        await self._opened()

    async def find(self, service: str, key: str) -> Entry | None:
        """Return what ``key`` was used for; ``UNKNOWN`` if it died with its process."""
        writer = await self._opened()
        entry = await writer.find((service, key))
        if entry is None or entry.stage is not Stage.SENT or await self._lives(entry.note.run):
            return entry
        # It may have written more before it ended; now it cannot any more.
        entry = await writer.find((service, key))
        return _orphaned(entry) if entry is not None else None

    async def intended(self, intent: Intent) -> EntryId | Entry:
        """Commit the intent to the file."""
        writer = await self._opened()
        if self._run is None:
            await self._begin_run()
        if self._run is None:
            raise self._is_closed()
        note = EntryId(self._run.name, next(self._numbers))
        try:
            return await writer.claim(note, intent) or note
        except asyncio.CancelledError:
            # It may be on its way into the file, and must not look as if it were being sent.
            never = "cancelled before it was sent"
            writer.change_soon(statements.MARK_REFUSED, statements.fault_of(note, never))
            raise

    async def accepted(self, note: EntryId, task: Task) -> None:
        """Commit the task's id and snapshot; the request is no longer kept."""
        await self._change(statements.MARK_ACCEPTED, statements.acceptance(note, task))

    async def refused(self, note: EntryId, fault: FoxAPIError | SessionClosedError) -> None:
        """Commit that the key is free; the request is no longer kept."""
        await self._change(statements.MARK_REFUSED, statements.fault_of(note, error_text(fault)))

    async def unknown(self, note: EntryId, fault: FoxAPIError, task_id: str | None = None) -> None:
        """Commit that the request may have been accepted, and as which task."""
        changes = statements.doubt_of(note, error_text(fault), task_id)
        await self._change(statements.MARK_UNKNOWN, changes)

    def finished(self, ending: FinalRecord) -> None:
        """Write the result down with the next commit."""
        # Only an open journal can have an entry of the task.
        if self._writer is not None and not self._closed:
            changes = statements.end_of(ending, self._clock.unix())
            self._writer.change_soon(statements.MARK_FINISHED, changes)

    def heard(self, service: str, task_id: str, answer: ChatCompletion, *, wins: bool) -> None:
        """Write down with the next commit what a stream has said to its end."""
        if self._writer is not None and not self._closed:
            changes = statements.answer_of(service, task_id, answer, wins=wins)
            self._writer.change_soon(statements.STORE_STREAMED, changes)

    def lost(self, service: str, task_id: str, fault: FoxAPIError) -> None:
        """Write down with the next commit that the service does not know the task."""
        if self._writer is not None and not self._closed:
            changes = statements.loss_of(service, task_id, error_text(fault))
            self._writer.change_soon(statements.MARK_LOST, changes)

    async def entries(
        self,
        service: str | None = None,
        stages: Collection[Stage] | None = None,
        *,
        lean: bool = False,
    ) -> list[Entry]:
        """Return entries in the order they were sent; ``lean`` leaves requests and results out."""
        # Only in this order: a run that is dead already can write nothing before the second look.
        dead = await self._dead_runs()
        wanted = _widened(stages)
        found = await self._ask(lambda it: statements.entries(it, service, wanted, lean=lean))
        return list(_told(found, dead, stages))

    async def scan(
        self,
        service: str | None = None,
        stages: Collection[Stage] | None = None,
        *,
        lean: bool = False,
    ) -> AsyncGenerator[Entry, None]:
        """Yield what ``entries`` returns, run by run and a page at a time."""
        dead = await self._dead_runs()
        wanted = _widened(stages)
        for run in await self._ask(statements.runs):
            last = EntryId(run, 0)
            while found := await self._ask(
                partial(statements.page, after=last, service=service, stages=wanted, lean=lean)
            ):
                last = found[-1].note
                for entry in _told(found, dead, stages):
                    yield entry

    async def named(self, name: str) -> list[Entry]:
        """Return the entries that have ``name`` as their own, as key or as task id."""
        try:
            name.encode()
        except UnicodeEncodeError:
            return []  # half of a surrogate pair, which no file can hold
        dead = await self._dead_runs()
        note = EntryId.parse(name)
        found = await self._ask(lambda connection: statements.named(connection, name, note))
        return list(_told(found, dead, None))

    async def prune(
        self, before: float, *, lost: bool = False, stages: Collection[Stage] | None = None
    ) -> int:
        """Delete what is at one of ``stages`` and was sent before; return how many.

        Without ``stages`` what is finished or refused, or lost. Their keys are free again, and so
        is their room on the disk.
        """
        if stages is None:
            stages = FINISHED | {Stage.REFUSED, *([Stage.LOST] if lost else [])}
        if under_way := {Stage.SENT, Stage.ACCEPTED} & {*stages}:
            raise ValueError(f"what is {min(under_way)} is under way: drop its entry instead")
        told = {Stage.UNKNOWN, Stage.UNREADABLE} & {*stages}
        pruned = await self._ask(lambda it: statements.prune(it, before, {*stages} - told))
        if told:
            old = [
                entry.note
                async for entry in self.scan(stages=told)
                if entry.stage in told and entry.sent_at < before
            ]
            pruned += await self.drop(old)
        await self._give_back()
        return pruned

    async def drop(self, notes: Collection[EntryId]) -> int:
        """Delete these entries at any stage; return how many there were.

        What a living process has just sent stays: its answer would find no entry.
        """
        living = await self._ask(statements.sent_by) - await self._dead_runs()
        dropped = await self._ask(lambda it: statements.drop(it, notes, living))
        await self._give_back()
        return dropped

    async def aclose(self) -> None:
        """Write down what is still to be written and close the file; further calls do nothing."""
        self._closed = True
        if self._is_forked:
            # Its thread and what it had to write are the parent's.
            return
        async with self._lock:
            writer, self._writer = self._writer, None
            database, self._database = self._database, None
            run, self._run = self._run, None
            try:
                if writer is not None:
                    await writer.aclose()
            finally:
                if database is not None:
                    await database.aclose()
                if run is not None:
                    await asyncio.to_thread(run.end)

    async def _opened(self) -> GroupCommitter:
        if self._is_forked:
            raise JournalError(
                f"the journal {self._location.path} was opened by the process that this one was "
                "forked from: build a FoxSession of its own in each process"
            )
        if self._writer is not None:
            return self._writer
        async with self._lock:
            if self._writer is None:
                if self._closed:
                    raise self._is_closed()
                self._database = await Database.open(self._location, create=self._create)
                self._pid = os.getpid()
                self._writer = GroupCommitter(self._database, self._clock)
            return self._writer

    @property
    def _is_forked(self) -> bool:
        return self._pid is not None and self._pid != os.getpid()

    async def _begin_run(self) -> None:
        async with self._lock:
            if self._run is None and self._database is not None:
                await asyncio.to_thread(self._take_run, self._database.path)

    def _take_run(self, path: str) -> None:
        # In the thread, because whoever waits for it may be cancelled before he hears of it.
        run = _begin(path)
        if self._run is None and not self._closed:
            self._run = run
        else:
            run.end()

    async def _dead_runs(self) -> set[str]:
        """Return the runs that have ended and left submissions that are nowhere settled."""
        runs = await self._ask(statements.sent_by)
        return {run for run in runs if not await self._lives(run)}

    async def _give_back(self) -> None:
        while await self._ask(give_back):
            pass

    async def _ask(self, work: Callable[[Connection], T]) -> T:
        return await (await self._opened()).ask(work)

    async def _change(self, change: statements.Statement, values: statements.Values) -> None:
        await (await self._opened()).change(change, values)

    async def _lives(self, run: str) -> bool:
        if self._database is None:
            raise self._is_closed()
        try:
            return await asyncio.to_thread(is_alive, self._database.path, run)
        except OSError as error:
            raise JournalError(
                f"the journal {self._database.path}: whether the process that wrote an entry is "
                f"alive cannot be told ({error.strerror})"
            ) from error

    def _is_closed(self) -> JournalError:
        return JournalError(f"the journal {self._location.path} is closed")


def _begin(path: str) -> ProcessLock:
    try:
        remove_stale(path)
        return ProcessLock(path)
    except OSError as error:
        raise JournalError(
            f"the journal {path}: no file can be made beside it ({error.strerror}): "
            "make room, and give this process the right to write to its folder"
        ) from error


def _widened(stages: Collection[Stage] | None) -> set[Stage] | None:
    """Return the stages to look for: what a dead run has sent is told as unknown.

    What cannot be read is found only by reading.
    """
    if stages is None or Stage.UNREADABLE in stages:
        return None
    return {*stages, Stage.SENT} if Stage.UNKNOWN in stages else {*stages}


def _told(
    entries: Iterable[Entry], dead: Collection[str], stages: Collection[Stage] | None
) -> Iterator[Entry]:
    """Yield entries as they are told, if they are, or may be, at one of ``stages`` then."""
    for entry in entries:
        told = _orphaned(entry) if entry.note.run in dead else entry
        if stages is None or told.stage in stages or told.stage is Stage.UNREADABLE:
            yield told


def _orphaned(entry: Entry) -> Entry:
    """Return the entry of a run that has ended: what it had just sent will never be known."""
    if entry.stage is not Stage.SENT:
        return entry
    return replace(entry, stage=Stage.UNKNOWN, fault=_ORPHANED)
