"""Those who wait for a task."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextvars import Context
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from foxapi_async._wire.task import Task
from foxapi_async.errors import FoxAPIError

if TYPE_CHECKING:
    from foxapi_async._client.polling.tracked_task import TrackedTask


class TaskObserver(Protocol):
    """A handle, as far as the poller knows it."""

    @property
    def id(self) -> str:
        """The task's id."""
        ...

    @property
    def _born(self) -> float | None:
        """When the task was submitted on the session's clock; ``None`` if it was somewhere else."""
        ...

    @property
    def _context(self) -> Context | None:
        """Where the task's events are told; ``None`` if nobody listened when it was submitted."""
        ...

    @property
    def task(self) -> Task | None:
        """The last snapshot that it was given."""
        ...

    def _observe(self, task: Task) -> None:
        """Take in a snapshot, and the outcome if it is final."""
        ...

    def _check_failed(self, fault: FoxAPIError) -> None:
        """Take in that a look failed, the first since one that did not."""
        ...

    def _missed(self, fault: FoxAPIError) -> None:
        """Take in that the service does not know the task, which is no outcome."""
        ...


class Waiter(ABC):
    """One who waits for a task, on behalf of ``handle``."""

    __slots__ = ("bucket", "deadline", "handle", "is_glance", "watch")

    # Whether any change of status or progress wakes it, or only the end.
    wants_change: ClassVar[bool] = False

    def __init__(self, handle: TaskObserver, watch: "TrackedTask") -> None:
        self.handle: TaskObserver = handle
        self.watch: TrackedTask = watch
        self.deadline: float | None = None
        self.is_glance: bool = False  # it waits for one look that begins from its deadline on
        self.bucket: list[Any] | None = None

    def wants(self, task: Task) -> bool:
        """Tell whether ``task`` is a change that wakes it, next to what its handle has seen."""
        if not self.wants_change:
            return False
        seen = self.handle.task
        return seen is None or seen.status != task.status or seen.progress != task.progress

    @abstractmethod
    def wake(self, error: Exception | None) -> None:
        """End the wait: the handle knows the outcome, or ``error`` says why it does not."""


class FutureWaiter(Waiter):
    """An ``await``. It owns its future, so that cancelling it can disturb no other."""

    __slots__ = ("_woken",)

    def __init__(self, handle: TaskObserver, watch: "TrackedTask") -> None:
        super().__init__(handle, watch)
        loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[Exception | None] = loop.create_future()

    def __await__(self) -> Generator[Any, None, Exception | None]:
        """Wait to be woken, and return the error."""
        return self._woken.__await__()

    def wake(self, error: Exception | None) -> None:
        """End the wait with a copy of ``error``, whose traceback would grow with every waiter."""
        if not self._woken.done():
            self._woken.set_result(None if error is None else _copy_error(error))


class ChangeWaiter(FutureWaiter):
    """An ``await`` that any change ends."""

    __slots__ = ()

    wants_change = True


def _copy_error(error: Exception) -> Exception:
    try:
        return copy(error)
    except Exception:  # noqa: BLE001 nobody promises that a foreign error can be copied
        return error
