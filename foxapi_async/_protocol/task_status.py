"""Classifies the snapshots of a task and the failures of its polls (contract §4.3, §8.4)."""

from enum import Enum, auto
from typing import Final

from foxapi_async._protocol.status_errors import TRANSIENT_STATUSES
from foxapi_async._wire.error_body import extract_error
from foxapi_async._wire.task import Status, Task
from foxapi_async.errors import (
    APIConnectionError,
    APIStatusError,
    EmptyResultError,
    FoxAPIError,
    InternalServerError,
    InvalidResponseError,
    NotFoundError,
    TaskCancelledError,
    TaskError,
    TaskFailedError,
)

NOT_FOUND_LIMIT: Final = 3
_NO_REASON: Final = "the service gave no reason"


class TaskState(Enum):
    """The state of a task. A state that ``is_final`` never changes."""

    RUNNING = ("running", False)
    UNKNOWN = ("unknown", False)
    EMPTY = ("empty", False)
    COMPLETED = ("completed", True)
    FAILED = ("failed", True)
    CANCELLED = ("cancelled", True)

    def __init__(self, _name: str, is_final: bool) -> None:  # noqa: FBT001 a column of the table above
        self.is_final: bool = is_final


# Keyed by text, because comparing enum members is slow and every poll is classified. The first five
# are the statuses of the contract; the others are used by compatible services.
_STATES: Final = {
    Status.PENDING.value: TaskState.RUNNING,
    Status.PROCESSING.value: TaskState.RUNNING,
    Status.COMPLETED.value: TaskState.COMPLETED,
    Status.FAILED.value: TaskState.FAILED,
    Status.CANCELLED.value: TaskState.CANCELLED,
    "queued": TaskState.RUNNING,
    "in_queue": TaskState.RUNNING,
    "submitted": TaskState.RUNNING,
    "running": TaskState.RUNNING,
    "in_progress": TaskState.RUNNING,
    "complete": TaskState.COMPLETED,
    "success": TaskState.COMPLETED,
    "succeeded": TaskState.COMPLETED,
    "failure": TaskState.FAILED,
    "canceled": TaskState.CANCELLED,
}
_ERRORS: Final = frozenset({"error", "errored"})
# Codes of failed tasks that name the request as the reason (contract §8.2, §8.3).
_REQUEST_AT_FAULT: Final = frozenset(
    {
        "content_policy_violation",
        "insufficient_quota",
        "invalid_param",
        "model_not_support_capability",
        "model_not_supported",
        "model_rule_violation",
        "unsupported_content_type",
    }
)


class PollFailure(Enum):
    """What the error of a poll says about the task."""

    TRANSIENT = auto()
    """Nothing: another poll may succeed."""
    NOT_FOUND = auto()
    """The service does not know the task, or not yet."""
    FATAL = auto()
    """No further poll can succeed: a rejected key, a bad request, an untrusted certificate."""


def classify(task: Task) -> TaskState:
    """Return the state of ``task``.

    A completed task without results is ``EMPTY``: the results follow seconds later (contract Q2).
    A status that is not known here is ``UNKNOWN``: the task may still be running.
    """
    state = _STATES.get(task.status) or _state_of_spelling(task)
    if state is TaskState.COMPLETED:
        for result in task.results or ():
            if bytes(result) != b"null":
                return state
        return TaskState.EMPTY
    return state


def _state_of_spelling(task: Task) -> TaskState:
    """Return the state for a status in another case, or with blanks or hyphens."""
    word = task.status.strip().lower().replace("-", "_").replace(" ", "_")
    # The status "error" may be temporary: it is final only with an error object.
    if word in _ERRORS and task.error is not None:
        return TaskState.FAILED
    return _STATES.get(word, TaskState.UNKNOWN)


def classify_error(error: FoxAPIError) -> PollFailure:
    """Return what the error of a poll says about the task."""
    if isinstance(error, APIConnectionError):
        return PollFailure.TRANSIENT if error.trusted else PollFailure.FATAL
    if isinstance(error, InternalServerError | InvalidResponseError):
        return PollFailure.TRANSIENT
    if isinstance(error, NotFoundError):
        return PollFailure.NOT_FOUND
    if isinstance(error, APIStatusError) and error.status in TRANSIENT_STATUSES:
        return PollFailure.TRANSIENT
    return PollFailure.FATAL


def task_error(task: Task) -> TaskError:
    """Return the error of a task that is failed, cancelled, or completed without results."""
    state = classify(task)
    if state is TaskState.FAILED:
        # A failed task without an error object may give the reason in an unknown member.
        body = extract_error(task.error.to_dict() if task.error else dict(task.extra))
        code = body.code if body else None
        message = body.message if body else None
        return TaskFailedError(
            f"task {task.id} failed: {message or _NO_REASON}" + (f" [{code}]" if code else ""),
            task_id=task.id,
            task=task,
            code=code,
        )
    if state is TaskState.CANCELLED:
        return TaskCancelledError(
            f"task {task.id} was cancelled by the service", task_id=task.id, task=task
        )
    return EmptyResultError(
        f"task {task.id} is completed but has no results; ask again later with its handle",
        task_id=task.id,
        task=task,
    )


def may_succeed_again(error: TaskError) -> bool:
    """Tell whether the same request, submitted and billed again, may have a result."""
    if isinstance(error, TaskFailedError):
        return error.code not in _REQUEST_AT_FAULT
    return isinstance(error, TaskCancelledError)


class FailureTracker:
    """Counts the consecutive failures of polls of one task."""

    __slots__ = ("_empty_since", "_failing_since", "_not_found")

    def __init__(self) -> None:
        self._not_found = 0
        self._failing_since: float | None = None
        self._empty_since: float | None = None

    @property
    def has_empty_result(self) -> bool:
        """Whether the last snapshot was completed without results."""
        return self._empty_since is not None

    @property
    def is_not_found(self) -> bool:
        """Whether the last ``NOT_FOUND_LIMIT`` polls did not find the task."""
        return self._not_found >= NOT_FOUND_LIMIT

    def count_not_found(self, failure: PollFailure) -> bool:
        """Count a failed poll; tell whether ``NOT_FOUND_LIMIT`` in a row did not find the task."""
        self._not_found = self._not_found + 1 if failure is PollFailure.NOT_FOUND else 0
        return self.is_not_found

    def record_failure(self, failure: PollFailure, now: float, timeout: float) -> bool:
        """Record a failed poll and tell whether the task counts as lost.

        It is lost after ``timeout`` seconds of nothing but failures, or when ``NOT_FOUND_LIMIT``
        polls in a row did not find it (contract Q11).
        """
        is_not_found = self.count_not_found(failure)
        if self._failing_since is None:
            self._failing_since = now
        return is_not_found or now - self._failing_since >= timeout

    def record_empty_result(self, now: float, grace: float) -> bool:
        """Record a snapshot that is completed without results; tell whether the grace is over.

        The results follow seconds later (contract Q2). After ``grace`` seconds the result counts as
        empty.
        """
        self._not_found = 0
        self._failing_since = None
        if self._empty_since is None:
            self._empty_since = now
        return now - self._empty_since >= grace
