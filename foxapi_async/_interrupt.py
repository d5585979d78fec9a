"""Interrupts the wait of one task with an error."""

import asyncio
from types import TracebackType
from typing import Any, Self


class Interrupt:
    """A context manager whose block `fire` can end early, like ``asyncio.timeout`` without a clock.

    One task at a time may enter it. A cancellation of that task from outside stays a cancellation.
    """

    __slots__ = ("_cancelling", "_error", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._error: Exception | None = None

    def fire(self, error: Exception) -> None:
        """Raise ``error`` in the block; do nothing if no task is in it."""
        if self._task is not None and self._error is None:
            self._error = error
            self._task.cancel()

    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an Interrupt can only be entered in a task")
        self._cancelling = task.cancelling()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        fired, self._error = self._error, None
        if fired is None or task is None:
            return
        # If the task was also cancelled from outside, the count stays higher and the cancel goes
        # on.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise fired from None
