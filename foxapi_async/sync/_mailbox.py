"""Callbacks that other threads leave for an event loop."""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Final

_WAKE: Final = (1).to_bytes(8, sys.byteorder)


class Mailbox:
    """Runs callbacks of other threads in the running loop, each in the context of its thread.

    It does what ``loop.call_soon_threadsafe`` does, but a wake-up of the loop costs one read, and
    no work of the loop comes between the last callback and the next wait. It needs a loop that
    watches files, as all have but that of Windows.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._callbacks: deque[tuple[Context, Callable[[], object]]] = deque()
        self._reader, self._writer = _signal()
        self._loop.add_reader(self._reader, self._run)

    def post(self, callback: Callable[[], object]) -> None:
        """Run ``callback`` in the loop. Any thread may call it until `close`."""
        self._callbacks.append((copy_context(), callback))
        try:
            os.write(self._writer, _WAKE)
        except BlockingIOError:
            # It is full of wake-ups that the loop has not read.
            return

    def close(self) -> None:
        """Take no more callbacks. Runs in the loop."""
        self._loop.remove_reader(self._reader)
        for file in {self._reader, self._writer}:
            os.close(file)

    def _run(self) -> None:
        os.read(self._reader, 4096)
        # What comes meanwhile has a wake-up of its own.
        for _ in range(len(self._callbacks)):
            context, callback = self._callbacks.popleft()
            try:
                context.run(callback)
            except Exception as error:  # noqa: BLE001 reported, as those of call_soon are
                self._loop.call_exception_handler(
                    {"message": f"exception in {callback!r}", "exception": error}
                )


def _signal() -> tuple[int, int]:
    """Return the files that a wake-up is read from and written to."""
    if hasattr(os, "eventfd"):
        event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return event, event
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer
