"""A model that gives one scripted reply, at the pace of the simulated models."""

from collections.abc import Iterator
from zlib import crc32

import msgspec

from foxapi_async._clock import sleep
from foxapi_async._wire.completion import ChatCompletion, Usage
from foxapi_async.gateway import response_structs
from foxapi_async.gateway.models.model import Job, ModelKind, Output
from foxapi_async.gateway.models.prompt import read_prompt, split_tokens
from foxapi_async.gateway.models.replies import Reply, ReplyCall
from foxapi_async.gateway.models.script import AnswerScript, ScriptedChunk
from foxapi_async.gateway.models.simulated_model import SimulatedModel
from foxapi_async.gateway.response_structs import DeltaMessage, TaskErrorBody
from foxapi_async.gateway.settings import GatewaySettings


class ScriptedModel(SimulatedModel):
    """Answers one request with one reply.

    Args:
        settings: The delays and the clock.
        reply: The reply.
    """

    kind: ModelKind = "scripted"
    # Replies are kept in memory only.
    is_repeatable: bool = False

    def __init__(self, settings: GatewaySettings, reply: Reply) -> None:
        super().__init__(settings)
        self._reply = reply

    async def answer(self, job: Job, output: Output) -> ChatCompletion:
        """Wait for the delay of the reply as well, then write it."""
        await sleep(self._clock, self._reply.delay)
        return await super().answer(job, output)

    async def _simulate(self, job: Job) -> AnswerScript:
        return ReplyScript(self._reply, job)


class ReplyScript:
    """A reply as the answer to one request: what `Script` is for the simulated models."""

    def __init__(self, reply: Reply, job: Job) -> None:
        self._reply = reply
        self._job = job
        self._reasoning = split_tokens(reply.reasoning)
        self._pieces = split_tokens(reply.text) if reply.chunks is None else reply.chunks
        self._calls = [_tool_call(number, call) for number, call in enumerate(reply.tool_calls)]
        self.error: TaskErrorBody | None = None
        """The error with which the task fails."""
        if reply.error is not None:
            self.error = TaskErrorBody.of(reply.error, reply.message)

    @property
    def thinking_tokens(self) -> int:
        """The number of chunks of reasoning."""
        return len(self._reasoning)

    @property
    def tokens(self) -> int:
        """The number of chunks, reasoning and tool calls included."""
        return len(self._reasoning) + len(self._pieces) + len(self._calls)

    @property
    def completion(self) -> ChatCompletion:
        """The stored completion."""
        message = response_structs.CompletionMessage(
            role="assistant",
            content="".join(self._pieces) if self._pieces or not self._calls else None,
            tool_calls=tuple(self._calls) or None,
        )
        choice = response_structs.Choice(
            index=0, message=message, finish_reason=self._finish_reason
        )
        return response_structs.ChatCompletion(
            id=self._job.id,
            object="chat.completion",
            created=self._job.created,
            model=self._job.request.model,
            choices=(choice,),
            usage=self._usage,
        )

    def chunks(self) -> Iterator[ScriptedChunk]:
        """Yield the chunks of the stream."""
        role: str | None = "assistant"
        for message, is_thinking in self._messages():
            delta = self._delta(msgspec.structs.replace(message, role=role), None)
            yield ScriptedChunk(delta, is_thinking)
            role = None
        if self.error is not None:
            return
        yield ScriptedChunk(self._delta(DeltaMessage(role=role), self._finish_reason))
        options = self._job.request.stream_options
        if isinstance(options, dict) and options.get("include_usage") is True:
            yield ScriptedChunk(self._delta(None, None, self._usage))

    @property
    def _finish_reason(self) -> str:
        return self._reply.finish_reason or ("tool_calls" if self._calls else "stop")

    @property
    def _usage(self) -> Usage:
        words = read_prompt(self._job.request).words
        return response_structs.Usage(
            prompt_tokens=words, completion_tokens=self.tokens, total_tokens=words + self.tokens
        )

    def _messages(self) -> Iterator[tuple[DeltaMessage, bool]]:
        for piece in self._reasoning:
            yield DeltaMessage(reasoning_content=piece), True
        for piece in self._pieces:
            yield DeltaMessage(content=piece), False
        for number, call in enumerate(self._calls):
            function = response_structs.FunctionDelta(
                name=call.function.name, arguments=call.function.arguments
            )
            part = response_structs.ToolCallDelta(
                index=number, id=call.id, type=call.type, function=function
            )
            yield DeltaMessage(tool_calls=(part,)), False

    def _delta(
        self, message: DeltaMessage | None, finish_reason: str | None, usage: Usage | None = None
    ) -> response_structs.Delta:
        choice = response_structs.DeltaChoice(index=0, delta=message, finish_reason=finish_reason)
        return response_structs.Delta(
            id=self._job.id,
            object="chat.completion.chunk",
            created=self._job.created,
            model=self._job.request.model,
            choices=() if message is None else (choice,),
            usage=usage,
        )


def _tool_call(number: int, call: ReplyCall) -> response_structs.ToolCall:
    arguments = call.arguments
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments).decode()
    return response_structs.ToolCall(
        id=call.id or f"call_{crc32(f'{call.name} {arguments}'.encode()):08x}{number:02x}",
        type="function",
        function=response_structs.Function(name=call.name, arguments=arguments),
    )
