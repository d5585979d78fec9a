"""Errors of accepted tasks and of their streams."""

from typing import Any

from foxapi_async._wire.completion import ChatCompletion
from foxapi_async._wire.task import Task
from foxapi_async.errors._base import FoxAPIError


class TaskError(FoxAPIError):
    """An accepted, billed task gave no result."""

    advice = "Keep .task_id: it finds the task again from any process."

    def __init__(
        self,
        message: str,
        *,
        task_id: str,
        task: Task | None = None,
        fault: FoxAPIError | None = None,
    ) -> None:
        super().__init__(message)
        self.task_id = task_id
        """The id of the task, which finds it again from any process."""
        self.task = task
        """The last snapshot of the task, or ``None``."""
        self.fault = fault
        """The error of the last poll, or ``None`` if it succeeded."""


class TaskFailedError(TaskError):
    """The task failed. This is final."""

    advice = (
        "See .code, and change the prompt or the model. A key is tried again, and billed anew, by "
        "submit(..., retry_failed=True) or after `foxapi journal prune FILE --stage failed`."
    )

    def __init__(
        self, message: str, *, task_id: str, task: Task | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, task_id=task_id, task=task)
        self.code = code
        """The reason, as the service gives it (contract §8.3)."""


class TaskCancelledError(TaskError):
    """The service cancelled the task."""

    advice = "Submit again if it is still wanted, with a key by retry_failed=True: billed anew."


class TaskTimeoutError(TaskError, TimeoutError):
    """The timeout of the wait expired. The task goes on and is billed: await its handle again."""

    advice = "See .fault, then await the handle again or find the task later by .task_id."


class TaskLostError(TaskError):
    """The state of the task cannot be read."""

    advice = "See .fault, then await the handle again or find the task later by .task_id."
    partial: str
    """The text that was delivered, if its stream was read in this session."""
    completion: ChatCompletion | None
    """The completion of the delivered chunks, or ``None``."""
    cursor: str | None
    """The position after the delivered chunks, or ``None``: ``handle.stream(resume=cursor)``."""

    def __init__(self, message: str, **members: Any) -> None:
        super().__init__(message, **members)
        self.partial, self.completion, self.cursor = "", None, None


class EmptyResultError(TaskError):
    """The task says ``completed`` and still has no results (contract Q2)."""

    advice = "Await the handle again later: the results may still come."


class StreamError(FoxAPIError):
    """A stream did not reach its end."""

    advice = "Read on from .cursor, or await the handle for the whole answer."

    def __init__(
        self,
        message: str,
        *,
        task_id: str,
        offset: int = 0,
        partial: str = "",
        cursor: str | None = None,
        completion: ChatCompletion | None = None,
        doubtful_from: int | None = None,
        task: Task | None = None,
        fault: FoxAPIError | None = None,
    ) -> None:
        super().__init__(message)
        self.task_id = task_id
        """The id of the task."""
        self.offset = offset
        """How many chunks were delivered."""
        self.partial = partial
        """The text that was delivered."""
        self.completion = completion
        """The completion of the delivered chunks."""
        self.doubtful_from = doubtful_from
        """The first delivered chunk, from 0, that may be wrong; ``None`` if none is."""
        self.cursor = cursor
        """The position after the delivered chunks: ``handle.stream(resume=cursor)``."""
        self.task = task
        """The last snapshot of the task, or ``None``."""
        self.fault = fault
        """The error that ended the stream, or ``None``."""


class StreamInterruptedError(StreamError):
    """The stream was cut, and neither it nor the stored result gives the rest.

    Awaiting the handle raises this too, if the stored result lacks text that the stream had.
    """

    advice = "Read on from .cursor, or await the handle for the whole answer."


class StreamExpiredError(StreamError):
    """The service has deleted the chunks of the stream, which it keeps for 15 minutes."""

    advice = "Await the handle: the stored answer outlives the stream."


class StreamUnavailableError(StreamError):
    """The task was not submitted with ``stream=True``: await its handle instead."""

    advice = "Await the handle; only stream=True makes a stream."
