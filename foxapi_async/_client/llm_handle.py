"""A generation of a language model, to await or to stream."""
# pyright: reportPrivateUsage=false

from collections.abc import Callable
from typing import Any, Self, final

from foxapi_async._client.handle import TaskHandle
from foxapi_async._client.patience import normalize_timeout, validate_reading_timeout
from foxapi_async._client.polling.tracked_task import Waiter
from foxapi_async._client.service import Service
from foxapi_async._client.stream import ChatStream
from foxapi_async._client.streaming.delta_reader import DeltaReader
from foxapi_async._client.streaming.stream_follower import StreamFollower
from foxapi_async._journal import FINISHED, Entry
from foxapi_async._protocol.cursor import Cursor
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.task import Task
from foxapi_async.errors import ConfigError, StreamInterruptedError, StreamUnavailableError


@final
class LLMHandle(TaskHandle[ChatCompletion]):
    """A generation at the service; its result is a ``ChatCompletion``."""

    __slots__ = ("_follower",)

    def __init__(
        self,
        service: Service | None,
        task_id: str,
        *,
        task: Task | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(service, task_id, "llm", submitted=task, key=key)
        self._follower: StreamFollower | None = None

    @property
    def is_streamed(self) -> bool | None:
        """Whether the service makes a stream of it; ``None`` if only the service knows."""
        return self._record.has_stream

    def stream(
        self, *, offset: int = 0, resume: str | None = None, timeout: float | None = None
    ) -> ChatStream:
        """Follow the generation live, from its first chunk on (unbilled).

        ``resume`` is the ``cursor`` of an earlier stream, of any process: it goes on after the last
        chunk read there. ``offset`` skips that many chunks without knowing them. ``timeout`` bounds
        the reading in seconds, after which ``TaskTimeoutError`` is raised. Raises
        ``StreamUnavailableError`` if the generation was not submitted with ``stream=True``, and
        ``ConfigError`` for a cursor or a number that cannot be one.
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

    @classmethod
    def _from_journal(cls, service: Service, entry: Entry) -> Self:
        """Return the handle of a task that a journal knows: the same one, while it is in use.

        Raises ``JournalError`` for an entry that cannot be read.
        """
        known = service.handles.get(entry.task_id or "")
        if isinstance(known, cls):
            return known
        task, completion = entry.read_task(), entry.read_streamed_completion()
        handle = cls(service, entry.task_id or "", key=entry.key)
        cut = None
        if completion is not None and entry.stream_was_cut:
            cut = StreamInterruptedError(
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
            cut=cut,
            is_finished=entry.stage in FINISHED,
        )
        service.handles[handle.id] = handle
        return handle

    def _subscribe(self, waiter: Waiter, timeout: float | None) -> None:
        """Follow the stream for a waiter of the end, if there is a stream and a free place."""
        super()._subscribe(waiter, timeout)
        is_polled = waiter.wants_changes or waiter.is_single_poll
        follower = None if is_polled else self._find_follower()
        if follower is not None:
            follower.subscribe(waiter)

    def _unsubscribe(self, waiter: Waiter) -> None:
        """End a wait. The last waiter to leave ends the following."""
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
        """Pickle what finds the task again, and whether there is a stream to follow."""
        return _rebuild, (self.id, self.key, self._record.has_stream)


def _rebuild(task_id: str, key: str | None, has_stream: bool | None) -> LLMHandle:  # noqa: FBT001 a pickle has no keywords
    handle = LLMHandle(None, task_id, key=key)
    handle._record.has_stream = has_stream
    return handle


def _cursor(offset: object, resume: object) -> Cursor:
    if resume is not None:
        if offset:
            raise TypeError("give either offset or resume: a cursor knows its offset")
        if not isinstance(resume, str):
            raise ConfigError(f"stream(resume=) must be the text of a cursor, got {resume!r}")
        return Cursor.parse(resume)
    if not isinstance(offset, int) or isinstance(offset, bool):
        raise ConfigError(f"stream(offset=) must be a number of chunks, got {offset!r}")
    return Cursor(offset)
