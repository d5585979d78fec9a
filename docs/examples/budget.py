"""A cap on what a session may cost: the submit that would exceed it is not sent."""

import asyncio

from foxapi_async import Budget, BudgetExceededError, FoxSession


async def main() -> None:
    prompts = (f"count 1 to {number}" for number in range(2, 1000))
    async with FoxSession(budget=Budget(credits=20, tasks=12)) as fox:
        answers = 0
        try:
            async for outcome in fox.llm.map(prompts, model="gpt-5.5", messages=lambda row: row):
                answers += outcome.completion is not None
        except BudgetExceededError as error:
            print(f"{error.unit}: {error.used:g} of {error.limit:g} are used")
        print(answers, "answers;", fox.budget)


asyncio.run(main())
