"""One look a second at every open stream, in the place of a timer for each read."""

from typing import Protocol

from foxapi_async._clock import Clock, Timer

_INTERVAL = 1.0


class Watched(Protocol):
    """Something that may have to be stopped as time goes by."""

    def sweep(self, now: float) -> None:
        """Stop what has been silent for too long at ``now``."""
        ...

    def stop(self, error: Exception) -> None:
        """End, with ``error`` for whoever waits."""
        ...


class IdleWatchdog:
    """Looks at its members once a second while it has any."""

    __slots__ = ("_clock", "_members", "_timer")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._members: dict[Watched, None] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Watched) -> None:
        """Begin to look at ``member``."""
        self._members[member] = None
        if self._timer is None:
            self._timer = self._clock.call_at(self._clock.time() + _INTERVAL, self._look)

    def discard(self, member: Watched) -> None:
        """Stop looking at ``member``; the last one to leave stops the timer."""
        self._members.pop(member, None)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop(self, error: Exception) -> None:
        """End every member."""
        for member in list(self._members):
            member.stop(error)

    def _look(self) -> None:
        now = self._clock.time()
        self._timer = self._clock.call_at(now + _INTERVAL, self._look)
        for member in list(self._members):
            member.sweep(now)
