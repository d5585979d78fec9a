"""One reader of one stream, across as many connections as it takes: each chunk once, in order."""

from collections.abc import Callable, Sequence
from typing import Protocol

from foxapi_async._client.service import Service
from foxapi_async._clock import Timer, sleep
from foxapi_async._protocol.accumulate import Accumulator, missing_suffix
from foxapi_async._protocol.chunks import ChunkDecoder
from foxapi_async._protocol.cursor import Cursor
from foxapi_async._protocol.verdict import State, judge, judge_fault, Sight, task_error
from foxapi_async._transport import StreamBody
from foxapi_async._wire.chunk import Delta, DeltaChoice, DeltaMessage
from foxapi_async._wire.completion import ChatCompletion, read_completion
from foxapi_async._wire.task import Task
from foxapi_async.errors import (
    APIConnectionError,
    APIStatusError,
    FoxAPIError,
    NotFoundError,
    StreamExpiredError,
    StreamInterruptedError,
    StreamUnavailableError,
    TaskTimeoutError,
)

_REOPENINGS_BEFORE_ASKING = 3


class Streamed(Protocol):
    """The handle of the task, as far as its readers know it."""

    @property
    def id(self) -> str:
        """The task's id."""
        ...

    def observe(self, task: Task) -> None:
        """Take in a snapshot of the task."""
        ...

    def streamed(self, completion: ChatCompletion) -> None:
        """Take in what a stream that was read to its end has said."""
        ...


class StreamReader:
    """Reads a task's stream and takes it up again at the cursor when it is cut.

    ``batch[at:]`` has been received and not been read; everything before it is what ``offset``,
    ``snapshot`` and an error's ``partial`` speak of. The task is asked when the stream cannot say
    more: it is the truth about the state.
    """

    def __init__(
        self, handle: Streamed, service: Service, cursor: Cursor, timeout: float | None
    ) -> None:
        self.handle = handle
        self.batch: Sequence[Delta] = ()
        self.at = 0
        self.ended = False
        self.reasoning_complete = True
        self._service = service
        self._cursor = cursor
        self._accumulator = Accumulator()
        self._decoder = ChunkDecoder(service.core.limits.frame)
        self._body: StreamBody | None = None
        self._folded = 0
        self._reading = False
        self._fault: FoxAPIError | None = None
        self._cuts = 0
        self._progress = -1
        self._news_at = service.clock.time()
        self._deadline = None if timeout is None else self._news_at + timeout
        self._alarm: Timer | None = None

    # What has been read

    @property
    def offset(self) -> int:
        """How many chunks of the task have been read."""
        return self._cursor.offset - (len(self.batch) - self.at)

    def snapshot(self) -> ChatCompletion:
        """Return what the chunks that were read add up to."""
        self._fold()
        return self._accumulator.completion()

    def cursor_text(self) -> str:
        """Return the position as a text from which another process can go on."""
        return self._cursor.text(self.offset)

    def _fold(self) -> None:
        self._accumulator.extend(self.batch[self._folded : self.at])
        self._folded = self.at

    # Reading on

    async def next(self) -> Delta:
        """Return the next chunk; ``StopAsyncIteration`` after the last.

        Cancelling closes the connection and loses nothing: the next call reopens at the cursor.
        """
        if self.at < len(self.batch):
            delta = self.batch[self.at]
            self.at += 1
            return delta
        if self._reading:
            raise RuntimeError("two tasks read one stream: ask the handle for a stream for each")
        self._reading = True
        try:
            self._fold()
            batch = await self._more()
        finally:
            self._reading = False
        if not batch:
            raise StopAsyncIteration
        self.batch, self.at, self._folded = batch, 1, 0
        return batch[0]

    async def _more(self) -> Sequence[Delta]:
        """Return the next chunks that arrive; none after the last."""
        self._set_alarm()
        try:
            while True:
                if self._fault is not None:
                    last = await self._recover(self._fault)
                    if last is not None:
                        return last
                if self.ended:
                    return ()
                fresh = await self._read()
                if fresh:
                    return fresh
        except BaseException:
            self.disconnect()
            raise
        finally:
            self._stop_alarm()

    async def _read(self) -> Sequence[Delta]:
        """Return what one read of the connection brings; a cut is kept for ``_recover``."""
        try:
            body = self._body or await self._open()
            data = await body.read()
        except FoxAPIError as fault:
            self._cut(fault)
            return ()
        decoder = self._decoder
        fresh = self._cursor.accept(decoder.feed(data))
        if decoder.ended or not data:
            fresh = [*fresh, *self._at_end()]
        if fresh:
            self._cuts = 0
            self._news_at = self._service.clock.time()
        return fresh
