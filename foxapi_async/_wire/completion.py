"""The completion of a language model, ``results[0]`` of its task (contract §5.1)."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, overload

import msgspec
from msgspec import UNSET, DecodeError, Meta, Raw, Struct, field
from msgspec.structs import replace

from foxapi_async._wire.base import (
    Decoder,
    ResponseStruct,
    coerces,
    decode_json,
    encode,
    is_list,
    is_object,
)
from foxapi_async._wire.display import html_card, shown_text
from foxapi_async._wire.task import TaskSummary
from foxapi_async._wire.type_adapter import TypeAdapterLike

T = TypeVar("T")

Source = Literal["task", "stream", "task+stream"]

_TEXTS: Final = frozenset({"content", "reasoning_content", "refusal"})
# The types of content parts that are text.
_TEXT_PARTS: Final = frozenset({None, "text", "output_text"})


def coerce_text(value: Any) -> str:
    """Return the text of a JSON value that stands in the place of a text.

    The texts of a list of content parts are joined; its other parts are left out. Any other value
    becomes JSON text: the model was asked for JSON, and a proxy has decoded it.
    """
    if isinstance(value, str):
        return value
    parts = value if is_list(value) else [value]
    return "".join(map(_part_text, parts)) if is_text_like(parts) else _json(value)


def is_text_like(value: Any) -> bool:
    """Tell whether ``value`` is a text or a list of content parts."""
    return isinstance(value, str) or (is_list(value) and all(map(_is_part, value)))


def _is_part(value: Any) -> bool:
    if is_object(value):
        return "type" in value or isinstance(value.get("text"), str)
    return isinstance(value, str)


def _part_text(part: str | dict[str, Any]) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text")
    return text if isinstance(text, str) and part.get("type") in _TEXT_PARTS else ""


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class Function(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """A function that the model asks to call."""

    name: str = ""
    """The name of the function."""
    arguments: str = ""
    """The arguments as JSON text, as the model wrote it."""


class ToolCall(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """One tool call that the model asks for."""

    id: str = ""
    """The id of the call; the ``tool`` message with its result repeats it."""
    type: str = "function"
    """The kind of tool."""
    function: Function = Function()
    """The function and its arguments."""

    def parse(self, function: Callable[..., Any]) -> dict[str, Any]:
        """Return the arguments of the call, checked and with the types of ``function``.

        Args:
            function: The function that was given in ``tools``, or one with the same signature. It
                is not called.

        Returns:
            The keyword arguments: ``function(**call.parse(function))``. An argument that the model
            did not give is left out, so that the default of the function counts.

        Raises:
            OutputValidationError: The arguments are not those of the function.
            TypeError: ``function`` cannot be a tool.
        """
        from foxapi_async._output.tools import function_tool

        return function_tool(function).arguments(self)


@coerces(Function)
def coerce_function(name: str, value: Any) -> Any:
    """Encode arguments that are a JSON value as JSON text."""
    return _json(value) if name == "arguments" and value is not None else UNSET


class Usage(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """The counted tokens."""

    prompt_tokens: int = 0
    """Tokens of the request."""
    completion_tokens: int = 0
    """Tokens of the answer, reasoning included."""
    total_tokens: int = 0
    """The sum of both."""
    prompt_tokens_details: dict[str, Any] | None = None
    """The tokens of the request by kind, such as cached ones."""
    completion_tokens_details: dict[str, Any] | None = None
    """The tokens of the answer by kind, such as reasoning."""


def _none() -> str | None:
    return None


class CompletionMessage(ResponseStruct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The message of the model; append it to ``messages`` to continue the conversation.

    Its JSON has ``role``, ``content``, and the other members that are set. The service never stores
    ``reasoning_content`` (contract Q1).
    """

    # Defaults made by functions are never omitted from the JSON.
    role: str = field(default_factory=lambda: "assistant")
    """``assistant``."""
    content: str | None = field(default_factory=_none)
    """The text, or ``None``, as with tool calls."""
    reasoning_content: str | None = None
    """The reasoning of the model; only a stream has it (contract Q1)."""
    tool_calls: tuple[ToolCall, ...] | None = None
    """The tool calls that the model asks for, or ``None``."""
    refusal: str | None = None
    """Why the model refuses to answer, or ``None``."""


@coerces(CompletionMessage)
def coerce_message(name: str, value: Any) -> Any:
    """Convert the known forms of a text."""
    return coerce_text(value) if name in _TEXTS and value is not None else UNSET


class Choice(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """One of the ``n`` answers."""

    index: Annotated[int, Meta(ge=0)] = 0
    """The number of the choice, from 0."""
    message: CompletionMessage = CompletionMessage()
    """The message of the model."""
    finish_reason: str | None = None
    """Why the choice ended: ``stop``, ``length``, ``tool_calls``, ``content_filter``; ``None``
    until then.
    """
    logprobs: dict[str, Any] | None = None
    """Log probabilities of the tokens, if they were asked for."""


@coerces(Choice)
def _coerce_choice(name: str, value: Any) -> Any:
    """Convert a message that is not an object: it is the text."""
    if name != "message" or value is None:
        return UNSET
    return CompletionMessage(content=coerce_text(value))


class _Origin(Struct, frozen=True, gc=False):
    """The origin of a completion, which is not a part of its JSON."""

    source: Source
    raw: bytes
    task: TaskSummary | None = None


_DEFAULT_ORIGIN: Final = _Origin("task", b"")


class ChatCompletion(ResponseStruct, frozen=True, kw_only=True, gc=True, dict=True):
    """The completion of a language model, in the format of OpenAI.

    ``text``, ``reasoning``, ``message`` and ``finish_reason`` are those of the first choice.
    """

    id: str = ""
    """The id of the completion, as the provider named it."""
    object: str = "chat.completion"
    """The kind of object."""
    created: int = 0
    """Time of the answer, in Unix seconds."""
    model: str = ""
    """The model as the provider names it."""
    choices: tuple[Choice, ...] = ()
    """The answers: ``n`` of them."""
    usage: Usage | None = None
    """The counted tokens, or ``None``."""
    system_fingerprint: str | None = None
    """Names the configuration of the model, as in OpenAI's API."""
    service_tier: str | None = None
    """The tier in which the provider served the request."""

    @property
    def message(self) -> CompletionMessage:
        """The message of the first choice; an empty message if there is no choice."""
        return self.choices[0].message if self.choices else _NO_MESSAGE

    @property
    def text(self) -> str:
        """The text of the first choice, always a ``str``."""
        return self.message.content or ""

    @property
    def reasoning(self) -> str:
        """The reasoning of the first choice, a ``str``; only a stream has it (contract Q1)."""
        return self.message.reasoning_content or ""

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended: ``stop``, ``length``, ``tool_calls``, ``content_filter``."""
        return self.choices[0].finish_reason if self.choices else None

    @overload
    def parse(self, type: type[T], /, *, choice: int = ...) -> T: ...
    @overload
    def parse(self, type: TypeAdapterLike[T], /, *, choice: int = ...) -> T: ...
    @overload
    def parse(self, type: Any, /, *, choice: int = ...) -> Any: ...
    def parse(self, type: Any, /, *, choice: int = 0) -> Any:
        """Return the value of ``type`` that the answer is. Nothing is sent.

        The answer must be JSON of the type and nothing else; a fence of Markdown around it is
        removed. A member that the type does not have is an error. Null for a member with a default
        means that it is not given, unless the type allows null. A type whose JSON is not an object,
        such as ``list[City]``, is read from the member ``value`` of an object, as
        ``response_format=`` asks for it.

        Args:
            type: A msgspec struct, dataclass, ``TypedDict``, ``NamedTuple``, attrs class, enum,
                pydantic model or ``TypeAdapter``, or a container or union of them.
            choice: The position of the choice.

        Returns:
            The value.

        Raises:
            OutputValidationError: The answer is not a value of the type.
            OutputTruncatedError: The answer ends at the limit of tokens.
            OutputRefusedError: The model refused, or a filter held the answer back.
            TypeError: The type is not supported.
        """
        from foxapi_async._output.parse import parse_completion

        return parse_completion(self, type, choice)

    @property
    def source(self) -> Source:
        """Where the messages come from: the stored result, the stream, or both."""
        return self._origin.source

    @property
    def raw(self) -> bytes:
        """The JSON of ``results[0]`` as received; empty if the completion is from a stream only."""
        return self._origin.raw

    @property
    def task(self) -> TaskSummary | None:
        """The task behind the result of ``generate`` or of a handle; ``None`` for any other.

        It is not compared and not encoded; copies and pickles keep it.
        """
        return self._origin.task

    @property
    def _origin(self) -> _Origin:
        known: _Origin | None = self.__dict__.get("_known_origin")
        return known or _DEFAULT_ORIGIN

    def __copy__(self) -> "ChatCompletion":
        return set_task(with_origin(self, self.source, self.raw), self.task)

    def __reduce__(self) -> tuple[Any, ...]:
        members = {name: getattr(self, name) for name in self.__struct_fields__}
        return _unpickle, (members, self.source, self.raw, self.task)

    def __repr__(self) -> str:
        choices = f" choices={len(self.choices)}" if len(self.choices) != 1 else ""
        return (
            f"<ChatCompletion model={self.model!r}{choices} finish_reason={self.finish_reason!r} "
            f"source={self.source!r} text={shown_text(self.text)}>"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        usage, task = self.usage, self.task
        tokens = usage and f"{usage.prompt_tokens} + {usage.completion_tokens}"
        rows = [
            ("model", self.model or None),
            ("finish_reason", self.finish_reason),
            ("tokens", tokens),
            ("task", task and task.id),
            ("choices", len(self.choices) if len(self.choices) != 1 else None),
            ("tool calls", len(self.message.tool_calls or ()) or None),
        ]
        return html_card("ChatCompletion", rows, text=self.text)


_NO_MESSAGE: Final = CompletionMessage()
_completions = Decoder(ChatCompletion)
_choices = Decoder(Choice)


def with_origin(completion: ChatCompletion, source: Source, raw: bytes) -> ChatCompletion:
    """Return a copy of ``completion`` with this origin."""
    return _set_origin(replace(completion), source, raw)


def _set_origin(completion: ChatCompletion, source: Source, raw: bytes) -> ChatCompletion:
    """Set the origin of a completion that has just been built, and return it."""
    vars(completion)["_known_origin"] = _Origin(source, raw)
    return completion


def set_task(completion: ChatCompletion, task: TaskSummary | None) -> ChatCompletion:
    """Set the task of a completion that has just been built, and return it."""
    known: _Origin = vars(completion).get("_known_origin", _DEFAULT_ORIGIN)
    vars(completion)["_known_origin"] = _Origin(known.source, known.raw, task)
    return completion


def _unpickle(
    members: dict[str, Any], source: Source, raw: bytes, task: TaskSummary | None = None
) -> ChatCompletion:
    return set_task(_set_origin(ChatCompletion(**members), source, raw), task)


def decode_completion(result: Raw) -> ChatCompletion:
    """Decode ``results[0]``: a full completion, or a short form of the seed or of old services.

    Raises ``msgspec.DecodeError`` if it has no message.
    """
    raw = bytes(result)
    if raw[:1] in {b'"', b"["}:
        return _set_origin(_from_text(decode_json(raw)), "task", raw)
    completion = _completions.decode(raw)
    choices = completion.choices or (_from_short_form(completion.extra),)
    if any(choice.message.content is None for choice in choices):
        choices = tuple(_with_legacy_text(choice) for choice in choices)
    if len(choices) > 1 and len({choice.index for choice in choices}) < len(choices):
        choices = tuple(replace(choice, index=n) for n, choice in enumerate(choices))
    if choices is not completion.choices:
        completion = replace(completion, choices=choices)
    return _set_origin(completion, "task", raw)


def _with_legacy_text(choice: Choice) -> Choice:
    """Return ``choice`` with the member ``text`` of the legacy format as its message."""
    text = choice.extra.get("text")
    if choice.message.content is not None or not isinstance(text, str):
        return choice
    return replace(choice, message=replace(choice.message, content=text))


def encode_completion(completion: ChatCompletion) -> bytes:
    """Return the JSON that ``decode_completion`` decodes, without the origin."""
    return encode(completion)


def _from_text(result: Any) -> ChatCompletion:
    """Decode a result that is a text or a list of content parts."""
    if not result or not is_text_like(result):
        raise DecodeError("the result is neither an object nor a text")
    return ChatCompletion(choices=(Choice(message=CompletionMessage(content=coerce_text(result))),))


def _from_short_form(extra: Mapping[str, Any]) -> Choice:
    """Decode ``message.content`` (as in the seed), ``content`` or ``text`` (contract §5.1)."""
    message = extra.get("message")
    if not isinstance(message, dict):
        texts = [extra[name] for name in ("content", "text") if is_text_like(extra.get(name))]
        if not texts:
            raise DecodeError("the result has neither `choices` nor `message`")
        message = {"content": texts[0]}
    members = {name: extra[name] for name in ("finish_reason", "logprobs") if name in extra}
    return _choices.build(members | {"message": message})
