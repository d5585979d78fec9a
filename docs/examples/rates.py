"""At most 1,200 submits a minute: each waits for its time, and none is dropped."""

import asyncio
from time import monotonic

from foxapi_async import FoxSession, Limits


async def main() -> None:
    limits = Limits(submits_per_minute=1_200, tokens_per_minute=200_000)
    async with FoxSession(limits=limits) as fox:
        begin = monotonic()
        submits = [
            fox.llm.submit(model="gpt-5.5", messages=f"count 1 to {n}") for n in range(2, 32)
        ]
        submitting = asyncio.gather(*submits)
        await asyncio.sleep(0.5)
        stats = fox.stats()
        print(stats.submits_queued, "wait, the next one for", round(stats.next_submit_in, 3), "s")

        handles = await submitting
        print(len(handles), "tasks in", round(monotonic() - begin, 1), "s")
        completions = await asyncio.gather(*handles)
        print(completions[-1].text)


asyncio.run(main())
