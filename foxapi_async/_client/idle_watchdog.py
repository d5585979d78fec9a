"""One timer a session that checks every open stream, instead of a timer for each read."""

from typing import Final, Protocol

from foxapi_async._clock import Clock, Timer

_INTERVAL: Final = 1.0


class Watched(Protocol):
    """An open stream."""

    def check_idle(self, now: float) -> None:
        """Close the connection if it is dead or has been idle for too long at ``now``."""
        ...

    def stop(self, error: Exception) -> None:
        """Raise ``error`` in the read that waits and in every later one."""
        ...


class IdleWatchdog:
    """Checks its members once a second. Without members it has no timer."""

    __slots__ = ("_clock", "_members", "_timer")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._members: dict[Watched, None] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Watched) -> None:
        """Check ``member`` from now on."""
        self._members[member] = None
        if self._timer is None:
            self._timer = self._clock.call_at(self._clock.time() + _INTERVAL, self._tick)

    def discard(self, member: Watched) -> None:
        """Stop checking ``member``. The last one that is removed cancels the timer."""
        self._members.pop(member, None)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop(self, error: Exception) -> None:
        """Stop every member with ``error``."""
        for member in list(self._members):
            member.stop(error)

    def _tick(self) -> None:
        now = self._clock.time()
        self._timer = self._clock.call_at(now + _INTERVAL, self._tick)
        for member in list(self._members):
            member.check_idle(now)
