"""The thread that owns a database connection."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar
from weakref import finalize

if TYPE_CHECKING:
    from sqlalchemy import Connection

THREAD_NAME: Final = "foxapi-database"

R = TypeVar("R")


class Tables(Protocol):
    """One connection and its statements. Only the thread of the database may use it."""

    @property
    def connection(self) -> "Connection":
        """The connection; the caller of a statement commits or rolls back."""
        ...

    def execute(self, items: Sequence[object]) -> Sequence[object]:
        """Execute what all the items ask for; return a result for each, in their order.

        The caller commits. A result that is an exception is raised by the caller of its item alone.
        """
        ...

    def translate_error(self, error: Exception) -> Exception:
        """Return what the user is to see in place of an error of the database."""
        ...

    def is_unstorable(self, error: Exception) -> bool:
        """Tell whether a value was at fault, so that other rows can be written."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


T = TypeVar("T", bound=Tables)

Job = Callable[[T], None]


class DatabaseThread(Generic[T]):
    """Runs jobs one after the other on a thread that holds the connection.

    The thread ends at ``aclose``, or when this object is collected. It is a daemon: a process that
    exits without closing the database leaves it as a killed process does.
    """

    def __init__(self, open_tables: Callable[[], T]) -> None:
        self._open_tables = open_tables
        self._jobs: SimpleQueue[Job[T] | None] = SimpleQueue()
        self._closed: asyncio.Future[Exception | None] | None = None
        # The thread does not refer to this object, so an owner that is dropped ends the thread.
        self._stop = finalize(self, self._jobs.put, None)
        # At exit the interpreter waits for no daemon; in a fork the thread is the parent's.
        self._stop.atexit = False

    async def open(self) -> None:
        """Start the thread and open the connection; raise what ``open_tables`` raises.

        Cancelling stops the thread as soon as the connection is open.
        """
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[Exception | None] = loop.create_future()
        self._closed = loop.create_future()
        words = self._open_tables, self._jobs, _reporter(opened), _reporter(self._closed)
        Thread(target=_serve, args=words, name=THREAD_NAME, daemon=True).start()
        try:
            error = await opened
        except asyncio.CancelledError:
            self._stop()
            raise
        if error is not None:
            self._stop()
            raise error

    def submit(self, job: Callable[[T], R], on_done: Callable[[R], object]) -> None:
        """Run ``job``, which must not raise, and call ``on_done`` in the loop with its result."""
        loop = asyncio.get_running_loop()

        def run(tables: T) -> None:
            _call_soon(loop, partial(on_done, job(tables)))

        self._jobs.put(run)

    async def aclose(self) -> None:
        """Close the connection after the jobs so far; further calls do nothing."""
        if self._closed is None:
            return
        self._stop()
        error = await asyncio.shield(self._closed)
        if error is not None:
            raise error


def _serve(
    open_tables: Callable[[], T],
    jobs: "SimpleQueue[Job[T] | None]",
    on_open: Callable[[Exception | None], None],
    on_close: Callable[[Exception | None], None],
) -> None:
    try:
        tables = open_tables()
    except Exception as error:  # noqa: BLE001 the caller of `open` raises it
        on_open(error)
        on_close(None)
        return
    on_open(None)
    while (job := jobs.get()) is not None:
        job(tables)
        # A job refers to its owner, which must be free to be collected while the thread waits.
        del job
    try:
        tables.close()
    except Exception as error:  # noqa: BLE001 the caller of `aclose` raises it
        on_close(tables.translate_error(error))
    else:
        on_close(None)


def _reporter(future: "asyncio.Future[R]") -> Callable[[R], None]:
    """Return what sets the result of ``future`` from another thread."""
    loop = future.get_loop()

    def report(result: R) -> None:
        _call_soon(loop, partial(_resolve, future, result))

    return report


def _resolve(future: "asyncio.Future[R]", result: R) -> None:
    if not future.done():
        future.set_result(result)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    # RuntimeError: the loop is closed, and with it all that could wait for this.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, context=Context())
