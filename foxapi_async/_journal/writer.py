"""The one task that writes: whatever is waiting goes into one commit."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from foxapi_async._clock import Clock, Timer
from foxapi_async._journal.database import Database
from foxapi_async._journal.entry import Entry, Intent, Note
from foxapi_async._journal.statements import Changes, accept, claim, end, lose, refuse

_log = logging.getLogger("foxapi_async")

_LINGER: Final = 0.1

T = TypeVar("T")

Change = Callable[[Connection, Sequence[Changes]], None]
Ask = Callable[[Connection], object]
_Waiter = asyncio.Future[Any]
_ORDER: Final[tuple[Change, ...]] = (accept, refuse, lose, end)


class Writer:
    """Gathers what is to be written while the last commit is under way.

    A change that could not be written is owed: it is tried again with the next commit, because it
    may be all that leads to a task that was paid for.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._claims: list[tuple[Note, Intent, _Waiter]] = []
        self._changes: list[tuple[Change, Changes, _Waiter | None]] = []
        self._asks: list[tuple[Ask, _Waiter]] = []
        self._owed: list[tuple[Change, Changes, _Waiter | None]] = []
        self._writing: asyncio.Task[None] | None = None
        self._linger: Timer | None = None

    async def claim(self, note: Note, intent: Intent) -> Entry | None:
        """Commit the intent; return the entry that holds its key, if it is taken."""
        waiter = self._waiter()
        self._claims.append((note, intent, waiter))
        holder: Entry | None = await self._written(waiter)
        return holder

    async def change(self, change: Change, values: Changes) -> None:
        """Commit a change; one that fails is owed."""
        waiter = self._waiter()
        self._changes.append((change, values, waiter))
        await self._written(waiter)

    def change_soon(self, change: Change, values: Changes) -> None:
        """Commit a change with the next commit, or in a tenth of a second."""
        self._changes.append((change, values, None))
        if self._linger is None:
            self._linger = self._clock.call_at(self._clock.time() + _LINGER, self._wake)

    async def ask(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` inside a commit and return what it returns; it may be run twice."""
        waiter = self._waiter()
        self._asks.append((work, waiter))
        answer: T = await self._written(waiter)
        return answer

    async def aclose(self) -> None:
        """Write down all that is waiting or owed; raise if that fails."""
        if self._owed or self._changes or self._writing is not None:
            await self.ask(lambda _: None)
        if self._linger is not None:
            self._linger.cancel()
        if self._writing is not None:
            await asyncio.wait((self._writing,))

    def _waiter(self) -> _Waiter:
        return asyncio.get_running_loop().create_future()

    async def _written(self, waiter: _Waiter) -> Any:
        self._wake()
        return await waiter

    def _wake(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._claims or self._changes or self._asks:
                # One turn of the loop, in which everyone who is ready joins this commit.
                await asyncio.sleep(0)
                await self._write_batch()
        finally:
            # In the turn that found nothing to write: whoever comes next starts another task.
            self._writing = None

    async def _write_batch(self) -> None:
        claims, self._claims = self._claims, []
        changes, self._changes = [*self._owed, *self._changes], []
        asks, self._asks = self._asks, []
        self._owed = []
        waiters = [
            *(waiter for *_, waiter in claims),
            *(waiter for _, waiter in asks),
            *(waiter for *_, waiter in changes if waiter is not None),
        ]
        try:
            answers = await self._database.run(partial(_commit, claims, changes, asks))
        except Exception as error:  # noqa: BLE001 whoever waits raises it
            self._owed = [(change, values, None) for change, values, _ in changes]
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error)
            if not waiters:
                _log.error("results could not be written down yet: %s", error)
        else:
            answers += [None] * (len(waiters) - len(answers))
            for waiter, answer in zip(waiters, answers, strict=True):
                if not waiter.done():
                    waiter.set_result(answer)
        finally:
            # Left undone by a cancellation alone: nobody shall wait for ever.
            for waiter in waiters:
                waiter.cancel()


def _commit(
    claims: Sequence[tuple[Note, Intent, _Waiter]],
    changes: Sequence[tuple[Change, Changes, _Waiter | None]],
    asks: Sequence[tuple[Ask, _Waiter]],
    connection: Connection,
) -> list[object]:
    """Write a batch; return the answers to the claims and to what was asked."""
    answers: list[object] = []
    if claims:
        answers += claim(connection, ((note, intent) for note, intent, _ in claims))
    for step in _ORDER:
        values = [values for change, values, _ in changes if change is step]
        if values:
            step(connection, values)
    answers += [work(connection) for work, _ in asks]
    return answers
