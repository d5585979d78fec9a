"""Get answers as values of your own types: two generations are billed."""

import asyncio
from typing import Annotated, Literal

from msgspec import Meta, Struct

from foxapi_async import FoxSession, OutputError


class Review(Struct):
    """What a customer writes about a product."""

    mood: Literal["good", "bad", "mixed"]
    stars: Annotated[int, Meta(ge=1, le=5, description="Guess it if it is not said.")]
    faults: list[str] = []


async def main() -> None:
    async with FoxSession() as fox:
        try:
            review = await fox.llm.parse(
                Review, model="gpt-5.5", messages="It works, but it is loud.", reasks=1
            )
        except OutputError as error:
            print(error, error.completion)
        else:
            print(review.mood, review.stars, review.faults)

        # With the completion, the usage and the handle at hand:
        handle = await fox.llm.submit(
            model="gpt-5.5", messages="Good: quiet. Bad: slow.", response_format=list[Review]
        )
        completion = await handle
        for review in completion.parse(list[Review]):
            print(review.mood, completion.usage)


asyncio.run(main())
