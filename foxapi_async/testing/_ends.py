"""How the tasks of one connection end, and how they are ended."""

import asyncio
from enum import Enum, auto
from typing import Any


class End(Enum):
    """How a connection is cut."""

    RESET = auto()
    CLOSE = auto()


async def first_of(held: asyncio.Future[bool], until: asyncio.Event) -> bool:
    """Wait for either, and return what was held or, for the event, ``True``."""
    happened = asyncio.create_task(until.wait(), name="proxy until")
    try:
        both: set[asyncio.Future[Any]] = {held, happened}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return held.result() if held.done() else True
    finally:
        await stop(happened)


async def first_end(tasks: list[asyncio.Task[End | None]]) -> End:
    """Wait for the first task that returns an end; ``None`` leaves it to the others."""
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        ends = {_end_of(task) for task in done} - {None}
        if ends:
            return End.RESET if End.RESET in ends else End.CLOSE
    return End.CLOSE


def _end_of(task: asyncio.Task[End | None]) -> End | None:
    try:
        return task.result()
    except ConnectionError:
        # A peer that broke its connection, or a server that refused one, looks like a reset.
        return End.RESET


async def stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, wait until they are gone and raise what went wrong in them."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        # A peer may break its connection at any moment, this one included.
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            raise result
