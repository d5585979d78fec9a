"""A whole answer, as a stream of chunks and as the completion that is stored."""

from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Any

from msgspec import Struct

from foxapi_async._wire.completion import ChatCompletion, Choice, Usage
from foxapi_async.gateway import response_structs
from foxapi_async.gateway.models.turn import ChoiceScript


class Frame(Struct, frozen=True):
    """One chunk, and whether the model was thinking when it wrote it."""

    chunk: response_structs.Delta
    is_thinking: bool = False


class Script(Struct, frozen=True, kw_only=True):
    """What a model answers to one request, one turn for each choice.

    With a ``fault`` the task fails after what the turns say, and nothing is stored.
    """

    id: str
    created: int
    model: str
    turns: tuple[ChoiceScript, ...]
    prompt_words: int
    is_thinking: bool = False
    wants_usage: bool = False
    fault: response_structs.TaskFault | None = None

    @property
    def thinking_tokens(self) -> int:
        """How many tokens all choices think."""
        return sum(len(turn.thinking) for turn in self.turns)

    @property
    def tokens(self) -> int:
        """How many tokens all choices take, thinking included."""
        return sum(turn.length for turn in self.turns)

    @property
    def usage(self) -> Usage:
        """The tokens read and written."""
        details: dict[str, Any] = {"reasoning_tokens": self.thinking_tokens}
        return response_structs.Usage(
            prompt_tokens=self.prompt_words,
            completion_tokens=self.tokens,
            total_tokens=self.prompt_words + self.tokens,
            completion_tokens_details=details if self.is_thinking else None,
        )

    @property
    def completion(self) -> ChatCompletion:
        """What is stored: all but the thinking, which the service forgets (seed, contract Q1)."""
        return response_structs.ChatCompletion(
            id=self.id,
            object="chat.completion",
            created=self.created,
            model=self.model,
            choices=tuple(_choice(index, turn) for index, turn in enumerate(self.turns)),
            usage=self.usage,
        )

    def steps(self) -> Iterator[Frame]:
        """Write the stream: the choices take turns token by token, the usage comes last."""
        parts = [self._turn_steps(index, turn) for index, turn in enumerate(self.turns)]
        for step in chain.from_iterable(zip_longest(*parts)):
            if step is not None:
                yield step
        if self.wants_usage and self.fault is None:
            yield Frame(self._chunk((), self.usage))

    def _turn_steps(self, index: int, turn: ChoiceScript) -> Iterator[Frame]:
        role: str | None = "assistant"
        for delta, is_thinking in _deltas(turn, is_whole=self.fault is None):
            message = response_structs.DeltaMessage(
                role=role,
                content=delta.content,
                reasoning_content=delta.reasoning_content,
                tool_calls=delta.tool_calls,
            )
            role = None
            yield Frame(self._chunk((_delta_choice(index, message, None),)), is_thinking)
        if self.fault is None:
            choice = _delta_choice(index, response_structs.DeltaMessage(), turn.finish_reason)
            yield Frame(self._chunk((choice,)))

    def _chunk(
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


def _deltas(
    turn: ChoiceScript, *, is_whole: bool
) -> Iterator[tuple[response_structs.DeltaMessage, bool]]:
    """Write what a turn says and whether it is thinking; never nothing, if it is whole."""
    for piece in turn.thinking:
        yield response_structs.DeltaMessage(reasoning_content=piece), True
    if turn.call is not None:
        yield _call_delta(turn.call.name, "", turn.call.id), False
        for piece in turn.pieces:
            yield _call_delta(None, piece), False
        return
    for piece in turn.pieces:
        yield response_structs.DeltaMessage(content=piece), False
    if is_whole and not turn.length:
        yield response_structs.DeltaMessage(content=""), False


def _call_delta(
    name: str | None, arguments: str, id: str | None = None
) -> response_structs.DeltaMessage:
    """Write a piece of a call; only the first one has the id, the type and the name."""
    call = response_structs.ToolCallDelta(
        index=0,
        id=id,
        type="function" if id else None,
        function=response_structs.FunctionDelta(name=name, arguments=arguments),
    )
    return response_structs.DeltaMessage(tool_calls=(call,))


def _choice(index: int, turn: ChoiceScript) -> Choice:
    if turn.call is None:
        message = response_structs.CompletionMessage(role="assistant", content=turn.text)
    else:
        function = response_structs.Function(name=turn.call.name, arguments=turn.text)
        call = response_structs.ToolCall(id=turn.call.id, type="function", function=function)
        message = response_structs.CompletionMessage(
            role="assistant", content=None, tool_calls=(call,)
        )
    return response_structs.Choice(index=index, message=message, finish_reason=turn.finish_reason)
