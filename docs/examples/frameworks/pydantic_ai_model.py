"""Give an agent of pydantic-ai the models of FoxAPI: each request is a generation, and billed."""

import asyncio
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    RetryPromptPart,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from foxapi_async import ChatCompletion, FoxSession


class FoxModel(Model):
    """A model of FoxAPI."""

    def __init__(self, fox: FoxSession, model: str) -> None:
        super().__init__()
        self._fox = fox
        self._model = model

    @property
    def model_name(self) -> str:
        return self._model

    @property
    def system(self) -> str:
        return "foxapi"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        settings, params = self.prepare_request(model_settings, model_request_parameters)
        tools = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description or "",
                    "parameters": tool.parameters_json_schema,
                },
            }
            for tool in (*params.function_tools, *params.output_tools)
        ]
        options: dict[str, Any] = {"max_tokens": (settings or {}).get("max_tokens", 1000)}
        if tools:
            choice = "auto" if params.allow_text_output else "required"
            options |= {"tools": tools, "tool_choice": choice}
        history = [written for message in messages for written in write(message)]
        return read(await self._fox.llm.generate(model=self._model, messages=history, **options))


def write(message: ModelMessage) -> list[dict[str, Any]]:
    """Return a message of pydantic-ai in OpenAI's form."""
    if not isinstance(message, ModelResponse):
        return [write_part(part) for part in message.parts]
    calls = [
        {
            "id": part.tool_call_id,
            "type": "function",
            "function": {"name": part.tool_name, "arguments": part.args_as_json_str()},
        }
        for part in message.parts
        if isinstance(part, ToolCallPart)
    ]
    text = "".join(part.content for part in message.parts if isinstance(part, TextPart))
    answer: dict[str, Any] = {"role": "assistant", "content": text or None}
    return [answer | {"tool_calls": calls} if calls else answer]


def write_part(part: ModelRequestPart) -> dict[str, Any]:
    """Return a part of a request as a message in OpenAI's form."""
    if isinstance(part, ToolReturnPart):
        content = part.model_response_str()
        return {"role": "tool", "tool_call_id": part.tool_call_id, "content": content}
    if isinstance(part, RetryPromptPart) and part.tool_name is not None:
        content = part.model_response()
        return {"role": "tool", "tool_call_id": part.tool_call_id, "content": content}
    if isinstance(part, RetryPromptPart):
        return {"role": "user", "content": part.model_response()}
    role = "system" if isinstance(part, SystemPromptPart) else "user"
    return {"role": role, "content": part.content}


def read(completion: ChatCompletion) -> ModelResponse:
    """Return a completion as a response of pydantic-ai."""
    parts: list[ModelResponsePart] = [
        ToolCallPart(call.function.name, call.function.arguments, tool_call_id=call.id)
        for call in completion.message.tool_calls or ()
    ]
    if completion.text:
        parts.insert(0, TextPart(completion.text))
    usage = RequestUsage()
    if completion.usage is not None:
        usage.input_tokens = completion.usage.prompt_tokens
        usage.output_tokens = completion.usage.completion_tokens
    return ModelResponse(parts=parts, usage=usage, model_name=completion.model)


class City(BaseModel):
    """A city."""

    name: str
    population: int


async def main() -> None:
    async with FoxSession() as fox:
        agent = Agent(FoxModel(fox, "gpt-5.5"), output_type=City)
        print((await agent.run("The largest city of France?")).output)


asyncio.run(main())
