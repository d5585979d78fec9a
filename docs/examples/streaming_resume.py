"""Read half of a stream here and the rest in another process."""

import asyncio
import sys

from foxapi_async import FoxSession


async def begin() -> tuple[str, str]:
    """Read a little; a task id and a cursor are all that is needed to go on."""
    async with FoxSession() as fox:
        handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 9", stream=True)
        async with handle.stream() as stream:
            for _ in range(4):
                delta = await anext(stream)
                print(delta.text, end="", flush=True)
            return handle.id, stream.cursor


async def go_on(task_id: str, cursor: str) -> None:
    """Read what comes after the cursor, each chunk once."""
    async with FoxSession() as fox:
        async for delta in fox.tasks.handle(task_id).stream(resume=cursor):
            print(delta.text, end="", flush=True)
        print()


async def main() -> None:
    if len(sys.argv) > 1:
        await go_on(*sys.argv[1:])
        return
    task_id, cursor = await begin()
    other = await asyncio.create_subprocess_exec(sys.executable, __file__, task_id, cursor)
    if await other.wait():
        raise SystemExit("the other process failed")


asyncio.run(main())
