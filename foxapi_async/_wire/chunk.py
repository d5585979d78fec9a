"""The chunks of a stream, and the two events that end it (contract §5.2, §6)."""

from typing import Annotated, Any, Final

from msgspec import Meta

from foxapi_async._wire.base import Decoder, ResponseStruct, coerces
from foxapi_async._wire.completion import Usage, coerce_function, coerce_message

NO_INDEX: Final = -1
"""The index of a piece of a tool call without an index."""


class FunctionDelta(ResponseStruct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A piece of a function call."""

    name: str | None = None
    """The name, or a piece of it."""
    arguments: str | None = None
    """A piece of the JSON text; concatenate all pieces."""


coerces(FunctionDelta)(coerce_function)


class ToolCallDelta(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """A piece of a tool call; all pieces of one call have the same ``index``."""

    index: int = NO_INDEX
    """The number of the call in the answer; -1 without one."""
    id: str | None = None
    """The id of the call, usually on its first piece."""
    type: str | None = None
    """The kind of tool, usually on the first piece."""
    function: FunctionDelta | None = None
    """A piece of the call."""


class DeltaMessage(ResponseStruct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What one chunk adds to one choice."""

    role: str | None = None
    """The role, usually on the first chunk."""
    content: str | None = None
    """A piece of the text."""
    reasoning_content: str | None = None
    """A piece of the reasoning."""
    tool_calls: tuple[ToolCallDelta, ...] | None = None
    """Pieces of tool calls."""
    refusal: str | None = None
    """A piece of the refusal."""


coerces(DeltaMessage)(coerce_message)


class DeltaChoice(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """One choice of a chunk."""

    index: Annotated[int, Meta(ge=0)] = 0
    """The number of the choice, from 0."""
    delta: DeltaMessage | None = None
    """What is added to the choice."""
    finish_reason: str | None = None
    """Why the choice ended: ``stop``, ``length``, ``tool_calls``, ``content_filter``; ``None``
    until then.
    """
    logprobs: dict[str, Any] | None = None
    """Log probabilities of the tokens of this chunk, if they were asked for."""


class Delta(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """One chunk of a stream.

    ``text``, ``reasoning``, ``tool_calls``, ``role``, ``finish_reason`` and ``index`` are those of
    the first choice of the chunk, which is the only one unless the request has ``n``. A chunk with
    ``usage`` alone has no choice.
    """

    id: str = ""
    """The id of the completion, as the provider named it."""
    object: str = "chat.completion.chunk"
    """The kind of object."""
    created: int = 0
    """Time of the answer, in Unix seconds."""
    model: str = ""
    """The model as the provider names it."""
    choices: tuple[DeltaChoice, ...] = ()
    """What is added to each choice; usually one."""
    usage: Usage | None = None
    """The counted tokens, on the last chunk if the request asks for them."""
    system_fingerprint: str | None = None
    """Names the configuration of the model, as in OpenAI's API."""
    service_tier: str | None = None
    """The tier in which the provider served the request."""

    @property
    def text(self) -> str:
        """The text that this chunk adds, always a ``str``."""
        try:
            # Nearly every chunk has a message; checking for it first would double the cost.
            return self.choices[0].delta.content or ""  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
        except (IndexError, AttributeError):
            return ""

    @property
    def reasoning(self) -> str:
        """The reasoning that this chunk adds, always a ``str``."""
        choices = self.choices
        return (choices[0].delta.reasoning_content or "") if choices and choices[0].delta else ""

    @property
    def tool_calls(self) -> tuple[ToolCallDelta, ...]:
        """The pieces of tool calls that this chunk adds."""
        choices = self.choices
        return (choices[0].delta.tool_calls or ()) if choices and choices[0].delta else ()

    @property
    def role(self) -> str | None:
        """The role, usually on the first chunk only."""
        choices = self.choices
        return choices[0].delta.role if choices and choices[0].delta else None

    @property
    def finish_reason(self) -> str | None:
        """Why the choice ended, on its last chunk."""
        return self.choices[0].finish_reason if self.choices else None

    @property
    def index(self) -> int:
        """The number of the choice, from 0, that this chunk belongs to."""
        return self.choices[0].index if self.choices else 0


class StreamDone(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """The normal end of a stream."""

    total_chunks: int | None = None
    """The number of chunks of the whole task, whatever the offset was."""


class StreamErrorEvent(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """The abnormal end of a stream. Only the task has the code of the error (contract Q12)."""

    message: str = ""
    """What happened, in the words of the service."""


delta_decoder = Decoder(Delta)
# Keeps the halves of surrogate pairs that are split between two chunks.
surrogate_delta_decoder = Decoder(Delta, keep_surrogates=True)
done_decoder = Decoder(StreamDone)
error_decoder = Decoder(StreamErrorEvent)
