"""What a snapshot of a task, or a failed look at it, means (CONTRACT §4.3, §8.4)."""

from enum import Enum, auto
from typing import Final

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

MISSES_BEFORE_LOST = 3
_NO_NEWS = frozenset({408, 425, 429})


class State(Enum):
    """Where a task stands. If that ``is_final``, it will never change again."""

    RUNNING = ("running", False)
    HOLLOW = ("hollow", False)
    COMPLETED = ("completed", True)
    FAILED = ("failed", True)
    CANCELLED = ("cancelled", True)

    def __init__(self, word: str, is_final: bool) -> None:  # noqa: FBT001 a column of the table above
        self.word: str = word
        self.is_final: bool = is_final


# By their texts: the members of an enum are slow to compare, and every look is judged twice.
_ENDS: Final = {
    Status.COMPLETED.value: State.COMPLETED,
    Status.FAILED.value: State.FAILED,
    Status.CANCELLED.value: State.CANCELLED,
}


class Sight(Enum):
    """What a failed look at a task means."""

    NO_NEWS = auto()
    MISSING = auto()
    FORBIDDEN = auto()


def judge(task: Task) -> State:
    """Return where ``task`` stands.

    A completed task without results is hollow: they come seconds later (CONTRACT Q2). A status that
    nobody knows is not an end, and never success.
    """
    end = _ENDS.get(task.status.lower())
    if end is None:
        return State.RUNNING
    if end is State.COMPLETED and all(bytes(result) == b"null" for result in task.results or ()):
        return State.HOLLOW
    return end


def judge_fault(fault: FoxAPIError) -> Sight:
    """Return what a failed poll means: no news, a task that is not there, or the end of asking."""
    if isinstance(fault, APIConnectionError):
        return Sight.NO_NEWS if fault.trusted else Sight.FORBIDDEN
    if isinstance(fault, InternalServerError | InvalidResponseError):
        return Sight.NO_NEWS
    if isinstance(fault, NotFoundError):
        return Sight.MISSING
    if isinstance(fault, APIStatusError) and fault.status in _NO_NEWS:
        return Sight.NO_NEWS
    return Sight.FORBIDDEN


def task_error(task: Task) -> TaskError:
    """Return the error of a task that ended, or should have ended, without a result."""
    state = judge(task)
    if state is State.FAILED:
        code = task.error.code if task.error else None
        message = (task.error.message if task.error else None) or "the service gave no reason"
        return TaskFailedError(
            f"task {task.id} failed: {message}" + (f" [{code}]" if code else ""),
            task_id=task.id,
            task=task,
            code=code,
        )
    if state is State.CANCELLED:
        return TaskCancelledError(
            f"task {task.id} was cancelled by the service", task_id=task.id, task=task
        )
    return EmptyResultError(
        f"task {task.id} is completed but holds no results; ask again later with its handle",
        task_id=task.id,
        task=task,
    )
