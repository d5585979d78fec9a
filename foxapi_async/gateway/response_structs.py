# Members that are always written lose their default, which is the point of this module.
# pyright: reportGeneralTypeIssues=false
"""The shapes of ``_wire`` as the service writes them: members that say nothing are left out.

A client's shapes have a default for whatever may be missing; written with those defaults a chunk
would be thrice its size. Members that are always written are declared again, without a default.
"""

from foxapi_async._wire import chunk, completion, error_body


class FunctionDelta(chunk.FunctionDelta, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A piece of a function call."""


class ToolCallDelta(chunk.ToolCallDelta, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A piece of a tool call."""

    index: int


class DeltaMessage(chunk.DeltaMessage, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one chunk adds to one choice."""


class DeltaChoice(chunk.DeltaChoice, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One choice of a chunk; ``finish_reason`` is null until the last."""

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
    """The function to be called."""

    name: str
    arguments: str


class ToolCall(completion.ToolCall, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One call that the model asks for."""

    id: str
    type: str
    function: completion.Function


class Usage(completion.Usage, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionMessage(
    completion.CompletionMessage, frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """What the model said; ``content`` is null beside tool calls."""

    role: str
    content: str | None


class Choice(completion.Choice, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One of the answers."""

    index: int
    message: completion.CompletionMessage
    finish_reason: str | None


class ChatCompletion(completion.ChatCompletion, frozen=True, kw_only=True, omit_defaults=True):
    """The full answer."""

    id: str
    object: str
    created: int
    model: str
    choices: tuple[completion.Choice, ...]
    usage: completion.Usage | None


class TaskFault(error_body.ErrorBody, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Why a task failed: exactly ``message``, ``type`` and ``code`` (contract §8.1)."""

    message: str
    type: str
    code: str

    @classmethod
    def of(cls, code: str, message: str) -> "TaskFault":
        """Return the fault with the type that all failed tasks have."""
        return cls(message=message, type="task_error", code=code)
