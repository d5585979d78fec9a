"""``fox.llm.map``: one generation for each row of a source of any length."""
# pyright: reportPrivateUsage=false

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from contextvars import Context, copy_context
from typing import Any, Final, Generic, Literal, Protocol, Self, TypeVar, final

from msgspec import Struct

from foxapi_async._client.llm_handle import LLMHandle
from foxapi_async._client.steps import Steps
from foxapi_async._client.uncopied import Uncopied
from foxapi_async._protocol.concurrency import AdaptiveConcurrency
from foxapi_async._wire.completion import ChatCompletion

R = TypeVar("R")

_CANCELLED: Final = (
    "the source of fox.llm.map(), or a function of its row, has raised CancelledError"
)


class RowOutcome(Struct, Generic[R], frozen=True, kw_only=True):
    """How the generation of one row has ended: with a completion or an error."""

    input: R
    """The row, as the source gave it."""
    index: int
    """The position of the row in the source, from 0."""
    key: str | None
    """The key of the submission, or ``None``."""
    completion: ChatCompletion | None
    """The completion; ``None`` if there is an error."""
    error: Exception | None
    """Why there is no completion, or ``None``."""
    handle: LLMHandle | None
    """The handle of the last task of the row; ``None`` if none is known. After a
    ``TaskTimeoutError`` it still leads to the result."""
    attempts: int
    """How many generations were submitted for the row, each of which is billed; 0 if the row was
    refused before it was sent."""
    seconds: float
    """Seconds from reading the row to its outcome."""

    def __repr__(self) -> str:
        """Show no row, prompt or answer."""
        ended = "completion" if self.error is None else type(self.error).__name__
        return f"<RowOutcome {self.index} {ended} attempts={self.attempts}>"


class RowProgress(Struct, frozen=True, kw_only=True):
    """How far ``map`` has come."""

    done: int
    """Rows with an outcome."""
    failed: int
    """Rows whose outcome is an error."""
    in_flight: int
    """Rows that were read and have no outcome yet."""
    limit: int
    """How many rows may be in flight now."""
    seconds: float
    """Seconds since the first row was read."""


Unknown = Literal["error", "skip", "resubmit"]
"""What is done with a row whose earlier submission may have been accepted."""
InFlight = int | Literal["auto"]
OnRowProgress = Callable[[RowProgress], object]


class MappedRow(Struct, Generic[R]):
    """A row on its way, and what is known of its generation."""

    input: R
    index: int
    key: str | None = None
    completion: ChatCompletion | None = None
    error: Exception | None = None
    handle: LLMHandle | None = None
    attempts: int = 0
    is_skipped: bool = False


class RowRunner(Protocol):
    """Generates the completion of one row: ``LLM``, as far as ``map`` uses it."""

    def enter(self) -> None:
        """Bind the session to the running loop; an error if it is closed."""
        ...

    def now(self) -> float:
        """Return the time of the session's clock."""
        ...

    def rate_limits(self) -> int:
        """Return how often the service has refused a submission of the session by a 429."""
        ...

    async def run(self, row: MappedRow[Any]) -> None:
        """Submit the row, wait for its end, and store what is known in ``row``.

        Raise what ends the whole map. A row with an error then has an outcome all the same.
        """
        ...

    def abandon(self, row: "MappedRow[Any] | RowOutcome[Any]") -> None:
        """Keep the handle of a row whose outcome no caller gets."""
        ...


@final
class RowMap(Uncopied, Generic[R]):
    """An iterator of the outcomes of ``fox.llm.map``.

    Rows are read as their outcomes are taken: at most ``in_flight`` rows are between the source and
    the caller. Leaving the loop, or ``aclose``, stops reading rows. The tasks that are accepted go
    on and are billed: their handles are in ``fox.unclaimed``.
    """

    _instead = "call fox.llm.map() again"

    def __init__(self, engine: "MapEngine[R]") -> None:
        self._engine = engine

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RowOutcome[R]:
        engine = self._engine
        with engine:
            # The traceback of a cancelled step would keep the iterator, and so its workers, alive.
            del self
            return await engine.next()

    async def aclose(self) -> None:
        """Stop reading rows and end the waits; further calls do nothing."""
        await self._engine.aclose()

    def __del__(self) -> None:
        # The workers refer to the engine and not to this iterator, which is therefore freed when
        # its loop is left (by reference counts in CPython).
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.drop()


class MapEngine(Steps, Generic[R]):
    """Workers that read rows, run them and queue their outcomes."""

    def __init__(
        self,
        rows: Iterable[R] | AsyncIterable[R],
        runner: RowRunner,
        *,
        in_flight: InFlight,
        ordered: bool,
        raise_errors: bool,
        progress: OnRowProgress | None,
        on_end: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        self._on_end = on_end
        self._source = _Source(rows)
        self._runner = runner
        self._is_ordered = ordered
        self._raises = raise_errors
        self._progress = progress
        self._adaptive: AdaptiveConcurrency | None = None
        if in_flight == "auto":
            self._adaptive = AdaptiveConcurrency()
            in_flight = self._adaptive.limit
        self.limit: int = in_flight
        self._context: Context | None = None
        self._workers: set[asyncio.Task[None]] = set()
        # Rows between the source and the caller.
        self._taken = 0
        self.in_flight: int = 0
        self._is_reading = False
        self._done: deque[RowOutcome[R]] = deque()
        # Outcomes that wait for an earlier row, by index; None for a row that is skipped.
        self._early: dict[int, RowOutcome[R] | None] = {}
        self._next_index = 0
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None
        self._is_closed = False
        self._started_at = 0.0
        self._done_count = 0
        self._failed_count = 0

    async def next(self) -> RowOutcome[R]:
        """Return the next outcome; ``StopAsyncIteration`` after the last.

        The error of the source, or of ``progress``, is raised when no outcome is left.
        """
        if self._context is None:
            self._runner.enter()
            self._context = copy_context()
            self._started_at = self._runner.now()
        self._fill()
        while not self._done:
            if not self._workers:
                self._end()
                failure, self._failure = self._failure, None
                if failure is not None:
                    raise failure
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        outcome = self._done.popleft()
        self._taken -= 1
        self._fill()
        if self._raises and outcome.error is not None:
            self.stop()
            outcome.error.add_note(f"It is the error of row {outcome.index} of fox.llm.map().")
            raise outcome.error
        return outcome

    def stop(self) -> None:
        """Stop reading rows and end the waits."""
        self._end()
        for worker in self._workers:
            # The loop of an iterator that is collected late may be closed.
            if not worker.get_loop().is_closed():
                worker.cancel()

    def _end(self) -> None:
        self._is_closed = True
        if self._on_end is not None:
            self._on_end()
            self._on_end = None

    def leave(self) -> None:
        """Stop, and keep the handles of outcomes that were not taken, which are paid for."""
        self.stop()
        for outcome in (*self._done, *self._early.values()):
            if outcome is not None:
                self._runner.abandon(outcome)
        self._done.clear()
        self._early.clear()

    async def aclose(self) -> None:
        """Leave, and wait until the workers have ended."""
        self.leave()
        if self._workers:
            await asyncio.wait(list(self._workers))

    @property
    def _has_room(self) -> bool:
        return (
            not self._is_closed
            and self._failure is None
            and not self._source.is_exhausted
            and self._taken < self.limit
        )

    def _fill(self) -> None:
        """Start a worker if a row may be read; it starts the next one."""
        if not self._is_reading and self._has_room:
            self._is_reading = True
            self._taken += 1
            worker = asyncio.get_running_loop().create_task(self._work(), context=self._context)
            self._workers.add(worker)
            worker.add_done_callback(self._on_worker_done)

    async def _work(self) -> None:
        """Read a row and run it; it holds one place of ``_taken``."""
        row = await self._read()
        self._is_reading = False
        if row is None:
            self._taken -= 1
            return
        self._fill()
        started_at = self._runner.now()
        self.in_flight += 1
        try:
            await self._runner.run(row)
        except BaseException as error:
            if row.error is not None:
                # It has failed before it ended the map, which reads no more rows.
                self._failure = self._failure or error
                self._finish(row, self._runner.now() - started_at)
                raise
            # The row ends the map and has no outcome. Later ones must not wait for it.
            self._runner.abandon(row)
            self._queue(row.index, None)
            raise
        finally:
            self.in_flight -= 1
        self._finish(row, self._runner.now() - started_at)
        # A skipped row has freed its place, and the limit may be higher.
        self._fill()

    async def _read(self) -> MappedRow[R] | None:
        try:
            return await self._source.read()
        except asyncio.CancelledError:
            self._is_reading = False
            raise
        except BaseException as error:  # noqa: BLE001 raised by `next` after the last outcome
            self._failure = error
            return None

    def _finish(self, row: MappedRow[R], seconds: float) -> None:
        outcome: RowOutcome[R] | None = None
        if not row.is_skipped:
            outcome = RowOutcome(
                input=row.input,
                index=row.index,
                key=row.key,
                completion=row.completion,
                error=row.error,
                handle=row.handle,
                attempts=row.attempts,
                seconds=seconds,
            )
        if self._adaptive is not None:
            self._adaptive.finished(self._runner.now(), seconds, self._runner.rate_limits())
            self.limit = self._adaptive.limit
        self._queue(row.index, outcome)
        self._report(outcome)

    def _queue(self, index: int, outcome: RowOutcome[R] | None) -> None:
        """Queue an outcome, if it is its turn; a row that is skipped frees its place."""
        if not self._is_ordered:
            self._append(outcome)
        else:
            self._early[index] = outcome
            while self._next_index in self._early:
                self._append(self._early.pop(self._next_index))
                self._next_index += 1
        self._changed.set()

    def _append(self, outcome: RowOutcome[R] | None) -> None:
        if outcome is None:
            self._taken -= 1
        else:
            self._done.append(outcome)

    def _report(self, outcome: RowOutcome[R] | None) -> None:
        self._done_count += 1
        if outcome is not None and outcome.error is not None:
            self._failed_count += 1
        if self._progress is not None:
            self._progress(
                RowProgress(
                    done=self._done_count,
                    failed=self._failed_count,
                    in_flight=self.in_flight,
                    limit=self.limit,
                    seconds=self._runner.now() - self._started_at,
                )
            )

    def _on_worker_done(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        self._changed.set()
        error: BaseException | None
        if worker.cancelled():
            # Unless the iterator was left, a function or the source of the user has raised it. The
            # rows must not seem to be complete.
            error = None if self._is_closed else asyncio.CancelledError(_CANCELLED)
        else:
            error = worker.exception()
        if error is not None and self._failure is None:
            # An error of `progress`, or a bug: rows stop, and `next` raises it.
            self._failure = error


class _Source(Generic[R]):
    """Reads rows from an iterable or an async iterable, one at a time."""

    def __init__(self, rows: Iterable[R] | AsyncIterable[R]) -> None:
        self._rows = rows
        self._next: Callable[[], Awaitable[R]] | None = None
        self._count = 0
        self.is_exhausted: bool = False

    async def read(self) -> MappedRow[R] | None:
        """Return the next row; ``None`` after the last."""
        if self.is_exhausted:
            return None
        if self._next is None:
            self._next = _reader(self._rows)
        try:
            row = await self._next()
        except StopAsyncIteration:
            self.is_exhausted = True
            return None
        except BaseException:
            self.is_exhausted = True
            raise
        self._count += 1
        return MappedRow(row, self._count - 1)


def _reader(rows: Iterable[R] | AsyncIterable[R]) -> Callable[[], Awaitable[R]]:
    """Return what reads the next row; it raises ``StopAsyncIteration`` after the last."""
    if isinstance(rows, AsyncIterable):
        return aiter(rows).__anext__
    iterator = iter(rows)

    async def read() -> R:
        for row in iterator:
            return row
        raise StopAsyncIteration

    return read
