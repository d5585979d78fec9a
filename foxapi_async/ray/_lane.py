"""One worker of ``generate`` and the rows that it has not answered yet."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from queue import Empty, Full, Queue
from threading import Condition, Event, Lock, Thread
from time import monotonic
from typing import Any, Final

from msgspec import Struct

from foxapi_async.ray._cluster import RemoteWorker, WorkerLostError, tables
from foxapi_async.ray._columns import AnswerColumns, check_columns, with_answers
from foxapi_async.ray._row_options import RowOptions

_BATCH_SIZE: Final = 64
_DEFAULT_WINDOW: Final = 512
_LOST_FOR: Final = 300.0
_RETRY_DELAY: Final = 0.5
_LOOK_AGAIN: Final = 0.2
_JOIN_TIMEOUT: Final = 5.0


class TableQueue:
    """The tables of all lanes, and the error of the first that fails."""

    def __init__(self, lanes: int) -> None:
        self._queue: Queue[Any] = Queue(maxsize=2 * lanes)
        self._lanes = lanes
        self.is_closed: Event = Event()

    def put(self, item: Any) -> None:
        """Add a table, an error, or ``None`` for the end of a lane; wait while it is full."""
        while not self.is_closed.is_set():
            try:
                return self._queue.put(item, timeout=_LOOK_AGAIN)
            except Full:
                continue
        return None

    def tables(self) -> Iterator[Any]:
        """Yield the tables until all lanes have ended, or raise the error of one."""
        while self._lanes:
            item = self._queue.get()
            if item is None:
                self._lanes -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item

    def close(self) -> None:
        """Take no more tables."""
        self.is_closed.set()
        while True:
            try:
                self._queue.get_nowait()
            except Empty:
                return


class _Batch(Struct, frozen=True, eq=False):
    """A table of rows, and the number of its first row."""

    first: int
    table: Any

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.table.num_rows)


class Lane:
    """One worker, its part of the data set, and the rows that it has not answered yet.

    One thread reads and sends rows, another takes answers. When the worker is lost, its rows are
    sent to the next one: they are kept here until they are answered.
    """

    def __init__(
        self, worker: RemoteWorker, part: Any, options: RowOptions, output: TableQueue
    ) -> None:
        self._worker = worker
        self._part = part
        self._options = options
        self._output = output
        in_flight = options.in_flight
        self._window = 2 * in_flight if isinstance(in_flight, int) else _DEFAULT_WINDOW
        self._changed = Condition()
        self._sending = Lock()
        self._unanswered: dict[int, _Batch] = {}
        self._has_read_all = False
        self._lost_since: float | None = None
        self._threads = [
            Thread(target=self._run, args=(step,), name="foxapi-ray", daemon=True)
            for step in (self._read, self._collect)
        ]

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for both threads, after the output was closed; one may be reading a slow source."""
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_JOIN_TIMEOUT)

    def _run(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:  # noqa: BLE001 raised by the iterator of the caller
            self._output.put(error)

    def _read(self) -> None:
        first = 0
        for table in tables(self._part, _BATCH_SIZE):
            check_columns(table.column_names, self._options.prefix, self._options.columns)
            batch = _Batch(first, table)
            first += table.num_rows
            with self._changed:
                self._changed.wait_for(partial(self._may_send, table.num_rows))
                if self._is_closed:
                    return
                self._unanswered.update(dict.fromkeys(batch.numbers, batch))
                self._changed.notify_all()
            while not self._send(batch):
                self._output.is_closed.wait(_RETRY_DELAY)
        with self._changed:
            self._has_read_all = True
            self._changed.notify_all()

    def _collect(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._unanswered or self._has_read_all or self._is_closed
                )
                if self._is_closed or not self._unanswered:
                    break
            try:
                answers = self._worker.take()
            except WorkerLostError as error:
                self._note_loss(error)
                self._send_again()
                continue
            for table in self._join_answers(answers):
                self._output.put(table)
        self._output.put(None)

    def _send(self, batch: _Batch) -> bool:
        """Send the rows of a batch that have no answer; tell whether the worker has them."""
        # One at a time, so that a row that was answered meanwhile is not sent once more.
        with self._sending:
            with self._changed:
                numbers = [number for number in batch.numbers if number in self._unanswered]
            if not numbers or self._is_closed:
                return True
            table = batch.table.take([number - batch.first for number in numbers])
            if not self._options.reads_all_columns:
                table = table.select(list(self._options.columns))
            try:
                self._worker.add(numbers, table)
            except WorkerLostError as error:
                self._note_loss(error)
                return False
            return True

    def _send_again(self) -> None:
        with self._changed:
            batches = list(dict.fromkeys(self._unanswered.values()))
        while not all(map(self._send, batches)):
            self._output.is_closed.wait(_RETRY_DELAY)

    def _join_answers(self, answers: Sequence[tuple[int, AnswerColumns]]) -> Iterator[Any]:
        """Yield the rows of the answers, with their columns."""
        by_batch: dict[_Batch, dict[int, AnswerColumns]] = {}
        with self._changed:
            for number, answer in answers:
                # The answer may have come twice, if the worker was out of reach for a time.
                batch = self._unanswered.pop(number, None)
                if batch is not None:
                    by_batch.setdefault(batch, {})[number - batch.first] = answer
                    self._lost_since = None
            self._changed.notify_all()
        options = self._options
        for batch, found in by_batch.items():
            rows = batch.table.take(list(found))
            yield with_answers(
                rows, list(found.values()), options.prefix, parsed=options.answer_type is not None
            )

    def _note_loss(self, error: WorkerLostError) -> None:
        """Raise an error if the worker has been lost for long."""
        now = monotonic()
        with self._changed:
            self._lost_since = self._lost_since or now
            lost_for = now - self._lost_since
        if lost_for > _LOST_FOR:
            raise RuntimeError(
                f"a worker has answered nothing for {lost_for:.0f} seconds, because it dies or "
                f"cannot be reached: {error}; with a journal, run again: nothing is billed twice"
            ) from error

    def _may_send(self, rows: int) -> bool:
        has_room = not self._unanswered or len(self._unanswered) + rows <= self._window
        return has_room or self._is_closed

    @property
    def _is_closed(self) -> bool:
        return self._output.is_closed.is_set()
