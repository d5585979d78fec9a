# Fields that are always encoded lose their default here, which pyright reports in general.
# pyright: reportGeneralTypeIssues=false
"""The structs of ``_wire`` as the service encodes them: fields with a default value are omitted.

The client's structs have a default for every field that may be missing. Encoded with those defaults
a chunk would be three times as long. Fields that are always encoded are declared again, without a
default.
"""

from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from foxapi_async._wire import chunk, completion, error_body, task

_encode: Final = msgspec.json.Encoder().encode


class FunctionDelta(chunk.FunctionDelta, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The part of a function call that one chunk adds."""


class ToolCallDelta(chunk.ToolCallDelta, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The part of a tool call that one chunk adds."""

    index: int


class DeltaMessage(chunk.DeltaMessage, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The part of a message that one chunk adds."""


class DeltaChoice(chunk.DeltaChoice, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One choice of a chunk; ``finish_reason`` is null in all but the last chunk."""

    index: int
    delta: chunk.DeltaMessage | None
    finish_reason: str | None


class Delta(chunk.Delta, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One chunk."""

    id: str
    object: str
    created: int
    model: str
    choices: tuple[chunk.DeltaChoice, ...]


class Function(completion.Function, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The function that a tool call calls."""

    name: str
    arguments: str


class ToolCall(completion.ToolCall, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One tool call of a message."""

    id: str
    type: str
    function: completion.Function


class Usage(completion.Usage, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The tokens of the prompt and of the answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionMessage(
    completion.CompletionMessage, frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """The message of a choice; ``content`` is null beside tool calls."""

    role: str
    content: str | None


class Choice(completion.Choice, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One choice of a completion."""

    index: int
    message: completion.CompletionMessage
    finish_reason: str | None


class ChatCompletion(completion.ChatCompletion, frozen=True, kw_only=True, omit_defaults=True):
    """The stored completion of a task."""

    id: str
    object: str
    created: int
    model: str
    choices: tuple[completion.Choice, ...]
    usage: completion.Usage | None


class TaskErrorBody(error_body.ErrorBody, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The error of a failed task: exactly ``message``, ``type`` and ``code`` (contract §8.1)."""

    message: str
    type: str
    code: str

    @classmethod
    def of(cls, code: str, message: str) -> "TaskErrorBody":
        """Return the error with the type that the errors of all tasks have."""
        return cls(message=message, type="task_error", code=code)


class TaskUsage(task.TaskUsage, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The credits of a task. ``credits_consumed`` is known at the end of a price by tokens."""

    credits_reserved: float


class UnifiedTask(task.UnifiedTask, frozen=True, kw_only=True, gc=False):
    """The ten members of the seed, and after them the usage that real clients read.

    The usage of a task is unset in the snapshots that cannot be read from a data file any more.
    """

    usage: TaskUsage | UnsetType = UNSET

    @property
    def credits(self) -> float:
        """What the task is charged: what it has consumed if that is known, or has reserved."""
        if self.usage is UNSET:
            return 0.0
        consumed = self.usage.credits_consumed
        return self.usage.credits_reserved if consumed is None else consumed


class ModelCard(Struct, frozen=True, kw_only=True):
    """One model of ``GET /v1/models`` (contract §2, row 15)."""

    id: str
    object: str = "model"
    owned_by: str = "foxapi"
    supported_endpoint_types: tuple[str, ...] = ("openai",)


class ModelCards(Struct, frozen=True, kw_only=True):
    """The response of ``GET /v1/models``."""

    object: str = "list"
    data: tuple[ModelCard, ...]


def encode_chunk(delta: chunk.Delta) -> bytes:
    """Return the event of a chunk of this module's structs, without unknown members."""
    # The same bytes as `encode_event` gives for them: JSON has no line ends.
    return b"event: chunk\ndata: %b\n\n" % _encode(delta)
