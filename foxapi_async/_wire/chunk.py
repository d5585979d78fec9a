"""What a stream carries: chunks, and the two events that end it (CONTRACT §5.2, §6)."""

from typing import Any, Final

from foxapi_async._wire.completion import Usage, mend_function, mend_message
from foxapi_async._wire.shape import Answer, Reader, mends

NO_INDEX: Final = -1
"""The index of a piece of a tool call for which the service told none."""


class FunctionDelta(Answer, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A piece of a function call; ``arguments`` are to be concatenated."""

    name: str | None = None
    arguments: str | None = None


mends(FunctionDelta)(mend_function)


class ToolCallDelta(Answer, frozen=True, kw_only=True, gc=False):
    """A piece of a tool call; in the deltas of a stream, pieces of one call have one ``index``."""

    index: int = NO_INDEX
    id: str | None = None
    type: str | None = None
    function: FunctionDelta | None = None


class DeltaMessage(Answer, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What one chunk adds to one choice."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] | None = None
    refusal: str | None = None


mends(DeltaMessage)(mend_message)


class DeltaChoice(Answer, frozen=True, kw_only=True, gc=False):
    """One choice of a chunk."""

    index: int = 0
    delta: DeltaMessage | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Delta(Answer, frozen=True, kw_only=True, gc=False):
    """One chunk of a stream.

    ``text``, ``reasoning``, ``tool_calls``, ``role``, ``finish_reason`` and ``index`` are those of
    the chunk's first choice, which is the only one unless ``n`` was asked for; a chunk that carries
    nothing but ``usage`` has none.
    """

    id: str = ""
    object: str = "chat.completion.chunk"
    created: int = 0
    model: str = ""
    choices: tuple[DeltaChoice, ...] = ()
    usage: Usage | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None

    @property
    def text(self) -> str:
        """The text that this chunk adds, always a ``str``."""
        try:
            # Nearly every chunk has a message, so that to look first costs as much again.
            return self.choices[0].delta.content or ""  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
        except (IndexError, AttributeError):
            return ""

    @property
    def reasoning(self) -> str:
        """The thinking that this chunk adds, always a ``str``."""
        choices = self.choices
        return (choices[0].delta.reasoning_content or "") if choices and choices[0].delta else ""

    @property
    def tool_calls(self) -> tuple[ToolCallDelta, ...]:
        """The pieces of tool calls that this chunk adds."""
        choices = self.choices
        return (choices[0].delta.tool_calls or ()) if choices and choices[0].delta else ()

    @property
    def role(self) -> str | None:
        """Who speaks; usually told by the first chunk alone."""
        choices = self.choices
        return choices[0].delta.role if choices and choices[0].delta else None

    @property
    def finish_reason(self) -> str | None:
        """Why the choice ended, on its last chunk."""
        return self.choices[0].finish_reason if self.choices else None

    @property
    def index(self) -> int:
        """Which of the ``n`` choices this chunk belongs to."""
        return self.choices[0].index if self.choices else 0


class StreamDone(Answer, frozen=True, kw_only=True, gc=False):
    """The normal end. ``total_chunks`` counts the whole task's chunks, whatever the offset was."""

    total_chunks: int | None = None


class StreamFault(Answer, frozen=True, kw_only=True, gc=False):
    """The abnormal end. It has only a message; the task has the code (CONTRACT Q12)."""

    message: str = ""


deltas = Reader(Delta)
# A text that ends or begins in the middle of a character keeps the half that it has.
halved_deltas = Reader(Delta, halves=True)
dones = Reader(StreamDone)
faults = Reader(StreamFault)
