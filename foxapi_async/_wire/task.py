"""The unified task, the one answer of every submit and every query (contract §3.5, §4)."""

from enum import StrEnum
from typing import Any

import msgspec
from msgspec import UNSET, Raw
from msgspec.structs import replace

from foxapi_async._wire.base import Decoder, ResponseStruct, coerces
from foxapi_async._wire.error_body import ErrorBody, extract_error_or_json


class Status(StrEnum):
    """The states that the service names; the wire is open and may say something else."""

    PENDING = "pending"
    """Accepted, not begun."""
    PROCESSING = "processing"
    """Being worked on."""
    COMPLETED = "completed"
    """Done; final once there are results (contract Q2)."""
    FAILED = "failed"
    """Ended with an error; final."""
    CANCELLED = "cancelled"
    """Ended without a result; final."""


class StreamRef(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """Where the service says the stream is: relative, never followed by this SDK (contract Q8)."""

    url: str | None = None
    """A path on the service, or ``None``."""


class TaskUsage(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """What the task holds or costs, in credits."""

    credits_reserved: float | None = None
    """Credits that are reserved for the task."""
    credits_consumed: float | None = None
    """Credits that the task has cost."""
    user_group: str | None = None
    """The price group of the account."""


class TaskInfo(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """Hints of the service about a media task."""

    can_cancel: bool | None = None
    """Whether the service says that the task can be cancelled; no call does it."""
    estimated_time: float | None = None
    """Seconds that the task will take, as the service estimates."""


class UnifiedTask(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """The ten members that the seed fixes. ``id`` and ``status`` are all that must be there."""

    id: str
    """The id of the task."""
    object: str = ""
    """The kind of object, such as ``llm.generation.task``."""
    type: str = ""
    """The kind of task: ``llm``, ``image``, ``video``, ``audio`` or ``document``."""
    model: str = ""
    """The model as it was sent."""
    status: str
    """The state: one of ``Status``, or a text that only the service knows."""
    progress: int = 0
    """Progress in percent, 0 to 100."""
    created: int = 0
    """Time of the submit, in Unix seconds."""
    stream: StreamRef | None = None
    """Where the stream is; ``None`` if the task was submitted without ``stream=True``."""
    results: tuple[Raw, ...] | None = None
    """The results as JSON, one ``msgspec.Raw`` each; ``None`` until the task is completed."""
    error: ErrorBody | None = None
    """Why the task failed, or ``None``."""


@coerces(UnifiedTask)
def _coerce_task(name: str, value: Any) -> Any:
    """Read an error that is no object, and a result that stands where the list of them should."""
    if name == "error":
        return extract_error_or_json(value)
    if name == "results" and value and isinstance(value, dict | str):
        return (Raw(msgspec.json.encode(value)),)
    return UNSET


class Task(UnifiedTask, frozen=True, kw_only=True, gc=False):
    """A snapshot of a task as the service sent it."""

    usage: TaskUsage | None = None
    """What the task costs, or ``None``."""
    task_info: TaskInfo | None = None
    """Hints about the progress of a media task, or ``None``."""


task_decoder = Decoder(Task)
# The answer to a submit, which need not say that a task with an id is pending.
submit_decoder = Decoder(Task, defaults={"status": ""})
# The answer to a query, whose path has named the task already.
query_decoder = Decoder(Task, defaults={"id": ""})


def with_pending_status(task: Task) -> Task:
    """Return the answer to a submit as a task: pending, if it names an id and no status.

    What says that it is something else, such as a completion, has no status afterwards either.
    """
    if task.status.strip() or (task.object and not task.object.endswith("task")):
        return task
    return replace(task, status=Status.PENDING.value)
