"""The one task that writes: whatever is waiting goes into one commit."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from itertools import zip_longest
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from foxapi_async._clock import Clock, Timer
from foxapi_async._journal.database import Database, Taken
from foxapi_async._journal.records import Entry, EntryId, Intent
from foxapi_async._journal.row import read
from foxapi_async._journal.statements import (
    FIND,
    INSERT,
    Name,
    Statement,
    Values,
    apply,
    claim,
    find,
    group_by_statement,
    intention,
    withdraw,
)
from foxapi_async.errors import JournalError

_log = logging.getLogger("foxapi_async")

_LINGER: Final = 0.1
_FEW: Final = 8

T = TypeVar("T")

_Waiter = asyncio.Future[Any]


class GroupCommitter:
    """Gathers what is to be written while the last commit is under way.

    A change that could not be written is owed: it is tried again with the next commit, because it
    may be all that leads to a task that was paid for.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._claims: list[tuple[EntryId, Intent, _Waiter]] = []
        self._changes: list[tuple[Statement, Values, _Waiter | None]] = []
        self._finds: list[tuple[Name, _Waiter]] = []
        self._asks: list[tuple[Callable[[Connection], object], _Waiter]] = []
        self._owed: list[tuple[Statement, Values, _Waiter | None]] = []
        self._writing: asyncio.Task[None] | None = None
        self._linger: Timer | None = None
        self._closed = False

    async def claim(self, note: EntryId, intent: Intent) -> Entry | None:
        """Commit the intent; return the entry that holds its key, if it is taken."""
        waiter = self._waiter()
        self._claims.append((note, intent, waiter))
        holder: Entry | None = await self._written(waiter)
        return holder

    async def change(self, change: Statement, values: Values) -> None:
        """Commit a change; one that fails is owed."""
        waiter = self._waiter()
        self._changes.append((change, values, waiter))
        await self._written(waiter)

    def change_soon(self, change: Statement, values: Values) -> None:
        """Commit a change with the next commit, or in a tenth of a second."""
        self._changes.append((change, values, None))
        if self._linger is None:
            self._linger = self._clock.call_at(self._clock.time() + _LINGER, self._wake)

    async def find(self, name: Name) -> Entry | None:
        """Return the entry that holds a key, as of the next commit."""
        waiter = self._waiter()
        self._finds.append((name, waiter))
        entry: Entry | None = await self._written(waiter)
        return entry

    async def ask(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction and return what it returns; it may be run twice."""
        waiter = self._waiter()
        self._asks.append((work, waiter))
        answer: T = await self._written(waiter)
        return answer

    async def aclose(self) -> None:
        """Take nothing more, and write down all that is waiting or owed; raise if that fails."""
        self._closed = True
        while self._writing is not None:
            await asyncio.wait((self._writing,))
        if self._linger is not None:
            self._linger.cancel()
        if self._owed or self._changes:
            await self._commit((), [*self._owed, *self._changes])

    def _waiter(self) -> _Waiter:
        if self._closed:
            raise JournalError(f"the journal {self._database.path} is closed")
        return asyncio.get_running_loop().create_future()

    async def _written(self, waiter: _Waiter) -> Any:
        self._wake()
        return await waiter

    def _wake(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._writing is None:
            # It writes for all who use the journal, so it runs in the context of none of them.
            self._writing = asyncio.get_running_loop().create_task(self._write(), context=Context())
            self._writing.add_done_callback(self._ended)

    def _ended(self, writing: asyncio.Task[None]) -> None:
        # A task that is cancelled before it begins runs no `finally`, and leaves all to be done.
        if self._writing is writing:
            self._writing = None
            self._wake()

    async def _write(self) -> None:
        try:
            while self._claims or self._changes or self._finds or self._asks:
                # One turn of the loop, in which everyone who is ready joins this commit.
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
                finds, self._finds = self._finds, []
                asks, self._asks = self._asks, []
                # What is owed goes before each look: one that passes it would tell what is false.
                lost = await self._write_batch()
                if finds:
                    names = [name for name, _ in finds]
                    await _told([waiter for _, waiter in finds], partial(self._find, names, lost))
                for work, waiter in asks:
                    await _told([waiter], partial(self._ask, work, lost))
        finally:
            # In the turn that found nothing to write: whoever comes next starts another task.
            self._writing = None

    async def _write_batch(self) -> Exception | None:
        """Write all that waits or is owed; return why something is owed now."""
        claims, self._claims = self._claims, []
        changes, self._changes = [*self._owed, *self._changes], []
        self._owed = []
        if not claims and not changes:
            return None
        waiters = [waiter for *_, waiter in claims]
        waiters += [waiter for *_, waiter in changes if waiter is not None]
        error = await _told(waiters, partial(self._commit, claims, changes))
        if error is not None:
            self._owed = [(change, values, None) for change, values, _ in changes]
            if not waiters:
                _log.error("results could not be written down yet: %s", error)
        return error if self._owed else None

    async def _commit(
        self,
        claims: Sequence[tuple[EntryId, Intent, _Waiter]],
        changes: Sequence[tuple[Statement, Values, _Waiter | None]],
    ) -> Sequence[Entry | JournalError | None]:
        """Commit a batch; return the entries that hold the keys of the claims."""
        intents = [(note, intent) for note, intent, _ in claims]
        steps = [(change, values) for change, values, _ in changes]
        inserts = [intention(note, intent) for note, intent in intents]
        if any(intent.replaces is not None for _, intent in intents):
            return await self._database.run(partial(_look_and_write, intents, steps))
        try:
            await self._database.write(
                [*([(INSERT, inserts)] if inserts else []), *group_by_statement(steps)]
            )
        except Taken:
            # A key is in use, or was refused and is free: now it is worth while to look.
            return await self._database.run(partial(_look_and_write, intents, steps))
        return [None] * len(intents)

    async def _find(self, names: Sequence[Name], lost: Exception | None) -> list[Entry | None]:
        if lost is not None:
            raise lost
        if len(names) > _FEW:
            found = await self._database.run(lambda connection: find(connection, names))
            return [found.get(name) for name in names]
        entries: list[Entry | None] = []
        for service, key in names:
            rows = await self._database.read(FIND, {"its_service": service, "its_key": key})
            entries.append(read(rows[0]) if rows else None)
        return entries

    async def _ask(
        self, work: Callable[[Connection], object], lost: Exception | None
    ) -> list[object]:
        if lost is not None:
            raise lost
        return [await self._database.run(work)]


async def _told(
    waiters: Sequence[_Waiter], do: Callable[[], Coroutine[Any, Any, Sequence[object]]]
) -> Exception | None:
    """Hand the answers of ``do`` to the first of ``waiters``, or its error to all of them.

    An answer that is an error is raised by its own waiter alone.

    It may be done twice: whoever cancels every task of the loop cannot stop it half-way.
    """
    while True:
        try:
            answers = await do()
        except asyncio.CancelledError:
            continue
        except Exception as error:  # noqa: BLE001 whoever waits raises it
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error)
            return error
        except BaseException:
            # Ctrl-C, in a loop that may be run again: nobody shall wait for ever.
            for waiter in waiters:
                waiter.cancel()
            raise
        for waiter, answer in zip_longest(waiters, answers):
            if waiter is not None and not waiter.done():
                _settle(waiter, answer)
        return None


def _settle(waiter: _Waiter, answer: object) -> None:
    if isinstance(answer, Exception):
        waiter.set_exception(answer)
    else:
        waiter.set_result(answer)


def _look_and_write(
    intents: Sequence[tuple[EntryId, Intent]],
    changes: Sequence[tuple[Statement, Values]],
    connection: Connection,
) -> list[Entry | JournalError | None]:
    # A commit that was cut short may have come through all the same.
    mine = withdraw(connection, [note for note, _ in intents])
    holders = claim(connection, intents, mine)
    apply(connection, changes)
    return holders
