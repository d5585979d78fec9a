"""The answer of a language model, ``results[0]`` of its task (CONTRACT §5.1)."""

from typing import Any, ClassVar, Final, Literal

from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType, ValidationError, field
from msgspec.structs import replace

from foxapi_async._wire.shape import Answer, Reader, encode

Source = Literal["task", "stream", "task+stream"]


class Function(Answer, frozen=True, kw_only=True, gc=False):
    """The function that a model wants called; ``arguments`` is JSON text, as the model wrote it."""

    name: str = ""
    arguments: str = ""


class ToolCall(Answer, frozen=True, kw_only=True, gc=False):
    """One call that a model asks for."""

    id: str = ""
    type: str = "function"
    function: Function = Function()


class Usage(Answer, frozen=True, kw_only=True, gc=False):
    """Tokens read and written."""

    _LENIENT: ClassVar[bool] = True

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None


class CompletionMessage(Answer, frozen=True, kw_only=True, gc=False):
    """What the model said. ``reasoning_content`` is never stored by the service (CONTRACT Q1)."""

    role: str = "assistant"
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    refusal: str | None = None


class Choice(Answer, frozen=True, kw_only=True, gc=False):
    """One of the ``n`` answers."""

    index: int = 0
    message: CompletionMessage = CompletionMessage()
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Origin(Struct, frozen=True, gc=False):
    """Where a completion came from. Kept out of reach of the JSON that it describes."""

    source: Source
    raw: bytes


class _Origin:
    """Holds an ``Origin`` in a class that msgspec cannot build from JSON."""

    __slots__ = ("value",)

    def __init__(self, value: Origin) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Origin) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __reduce__(self) -> tuple[type["_Origin"], tuple[Origin]]:
        return _Origin, (self.value,)


class ChatCompletion(Answer, frozen=True, kw_only=True, gc=False):
    """The full answer of a language model, in OpenAI's shape.

    ``text``, ``reasoning``, ``message`` and ``finish_reason`` are those of the first choice.
    """

    _LENIENT: ClassVar[bool] = True

    id: str = ""
    object: str = "chat.completion"
    created: int = 0
    model: str = ""
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    _origin: _Origin | UnsetType = field(default=UNSET, name="(origin)")

    @property
    def message(self) -> CompletionMessage:
        """The first choice's message; an empty one when the answer has no choice."""
        return self.choices[0].message if self.choices else _NO_MESSAGE

    @property
    def text(self) -> str:
        """The first choice's text, always a ``str``."""
        return self.message.content or ""

    @property
    def reasoning(self) -> str:
        """The first choice's thinking, always a ``str``; only a stream carries it (CONTRACT Q1)."""
        return self.message.reasoning_content or ""

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended: ``stop``, ``length``, ``tool_calls``, ``content_filter``."""
        return self.choices[0].finish_reason if self.choices else None

    @property
    def source(self) -> Source:
        """Whose words these are: the stored result's, an accumulated stream's, or both."""
        return self._origin.value.source if self._origin is not UNSET else "task"

    @property
    def raw(self) -> bytes:
        """The JSON of ``results[0]`` as it was received; empty if a stream alone spoke."""
        return self._origin.value.raw if self._origin is not UNSET else b""

    def __repr__(self) -> str:
        return (
            f"<ChatCompletion model={self.model!r} choices={len(self.choices)} "
            f"finish_reason={self.finish_reason!r} source={self.source!r}>"
        )


_NO_MESSAGE: Final = CompletionMessage()
_completions = Reader(ChatCompletion)
_messages = Reader(CompletionMessage)


def originated(completion: ChatCompletion, source: Source, raw: bytes) -> ChatCompletion:
    """Return ``completion`` with its origin written down."""
    return replace(completion, _origin=_Origin(Origin(source, raw)))


def read_completion(result: Raw) -> ChatCompletion:
    """Read ``results[0]``: a full ChatCompletion, or a short form of the seed or of old clients.

    ``msgspec.DecodeError`` when there is no message to be found in it.
    """
    raw = bytes(result)
    completion = _completions.read(raw)
    if not completion.choices:
        completion = _from_short_form(completion)
    return originated(completion, "task", raw)


def write_completion(completion: ChatCompletion) -> bytes:
    """Return the JSON that ``read_completion`` reads; where the words came from is left out."""
    return encode(replace(completion, _origin=UNSET))


def _from_short_form(completion: ChatCompletion) -> ChatCompletion:
    """Read ``message.content`` (the seed's path), ``content`` or ``text`` (CONTRACT §5.1)."""
    extra = completion.extra
    if "choices" in extra:
        raise ValidationError("`choices` of the result is not what the contract says")
    if "message" in extra:
        message = _messages.read(encode(extra["message"]))
    else:
        text = extra.get("content", extra.get("text"))
        if not isinstance(text, str):
            raise DecodeError("the result holds neither `choices` nor `message`")
        message = CompletionMessage(content=text)
    finish_reason = extra.get("finish_reason")
    choice = Choice(
        message=message, finish_reason=finish_reason if isinstance(finish_reason, str) else None
    )
    return replace(completion, choices=(choice,))
