"""The snapshots of a handle, one after the other."""
# pyright: reportPrivateUsage=false

from typing import TYPE_CHECKING, Any, Self

from foxapi_async._client.polling.waiter import ChangeWaiter
from foxapi_async._client.uncopied import Uncopied
from foxapi_async._wire.task import Task

if TYPE_CHECKING:
    from foxapi_async._client.handle import TaskHandle


class Updates(Uncopied):
    """Yields one at each change. A step that is cancelled or runs out of time is taken anew."""

    _instead = "call handle.updates() again"

    def __init__(self, handle: "TaskHandle[Any]", patience: float | None) -> None:
        self._handle = handle
        self._patience = patience
        self._seen: tuple[str, int, bool] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Task:
        handle = self._handle
        while True:
            task = handle.task
            if task is not None:
                # A completed task without results looks like one with them (contract Q2).
                state = (task.status, task.progress, handle.done())
                if state != self._seen:
                    self._seen = state
                    return task
            if handle.done():
                raise StopAsyncIteration
            await self._change()

    async def _change(self) -> None:
        handle = self._handle
        waiter = ChangeWaiter(handle, handle._find_watch())
        try:
            handle._begin_wait(waiter, self._patience)
            error = await waiter
        finally:
            handle._end_wait(waiter)
        if error is not None:
            raise error
