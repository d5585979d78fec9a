"""Show a typed answer while it is written: one generation is billed."""

import asyncio

from msgspec import Struct

from foxapi_async import FoxSession


class Recipe(Struct):
    """A simple recipe."""

    title: str
    ingredients: list[str]
    minutes: int


async def main() -> None:
    async with (
        FoxSession() as fox,
        fox.llm.stream(
            model="gpt-5.5", messages="Soup of the day?", response_format=Recipe
        ) as stream,
    ):
        async for recipe in stream.partials(Recipe):
            print(recipe)  # {'title': 'Carrot so'}
        print(stream.parsed)


asyncio.run(main())
