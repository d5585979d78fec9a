"""Events of a session, as frozen structs, and the hooks that receive them.

A hook is any callable that takes one event. It runs in the event loop, so it must not block. If it
raises, the error is logged and the call continues. No event has a body or the API key. Without
hooks, no event is built. All times are in seconds.

For an event of a task, hooks are called in the context (``contextvars``) of the call that submitted
the task or created its handle.
"""

from typing import Literal, Protocol

from msgspec import Struct

__all__ = [
    "BudgetExceeded",
    "BudgetNearlyUsed",
    "Event",
    "Hook",
    "RequestFinished",
    "RequestStarted",
    "RetryScheduled",
    "StreamFinished",
    "StreamOpened",
    "StreamResumed",
    "SubmitOutcomeUnknown",
    "SubmitUnclaimed",
    "TaskCheckFailed",
    "TaskFinished",
    "TaskStatusUnknown",
    "TaskSubmitted",
    "TaskUnrecorded",
    "TaskUpdated",
]


class Event(Struct, frozen=True, kw_only=True):
    """Base class of all events."""


class RequestStarted(Event, frozen=True, kw_only=True):
    """An attempt at an HTTP request begins."""

    method: str
    """The HTTP method."""
    path: str
    """The path of the URL, without host and query."""
    attempt: int
    """The number of the attempt; the first of a call is 1."""


class RequestFinished(Event, frozen=True, kw_only=True):
    """An attempt ended, with a status, an error or both. That of a stream ends with the headers."""

    method: str
    """The HTTP method."""
    path: str
    """The path of the URL, without host and query."""
    attempt: int
    """The number of the attempt; the first of a call is 1."""
    seconds: float
    """Seconds from the start of the attempt."""
    status: int | None
    """The HTTP status, or ``None`` without a response."""
    error: str | None
    """The name of the error class, ``CancelledError`` for a cancelled attempt, or ``None``."""


class RetryScheduled(Event, frozen=True, kw_only=True):
    """An attempt failed and the call is retried."""

    method: str
    """The HTTP method."""
    path: str
    """The path of the URL, without host and query."""
    attempt: int
    """The number of the attempt that failed; the first of a call is 1."""
    delay: float
    """Seconds until the next attempt."""
    reason: str
    """The name of the error class of the failure."""


class TaskSubmitted(Event, frozen=True, kw_only=True):
    """The service accepted a generation, which is billed now."""

    task_id: str
    """The id of the task."""
    model: str
    """The model of the request."""
    key: str | None
    """The key of the submission, or ``None``."""


class TaskUnrecorded(Event, frozen=True, kw_only=True):
    """A generation was accepted, and the journal could not record its id: keep the id."""

    task_id: str
    """The id of the task."""
    model: str
    """The model of the request."""
    key: str | None
    """The key of the submission, or ``None``."""


class TaskUpdated(Event, frozen=True, kw_only=True):
    """The status or the progress of a task has changed."""

    task_id: str
    """The id of the task."""
    model: str
    """The model of the task."""
    status: str
    """The new status."""
    progress: int
    """The new progress, in percent."""


class TaskCheckFailed(Event, frozen=True, kw_only=True):
    """A poll of a task, or its stream, failed and is retried.

    Of consecutive failures, only the first is reported.
    """

    task_id: str
    """The id of the task."""
    model: str
    """The model of the task."""
    error: str
    """The name of the error class."""
    message: str
    """The text of the error."""


class TaskStatusUnknown(Event, frozen=True, kw_only=True):
    """A task has a status that this package does not know. Reported once for each task.

    The task counts as unfinished and is polled until the wait ends.
    """

    task_id: str
    """The id of the task."""
    model: str
    """The model of the task."""
    status: str
    """The status, as the service sent it."""


class TaskFinished(Event, frozen=True, kw_only=True):
    """A task has ended."""

    task_id: str
    """The id of the task."""
    model: str
    """The model of the task."""
    status: str
    """The last status of the task."""
    seconds: float
    """Seconds since the submit; 0 for a task of another session."""
    error: str | None
    """The name of the error class, or ``None`` if there was none."""


class StreamOpened(Event, frozen=True, kw_only=True):
    """A stream is connected for the first time."""

    task_id: str
    """The id of the task."""
    offset: int
    """The offset of the connection, in chunks."""


class StreamResumed(Event, frozen=True, kw_only=True):
    """A stream is connected again after a disconnect."""

    task_id: str
    """The id of the task."""
    offset: int
    """How many chunks were delivered before."""
    reason: str
    """The name of the error class of the disconnect."""


class StreamFinished(Event, frozen=True, kw_only=True):
    """The end of a stream was reached, or, with ``error``, the reading ended before it."""

    task_id: str
    """The id of the task."""
    offset: int
    """How many chunks were delivered."""
    error: str | None
    """The name of the error class, or ``None`` if there was none."""


class SubmitOutcomeUnknown(Event, frozen=True, kw_only=True):
    """A generation may have been accepted, but its response was lost."""

    model: str
    """The model of the request."""
    key: str | None
    """The key of the submission, or ``None``."""
    fault: str
    """The name of the error class."""


class SubmitUnclaimed(Event, frozen=True, kw_only=True):
    """A billed generation is in ``fox.unclaimed``: no call returned its handle or result."""

    task_id: str
    """The id of the task."""
    model: str
    """The model of the request."""
    key: str | None
    """The key of the submission, or ``None``."""


class BudgetNearlyUsed(Event, frozen=True, kw_only=True):
    """80 % of a budget are used or reserved. Emitted once for each budget."""

    unit: Literal["credits", "tokens", "tasks"]
    """What the budget limits."""
    limit: float
    """The limit of the budget."""
    used: float
    """What is used or reserved."""


class BudgetExceeded(Event, frozen=True, kw_only=True):
    """A submission was not sent, because it would exceed a budget. Emitted once for each budget."""

    unit: Literal["credits", "tokens", "tasks"]
    """What the budget limits."""
    limit: float
    """The limit of the budget."""
    used: float
    """What earlier submissions have used or reserved."""
    needed: float
    """What the submission would probably use."""


class Hook(Protocol):
    """A callable that takes one event."""

    def __call__(self, event: Event, /) -> None:
        """Handle ``event`` without blocking."""
        ...
