"""Events of a session, and the hooks that get them: frozen structs, delivered as they happen.

A hook is any callable that takes one event. It runs on the event loop, so it must not block; one
that raises is logged and never breaks the call. No event holds a body or the API key. Events are
only built while a session has hooks. All times are in seconds.

An event about a task is delivered in the context (``contextvars``) of the call that submitted the
task or made its handle, whichever part of the session polls for it.
"""

from typing import Protocol

from msgspec import Struct

__all__ = [
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
    """An attempt ended: with a status, with an error, or with both.

    For a stream, the attempt ends with the headers.
    """

    method: str
    """The HTTP method."""
    path: str
    """The path of the URL, without host and query."""
    attempt: int
    """The number of the attempt; the first of a call is 1."""
    seconds: float
    """Seconds from the start of the attempt."""
    status: int | None
    """The HTTP status, or ``None`` if no answer came."""
    error: str | None
    """The name of the error class, or ``None``.

    An attempt that was cancelled has ``CancelledError``.
    """


class RetryScheduled(Event, frozen=True, kw_only=True):
    """A call failed and will be tried again."""

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
    """The service accepted a generation: from here on it is billed."""

    task_id: str
    """The id of the task."""
    model: str
    """The model of the request."""
    key: str | None
    """The key of the submission, or ``None``."""


class TaskUnrecorded(Event, frozen=True, kw_only=True):
    """A generation was accepted, and the journal could not write its id: keep the id yourself."""

    task_id: str
    """The id of the task."""
    model: str
    """The model of the request."""
    key: str | None
    """The key of the submission, or ``None``."""


class TaskUpdated(Event, frozen=True, kw_only=True):
    """A task that is waited for has another status or progress than at its last poll."""

    task_id: str
    """The id of the task."""
    model: str
    """The model of the task."""
    status: str
    """The status of the task now."""
    progress: int
    """The progress of the task now, in percent."""


class TaskCheckFailed(Event, frozen=True, kw_only=True):
    """A poll of a task, or its stream, failed for the first time in a row; it is tried again."""

    task_id: str
    """The id of the task."""
    model: str
    """The model of the task."""
    error: str
    """The name of the error class."""
    message: str
    """The text of the error."""


class TaskStatusUnknown(Event, frozen=True, kw_only=True):
    """A task has a status that this package does not know; sent once for each task.

    The status is neither success nor failure: the task is polled until the wait for it ends.
    """

    task_id: str
    """The id of the task."""
    model: str
    """The model of the task."""
    status: str
    """The status, as the service wrote it."""


class TaskFinished(Event, frozen=True, kw_only=True):
    """A task that was waited for ended."""

    task_id: str
    """The id of the task."""
    model: str
    """The model of the task."""
    status: str
    """The last status of the task."""
    seconds: float
    """Seconds from the submit; 0 for a task that another session submitted."""
    error: str | None
    """The name of the error class, or ``None`` if there was none."""


class StreamOpened(Event, frozen=True, kw_only=True):
    """A stream is connected for the first time."""

    task_id: str
    """The id of the task."""
    offset: int
    """How many chunks the connection skips."""


class StreamResumed(Event, frozen=True, kw_only=True):
    """A stream that was cut is connected again."""

    task_id: str
    """The id of the task."""
    offset: int
    """How many chunks were delivered before."""
    reason: str
    """The name of the error class of the cut."""


class StreamFinished(Event, frozen=True, kw_only=True):
    """A reader reached the end of a stream, or, with ``error``, cannot go on."""

    task_id: str
    """The id of the task."""
    offset: int
    """How many chunks were delivered."""
    error: str | None
    """The name of the error class, or ``None`` if there was none."""


class SubmitOutcomeUnknown(Event, frozen=True, kw_only=True):
    """A generation may have been accepted, but its answer was lost."""

    model: str
    """The model of the request."""
    key: str | None
    """The key of the submission, or ``None``."""
    fault: str
    """The name of the error class that hid the answer."""


class SubmitUnclaimed(Event, frozen=True, kw_only=True):
    """A billed generation is in ``fox.unclaimed``, because its caller was cancelled."""

    task_id: str
    """The id of the task."""
    model: str
    """The model of the request."""
    key: str | None
    """The key of the submission, or ``None``."""


class Hook(Protocol):
    """A callable that takes one event."""

    def __call__(self, event: Event, /) -> None:
        """Handle ``event``; must return quickly."""
        ...
