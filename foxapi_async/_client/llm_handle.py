"""A generation of a language model: its handle, and a stream of its chunks.

They share a module because each returns the other: `handle.stream()` and `stream.handle`.
"""
# pyright: reportPrivateUsage=false

import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar, cast, final, overload
from weakref import ref

from msgspec import UNSET, UnsetType

from foxapi_async._client.handle import TaskHandle
from foxapi_async._client.partial_answers import PartialAnswers
from foxapi_async._client.polling.tracked_task import Waiter
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._client.streaming.delta_reader import DeltaReader, ReadState
from foxapi_async._client.streaming.stream_follower import StreamFollower
from foxapi_async._client.streaming.submit_once import SubmitOnce
from foxapi_async._client.uncopied import Uncopied
from foxapi_async._journal import FINISHED, Entry
from foxapi_async._output.output_type import output_type
from foxapi_async._output.parse import parse_completion
from foxapi_async._output.partials import whole_answer
from foxapi_async._protocol.cursor import Cursor
from foxapi_async._wire.chunk import Delta
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.task import Task
from foxapi_async._wire.type_adapter import TypeAdapterLike
from foxapi_async.config import is_whole_number, normalize_timeout, validate_reading_timeout
from foxapi_async.errors import (
    ConfigError,
    StreamConsumedError,
    StreamInterruptedError,
    StreamUnavailableError,
)

T = TypeVar("T")


@final
class LLMHandle(TaskHandle[ChatCompletion]):
    """A generation at the service; its result is a ``ChatCompletion``."""

    __slots__ = ("_follower",)

    def __init__(
        self,
        service: ServiceClient | None,
        task_id: str,
        *,
        task: Task | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(service, task_id, "llm", submitted=task, key=key)
        self._follower: StreamFollower | None = None

    @property
    def is_streamed(self) -> bool | None:
        """Whether the task has a stream; ``None`` if that is not known yet."""
        return self._record.has_stream

    def stream(
        self, *, offset: int = 0, resume: str | None = None, timeout: float | None = None
    ) -> "ChatStream":
        """Stream the generation from its first chunk on (unbilled).

        Args:
            offset: The number of chunks to skip. Their content is not known then, so the stream
                cannot be completed from the stored result.
            resume: The ``cursor`` of an earlier stream, of any process: the stream goes on after
                the last chunk that was read there.
            timeout: The seconds that the reading may take. Without it, there is no limit.

        Returns:
            A stream that connects at the first read.

        Raises:
            StreamUnavailableError: The generation was not submitted with ``stream=True``.
            ConfigError: ``offset``, ``resume`` or ``timeout`` is invalid.
            TypeError: Both ``offset`` and ``resume`` are given.
        """
        service, tracked = self._bound(), self._find_tracked()
        if tracked.has_stream is False:
            raise StreamUnavailableError(
                f"task {self.id} was submitted without stream=True: await its handle instead",
                task_id=self.id,
                task=self.task,
            )
        cursor = _cursor(offset, resume)
        validate_reading_timeout(timeout)
        seconds = normalize_timeout(timeout)
        return ChatStream(DeltaReader(service, tracked, cursor=cursor, timeout=seconds), self)

    @overload
    async def parse(self, type: type[T], /, *, timeout: float | None | UnsetType = ...) -> T: ...
    @overload
    async def parse(
        self, type: TypeAdapterLike[T], /, *, timeout: float | None | UnsetType = ...
    ) -> T: ...
    @overload
    async def parse(self, type: Any, /, *, timeout: float | None | UnsetType = ...) -> Any: ...
    async def parse(self, type: Any, /, *, timeout: float | None | UnsetType = UNSET) -> Any:
        """Wait for the result, and return the value of ``type`` that the answer is.

        Args:
            type: The type, as in ``completion.parse``. Submit the generation with
                ``response_format=`` of the same type.
            timeout: Seconds to wait, as in ``result``.

        Returns:
            The value.

        Raises:
            OutputError: The answer is not a value of the type: one of its three subclasses.
            TypeError: The type is not supported.
            FoxAPIError: Any error of ``result``.
        """
        output_type(type)
        return parse_completion(await self.result(timeout), type)

    @classmethod
    def _from_journal(cls, service: ServiceClient, entry: Entry) -> Self:
        """Return the handle of the task of ``entry``: the existing one, while it is referenced.

        Raises:
            JournalError: The entry cannot be read.
        """
        known = service.handles.get(entry.task_id or "")
        if isinstance(known, cls):
            return known
        task, completion = entry.read_task(), entry.read_streamed_completion()
        handle = cls(service, entry.task_id or "", key=entry.key)
        stream_error = None
        if completion is not None and entry.stream_was_cut:
            stream_error = StreamInterruptedError(
                "the stream was cut",
                task_id=handle.id,
                partial=completion.text,
                completion=completion,
            )
            completion = None
        handle._record.restore(
            task=task,
            has_stream=entry.streamed,
            streamed=completion,
            stream_error=stream_error,
            is_finished=entry.stage in FINISHED,
        )
        service.handles[handle.id] = handle
        return handle

    def _subscribe(self, waiter: Waiter, timeout: float | None) -> None:
        """Add a waiter. The stream is read while one waits for the end, if ``limits`` allow it."""
        super()._subscribe(waiter, timeout)
        is_polled = waiter.wants_changes or waiter.is_single_poll
        follower = None if is_polled else self._find_follower()
        if follower is not None:
            follower.subscribe(waiter)

    def _unsubscribe(self, waiter: Waiter) -> None:
        """Remove a waiter. The stream is not read any more when the last one is removed."""
        super()._unsubscribe(waiter)
        if self._follower is not None:
            self._follower.unsubscribe(waiter)

    def _find_follower(self) -> StreamFollower | None:
        tracked = self._find_tracked()
        if (
            tracked.outcome is not None
            or not tracked.can_follow
            or not tracked.has_stream
            or tracked.streamed is not None
        ):
            return None
        follower = self._follower or StreamFollower(tracked, self._bound())
        if not follower.can_subscribe:
            return None
        self._follower = follower
        return follower

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Pickle the id, the key and whether the task has a stream."""
        return _rebuild, (self.id, self.key, self._record.has_stream)


@final
class ChatStream(Uncopied):
    """The chunks of a generation while it runs: each exactly once, in order, to the end.

    ``async for delta in stream`` ends after the last chunk. When a connection is lost, the stream
    is opened again at the next chunk. Leaving the loop closes the connection at once. So does
    cancelling a read, which loses nothing: the next read continues. Use ``async with`` for a stream
    that has a name; one that is dropped half-read warns. A loop over a temporary stream closes it
    by the reference counts of CPython.

    Raises:
        TaskFailedError: On reading: the task has failed.
        TaskCancelledError: On reading: the task was cancelled.
        StreamInterruptedError: On reading: the stream was lost, and the stored result does not
            continue it. ``.cursor`` and ``.partial`` have the position and the text.
        StreamExpiredError: On reading: the service has dropped the chunks, and the text before the
            position is not known here.
        StreamUnavailableError: On reading: the task has no stream.
        StreamConsumedError: On reading: the stream was closed.
        TaskTimeoutError: On reading: ``timeout`` has expired. The task continues.
        TaskLostError: On reading: the service does not know the task.
        SessionClosedError: On reading: the session was closed.
        APIStatusError: On reading: the service refuses the key.
    """

    __slots__ = ("__weakref__", "_loop", "_owner", "_parsed", "_reader")

    _instead = "call handle.stream(resume=stream.cursor) to continue at its position"

    def __init__(self, reader: DeltaReader, owner: LLMHandle | SubmitOnce[LLMHandle]) -> None:
        self._reader = reader
        self._owner = owner
        self._loop: ref[_DeltaIterator] | None = None
        self._parsed: Any = UNSET

    @property
    def handle(self) -> LLMHandle:
        """The handle of the generation; ``fox.llm.stream`` has it once it is entered or read."""
        owner = self._owner
        handle = owner.result if isinstance(owner, SubmitOnce) else owner
        if handle is None:
            raise RuntimeError("nothing was submitted yet: enter the stream or read from it first")
        return handle

    @property
    def offset(self) -> int:
        """The number of chunks that were read, including those before ``stream(offset=…)``."""
        return self._reader.buffer.offset

    @property
    def cursor(self) -> str:
        """The position as a short opaque text, for ``handle.stream(resume=cursor)``."""
        return self._reader.buffer.cursor_text()

    @property
    def reasoning_complete(self) -> bool:
        """Whether all reasoning was delivered. False if the stored result had to replace chunks."""
        return self._reader.reasoning_complete

    @property
    def parsed(self) -> Any:
        """The value of the type of ``partials``, once its iteration has ended."""
        if self._parsed is UNSET:
            raise RuntimeError("nothing was parsed yet: iterate over stream.partials(T) to its end")
        return self._parsed

    def partials(self, type: Any, /) -> AsyncIterator[Any]:
        """Read the stream, and yield the answer as plain data while it is written.

        Each item is new data: dicts, lists, texts, numbers, booleans and ``None``. Texts grow,
        and a member or an item is there once it has begun; the answer is checked at its end only.
        Until then, ``None`` may stand for a member that is not given, and a dict for a tuple. There
        is one item for each read from the network at most, and fewer where an answer is long.

        Args:
            type: The type, as in ``completion.parse``. Submit the generation with
                ``response_format=`` of the same type.

        Returns:
            An async iterator. Its last item is the data of the whole answer, and ``parsed`` is then
            the value of the type.

        Raises:
            ConfigError: The extra ``partials`` is not installed.
            TypeError: The type is not supported.
            OutputError: On reading: at the end, the answer is not a value of the type.
            FoxAPIError: On reading: an error of reading the stream, or of ``completion``.
        """
        output = output_type(type)

        async def finish() -> Any:
            plain, parsed = whole_answer(await self.completion(), output)
            self._parsed = parsed
            return plain

        return PartialAnswers(aiter(self), lambda: self._reader.buffer, output, finish)

    def snapshot(self) -> ChatCompletion:
        """Return the completion that the chunks read so far add up to.

        After ``stream(resume=…)`` or ``stream(offset=…)`` it includes the chunks before the
        position once the first chunk after it was read, unless the stream was lost by then.

        Returns:
            The completion so far; ``source`` is ``"stream"``.
        """
        return self._reader.buffer.accumulated().completion()

    async def completion(self) -> ChatCompletion:
        """Read the rest of the stream and return the whole completion, as awaiting the handle does.

        Returns:
            The result of the task, with the reasoning of the stream.

        Raises:
            StreamConsumedError: The stream was closed before its end.
            StreamInterruptedError: Nothing proves that the text is whole.
            FoxAPIError: What reading the stream or awaiting the handle raises.
        """
        if not self._reader.all_read:
            async for _ in _DeltaIterator(self, self._reader):
                self._reader.discard_buffered()
        self._reader.report_end()
        return await self.handle.result()

    async def aclose(self) -> None:
        """Close the stream. The task continues, and its handle can still be awaited.

        A read that waits raises ``StreamConsumedError``. Closing twice does nothing.
        """
        self._reader.report_end()
        self._reader.close()

    def __aiter__(self) -> AsyncIterator[Delta]:
        reader = self._reader
        if reader.state in {ReadState.FINISHED, ReadState.CLOSED}:
            raise StreamConsumedError(
                "this stream has been read or closed: call stream() of its handle again"
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
            # The caller does not get the stream, so it cannot close it.
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
        # The iterator of a loop over a temporary stream outlives it and closes the reader itself.
        reader = getattr(self, "_reader", None)
        if reader is not None and (self._loop is None or self._loop() is None):
            _close_abandoned(reader, source=self)


class _DeltaIterator:
    """One ``async for`` over a stream. When the loop ends in any way, the connection is closed."""

    # `__anext__` is the method of the reader in a slot. A coroutine around it would add half of its
    # time to each delta, and the traceback of a cancelled read would keep the iterator alive.
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
            # A loop over a temporary stream was left, which needs no warning.
            reader.close()
        else:
            _close_abandoned(reader, source=self)


def _close_abandoned(reader: DeltaReader, source: object) -> None:
    """Close a reader that is not referenced any more, and warn if it was left half-read."""
    if sys.is_finalizing():
        return
    warning = reader.leak_warning()
    reader.close()
    if warning:
        warnings.warn(warning, ResourceWarning, stacklevel=2, source=source)


def _rebuild(task_id: str, key: str | None, has_stream: bool | None) -> LLMHandle:  # noqa: FBT001 a pickle has no keywords
    handle = LLMHandle(None, task_id, key=key)
    handle._record.has_stream = has_stream
    return handle


def _cursor(offset: object, resume: object) -> Cursor:
    if resume is not None:
        if offset:
            raise TypeError("give either offset or resume: a cursor contains its offset")
        if not isinstance(resume, str):
            raise ConfigError(f"stream(resume=) must be the text of a cursor, got {resume!r}")
        return Cursor.parse(resume)
    if not is_whole_number(offset):
        raise ConfigError(f"stream(offset=) must be a number of chunks, got {offset!r}")
    return Cursor(offset)
