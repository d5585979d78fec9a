"""The API on one screen: wait, stream, fan out, come back another day."""

import asyncio

from foxapi_async import FoxSession


async def main() -> None:
    prompts = [f"count 1 to {last}" for last in range(2, 12)]

    async with FoxSession() as fox:  # FOXAPI_API_KEY, FOXAPI_BASE_URL
        handle = await fox.llm.submit(
            model="claude-opus-4-7", messages="count 1 to 3", max_tokens=64
        )
        completion = await handle  # == await handle.result()
        print(completion.text, completion.usage)

        handle = await fox.llm.submit(model="kimi-k2.6", messages="count 1 to 5", stream=True)
        async for delta in handle.stream():  # resumes by ?offset=N, each chunk exactly once
            print(delta.text, end="")  # also .reasoning .tool_calls .finish_reason .choices .usage
        print()
        completion = await handle  # reasoning included: the server forgets it
        print(completion.reasoning)

        handles = await asyncio.gather(
            *(fox.llm.submit(model="gpt-5.5", messages=p, max_tokens=64) for p in prompts)
        )
        completions = await asyncio.gather(*handles)  # one timer and a bounded number of GETs
        print(len(completions), "answers")

        completion = await fox.llm.generate(model="gpt-5.5", messages="count 1 to 3")
        again = fox.tasks.handle(handle.id)  # no I/O; any process, any day
        print((await again).text)


asyncio.run(main())
