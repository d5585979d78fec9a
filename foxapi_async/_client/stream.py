"""A stream of a generation, as you hold it."""

import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast, final
from weakref import ref

from foxapi_async._client.streaming.delta_reader import DeltaReader, ReadState
from foxapi_async._client.streaming.submit_once import SubmitOnce
from foxapi_async._client.uncopied import Uncopied
from foxapi_async._wire.chunk import Delta
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async.errors import StreamConsumedError

if TYPE_CHECKING:
    # A handle makes streams and a stream names its handle: a cycle of types alone.
    from foxapi_async._client.llm_handle import LLMHandle


@final
class ChatStream(Uncopied):
    """The chunks of a generation as they are made, each exactly once, in order, to the very end.

    ``async for delta in stream`` ends when the service said that the stream is done; a connection
    that is cut is opened again at the next chunk, and what cannot be taken up again raises.
    Leaving the loop closes the connection at once, and so does cancelling a read, which loses
    nothing: the next read goes on. Use ``async with`` for a stream that has a name; one that is
    dropped half-read warns.

    Reading raises ``TaskFailedError`` or ``TaskCancelledError`` for the task's own end,
    ``StreamInterruptedError`` when the stream cannot be taken up again, ``StreamExpiredError`` and
    ``StreamUnavailableError`` where there is none, ``TaskTimeoutError`` after ``timeout``,
    ``TaskLostError`` for a task that the service does not know, ``SessionClosedError``, and the
    ``APIStatusError`` of a key that may not look.
    """

    __slots__ = ("__weakref__", "_loop", "_owner", "_reader")

    _instead = "ask the handle for another stream, with resume=stream.cursor to go on there"

    def __init__(self, reader: DeltaReader, owner: "LLMHandle | SubmitOnce[LLMHandle]") -> None:
        self._reader = reader
        self._owner = owner
        self._loop: ref[_DeltaIterator] | None = None

    @property
    def handle(self) -> "LLMHandle":
        """The handle of the generation; ``fox.llm.stream`` has one once it was entered or read."""
        owner = self._owner
        handle = owner.result if isinstance(owner, SubmitOnce) else owner
        if handle is None:
            raise RuntimeError("nothing was submitted yet: enter the stream or read from it first")
        return handle

    @property
    def offset(self) -> int:
        """How many chunks were read, those before ``stream(offset=…)`` included."""
        return self._reader.buffer.offset

    @property
    def cursor(self) -> str:
        """The position as a short opaque text: ``handle.stream(resume=cursor)`` goes on from it."""
        return self._reader.buffer.cursor_text()

    @property
    def reasoning_complete(self) -> bool:
        """Whether all of the thinking came: not if the stream was lost and the task had to do."""
        return self._reader.reasoning_complete

    def snapshot(self) -> ChatCompletion:
        """Return what the chunks read so far add up to.

        After ``stream(resume=…)`` or ``stream(offset=…)`` those before the position count too, as
        soon as the first one after it has come; not if the stream was gone by then and the stored
        text had to do.
        """
        return self._reader.buffer.accumulated().completion()

    async def completion(self) -> ChatCompletion:
        """Read the rest of the stream and return the whole answer, as awaiting the handle does.

        Raises what reading and awaiting raise; text that nothing proves whole is not returned.
        """
        if not self._reader.exhausted:
            async for _ in _DeltaIterator(self, self._reader):
                self._reader.discard_buffered()
        self._reader.report_end()
        return await self.handle.result()

    async def aclose(self) -> None:
        """Close the stream for good. The task goes on, and its handle can still be awaited.

        A read that waits raises ``StreamConsumedError``.
        """
        self._reader.report_end()
        self._reader.close()

    def __aiter__(self) -> AsyncIterator[Delta]:
        reader = self._reader
        if reader.state in {ReadState.FINISHED, ReadState.CLOSED}:
            raise StreamConsumedError(
                "this stream has been read or closed: ask the handle for another"
            )
        loop = _DeltaIterator(self, reader)
        self._loop = ref(loop)
        # Type checkers look for methods in classes, not in slots.
        return cast("AsyncIterator[Delta]", loop)

    async def __anext__(self) -> Delta:
        return await anext(self._reader)

    async def __aenter__(self) -> Self:
        try:
            await self._reader.start()
        except BaseException:
            # Nobody gets hold of this stream, so that nobody could close it.
            self._reader.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<ChatStream {self._reader.task_id} offset={self.offset}>"

    def __del__(self) -> None:
        # While a loop over a temporary runs, the loop alone holds the reader, and lets go of it.
        reader = getattr(self, "_reader", None)
        if reader is not None and (self._loop is None or self._loop() is None):
            _close_abandoned(reader, source=self)


class _DeltaIterator:
    """One ``async for`` over a stream. Its end, however it comes, closes the connection."""

    # `__anext__` is the reader's own method in a slot: one of ours around it would cost half as
    # much again for each delta (PERF §2), and the traceback of a cancelled read would keep the
    # loop, and so what it lets go of, alive.
    __slots__ = ("__anext__", "__weakref__", "_reader", "_stream")

    def __init__(self, stream: ChatStream, reader: DeltaReader) -> None:
        self._stream = ref(stream)
        self._reader = reader
        self.__anext__: Callable[[], Awaitable[Delta]] = reader.__anext__

    def __aiter__(self) -> Self:
        return self

    def __del__(self) -> None:
        reader = self._reader
        if self._stream() is not None:
            reader.disconnect()
        elif reader.state is not ReadState.NEW:
            # The loop over a temporary may be left: nobody else could have read on.
            reader.close()
        else:
            _close_abandoned(reader, source=self)


def _close_abandoned(reader: DeltaReader, source: object) -> None:
    """Close what nobody holds any more, and complain if it was left half-read."""
    if sys.is_finalizing():
        return
    warning = reader.leak_warning()
    reader.close()
    if warning:
        warnings.warn(warning, ResourceWarning, stacklevel=2, source=source)
