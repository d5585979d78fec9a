"""Timeouts of the attempts in flight, which share one timer."""

from types import TracebackType
from typing import Self

from foxapi_async._clock import Clock, Timer
from foxapi_async._interrupt import Interrupt


class TimeoutScheduler:
    """Ends each block that runs past its deadline. The timer exists only while a block runs.

    Nearly every attempt ends long before its deadline. So entering a block compares two numbers;
    the timer is set anew only after it has fired, or for an earlier deadline.
    """

    __slots__ = ("_clock", "_next_at", "_running", "_timer")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[TimeoutScope, None] = {}
        self._timer: Timer | None = None
        self._next_at = 0.0

    def after(self, seconds: float, name: str) -> "TimeoutScope":
        """Return a block that raises ``TimeoutError`` once it has run for ``seconds``.

        ``name`` is the setting that ``seconds`` comes from; the text of the error has it.
        """
        return TimeoutScope(self, self._clock.time() + seconds, seconds, name)

    @property
    def now(self) -> float:
        """The time of the clock."""
        return self._clock.time()

    def add(self, scope: "TimeoutScope") -> None:
        """Schedule the timeout of ``scope``."""
        self._running[scope] = None
        if self._timer is None or scope.deadline < self._next_at:
            self._arm(scope.deadline)

    def discard(self, scope: "TimeoutScope") -> None:
        """Cancel the timeout of ``scope``, and the timer if no other scope runs."""
        self._running.pop(scope, None)
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """End every block that runs, as a lost connection would."""
        for scope in list(self._running):
            self.discard(scope)
            scope.fire(ConnectionError("the session was closed"))

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_at = when
        self._timer = self._clock.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._clock.time()
        for scope in [scope for scope in self._running if scope.deadline <= now]:
            del self._running[scope]
            scope.expire()
        if self._running:
            self._arm(min(scope.deadline for scope in self._running))


class TimeoutScope(Interrupt):
    """A block of one task that ends at its deadline, as ``asyncio.timeout_at`` does it."""

    __slots__ = ("_name", "_scheduler", "_seconds", "deadline")

    def __init__(
        self, scheduler: TimeoutScheduler, deadline: float, seconds: float, name: str
    ) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._seconds = seconds
        self._name = name
        self.deadline: float = deadline

    def extend(self, at_most: float | None) -> None:
        """Begin the seconds again; the new deadline is not after ``at_most``."""
        deadline = self._scheduler.now + self._seconds
        self.deadline = deadline if at_most is None else min(deadline, at_most)

    def expire(self) -> None:
        """End the block with ``TimeoutError``."""
        self.fire(TimeoutError(f"{self._name}, {max(self._seconds, 0):g} s, ran out"))

    def __enter__(self) -> Self:
        super().__enter__()
        self._scheduler.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._scheduler.discard(self)
        super().__exit__(kind, error, traceback)
