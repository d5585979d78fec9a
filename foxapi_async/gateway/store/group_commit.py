"""Group commits: what is asked for during one transaction goes into the next."""

import asyncio
from typing import Final

from foxapi_async.gateway.store.batch import Batch
from foxapi_async.gateway.store.database import Database
from foxapi_async.gateway.store.protocol import UnstorableError

# So many rows in one transaction mean that many clients are at it.
_BUSY: Final = 8
_GATHER: Final = 0.002


class GroupCommitter:
    """The one writer of a database. It works while there is something to write, and then ends."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next = Batch()
        self._work: asyncio.Task[None] | None = None

    def written(self, key: int) -> asyncio.Future[bool]:
        """Return what tells that the rows just put into ``batch`` are committed.

        It is false for a new task whose id was taken; ``StoreError`` when nothing was written,
        ``UnstorableError`` when that lies in the rows of this task.
        """
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._next.waiters.append((key, waiter))
        if self._work is None:
            self._work = asyncio.create_task(self._write())
        return waiter

    @property
    def batch(self) -> Batch:
        """Where the next transaction is gathered."""
        return self._next

    async def drain(self) -> None:
        """Wait until all that was asked for is written."""
        while self._work is not None:
            await asyncio.wait({self._work})

    async def _write(self) -> None:
        try:
            while self._next.waiters:
                batch, self._next = self._next, Batch()
                await self._commit(batch)
                if len(batch.waiters) >= _BUSY:
                    # More will come in a moment: the price of a transaction is shared.
                    await asyncio.sleep(_GATHER)
        finally:
            self._work = None

    async def _commit(self, batch: Batch) -> None:
        try:
            taken = await self._database.commit(batch)
        except UnstorableError as error:
            parts = list(batch.split())
            if len(parts) > 1:
                # One of them is at fault: the others are written without it.
                for part in parts:
                    await self._commit(part)
            else:
                _fail(batch, error)
            return
        except Exception as error:  # noqa: BLE001 whatever it is, those who wait must hear of it
            _fail(batch, error)
            return
        for key, waiter in batch.waiters:
            # A waiter may have been cancelled: what it asked for is done all the same.
            if not waiter.done():
                waiter.set_result(key not in taken)


def _fail(batch: Batch, error: Exception) -> None:
    for _, waiter in batch.waiters:
        if not waiter.done():
            waiter.set_exception(error)
