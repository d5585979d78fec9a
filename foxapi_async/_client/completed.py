"""Handles in the order in which their tasks finish."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any, Generic, Self, TypeVar

from foxapi_async._client.handle import TaskHandle

H = TypeVar("H", bound=TaskHandle[Any])


def as_completed(handles: Iterable[H]) -> AsyncIterator[H]:
    """Iterate over ``handles`` as their tasks finish, failed ones included.

    Await each handle that comes for its result or its error: it answers at once. A handle whose
    wait ended without an outcome, such as ``TaskTimeoutError``, comes too. Leaving the loop ends
    the remaining waits; the tasks go on at the service.
    """
    return _Completed(handles)


class _Completed(Generic[H]):
    """Waits for every handle at once, from the first step on."""

    def __init__(self, handles: Iterable[H]) -> None:
        self._handles = list(dict.fromkeys(handles))
        self._left = len(self._handles)
        self._waits: list[asyncio.Task[Any]] | None = None
        self._finished: asyncio.Queue[H] = asyncio.Queue()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> H:
        if self._waits is None:
            self._waits = [self._start(handle) for handle in self._handles]
        if not self._left:
            raise StopAsyncIteration
        handle = await self._finished.get()
        self._left -= 1
        return handle

    def _start(self, handle: H) -> asyncio.Task[Any]:
        wait = asyncio.get_running_loop().create_task(handle.result())
        # The callback must not hold this iterator, or leaving the loop would not end the waits.
        wait.add_done_callback(partial(_finished, self._finished, handle))
        return wait

    def __del__(self) -> None:
        for wait in self._waits or ():
            if not wait.done():
                wait.cancel()


def _finished(queue: asyncio.Queue[H], handle: H, wait: asyncio.Task[Any]) -> None:
    if wait.cancelled():
        return
    wait.exception()  # seen here, so that asyncio does not call it lost; awaiting raises it again
    queue.put_nowait(handle)
