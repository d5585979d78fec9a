"""Print an answer as it is written: the thinking first, then the text."""

import asyncio

from foxapi_async import FoxSession


async def main() -> None:
    async with (
        FoxSession() as fox,
        fox.llm.stream(model="kimi-k2.6", messages="count 1 to 5") as stream,
    ):
        print("task", stream.handle.id)
        async for delta in stream:
            print(delta.reasoning or delta.text, end="", flush=True)
        print()
        completion = await stream.completion()  # one GET: finish reason, usage, stored text
        print(completion.finish_reason, completion.usage)


asyncio.run(main())
