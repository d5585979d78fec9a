"""What a snapshot of a task, or a failed look at it, means (contract §4.3, §8.4)."""

from enum import Enum, auto
from typing import Final

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

NOT_FOUND_LIMIT = 3
_NO_REASON: Final = "the service gave no reason"
_NO_NEWS = frozenset({408, 425, 429})


class TaskState(Enum):
    """Where a task stands. If that ``is_final``, it will never change again."""

    RUNNING = ("running", False)
    EMPTY = ("hollow", False)
    COMPLETED = ("completed", True)
    FAILED = ("failed", True)
    CANCELLED = ("cancelled", True)

    def __init__(self, word: str, is_final: bool) -> None:  # noqa: FBT001 a column of the table above
        self.word: str = word
        self.is_final: bool = is_final


# By their texts: the members of an enum are slow to compare, and every look is judged twice. The
# service's own words come first; the others are spellings of the same states in services like it.
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


class PollFailure(Enum):
    """What a failed look at a task means."""

    TRANSIENT = auto()
    NOT_FOUND = auto()
    FATAL = auto()


def classify(task: Task) -> TaskState:
    """Return where ``task`` stands.

    A completed task without results is hollow: they come seconds later (contract Q2). A status that
    nobody knows is not an end, and never success.
    """
    state = _known_state(task)
    if state is TaskState.COMPLETED and all(
        bytes(result) == b"null" for result in task.results or ()
    ):
        return TaskState.EMPTY
    return state or TaskState.RUNNING


def is_known_status(task: Task) -> bool:
    """Tell whether the status of ``task`` means something here."""
    return _known_state(task) is not None


def _known_state(task: Task) -> TaskState | None:
    state = _STATES.get(task.status)
    if state is not None:
        return state
    word = task.status.strip().lower().replace("-", "_").replace(" ", "_")
    # An error may pass as well, so that only one with its reason is an end.
    if word in _ERRORS and task.error is not None:
        return TaskState.FAILED
    return _STATES.get(word)


def classify_error(error: FoxAPIError) -> PollFailure:
    """Return what a failed poll means: no news, a task that is not there, or the end of asking."""
    if isinstance(error, APIConnectionError):
        return PollFailure.TRANSIENT if error.trusted else PollFailure.FATAL
    if isinstance(error, InternalServerError | InvalidResponseError):
        return PollFailure.TRANSIENT
    if isinstance(error, NotFoundError):
        return PollFailure.NOT_FOUND
    if isinstance(error, APIStatusError) and error.status in _NO_NEWS:
        return PollFailure.TRANSIENT
    return PollFailure.FATAL


def task_error(task: Task) -> TaskError:
    """Return the error of a task that ended, or should have ended, without a result."""
    state = classify(task)
    if state is TaskState.FAILED:
        # What a failed task says beside its error, if it has none, is the reason all the same.
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
        f"task {task.id} is completed but holds no results; ask again later with its handle",
        task_id=task.id,
        task=task,
    )
