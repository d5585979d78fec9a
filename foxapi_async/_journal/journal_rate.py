"""A rate that all processes share which have the same journal: a row of its database."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from foxapi_async._protocol.submit_rate import Lease, RateCost

if TYPE_CHECKING:
    from foxapi_async._journal.tables import JournalTables


class JournalRate:
    """The ``RateStore`` in a journal. Its methods raise ``JournalError``.

    Args:
        run: Runs a function in the thread of the database, in a transaction of its own.
        name: The name of the row.
    """

    def __init__(
        self, run: "Callable[[Callable[[JournalTables], Any]], Awaitable[Any]]", name: str
    ) -> None:
        self._run = run
        self._name = name

    async def reserve(self, cost: RateCost) -> Lease:
        """Reserve for submissions; the lease says how long they wait."""

        def work(tables: "JournalTables") -> Lease:
            from foxapi_async._journal import rate_rows

            return rate_rows.reserve(tables.connection, self._name, cost)

        lease: Lease = await self._run(work)
        return lease

    async def cancel(self, lease: Lease) -> bool:
        """Undo a reservation, unless there was a later one; tell whether it is undone."""

        def work(tables: "JournalTables") -> bool:
            from foxapi_async._journal import rate_rows

            return rate_rows.cancel(tables.connection, self._name, lease)

        is_cancelled: bool = await self._run(work)
        return is_cancelled

    async def pause(self, seconds: float) -> None:
        """Grant nothing more for ``seconds``, a minute at most."""

        def work(tables: "JournalTables") -> None:
            from foxapi_async._journal import rate_rows

            rate_rows.pause(tables.connection, self._name, seconds)

        await self._run(work)

    async def paused(self) -> float:
        """Return the seconds until the end of the pause; 0 without one."""

        def work(tables: "JournalTables") -> float:
            from foxapi_async._journal import rate_rows

            return rate_rows.paused(tables.connection, self._name)

        seconds: float = await self._run(work)
        return seconds
