"""One task as the poller knows it, and those who wait for it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Generator, Hashable
from copy import copy
from enum import Enum, auto
from typing import Any, ClassVar, Protocol

from foxapi_async._protocol.pacing import Look, Pacer
from foxapi_async._protocol.trouble import Trouble
from foxapi_async._wire.task import Task
from foxapi_async.config import PollPolicy
from foxapi_async.errors import FoxAPIError


class Source(Protocol):
    """Where the poller looks for a task."""

    @property
    def account(self) -> Hashable:
        """Whose tasks these are: the same id under another key is another task."""
        ...

    @property
    def polling(self) -> PollPolicy:
        """How patient the looking is."""
        ...

    @property
    def pacer(self) -> Pacer:
        """When to look."""
        ...

    async def look(self, task_id: str, *, hollow: bool = False) -> Task:
        """Return the task as it is now, by one single attempt, or raise a ``FoxAPIError``.

        It ends in bounded time, whatever the network does. ``hollow`` says that the task was
        completed without results at the last look: then asking upstream would do harm (CONTRACT
        Q2).
        """
        ...


class Watched(Protocol):
    """A handle, as far as the poller knows it."""

    @property
    def id(self) -> str:
        """The task's id."""
        ...

    @property
    def born(self) -> float | None:
        """When the task was submitted on the session's clock; ``None`` if it was somewhere else."""
        ...

    @property
    def task(self) -> Task | None:
        """The last snapshot that it was given."""
        ...

    def observe(self, task: Task) -> None:
        """Take in a snapshot, and the outcome if it is final."""
        ...

    def missed(self, fault: FoxAPIError) -> None:
        """Take in that the service does not know the task, which is no outcome."""
        ...


class Waiter(ABC):
    """One who waits for a task, on behalf of ``handle``."""

    __slots__ = ("deadline", "handle", "slot", "watch")

    # Whether any change of status or progress wakes it, or only the end.
    wants_change: ClassVar[bool] = False

    def __init__(self, handle: Watched, watch: "Watch") -> None:
        self.handle: Watched = handle
        self.watch: Watch = watch
        self.deadline: float | None = None
        self.slot: list[Any] | None = None

    @abstractmethod
    def wake(self, error: Exception | None) -> None:
        """End the wait: the handle knows the outcome, or ``error`` says why it does not."""


class Await(Waiter):
    """An ``await``. It owns its future, so that cancelling it can disturb no other."""

    __slots__ = ("_woken",)

    def __init__(self, handle: Watched, watch: "Watch") -> None:
        super().__init__(handle, watch)
        loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[Exception | None] = loop.create_future()

    def __await__(self) -> Generator[Any, None, Exception | None]:
        """Wait to be woken, and return the error."""
        return self._woken.__await__()

    def wake(self, error: Exception | None) -> None:
        """End the wait with a copy of ``error``, whose traceback would grow with every waiter."""
        if not self._woken.done():
            self._woken.set_result(None if error is None else _own(error))


def _own(error: Exception) -> Exception:
    try:
        return copy(error)
    except Exception:  # noqa: BLE001 nobody promises that a foreign error can be copied
        return error


class AwaitChange(Await):
    """An ``await`` that any change ends."""

    __slots__ = ()

    wants_change = True


class Phase(Enum):
    """What becomes of a task that has a watch."""

    IDLE = auto()  # nobody needs a poll of it
    DUE = auto()  # it is scheduled
    READY = auto()  # its time has come, and it waits for its turn
    POLLED = auto()  # a GET of it is under way
    OUTDATED = auto()  # the same, but there has been news since the GET began


class Watch:
    """What is known of one task while it has handles. It is polled while it has waiters."""

    __slots__ = (
        "__weakref__",
        "_first",
        "_others",
        "born",
        "due",
        "id",
        "last",
        "parked",
        "phase",
        "polls",
        "since",
        "slot",
        "source",
        "trouble",
        "unfinished_at",
    )

    def __init__(self, handle: Watched, source: Source) -> None:
        self.id: str = handle.id
        self.source: Source = source
        self.born: float | None = handle.born
        self.since: float | None = handle.born  # its age counts from here, or from the first wait
        self.last: Task | None = handle.task
        self.phase: Phase = Phase.IDLE
        self.slot: list[Any] | None = None
        self.due: float | None = None
        self.polls: int = 0
        self.unfinished_at: float = 0.0  # the age at which it was last seen unfinished
        self.trouble: Trouble | None = None
        self.parked: int = 0  # so many follow its stream, which will tell sooner than a poll
        # Nearly every task has one waiter, and a dictionary for it would double what it takes.
        self._first: Waiter | None = None
        self._others: dict[Waiter, None] | None = None

    @property
    def waiters(self) -> list[Waiter]:
        """Those who wait for it."""
        first = [] if self._first is None else [self._first]
        return first if self._others is None else [*first, *self._others]

    @property
    def has_waiters(self) -> bool:
        """Whether anybody waits for it."""
        return self._first is not None or bool(self._others)

    @property
    def needs_polls(self) -> bool:
        """Whether only polls can tell the waiters what they want to know."""
        if not self.parked:
            return self.has_waiters
        return any(waiter.wants_change for waiter in self.waiters)

    @property
    def deadline(self) -> float | None:
        """The nearest deadline of its waiters."""
        return min(
            (waiter.deadline for waiter in self.waiters if waiter.deadline is not None),
            default=None,
        )

    @property
    def is_hollow(self) -> bool:
        """Whether it was completed without results when it was last seen."""
        return self.trouble is not None and self.trouble.is_hollow

    def join(self, waiter: Waiter) -> None:
        """Add one who waits."""
        if self._first is None:
            self._first = waiter
        elif self._others is None:
            self._others = {waiter: None}
        else:
            self._others[waiter] = None

    def leave(self, waiter: Waiter) -> bool:
        """Take one who waits away; tell whether it was there."""
        if self._first is waiter:
            self._first = None
            return True
        others = self._others
        if others is None or waiter not in others:
            return False
        del others[waiter]
        if not others:
            self._others = None
        return True

    def age(self, now: float) -> float:
        """Return the seconds since it was submitted, or first waited for."""
        return 0.0 if self.since is None else now - self.since

    def interval(self, now: float, roll: float) -> float:
        """Return the seconds until its next look, by its pacing."""
        last = self.last
        look = Look(
            model=last.model if last is not None else "",
            age=self.age(now),
            polls=self.polls,
            progress=last.progress if last is not None else 0,
            estimated=last.task_info.estimated_time if last and last.task_info else None,
        )
        return self.source.pacer.interval(look, roll)
