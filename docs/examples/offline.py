"""A FoxAPI of your own, inside your own program: no account, no network, no second process."""

import asyncio

from foxapi_async import FoxSession
from foxapi_async.gateway import Gateway


async def main() -> None:
    async with Gateway(queue_delay=0.1, token_delay=0.01) as gateway:
        async with FoxSession("sk-any", base_url=gateway.url) as fox:
            completion = await fox.llm.generate(model="gpt-5.5", messages="count 1 to 3")
            print(completion.text)

            refused = "say something bad [[fail:content_policy_violation]]"
            handle = await fox.llm.submit(model="gpt-5.5", messages=refused)
            async for task in handle.updates():
                print(task.status, task.error.code if task.error else "")
        print(gateway.stats)


asyncio.run(main())
