"""A session that polls calmly, and a copy of it that polls evenly."""

import asyncio

from foxapi_async import Adaptive, Fixed, FoxSession, PollPolicy


async def main() -> None:
    calm = PollPolicy(pacing=Adaptive(poll_cost=0.2))  # a GET is worth 0.2 seconds of delay
    even = PollPolicy(pacing=Fixed(0.5))

    async with FoxSession(polling=calm) as fox:
        handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
        print((await handle).text)

        handle = await fox.with_options(polling=even).llm.submit(
            model="gpt-5.5", messages="count 1 to 5"
        )
        print((await handle).text)


asyncio.run(main())
