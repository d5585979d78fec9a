"""Deadlines of the attempts in flight: many of them, one timer."""

from types import TracebackType
from typing import Self

from foxapi_async._clock import Clock, Timer
from foxapi_async._interrupt import Interrupt


class TimeoutScheduler:
    """Cancels what runs past its deadline. The timer exists only while something is in flight.

    Nearly every attempt ends long before its deadline. So entering one compares two numbers, and
    the timer is set anew only when it has fired or an earlier deadline comes: among many attempts,
    none is made for each.
    """

    __slots__ = ("_clock", "_running", "_timer", "_when")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[TimeoutScope, None] = {}
        self._timer: Timer | None = None
        self._when = 0.0

    def after(self, seconds: float, name: str) -> "TimeoutScope":
        """Return a block that raises ``TimeoutError`` once it has run for ``seconds``.

        ``name`` is the setting that they come from.
        """
        return TimeoutScope(self, self._clock.time() + seconds, seconds, name)

    def add(self, deadline: "TimeoutScope") -> None:
        """Watch ``deadline`` from now on."""
        self._running[deadline] = None
        if self._timer is None or deadline.when < self._when:
            self._arm(deadline.when)

    def discard(self, deadline: "TimeoutScope") -> None:
        """Watch it no more; the last one takes the timer with it."""
        self._running.pop(deadline, None)
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """End every block that runs, as a connection that is lost would."""
        for deadline in list(self._running):
            self.discard(deadline)
            deadline.fire(ConnectionError("the session was closed"))

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._when = when
        self._timer = self._clock.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock.time()
        for deadline in [item for item in self._running if item.when <= now]:
            del self._running[deadline]
            deadline.expire()
        if self._running:
            self._arm(min(deadline.when for deadline in self._running))


class TimeoutScope(Interrupt):
    """A block of one task that ends in time, as ``asyncio.timeout_at`` would have it."""

    __slots__ = ("_deadlines", "_name", "_seconds", "when")

    def __init__(self, deadlines: TimeoutScheduler, when: float, seconds: float, name: str) -> None:
        super().__init__()
        self._deadlines = deadlines
        self._seconds = seconds
        self._name = name
        self.when = when

    def expire(self) -> None:
        """End the block with ``TimeoutError``."""
        self.fire(TimeoutError(f"{self._name}, {max(self._seconds, 0):g} s, ran out"))

    def __enter__(self) -> Self:
        super().__enter__()
        self._deadlines.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._deadlines.discard(self)
        super().__exit__(kind, error, traceback)
