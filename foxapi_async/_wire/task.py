"""The unified task, the one answer of every submit and every query (CONTRACT §3.5, §4)."""

from enum import StrEnum

from msgspec import Raw

from foxapi_async._wire.fault import ErrorBody
from foxapi_async._wire.shape import Answer, Reader


class Status(StrEnum):
    """The states that the service names; the wire is open and may say something else."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StreamRef(Answer, frozen=True, kw_only=True, gc=False):
    """Where the service says the stream is: relative, never followed by this SDK (CONTRACT Q8)."""

    url: str | None = None


class TaskUsage(Answer, frozen=True, kw_only=True, gc=False):
    """What the task holds or costs, in credits."""

    credits_reserved: float | None = None
    credits_consumed: float | None = None
    user_group: str | None = None


class TaskInfo(Answer, frozen=True, kw_only=True, gc=False):
    """Hints of the service about a media task; ``estimated_time`` is in seconds."""

    can_cancel: bool | None = None
    estimated_time: float | None = None


class UnifiedTask(Answer, frozen=True, kw_only=True, gc=False):
    """The ten members that the seed fixes. ``id`` and ``status`` are all that must be there."""

    id: str
    object: str = ""
    type: str = ""
    model: str = ""
    status: str
    progress: int = 0
    created: int = 0
    stream: StreamRef | None = None
    results: tuple[Raw, ...] | None = None
    error: ErrorBody | None = None


class Task(UnifiedTask, frozen=True, kw_only=True, gc=False):
    """A snapshot of a task as the service told it.

    ``status`` is a plain text (see ``Status``), ``progress`` 0 to 100, ``created`` in Unix seconds.
    ``results`` stays JSON, one ``msgspec.Raw`` an element, until a handle reads it by its kind.
    """

    usage: TaskUsage | None = None
    task_info: TaskInfo | None = None


tasks = Reader(Task)
