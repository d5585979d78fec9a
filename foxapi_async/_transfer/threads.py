"""Blocking work on files in a thread, which is never left running."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Run ``function`` in a thread. A cancelled call ends when the function has returned.

    So a file is closed or deleted only when no thread uses it.
    """
    future = asyncio.get_running_loop().run_in_executor(None, partial(function, *args))
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Its outcome is of no use; an error that is not retrieved would be logged.
        future.exception()
        raise cancelled
    return future.result()
