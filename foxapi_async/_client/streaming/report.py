"""What a reader of a stream reports: to its task, to hooks, and to its caller as an error."""
# pyright: reportPrivateUsage=false

from foxapi_async._client.polling.tracked_task import TrackedTask
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._client.task_record import add_delivered
from foxapi_async._protocol.delta_buffer import DeltaBuffer
from foxapi_async._protocol.reconnect import Disconnect
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async.errors import (
    FoxAPIError,
    StreamInterruptedError,
    TaskLostError,
    TaskTimeoutError,
)
from foxapi_async.hooks import StreamFinished, StreamOpened, StreamResumed


class StreamReport:
    """Reports what was read of a task's stream, by the contents of its buffer."""

    __slots__ = ("_buffer", "_service", "tracked")

    def __init__(
        self, service: ServiceClient, buffer: DeltaBuffer, tracked: TrackedTask | None
    ) -> None:
        self._service = service
        self._buffer = buffer
        # None until the submission of the stream has returned.
        self.tracked: TrackedTask | None = tracked

    @property
    def task_id(self) -> str:
        """The task's id, or a placeholder before the submission has returned."""
        return self.tracked.id if self.tracked is not None else "(not submitted)"

    def report_opened(self, offset: int, last_error: str | None) -> None:
        """Report a connection at ``offset``; ``last_error`` ended the connection before it."""
        sink = self._service.event_sink
        if sink is None:
            return
        if last_error is None:
            sink(StreamOpened(task_id=self.task_id, offset=offset))
        else:
            sink(StreamResumed(task_id=self.task_id, offset=offset, reason=last_error))

    def save_complete(self) -> None:
        """Save the whole text in the task if no part of it is missing, and report the end."""
        read = self._buffer.accumulated()
        if read.chunks and not self._buffer.missing_prefix and self.tracked is not None:
            self._service.stream_finished(self.tracked, read.completion())
        self.report_finished(None)

    def save_partial(self, error: BaseException | None) -> None:
        """Save the text in the task when ``error``, or the reader, has ended the reading early."""
        if self.tracked is None or not self._buffer.accumulated().chunks:
            return
        if isinstance(error, StreamInterruptedError):
            cut = error
        else:
            cut = self.interrupted_error("the reader stopped before its end")
        if isinstance(error, TaskLostError):
            add_delivered(error, cut)
        self.tracked.set_stream_error(cut)

    def report_finished(self, error: str | None) -> None:
        """Report the end of the reading to the hooks; ``error`` is the name of its class."""
        if (sink := self._service.event_sink) is not None:
            offset = self._buffer.offset
            sink(StreamFinished(task_id=self.task_id, offset=offset, error=error))

    def interrupted_error(
        self, why: str, fault: FoxAPIError | None = None
    ) -> StreamInterruptedError:
        """Return the error of a stream that cannot go on, with the text that was read."""
        buffer = self._buffer
        doubtful, offset = buffer.cursor.doubtful_from, buffer.offset
        if doubtful is not None and doubtful >= offset:
            doubtful = None
        if doubtful is not None:
            why = f"{why}; chunks {doubtful} and later may be wrong"
        completion = buffer.accumulated().completion()
        return StreamInterruptedError(
            f"the stream of task {self.task_id} was cut after {offset} chunks: {why}; "
            "await its handle, or resume it at .cursor",
            task_id=self.task_id,
            offset=offset,
            partial=completion.text,
            cursor=buffer.cursor_text(),
            completion=completion,
            doubtful_from=doubtful,
            task=self.tracked.task if self.tracked is not None else None,
            fault=fault,
        )

    def gave_up_error(self, disconnect: Disconnect) -> StreamInterruptedError:
        """Return the error of a stream that is not opened again after ``disconnect``."""
        why = str(disconnect.error)
        if not disconnect.mismatch:
            limit = self._service.options.streaming.give_up_after
            why = f"no chunk and no progress for {limit:g} s: {why}"
        return self.interrupted_error(why, disconnect.error)

    def mismatch_error(
        self, stored: ChatCompletion, disconnect: Disconnect | None
    ) -> StreamInterruptedError:
        """Return the error of a stream whose stored result does not continue what it delivered."""
        why = f"the stored result {'differs from the chunks' if stored.text else 'has no text'}"
        if disconnect is None:
            return self.interrupted_error(why)
        return self.interrupted_error(f"{disconnect.error}; {why}", disconnect.error)

    def timeout_error(self, timeout: float | None, fault: FoxAPIError | None) -> TaskTimeoutError:
        """Return the error of a reading that took longer than ``timeout`` seconds."""
        because = "" if fault is None else f" (its connection failed: {fault})"
        late = f"did not end within timeout=, {timeout:g} s{because}; the task continues"
        return TaskTimeoutError(
            f"the stream of task {self.task_id} {late}: resume it at .cursor, or await the handle",
            task_id=self.task_id,
            task=self.tracked.task if self.tracked is not None else None,
            fault=fault,
        )
