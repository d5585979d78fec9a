"""The worker of ``generate``: it is given rows, and its answers are taken as they come."""

from collections.abc import Sequence
from threading import Condition
from typing import Any, Final

from foxapi_async.errors import FoxAPIError
from foxapi_async.ray._columns import AnswerColumns, names_of, rows_of
from foxapi_async.ray._row_options import RowOptions
from foxapi_async.ray._row_worker import RowWorker

_IDLE_TIMEOUT: Final = 1.0
# Answers that come together travel together.
_LINGER: Final = 0.05


class RowActor:
    """Holds the rows of the driver until their answers are taken. Called by several threads."""

    def __init__(self, options: RowOptions) -> None:
        self._held: set[int] = set()
        self._answers: list[tuple[int, AnswerColumns]] = []
        self._has_answers = Condition()
        self._worker: RowWorker | None = None
        self._error: FoxAPIError | None = None
        # An error here would make Ray start the worker again, without an end.
        try:
            self._worker = RowWorker(options)
        except FoxAPIError as error:
            self._error = error

    def error(self) -> FoxAPIError | None:
        """Return why the session could not be opened."""
        return self._error

    def add(self, numbers: Sequence[int], table: Any) -> None:
        """Submit the rows of a table, except those that are held already."""
        if self._worker is None:
            raise self._error or RuntimeError("the worker has no session")
        with self._has_answers:
            new = [place for place, number in enumerate(numbers) if number not in self._held]
            self._held.update(numbers)
        rows = rows_of(table, names_of(table))
        self._worker.answer_each(
            [rows[place] for place in new],
            lambda place, answer: self._deliver(numbers[new[place]], answer),
        )

    def take(self) -> list[tuple[int, AnswerColumns]]:
        """Return the answers since the last call; wait a second for the first."""
        with self._has_answers:
            if self._has_answers.wait_for(lambda: self._answers, _IDLE_TIMEOUT):
                self._has_answers.wait(_LINGER)
            answers, self._answers = self._answers, []
            self._held.difference_update(number for number, _ in answers)
            return answers

    def close(self) -> None:
        """Close the session."""
        if self._worker is not None:
            self._worker.close()

    def _deliver(self, number: int, answer: AnswerColumns) -> None:
        with self._has_answers:
            self._answers.append((number, answer))
            if len(self._answers) == 1:
                self._has_answers.notify_all()
