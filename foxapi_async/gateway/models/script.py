"""The complete answer of a simulated model, as stream chunks and as the stored completion."""

from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Any, Literal, Protocol

from msgspec import Struct

from foxapi_async._wire.completion import ChatCompletion, Choice, Usage
from foxapi_async.gateway import response_structs

FinishReason = Literal["stop", "length", "tool_calls"]


class FunctionCall(Struct, frozen=True, kw_only=True):
    """The tool call of a choice. Its arguments are the choice's ``pieces``."""

    id: str
    name: str


class ChoiceScript(Struct, frozen=True, kw_only=True):
    """The answer of one choice, split into tokens."""

    thinking: tuple[str, ...] = ()
    """The tokens of the reasoning."""
    pieces: tuple[str, ...] = ()
    """The tokens of the text, or of the arguments of ``function_call``."""
    function_call: FunctionCall | None = None
    finish_reason: FinishReason = "stop"

    @property
    def text(self) -> str:
        """The joined pieces."""
        return "".join(self.pieces)

    @property
    def length(self) -> int:
        """The number of tokens, reasoning included."""
        return len(self.thinking) + len(self.pieces)

    def limited(self, limit: int | None) -> "ChoiceScript":
        """Return the first ``limit`` tokens; reasoning comes first."""
        if limit is None or self.length <= limit:
            return self
        return ChoiceScript(
            thinking=self.thinking[:limit],
            pieces=self.pieces[: max(0, limit - len(self.thinking))],
            # If the reasoning takes all tokens, the call is never made.
            function_call=self.function_call if limit > len(self.thinking) else None,
            finish_reason="length",
        )


class ScriptedChunk(Struct, frozen=True):
    """One chunk of the stream."""

    delta: response_structs.Delta
    is_thinking: bool = False
    """The chunk is reasoning."""


class AnswerScript(Protocol):
    """A complete answer, known before it is written."""

    @property
    def tokens(self) -> int:
        """The number of tokens, reasoning included."""
        ...

    @property
    def thinking_tokens(self) -> int:
        """The number of tokens of reasoning."""
        ...

    @property
    def error(self) -> response_structs.TaskErrorBody | None:
        """The error with which the task fails after its chunks."""
        ...

    @property
    def completion(self) -> ChatCompletion:
        """The stored completion."""
        ...

    def chunks(self) -> Iterator[ScriptedChunk]:
        """Yield the chunks of the stream."""
        ...


class Script(Struct, frozen=True, kw_only=True):
    """The answer to one request.

    With an ``error`` the task fails after the tokens of ``choices``, and no completion is stored.
    """

    id: str
    created: int
    model: str
    choices: tuple[ChoiceScript, ...]
    prompt_words: int
    is_thinking: bool = False
    """The model emits reasoning."""
    wants_usage: bool = False
    """The stream ends with a chunk that has the usage."""
    error: response_structs.TaskErrorBody | None = None

    @property
    def thinking_tokens(self) -> int:
        """The reasoning tokens of all choices."""
        return sum(len(choice.thinking) for choice in self.choices)

    @property
    def tokens(self) -> int:
        """The tokens of all choices, reasoning included."""
        return sum(choice.length for choice in self.choices)

    @property
    def usage(self) -> Usage:
        """The token counts of the prompt and the answer."""
        details: dict[str, Any] = {"reasoning_tokens": self.thinking_tokens}
        return response_structs.Usage(
            prompt_tokens=self.prompt_words,
            completion_tokens=self.tokens,
            total_tokens=self.prompt_words + self.tokens,
            completion_tokens_details=details if self.is_thinking else None,
        )

    @property
    def completion(self) -> ChatCompletion:
        """The stored completion. It lacks the reasoning, as the seed says (contract Q1)."""
        return response_structs.ChatCompletion(
            id=self.id,
            object="chat.completion",
            created=self.created,
            model=self.model,
            choices=tuple(_choice(index, choice) for index, choice in enumerate(self.choices)),
            usage=self.usage,
        )

    def chunks(self) -> Iterator[ScriptedChunk]:
        """Yield the chunks of the stream: choices alternate token by token, usage comes last."""
        parts = [self._choice_chunks(index, choice) for index, choice in enumerate(self.choices)]
        for chunk in chain.from_iterable(zip_longest(*parts)):
            if chunk is not None:
                yield chunk
        if self.wants_usage and self.error is None:
            yield ScriptedChunk(self._delta((), self.usage))

    def _choice_chunks(self, index: int, choice: ChoiceScript) -> Iterator[ScriptedChunk]:
        role: str | None = "assistant"
        for message, is_thinking in _messages(choice, is_complete=self.error is None):
            with_role = response_structs.DeltaMessage(
                role=role,
                content=message.content,
                reasoning_content=message.reasoning_content,
                tool_calls=message.tool_calls,
            )
            role = None
            yield ScriptedChunk(self._delta((_delta_choice(index, with_role, None),)), is_thinking)
        if self.error is None:
            last = _delta_choice(index, response_structs.DeltaMessage(), choice.finish_reason)
            yield ScriptedChunk(self._delta((last,)))

    def _delta(
        self, choices: tuple[response_structs.DeltaChoice, ...], usage: Usage | None = None
    ) -> response_structs.Delta:
        return response_structs.Delta(
            id=self.id,
            object="chat.completion.chunk",
            created=self.created,
            model=self.model,
            choices=choices,
            usage=usage,
        )


def _delta_choice(
    index: int, message: response_structs.DeltaMessage, finish_reason: str | None
) -> response_structs.DeltaChoice:
    return response_structs.DeltaChoice(index=index, delta=message, finish_reason=finish_reason)


def _messages(
    choice: ChoiceScript, *, is_complete: bool
) -> Iterator[tuple[response_structs.DeltaMessage, bool]]:
    """Yield the message of each chunk, and whether it is reasoning.

    A complete choice without tokens has one chunk with an empty text.
    """
    for piece in choice.thinking:
        yield response_structs.DeltaMessage(reasoning_content=piece), True
    if choice.function_call is not None:
        yield _call_message(choice.function_call.name, "", choice.function_call.id), False
        for piece in choice.pieces:
            yield _call_message(None, piece), False
        return
    for piece in choice.pieces:
        yield response_structs.DeltaMessage(content=piece), False
    if is_complete and not choice.length:
        yield response_structs.DeltaMessage(content=""), False


def _call_message(
    name: str | None, arguments: str, id: str | None = None
) -> response_structs.DeltaMessage:
    """Build a part of a tool call; only the first part has the id, the type and the name."""
    call = response_structs.ToolCallDelta(
        index=0,
        id=id,
        type="function" if id else None,
        function=response_structs.FunctionDelta(name=name, arguments=arguments),
    )
    return response_structs.DeltaMessage(tool_calls=(call,))


def _choice(index: int, choice: ChoiceScript) -> Choice:
    if choice.function_call is None:
        message = response_structs.CompletionMessage(role="assistant", content=choice.text)
    else:
        function = response_structs.Function(name=choice.function_call.name, arguments=choice.text)
        call = response_structs.ToolCall(
            id=choice.function_call.id, type="function", function=function
        )
        message = response_structs.CompletionMessage(
            role="assistant", content=None, tool_calls=(call,)
        )
    return response_structs.Choice(index=index, message=message, finish_reason=choice.finish_reason)
