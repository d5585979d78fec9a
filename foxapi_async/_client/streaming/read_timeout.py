"""The patience of one reader, from its first read on."""

from collections.abc import Callable

from foxapi_async._clock import Clock, Timer


class ReadTimeout:
    """When a reading has to be over: ``timeout`` seconds after it began, or never."""

    __slots__ = ("_clock", "ends", "timeout")

    def __init__(self, clock: Clock, timeout: float | None) -> None:
        self._clock = clock
        self.timeout = timeout
        self.ends: float | None = None

    def begin(self) -> None:
        """Start to count."""
        if self.timeout is not None:
            self.ends = self._clock.time() + self.timeout

    @property
    def is_over(self) -> bool:
        """Whether the reading has taken too long."""
        return self.ends is not None and self._clock.time() >= self.ends

    def alarm(self, ring: Callable[[], object]) -> Timer | None:
        """Have ``ring`` called when it is over, even in the middle of a read."""
        return None if self.ends is None else self._clock.call_at(self.ends, ring)
