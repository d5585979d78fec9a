"""Answers rows in one worker process: a session in an event loop of its own, in a daemon thread."""
# pyright: reportPrivateUsage=false

import asyncio
import logging
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from time import time
from typing import Any, Final, TypeVar

from foxapi_async._client.rate_stores import SharedRate, process_rate
from foxapi_async._client.row_map import RowOutcome
from foxapi_async._client.session import FoxSession
from foxapi_async._output.answer_text import AnswerError, read_json
from foxapi_async._output.parse import validation_error
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.jsonable import NotJSONError, to_jsonable
from foxapi_async.errors import (
    FoxAPIError,
    JournalError,
    SessionClosedError,
    SubmitOutcomeUnknownError,
)
from foxapi_async.ray._cluster_rate import ClusterRate, running_ray
from foxapi_async.ray._columns import AnswerColumns, usage_of
from foxapi_async.ray._row_options import QueuedRow, Row, RowOptions
from foxapi_async.sync._loop_thread import LoopStoppedError, LoopThread

T = TypeVar("T")

_CLOSE_TIMEOUT: Final = 15.0
_MAX_ERROR_LENGTH: Final = 2_000
_CLOSED: Final = "the worker was closed before the row had its answer"
_NO_JSON: Final = "the answer is no JSON"
_log = logging.getLogger("foxapi_async")


class RowWorker:
    """Answers the rows of all batches of a process by one ``fox.llm.map``.

    ``in_flight`` so counts the rows of the process, and a slow row holds back no other batch.

    Args:
        options: The options of the rows.

    Raises:
        ConfigError: The environment has no API key, or a setting cannot work.
        JournalError: The journal cannot be opened.
    """

    def __init__(self, options: RowOptions) -> None:
        session = options.build_session()
        self._thread = LoopThread()
        rate = _share_rate(session, options)
        self._mapper = _RowMapper(session, options)
        # Ray ends a worker without a call; the interpreter runs this at its exit too.
        self._finalizer = weakref.finalize(self, _close, self._thread, self._mapper)
        try:
            _start(self._thread, session.__aenter__()).result()
            if rate is not None:
                # Its actor takes seconds to start, and no submission is to wait for that.
                _start(self._thread, rate.paused()).result()
        except ConnectionError as error:
            _log.warning("the rate of the cluster is not there yet: %s", error)
        except BaseException:
            self.close()
            raise

    def answer_each(
        self, rows: Sequence[Row], deliver: Callable[[int, AnswerColumns], object]
    ) -> None:
        """Submit rows as there is room, and deliver each answer when it is there.

        The error of a row is part of its answer.

        Args:
            rows: The rows.
            deliver: Gets the number of the row in ``rows`` and its answer, in the loop's thread.
        """
        try:
            self._thread.post(lambda: self._mapper.add(rows, deliver))
        except LoopStoppedError:
            closed = AnswerColumns(error=error_text(SessionClosedError(_CLOSED)))
            for number in range(len(rows)):
                deliver(number, closed)

    def answer_all(self, rows: Sequence[Row]) -> "Future[list[AnswerColumns]]":
        """Submit rows as there is room, and return the future of their answers, in their order."""
        future: Future[list[AnswerColumns]] = Future()
        answers: dict[int, AnswerColumns] = {}

        def deliver(number: int, answer: AnswerColumns) -> None:
            answers[number] = answer
            if len(answers) == len(rows) and future.set_running_or_notify_cancel():
                future.set_result([answers[number] for number in range(len(rows))])

        if rows:
            self.answer_each(rows, deliver)
        else:
            future.set_result([])
        return future

    def close(self) -> None:
        """Close the session and end the thread. Rows without an answer get an error."""
        self._finalizer()


def _share_rate(session: FoxSession, options: RowOptions) -> ClusterRate | None:
    """Let the workers of a cluster share the rate, where no database is there for all of them."""
    service, ray = session._service, running_ray()  # noqa: SLF001 the same package
    has_database = options.journal is not None and options.journal.startswith("postgres")
    if service.rate is None or ray is None or has_database:
        return None
    name = service.account.rate_name()
    rate = ClusterRate(ray, name)
    service.rate.keep_in(SharedRate(rate, process_rate(name, service.clock)))
    return rate


class _RowMapper:
    """Feeds the rows of all batches to one ``map``, and delivers each outcome. Runs in the loop."""

    def __init__(self, session: FoxSession, options: RowOptions) -> None:
        self._session = session
        self._options = options
        self._queued: deque[QueuedRow] = deque()
        self._unanswered: set[QueuedRow] = set()
        self._is_filled = asyncio.Event()
        self._mapping: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self._started_at = time()

    def add(self, rows: Sequence[Row], deliver: Callable[[int, AnswerColumns], object]) -> None:
        """Queue rows; once no more can be submitted, they are answered at once."""
        if self._mapping is None:
            self._mapping = asyncio.get_running_loop().create_task(self._map())
        for number, row in enumerate(rows):
            if self._error is not None:
                deliver(number, AnswerColumns(error=error_text(self._error)))
                continue
            queued = QueuedRow(row, partial(deliver, number))
            self._unanswered.add(queued)
            self._queued.append(queued)
        self._is_filled.set()

    async def aclose(self) -> None:
        """Submit no more rows, and close the session."""
        if self._mapping is not None:
            self._mapping.cancel()
            with suppress(asyncio.CancelledError):
                await self._mapping
        await self._session.aclose()

    async def _map(self) -> None:
        error: Exception = SessionClosedError(_CLOSED)
        try:
            async for outcome in self._options.start_map(self._session, self._rows()):
                queued = outcome.input
                queued.deliver(self._answer_of(outcome))
                self._unanswered.discard(queued)
        except FoxAPIError as ended:
            error = ended
        except Exception as bug:  # noqa: BLE001 the rows that wait get it
            _log.exception("the rows of a worker could not be submitted")
            error = bug
        finally:
            self._error = error
            unanswered, self._unanswered = self._unanswered, set()
            for queued in unanswered:
                queued.deliver(AnswerColumns(error=error_text(error)))

    def _answer_of(self, outcome: RowOutcome[QueuedRow]) -> AnswerColumns:
        error = outcome.error
        if self._options.unknown == "skip" and isinstance(error, SubmitOutcomeUnknownError):
            # As in `map`: what this worker has sent itself is not skipped.
            return AnswerColumns(
                is_skipped=error.sent_at < self._started_at, error=error_text(error)
            )
        return answer_of(outcome, self._options.answer_type)

    async def _rows(self) -> AsyncIterator[QueuedRow]:
        while True:
            while self._queued:
                queued = self._queued.popleft()
                try:
                    queued.request = self._options.request(queued.row)
                except Exception as error:  # noqa: BLE001 the error of a row is a value of a column
                    self._unanswered.discard(queued)
                    queued.deliver(AnswerColumns(error=error_text(error)))
                    # A batch of such rows must not hold up the loop.
                    await asyncio.sleep(0)
                else:
                    yield queued
            self._is_filled.clear()
            await self._is_filled.wait()


def answer_of(outcome: RowOutcome[Any], answer_type: Any) -> AnswerColumns:
    """Return the columns of one outcome of ``map``.

    Args:
        outcome: The outcome.
        answer_type: What the answer is parsed as; ``None`` for its text.
    """
    completion, handle, error = outcome.completion, outcome.handle, outcome.error
    task_id = handle.id if handle is not None else getattr(error, "task_id", None)
    answer: Any = None
    if completion is not None and error is None:
        try:
            answer = _value_of(completion, answer_type)
        except (FoxAPIError, NotJSONError) as fault:
            error = fault
    return AnswerColumns(
        answer=answer,
        error=None if error is None else error_text(error),
        task_id=task_id,
        usage=usage_of(None if completion is None else completion.usage),
    )


def _value_of(completion: ChatCompletion, answer_type: Any) -> Any:
    if answer_type is None:
        return completion.text
    if answer_type is not Any:
        return to_jsonable(completion.parse(answer_type))
    try:
        return to_jsonable(read_json(completion.text))
    except AnswerError as error:
        raise validation_error(error, _NO_JSON, completion, completion.text) from None


def error_text(error: BaseException) -> str:
    """Return the class and text of an error, as the column shows it."""
    return f"{type(error).__name__}: {error}"[:_MAX_ERROR_LENGTH]


def _start(thread: LoopThread, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
    """Run a coroutine in the loop of ``thread``, and return the future of its result."""
    future: Future[T] = Future()

    async def run() -> None:
        try:
            future.set_result(await coroutine)
        except BaseException as error:  # noqa: BLE001 it is raised where the result is awaited
            future.set_exception(error)

    thread.post(lambda: thread.create_task(run()))
    return future


def _close(thread: LoopThread, mapper: _RowMapper) -> None:
    if thread.is_lost:
        return
    try:
        _start(thread, mapper.aclose()).result(_CLOSE_TIMEOUT)
    except LoopStoppedError:
        return
    except (JournalError, RuntimeError, TimeoutError) as error:
        # At the exit of the interpreter no pool starts a thread; the lock of the journal, which
        # one would release, ends with the process.
        _log.debug("the session of a worker was not closed whole: %s", error)
    thread.stop()
    thread.join(_CLOSE_TIMEOUT)
