"""The unified task, the response to every submit and every query (contract §3.5, §4)."""

from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace

from foxapi_async._wire.base import Decoder, ResponseStruct, coerces
from foxapi_async._wire.display import html_card, shown_text
from foxapi_async._wire.error_body import ErrorBody, extract_error_or_json

_REQUEST_ID: Final = "request_id"


class Status(StrEnum):
    """The documented statuses of a task; the service may send others."""

    PENDING = "pending"
    """Accepted, not started."""
    PROCESSING = "processing"
    """In progress."""
    COMPLETED = "completed"
    """Completed; final as soon as there are results (contract Q2)."""
    FAILED = "failed"
    """Failed with an error; final."""
    CANCELLED = "cancelled"
    """Cancelled without a result; final."""


class StreamRef(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """The location of the stream as sent by the service; the SDK does not use it (contract Q8)."""

    url: str | None = None
    """A path of the service, or ``None``."""


class TaskUsage(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """The cost of the task in credits."""

    credits_reserved: float | None = None
    """Credits that are reserved for the task."""
    credits_consumed: float | None = None
    """Credits that the task has cost."""
    user_group: str | None = None
    """The price group of the account."""

    @property
    def credits(self) -> float | None:
        """The credits that the task has cost, or else the reserved ones; ``None`` if unknown."""
        return self.credits_reserved if self.credits_consumed is None else self.credits_consumed


class TaskInfo(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """Hints of the service about a media task."""

    can_cancel: bool | None = None
    """Whether the task could be cancelled; the service has no endpoint for it."""
    estimated_time: float | None = None
    """The estimated duration of the task in seconds."""


class TaskSummary(Struct, frozen=True, kw_only=True, gc=False):
    """The task that made a result."""

    id: str
    """The id of the task."""
    model: str
    """The model as it was submitted."""
    created: int | None
    """When the service accepted the task, in Unix seconds; ``None`` if it did not say."""
    seconds: float | None
    """The seconds from the response to the submit until this session had the result; ``None`` for
    a task that was submitted elsewhere."""
    usage: TaskUsage | None
    """The cost in credits, or ``None``."""
    request_id: str | None
    """The id of the HTTP request that submitted the task, as in ``handle.request_id``."""


class UnifiedTask(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """The ten members of the seed. Only ``id`` and ``status`` are required."""

    id: str
    """The id of the task."""
    object: str = ""
    """The kind of object, such as ``llm.generation.task``."""
    type: str = ""
    """The kind of task: ``llm``, ``image``, ``video``, ``audio`` or ``document``."""
    model: str = ""
    """The model as it was sent."""
    status: str
    """The status: a value of ``Status``, or a text that this version does not know."""
    progress: int = 0
    """Progress in percent, 0 to 100."""
    created: int = 0
    """Time of the submit, in Unix seconds."""
    stream: StreamRef | None = None
    """The location of the stream; ``None`` if the task was submitted without ``stream=True``."""
    results: tuple[Raw, ...] | None = None
    """The results as JSON, one ``msgspec.Raw`` each; ``None`` until the task is completed."""
    error: ErrorBody | None = None
    """Why the task failed, or ``None``."""


@coerces(UnifiedTask)
def _coerce_task(name: str, value: Any) -> Any:
    """Convert an error that is not an object, and a single result in the place of the list."""
    if name == "error":
        return extract_error_or_json(value)
    if name == "results" and value and isinstance(value, dict | str):
        return (Raw(msgspec.json.encode(value)),)
    return UNSET


# `dict` has room for the id of the HTTP request, which is no member of the JSON object. msgspec
# allows `dict` with `gc` only.
class Task(UnifiedTask, frozen=True, kw_only=True, gc=True, dict=True):
    """A snapshot of a task as the service sent it."""

    usage: TaskUsage | None = None
    """The cost of the task, or ``None``."""
    task_info: TaskInfo | None = None
    """Hints about the progress of a media task, or ``None``."""

    @property
    def request_id(self) -> str | None:
        """The id of the HTTP request that brought this snapshot (header ``x-request-id``).

        ``None`` if the response had none. It is not compared, not encoded and not copied.
        """
        return self.__dict__.get(_REQUEST_ID)

    def __repr__(self) -> str:
        code = f" error={self.error.code!r}" if self.error is not None else ""
        results = "".join(f" {shown_text(_text_of(result))}" for result in self.results or ())
        return (
            f"<Task {self.id} model={self.model!r} status={self.status!r} "
            f"progress={self.progress}{code}{' results=' if results else ''}{results.strip()}>"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        rows = [
            ("id", self.id),
            ("model", self.model or None),
            ("status", self.status),
            ("error", self.error and self.error.code),
            ("credits", self.usage and self.usage.credits_consumed),
        ]
        texts = [_text_of(result) for result in self.results or ()]
        part = None if self.results or self.error else self.progress / 100
        return html_card("Task", rows, text="\n".join(texts) if texts else None, part=part)


def _text_of(result: Raw) -> str:
    """Return what a result says: the text of a completion, a URL, or else its JSON."""
    data = bytes(result)
    try:
        value: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data.decode(errors="replace")
    found = value
    for step in ("choices", 0, "message", "content"):
        if isinstance(found, dict if isinstance(step, str) else list):
            found = _item(found, step)
    if isinstance(found, str):
        return found
    url = _item(value, "url") if isinstance(value, dict) else None
    return url if isinstance(url, str) else data.decode(errors="replace")


def _item(value: Any, step: str | int) -> Any:
    try:
        return value[step]
    except (LookupError, TypeError):
        return None


task_decoder = Decoder(Task)
# For responses to a submit, where the status may be missing.
submit_decoder = Decoder(Task, defaults={"status": ""})
# For responses to a query, where the id may be missing, because the path has it.
query_decoder = Decoder(Task, defaults={"id": ""})


def with_pending_status(task: Task) -> Task:
    """Return the response to a submit with the status ``pending`` if it has none.

    An object of another kind, such as a completion, stays without a status.
    """
    if task.status.strip() or (task.object and not task.object.endswith("task")):
        return task
    return changed(task, status=Status.PENDING.value)


def changed(task: Task, **members: Any) -> Task:
    """Return a copy of ``task`` with other members and the same request id."""
    copy = replace(task, **members)
    if task.request_id is not None:
        set_request_id(copy, task.request_id)
    return copy


def set_request_id(task: Task, request_id: str) -> None:
    """Set the request id of a task that was just decoded or copied."""
    vars(task)[_REQUEST_ID] = request_id
