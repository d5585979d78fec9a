"""What a session tells those who want to know: frozen events, handed to each hook as they happen.

A hook is any callable that takes one event. It runs on the event loop, so it must not block; one
that raises is logged and never breaks the call that it watches. No event holds a body or the API
key.
"""

from typing import Protocol

from msgspec import Struct

__all__ = [
    "Event",
    "Hook",
    "RetryScheduled",
    "SubmitOutcomeUnknown",
    "SubmitUnclaimed",
    "TaskFinished",
    "TaskSubmitted",
]


class Event(Struct, frozen=True, kw_only=True):
    """Anything that a session tells."""


class TaskSubmitted(Event, frozen=True, kw_only=True):
    """The service accepted a generation: from here on it is billed."""

    task_id: str
    model: str
    key: str | None


class SubmitUnclaimed(Event, frozen=True, kw_only=True):
    """A generation was accepted after its caller had gone; it is in ``fox.unclaimed``."""

    task_id: str
    model: str
    key: str | None


class SubmitOutcomeUnknown(Event, frozen=True, kw_only=True):
    """A generation may have been accepted, but its answer was lost."""

    model: str
    key: str | None
    fault: str


class TaskFinished(Event, frozen=True, kw_only=True):
    """A task that somebody waited for reached its end; ``error`` names the error class, if any."""

    task_id: str
    model: str
    status: str
    seconds: float
    error: str | None


class RetryScheduled(Event, frozen=True, kw_only=True):
    """A call failed and will be tried again after ``delay`` seconds."""

    method: str
    path: str
    attempt: int
    delay: float
    reason: str


class Hook(Protocol):
    """Something that wants to know."""

    def __call__(self, event: Event, /) -> None:
        """Take note of ``event``; return quickly."""
        ...
