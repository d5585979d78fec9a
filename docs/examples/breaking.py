"""What a program sees when a stream breaks, a poll fails, and the answer of a submit is lost."""

import asyncio

from foxapi_async import FoxSession, SubmitOutcomeUnknownError
from foxapi_async.gateway import FaultRule, Gateway

RULES: list[FaultRule | str] = [
    "stream:cut:each=2",  # every connection breaks off after two chunks
    "query:503:nth=1",  # the first poll fails
    FaultRule(on="submit", fault="reset", late=True, nth=3),  # accepted, but the answer is lost
]


async def main() -> None:
    async with Gateway(faults=RULES, seed=7) as gateway:
        async with FoxSession("sk-any", base_url=gateway.url) as fox:
            async with fox.llm.stream(model="gpt-5.5", messages="count 1 to 9") as stream:
                print("".join([delta.text async for delta in stream]))
            print(gateway.stats.streams, "connections for one stream, each chunk exactly once")

            handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
            print((await handle).text, "after a poll that failed")

            try:
                await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
            except SubmitOutcomeUnknownError as error:
                print(type(error).__name__, "and not a second bill:", gateway.stats.tasks, "tasks")

        for rule, hits in zip(gateway.faults.rules, gateway.faults.hits, strict=True):
            print(rule, "acted", hits, "times")


asyncio.run(main())
