"""Writes the lines of a run in a thread, many at a time."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Final, Self

from foxapi_async._batch.output_file import LineFile

_PAUSE: Final = 0.05
_SAVE_SECONDS: Final = 2.0
_MAX_UNWRITTEN: Final = 4 * 1024 * 1024


class LineWriter:
    """Appends to an output and to an errors file, and saves the state now and then.

    Lines that come while others are written are written together. No line waits longer than 0.05
    seconds for its turn.

    Args:
        answers: The output.
        errors: The errors file.
        save: Called in a thread every two seconds.
        on_failure: Called when a file cannot be written; ``error`` is the reason.
    """

    def __init__(
        self,
        answers: LineFile,
        errors: LineFile,
        save: Callable[[], object],
        on_failure: Callable[[], object],
    ) -> None:
        self._files = (answers, errors)
        self._lines: tuple[list[bytes], list[bytes]] = ([], [])
        self._unwritten = 0
        self._save = save
        self._saved_at = monotonic()
        self._on_failure = on_failure
        self._wanted = asyncio.Event()
        self._written = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.error: OSError | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="foxapi-batch-writer")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._wanted.set()
        if self._task is not None:
            # The lines are paid for: a cancelled run writes them too.
            await asyncio.shield(self._task)

    def answer(self, line: bytes) -> None:
        """Append a line to the output, soon."""
        self._add(0, line)

    def reject(self, line: bytes) -> None:
        """Append a line to the errors file, soon."""
        self._add(1, line)

    async def room(self) -> None:
        """Wait until the lines that are not written yet fit into 4 MiB."""
        while self._unwritten > _MAX_UNWRITTEN and self.error is None:
            self._written.clear()
            await self._written.wait()

    def _add(self, file: int, line: bytes) -> None:
        self._lines[file].append(line)
        self._unwritten += len(line)
        self._wanted.set()

    async def _run(self) -> None:
        while not (self._closing.is_set() and not self._unwritten):
            await self._wanted.wait()
            self._wanted.clear()
            lines, self._lines = self._lines, ([], [])
            self._unwritten = 0
            try:
                await asyncio.to_thread(self._write, lines)
            except OSError as error:
                self.error = error
                self._on_failure()
            self._written.set()
            if self.error is not None:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _PAUSE)

    def _write(self, lines: tuple[list[bytes], list[bytes]]) -> None:
        for file, some in zip(self._files, lines, strict=True):
            if some:
                file.append(some)
        if monotonic() - self._saved_at >= _SAVE_SECONDS:
            self._saved_at = monotonic()
            self._save()
