"""Translates the chunks of OpenAI's chat API into those of the service."""

import json
from typing import Any, Final

from msgspec import DecodeError
from msgspec.structs import replace

from foxapi_async._protocol.accumulator import Accumulator
from foxapi_async._protocol.mask import Mask
from foxapi_async._protocol.tool_calls import ToolCallIndexer
from foxapi_async._wire import chunk, completion
from foxapi_async._wire.base import Decoder, decode_json
from foxapi_async.gateway import response_structs
from foxapi_async.gateway.models.model import Job, ModelError
from foxapi_async.gateway.models.upstream.text_pieces import (
    ReasoningSplitter,
    TextJoiner,
    TextMask,
    escape_wrong_bytes,
)
from foxapi_async.gateway.models.upstream.upstream_errors import failed
from foxapi_async.gateway.models.upstream.usage_counter import UsageCounter

_MAX_CHOICES: Final = 128


class _Message(
    chunk.DeltaMessage, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=False
):
    """A message with the other names that servers have for its parts."""

    reasoning: str | None = None
    function_call: Any = None


class _Choice(chunk.DeltaChoice, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=False):
    """A choice. Unknown members are ignored, because the chunks of the service have none."""

    delta: _Message | None = None
    message: _Message | None = None
    text: str | None = None


class _Chunk(chunk.Delta, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=False):
    """A chunk, or an error in its place."""

    choices: tuple[_Choice, ...] = ()
    error: Any = None


_chunks: Final = Decoder(_Chunk, keep_surrogates=True)


class ChatAnswer:
    """The answer of an upstream to one job: translates its chunks and accumulates them.

    Args:
        job: The job.
        mask: Masks the key of the upstream, which it may send in pieces.
    """

    def __init__(self, job: Job, mask: Mask | None = None) -> None:
        self._job = job
        self._mask = mask
        self._choices: dict[int, _ChoiceTranslator] = {}
        self._accumulator = Accumulator()
        self._n = job.request.n if isinstance(job.request.n, int) else 1
        self._usages = UsageCounter(self._n)
        self.events: int = 0
        """The events so far that had a choice or the usage."""

    @property
    def usage(self) -> completion.Usage | None:
        """The usage, if the upstream has sent a plausible one."""
        return self._usages.usage

    @property
    def is_finished(self) -> bool:
        """Whether every choice that has begun has a finish reason."""
        choices = self._choices.values()
        return bool(choices) and all(choice.finish_reason for choice in choices)

    @property
    def has_all_choices(self) -> bool:
        """Whether as many choices have begun as the request asks for."""
        return len(self._choices) >= self._n

    def add(self, name: str, data: bytes) -> response_structs.Delta | None:
        """Add one event and return its chunk; ``None`` if it has nothing for the client.

        Args:
            name: The name of the event.
            data: The data of the event, which is not ``[DONE]``.

        Raises:
            ModelError: The event is an error, or no chunk.
        """
        received = _decode(data)
        if received.error or name == "error" or received.object == "error":
            raise failed(received.error or decode_json(data))
        self.events += bool(received.choices or received.usage)
        if received.usage is not None:
            self._usages.add(received.usage, [choice.index for choice in received.choices])
        choices = tuple(filter(None, map(self._translate, received.choices)))
        if not choices:
            return None
        self._accumulator.add((choices,), ())
        return self._delta(choices)

    def usage_chunk(self) -> response_structs.Delta | None:
        """Return the chunk that has the usage and no choice; ``None`` if the usage is unknown."""
        usage = self.usage
        return None if usage is None else self._delta((), usage)

    def build(self, *, with_reasoning: bool) -> completion.ChatCompletion:
        """Return the accumulated completion.

        Args:
            with_reasoning: Whether it keeps the reasoning (contract Q1).
        """
        choices = self._accumulator.completion().choices
        return response_structs.ChatCompletion(
            id=self._job.id,
            object="chat.completion",
            created=self._job.created,
            model=self._job.request.model,
            choices=tuple(_stored_choice(item, with_reasoning=with_reasoning) for item in choices),
            usage=self.usage,
        )

    def _translate(self, choice: _Choice) -> response_structs.DeltaChoice | None:
        state = self._choices.get(choice.index)
        if state is None:
            if len(self._choices) == _MAX_CHOICES:
                raise ModelError("service_unavailable", "the upstream sent too many choices")
            state = self._choices[choice.index] = _ChoiceTranslator(self._mask)
        return state.translate(choice)

    def _delta(
        self,
        choices: tuple[response_structs.DeltaChoice, ...],
        usage: completion.Usage | None = None,
    ) -> response_structs.Delta:
        return response_structs.Delta(
            id=self._job.id,
            object="chat.completion.chunk",
            created=self._job.created,
            model=self._job.request.model,
            choices=choices,
            usage=usage,
        )


class _ChoiceTranslator:
    """Translates the chunks of one choice."""

    def __init__(self, mask: Mask | None) -> None:
        self.finish_reason: str | None = None
        self._mask = mask
        self._has_role = False
        self._content_joiner = TextJoiner()
        self._reasoning_joiner = TextJoiner()
        self._splitter = ReasoningSplitter()
        self._content = TextMask(mask)
        self._reasoning = TextMask(mask)
        self._refusal = _MaskedText(mask)
        self._calls: dict[int, _CallTranslator] = {}
        self._indexer = ToolCallIndexer()

    def translate(self, choice: _Choice) -> response_structs.DeltaChoice | None:
        """Return what the choice adds; ``None`` for nothing, such as the role alone."""
        # Some servers send a whole message, or the text of the older completions API.
        message = choice.delta or choice.message or _Message(content=choice.text)
        if message.function_call:
            raise ModelError(
                "service_unavailable", "the upstream answered with `function_call`; send `tools`"
            )
        reasoning, content = self._split(message)
        refusal = self._refusal.push(message.refusal) if message.refusal else ""
        calls = [self._translate_call(piece) for piece in message.tool_calls or ()]
        # The reasoning ends where the text begins, and the text where the calls begin.
        if content or calls:
            reasoning += self._reasoning.flush()
        if calls:
            content += self._content.flush()
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
            if choice.finish_reason == "error":
                raise ModelError("service_unavailable", "the upstream ended the answer by an error")
            more, rest = self._flush()
            reasoning, content = reasoning + more, content + rest
            refusal += self._refusal.flush()
            calls += self._flush_calls()
        if not (reasoning or content or calls or choice.finish_reason or refusal):
            return None
        delta = response_structs.DeltaMessage(
            role=None if self._has_role else "assistant",
            content=content or None,
            reasoning_content=reasoning or None,
            tool_calls=tuple(calls) or None,
            refusal=refusal or None,
        )
        self._has_role = True
        return response_structs.DeltaChoice(
            index=choice.index,
            delta=delta,
            finish_reason=choice.finish_reason,
            logprobs=choice.logprobs,
        )

    def _split(self, message: _Message) -> tuple[str, str]:
        """Return the reasoning and the text of a message."""
        reasoning = message.reasoning_content or message.reasoning or ""
        if reasoning:
            reasoning = self._reasoning_joiner.push(reasoning)
            self._splitter.expect_answer()
        text = self._content_joiner.push(message.content or "")
        more, content = self._splitter.push(text)
        return self._reasoning.push(reasoning + more), self._content.push(content)

    def _flush(self) -> tuple[str, str]:
        """Return the reasoning and the text that were held back."""
        reasoning, content = self._splitter.push(self._content_joiner.flush())
        more, rest = self._splitter.flush()
        reasoning = self._reasoning_joiner.flush() + reasoning + more
        return (
            self._reasoning.push(reasoning) + self._reasoning.flush(),
            self._content.push(content + rest) + self._content.flush(),
        )

    def _translate_call(self, piece: chunk.ToolCallDelta) -> response_structs.ToolCallDelta:
        index = self._indexer.assign(piece)
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = _CallTranslator(self._mask)
        function = piece.function and call.translate(piece.function)
        return response_structs.ToolCallDelta(
            index=index, id=piece.id, type=piece.type, function=function
        )

    def _flush_calls(self) -> list[response_structs.ToolCallDelta]:
        """Return the ends of arguments that were held back."""
        rests = [(index, call.arguments.flush()) for index, call in self._calls.items()]
        return [
            response_structs.ToolCallDelta(
                index=index, function=response_structs.FunctionDelta(arguments=rest)
            )
            for index, rest in rests
            if rest
        ]


class _MaskedText:
    """Joins the pieces of a text and masks the key in it."""

    def __init__(self, mask: Mask | None) -> None:
        self._joiner = TextJoiner()
        self._mask = TextMask(mask)

    def push(self, text: str) -> str:
        """Return the next piece, without what is held back."""
        return self._mask.push(self._joiner.push(text))

    def flush(self) -> str:
        """Return what was held back."""
        return self._mask.push(self._joiner.flush()) + self._mask.flush()


class _CallTranslator:
    """Translates the function of one tool call."""

    def __init__(self, mask: Mask | None) -> None:
        self._name = TextMask(mask)
        self.arguments = _MaskedText(mask)

    def translate(self, function: chunk.FunctionDelta) -> response_structs.FunctionDelta:
        """Return the next piece of a function."""
        name, arguments = function.name, function.arguments
        if name:
            # Clients do not expect a name in pieces, so no end of it is held back.
            name = self._name.push(name) + self._name.flush()
        if arguments:
            arguments = self.arguments.push(arguments)
        return response_structs.FunctionDelta(name=name, arguments=arguments)


def _decode(data: bytes) -> _Chunk:
    try:
        return _chunks.decode_strict(data)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        pass
    for text in (data, escape_wrong_bytes(data)):
        try:
            return _without_halves(_chunks.decode(text))
        except DecodeError:
            continue
    raise ModelError("service_unavailable", "the upstream sent an event that is no chunk")


def _without_halves(received: _Chunk) -> _Chunk:
    """Replace halves of characters, except in texts that the next chunk may continue."""
    choices = tuple(
        replace(
            choice,
            finish_reason=_clean(choice.finish_reason),
            logprobs=_clean(choice.logprobs),
            delta=choice.delta
            and replace(
                choice.delta,
                tool_calls=choice.delta.tool_calls
                and tuple(map(_clean_call, choice.delta.tool_calls)),
            ),
        )
        for choice in received.choices
    )
    usage = received.usage
    if usage is not None:
        usage = replace(
            usage,
            prompt_tokens_details=_clean(usage.prompt_tokens_details),
            completion_tokens_details=_clean(usage.completion_tokens_details),
        )
    return replace(received, choices=choices, usage=usage, error=_clean(received.error))


def _clean_call(call: chunk.ToolCallDelta) -> chunk.ToolCallDelta:
    function = call.function and replace(call.function, name=_clean(call.function.name))
    return replace(call, id=_clean(call.id), type=_clean(call.type), function=function)


def _clean(value: Any) -> Any:
    """Return a JSON value without lone surrogates, which have no UTF-8."""
    return None if value is None else decode_json(json.dumps(value).encode())


def _stored_choice(choice: completion.Choice, *, with_reasoning: bool) -> completion.Choice:
    message = choice.message
    calls = tuple(map(_stored_call, message.tool_calls or ()))
    has_no_text = bool(calls or message.refusal)
    return response_structs.Choice(
        index=choice.index,
        message=response_structs.CompletionMessage(
            role="assistant",
            content=message.content or (None if has_no_text else ""),
            reasoning_content=message.reasoning_content if with_reasoning else None,
            tool_calls=calls or None,
            refusal=message.refusal,
        ),
        finish_reason=choice.finish_reason,
        logprobs=choice.logprobs,
    )


def _stored_call(call: completion.ToolCall) -> completion.ToolCall:
    function = response_structs.Function(name=call.function.name, arguments=call.function.arguments)
    return response_structs.ToolCall(id=call.id, type=call.type, function=function)
