"""A thousand generations in one process: gather, as they finish, within limits, with progress."""

import asyncio

from foxapi_async import CompletionProgress, FoxAPIError, FoxSession, Limits, as_completed


def show(progress: CompletionProgress) -> None:
    if progress.done % 20 == 0:
        print(f"{progress.done} of {progress.total}")


async def main() -> None:
    prompts = [f"count 1 to {2 + number % 5}" for number in range(60)]

    # At most 30 tasks are unfinished at a time: a submit waits for room, nothing is dropped.
    async with FoxSession(limits=Limits(max_unfinished=30)) as fox:
        submits = [fox.llm.submit(model="gpt-5.5", messages=prompt) for prompt in prompts]
        handles = await asyncio.gather(*submits)

        answers = 0
        async for handle in as_completed(handles, progress=show):
            try:
                completion = await handle  # answers at once: the task has ended
            except FoxAPIError as error:
                print(handle.id, error)
            else:
                answers += bool(completion.text)
        stats = fox.stats()
        print(answers, "answers for", stats.tasks, "tasks")


asyncio.run(main())
