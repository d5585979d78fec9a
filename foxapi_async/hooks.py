"""What a session tells those who want to know: frozen events, handed to each hook as they happen.

A hook is any callable that takes one event. It runs on the event loop, so it must not block; one
that raises is logged and never breaks the call that it watches. No event holds a body or the API
key, and none is built while nobody listens. All times are in seconds.

An event that is about a task is told in the context (``contextvars``) of the call that submitted
the task or asked for its handle, whoever polls for it.
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
    """Anything that a session tells."""


class RequestStarted(Event, frozen=True, kw_only=True):
    """An attempt at an HTTP request begins, the first of its call being number 1."""

    method: str
    path: str
    attempt: int


class RequestFinished(Event, frozen=True, kw_only=True):
    """An attempt ended: with an answer's ``status``, with an ``error`` class, or with both.

    An attempt that was cancelled names ``CancelledError``. For a stream, the attempt ends with the
    headers.
    """

    method: str
    path: str
    attempt: int
    seconds: float
    status: int | None
    error: str | None


class RetryScheduled(Event, frozen=True, kw_only=True):
    """A call failed with the error class ``reason`` and will be tried again after ``delay``."""

    method: str
    path: str
    attempt: int
    delay: float
    reason: str


class TaskSubmitted(Event, frozen=True, kw_only=True):
    """The service accepted a generation: from here on it is billed."""

    task_id: str
    model: str
    key: str | None


class TaskUnrecorded(Event, frozen=True, kw_only=True):
    """A generation was accepted, and the journal could not write its id down: keep it yourself."""

    task_id: str
    model: str
    key: str | None


class TaskUpdated(Event, frozen=True, kw_only=True):
    """A task that somebody waits for has another status or progress than at the last look."""

    task_id: str
    model: str
    status: str
    progress: int


class TaskCheckFailed(Event, frozen=True, kw_only=True):
    """A look at a task, or its stream, failed for the first time in a row; it is tried again.

    ``error`` names the error class, ``message`` is its text.
    """

    task_id: str
    model: str
    error: str
    message: str


class TaskStatusUnknown(Event, frozen=True, kw_only=True):
    """A task has a status that this package does not know; told once for each task.

    It is neither success nor failure: the task is looked at until the wait for it runs out.
    """

    task_id: str
    model: str
    status: str


class TaskFinished(Event, frozen=True, kw_only=True):
    """A task that somebody waited for reached its end; ``error`` names the error class, if any.

    ``seconds`` run from the submit; they are 0 for a task that another session submitted.
    """

    task_id: str
    model: str
    status: str
    seconds: float
    error: str | None


class StreamOpened(Event, frozen=True, kw_only=True):
    """A stream is connected for the first time, at ``offset`` chunks."""

    task_id: str
    offset: int


class StreamResumed(Event, frozen=True, kw_only=True):
    """A stream that was cut is connected again; ``reason`` names the error class of the cut."""

    task_id: str
    offset: int
    reason: str


class StreamFinished(Event, frozen=True, kw_only=True):
    """A reader has come to the end of a stream, or, with ``error``, cannot go on."""

    task_id: str
    offset: int
    error: str | None


class SubmitOutcomeUnknown(Event, frozen=True, kw_only=True):
    """A generation may have been accepted, but its answer was lost; ``fault`` is an error class."""

    model: str
    key: str | None
    fault: str


class SubmitUnclaimed(Event, frozen=True, kw_only=True):
    """A billed generation has lost its caller, who was cancelled; it is in ``fox.unclaimed``."""

    task_id: str
    model: str
    key: str | None


class Hook(Protocol):
    """Something that wants to know."""

    def __call__(self, event: Event, /) -> None:
        """Take note of ``event``; return quickly."""
        ...
