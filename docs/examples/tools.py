"""Let the model call functions until it answers: each round is a generation, and billed."""

import asyncio
from typing import Any, Literal

from foxapi_async import FoxSession, tool_message


def weather(city: str, unit: Literal["C", "F"] = "C") -> dict[str, Any]:
    """Tell today's weather.

    Args:
        city: The name of the city, in English.
        unit: The unit of the temperature.
    """
    return {"city": city, "temperature": 21, "unit": unit}


TOOLS = {"weather": weather}


async def main() -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Bern?"}]
    async with FoxSession() as fox:
        answer = None
        for _ in range(5):
            completion = await fox.llm.generate(
                model="gpt-5.5", messages=messages, tools=list(TOOLS.values())
            )
            messages.append(completion)
            for call in completion.message.tool_calls or ():
                function = TOOLS[call.function.name]
                messages.append(tool_message(call, function(**call.parse(function))))
            if not completion.message.tool_calls:
                answer = completion.text
                break
        print(answer or "The model goes on calling functions.")


asyncio.run(main())
