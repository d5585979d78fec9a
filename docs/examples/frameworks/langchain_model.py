"""Give LangChain the models of FoxAPI: each call is a generation, and billed."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from langchain_core.output_parsers.openai_tools import parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict

from foxapi_async import ChatCompletion, FoxSession
from foxapi_async.sync import FoxSession as BlockingSession


class ChatFox(BaseChatModel):
    """A model of FoxAPI."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    fox: FoxSession
    model: str

    @property
    def _llm_type(self) -> str:
        return "foxapi"

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        history = convert_to_openai_messages(messages)
        return read(
            await self.fox.llm.generate(model=self.model, messages=history, stop=stop, **options)
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        history = convert_to_openai_messages(messages)
        with BlockingSession() as fox:
            return read(fox.llm.generate(model=self.model, messages=history, stop=stop, **options))

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **options: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        choice = "required" if tool_choice == "any" else tool_choice or "auto"
        known = {"tools": [convert_to_openai_tool(tool) for tool in tools], "tool_choice": choice}
        return self.bind(**known)


def read(completion: ChatCompletion) -> ChatResult:
    """Return a completion as a result of LangChain."""
    calls = [
        parse_tool_call(call.to_dict(), return_id=True)
        for call in completion.message.tool_calls or ()
    ]
    message = AIMessage(content=completion.text, tool_calls=calls)
    if completion.usage is not None:
        message.usage_metadata = {
            "input_tokens": completion.usage.prompt_tokens,
            "output_tokens": completion.usage.completion_tokens,
            "total_tokens": completion.usage.total_tokens,
        }
    return ChatResult(generations=[ChatGeneration(message=message)])


class City(BaseModel):
    """A city."""

    name: str
    population: int


async def main() -> None:
    async with FoxSession() as fox:
        chat = ChatFox(fox=fox, model="gpt-5.5")
        print(await chat.with_structured_output(City).ainvoke("The largest city of France?"))


asyncio.run(main())
