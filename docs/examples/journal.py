"""A script that can be killed at any instant and is simply run again."""

import asyncio

from foxapi_async import FoxSession, SubmitOutcomeUnknownError

ROWS = {"row-1": "count 1 to 3", "row-2": "count 1 to 4", "row-3": "count 1 to 5"}


async def answer(fox: FoxSession, key: str, prompt: str) -> None:
    try:
        completion = await fox.llm.generate(model="gpt-5.5", messages=prompt, key=key)
    except SubmitOutcomeUnknownError as lost:
        print(key, "may be billed: look before you submit it again", lost.fingerprint)
    else:
        print(key, completion.text)


async def main() -> None:
    async with FoxSession(journal="tasks.db") as fox:
        recovery = await fox.recover()  # what an earlier run left behind
        print(len(recovery.handles), "unfinished,", len(recovery.unknown), "unknown")
        await asyncio.gather(*(answer(fox, key, prompt) for key, prompt in ROWS.items()))


asyncio.run(main())
