"""A wait of one task that others can end, with an error of their own."""

import asyncio
from types import TracebackType
from typing import Any, Self


class Interrupt:
    """A block that ends early when `fire` is called: as ``asyncio.timeout``, but at any time.

    It is entered by one task at a time. A cancel of that task from outside goes on as such.
    """

    __slots__ = ("_cancelling", "_error", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._error: Exception | None = None

    def fire(self, error: Exception) -> None:
        """Raise ``error`` where the block waits; nothing happens if nobody is in it."""
        if self._task is not None and self._error is None:
            self._error = error
            self._task.cancel()

    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task()
        if task is None:
            raise RuntimeError("what others can end early runs in a task")
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
        # A cancel from outside that came together with ours must go on: then the count stays up.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise fired from None
