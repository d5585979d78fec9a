"""Accumulates the chunks of a stream into one completion."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from foxapi_async._protocol.chunk_history import ChunkContent, ChunkHistory
from foxapi_async._protocol.tool_calls import ToolCallIndexer
from foxapi_async._wire.base import Extra, is_list
from foxapi_async._wire.chunk import Delta, DeltaChoice, DeltaMessage, ToolCallDelta
from foxapi_async._wire.completion import (
    ChatCompletion,
    Choice,
    CompletionMessage,
    Function,
    ToolCall,
    Usage,
    with_origin,
)


class Accumulator:
    """Accumulates chunks into a completion.

    Text, reasoning and refusal are concatenated per choice; names and ``arguments`` are
    concatenated per tool call, as `ToolCallIndexer` assigns them. Finish reasons, ``usage`` and
    unknown members are the last that arrived. ``id``, ``model`` and ``created`` come from the first
    chunk that has an id or a model.

    Adding a chunk is O(1): the pieces stay in lists until a property joins them. ``chunks`` is the
    number of added chunks.
    """

    __slots__ = (
        "_choices",
        "_extra",
        "_fingerprint",
        "_identity",
        "_service_tier",
        "_usage",
        "chunks",
    )

    def __init__(self) -> None:
        self.chunks: int = 0
        self._choices: dict[int, _PartialChoice] = {}
        self._identity: Delta | None = None
        self._usage: Usage | None = None
        self._fingerprint: str | None = None
        self._service_tier: str | None = None
        self._extra: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """The text of the first choice so far."""
        return _join(self._first.text) if self._choices else ""

    @property
    def reasoning(self) -> str:
        """The reasoning of the first choice so far."""
        return _join(self._first.reasoning) if self._choices else ""

    def extend(self, deltas: Sequence[Delta]) -> None:
        """Add deltas, in order."""
        history = ChunkHistory()
        history.extend(deltas)
        self.add(*history.slice(0, len(deltas)))

    def add(self, contents: Sequence[ChunkContent], metadata: Sequence[Delta]) -> None:
        """Add the contents of chunks, and the deltas that have other members of interest."""
        self.chunks += len(contents)
        first = self._choices.get(0)
        for content in contents:
            if isinstance(content, tuple):
                for choice in content:
                    self._partial_choice(choice.index).add_choice(choice)
                continue
            if first is None:
                first = self._partial_choice(0)
            # Fast path: nearly every message has text only.
            if (
                content.role is None
                and content.tool_calls is None
                and content.refusal is None
                and content._extra is UNSET  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            ):
                if content.content is not None:
                    first.text.append(content.content)
                if content.reasoning_content is not None:
                    first.reasoning.append(content.reasoning_content)
            else:
                first.add(content)
        for delta in metadata:
            self._add_metadata(delta)

    def completion(self) -> ChatCompletion:
        """Return the accumulated completion, in the shape of a stored result."""
        head = self._identity or Delta()
        completion = ChatCompletion(
            id=head.id,
            created=head.created,
            model=head.model,
            choices=tuple(self._choices[index].build(index) for index in sorted(self._choices)),
            usage=self._usage,
            system_fingerprint=self._fingerprint,
            service_tier=self._service_tier,
            _extra=_as_extra(self._extra),
        )
        return with_origin(completion, "stream", b"")

    def _partial_choice(self, index: int) -> "_PartialChoice":
        if index not in self._choices:
            self._choices[index] = _PartialChoice()
        return self._choices[index]

    def _add_metadata(self, delta: Delta) -> None:
        if self._identity is None and (delta.id or delta.model):
            self._identity = delta
        self._usage = delta.usage or self._usage
        self._fingerprint = delta.system_fingerprint or self._fingerprint
        self._service_tier = delta.service_tier or self._service_tier
        self._extra.update(delta.extra)

    @property
    def _first(self) -> "_PartialChoice":
        return self._choices[min(self._choices)]


class _PartialChoice:
    """The pieces of one choice."""

    __slots__ = (
        "calls",
        "extra",
        "finish_reason",
        "indexer",
        "logprobs",
        "message_extra",
        "reasoning",
        "refusal",
        "role",
        "text",
    )

    def __init__(self) -> None:
        self.role: str | None = None
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, _PartialToolCall] = {}
        self.indexer = ToolCallIndexer()
        self.finish_reason: str | None = None
        self.logprobs: list[dict[str, Any]] = []
        self.extra: dict[str, Any] = {}
        self.message_extra: dict[str, Any] = {}

    def add(self, message: DeltaMessage) -> None:
        if message.content:
            self.text.append(message.content)
        if message.reasoning_content:
            self.reasoning.append(message.reasoning_content)
        self.role = message.role or self.role
        # Updating with an empty mapping would cost more than the rest of this method.
        if message._extra is not UNSET:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            self.message_extra.update(message.extra)
        if message.refusal:
            self.refusal.append(message.refusal)
        for piece in message.tool_calls or ():
            number = self.indexer.assign(piece)
            call = self.calls.get(number)
            if call is None:
                call = self.calls[number] = _PartialToolCall()
            call.add(piece)

    def add_choice(self, choice: DeltaChoice) -> None:
        if choice.delta is not None:
            self.add(choice.delta)
        self.finish_reason = choice.finish_reason or self.finish_reason
        self.extra.update(choice.extra)
        if choice.logprobs:
            self.logprobs.append(choice.logprobs)

    def build(self, index: int) -> Choice:
        calls = tuple(self.calls[position].build() for position in sorted(self.calls))
        message = CompletionMessage(
            role=self.role or "assistant",
            content=_join(self.text) or None,
            reasoning_content=_join(self.reasoning) or None,
            tool_calls=calls or None,
            refusal=_join(self.refusal) or None,
            _extra=_as_extra(self.message_extra),
        )
        return Choice(
            index=index,
            message=message,
            finish_reason=self.finish_reason,
            logprobs=_merge_logprobs(self.logprobs),
            _extra=_as_extra(self.extra),
        )


class _PartialToolCall:
    """The pieces of one tool call.

    A piece of the name is appended unless it repeats the whole name so far. Pieces of ``arguments``
    are always appended.
    """

    __slots__ = ("arguments", "extra", "function_extra", "id", "name", "type")

    def __init__(self) -> None:
        self.id = ""
        self.type = "function"
        self.name = ""
        self.arguments: list[str] = []
        self.extra: dict[str, Any] = {}
        self.function_extra: dict[str, Any] = {}

    def add(self, piece: ToolCallDelta) -> None:
        self.id = piece.id or self.id
        self.type = piece.type or self.type
        self.extra.update(piece.extra)
        if function := piece.function:
            if function.name and function.name != self.name:
                self.name += function.name
            self.function_extra.update(function.extra)
            if function.arguments:
                self.arguments.append(function.arguments)

    def build(self) -> ToolCall:
        function = Function(
            name=self.name,
            arguments=_join(self.arguments),
            _extra=_as_extra(self.function_extra),
        )
        return ToolCall(id=self.id, type=self.type, function=function, _extra=_as_extra(self.extra))


def _join(pieces: list[str]) -> str:
    """Join the pieces in place, so that the next call has less to join."""
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    return pieces[0] if pieces else ""


def _merge_logprobs(parts: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Merge ``logprobs``: concatenate lists (one item per token), keep the last of other values.

    A value that is not a list never replaces a list.
    """
    whole: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            before = whole.get(name)
            if is_list(value):
                if is_list(before):
                    before.extend(value)
                else:
                    whole[name] = [*value]
            elif not is_list(before):
                whole[name] = value
    return whole or None


def _as_extra(members: dict[str, Any]) -> Extra | UnsetType:
    return Extra(members) if members else UNSET
