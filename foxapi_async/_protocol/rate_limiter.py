"""Limits the rate of GETs, and lowers it for a while after the service asked to slow down."""

from foxapi_async._protocol.bucket_queue import TICK

MAX_PAUSE = 60.0
_DEFAULT_PAUSE = 1.0
_MIN_RATE = 1.0
_RECOVERY = 30.0
# A late start may be made up within one tick. The margin keeps that from exceeding the rate by one.
_MARGIN = 1 + 2 * TICK
_ROUNDING = 1e-9
_UNLIMITED = 1_000_000


class RateLimiter:
    """Tells when the next GET may start.

    At most ``ceiling`` GETs start in any second; ``None`` means no limit. ``back_off`` pauses all
    GETs. After the pause the rate is halved, and grows back to the full rate within 30 seconds.
    ``next_slot_at`` is the time at which the next GET may start.
    """

    __slots__ = (
        "_backed_off_at",
        "_full_rate",
        "_last_window_rate",
        "_recovers_from",
        "_reduced_rate",
        "_window_count",
        "_window_start",
        "ceiling",
        "next_slot_at",
    )

    def __init__(self, ceiling: float | None) -> None:
        self.ceiling: float | None = ceiling
        self.next_slot_at: float = 0.0
        # After `_recovers_from` the rate grows from `_reduced_rate` to `_full_rate`. `None`: not
        # reduced.
        self._backed_off_at = -1.0
        self._recovers_from: float | None = None
        self._reduced_rate = 0.0
        self._full_rate = 0.0
        # GETs of the last second: the full rate if there is no ceiling.
        self._window_start = 0.0
        self._window_count = 0
        self._last_window_rate = 0.0

    def available(self, now: float) -> int:
        """Return how many GETs may start at ``now``."""
        if now < self.next_slot_at - _ROUNDING:
            return 0
        rate = self.ceiling if self._recovers_from is None else self.rate(now)
        if rate is None:
            return _UNLIMITED
        return 1 + int((now - max(self.next_slot_at, now - TICK)) * rate / _MARGIN)

    def acquire(self, now: float) -> None:
        """Record the start of a GET."""
        if now - self._window_start >= 1:
            self._last_window_rate = self._window_count / (now - self._window_start)
            self._window_start = now
            self._window_count = 0
        self._window_count += 1
        rate = self.ceiling if self._recovers_from is None else self.rate(now)
        if rate is not None:
            self.next_slot_at = max(self.next_slot_at, now - TICK) + _MARGIN / rate

    def back_off(self, now: float, *, started_at: float, pause: float | None) -> float:
        """Slow down after a GET was rejected for the rate limit.

        Several GETs that were in flight together halve the rate once.

        Args:
            now: The current time.
            started_at: When the rejected GET started.
            pause: The delay in seconds that the service asked for, if any.

        Returns:
            The length of the pause in seconds.
        """
        pause = _DEFAULT_PAUSE if pause is None else min(max(pause, 0.0), MAX_PAUSE)
        if started_at > self._backed_off_at:
            rate = self.rate(now)
            self._full_rate = self.ceiling or max(
                self._last_window_rate, self._window_count, _MIN_RATE
            )
            self._reduced_rate = max((rate or self._full_rate) / 2, min(_MIN_RATE, self._full_rate))
            self._backed_off_at = now
        self.next_slot_at = max(self.next_slot_at, now + pause)
        self._recovers_from = self.next_slot_at
        return pause

    def rate(self, now: float) -> float | None:
        """Return the allowed GETs per second; ``None`` if there is no limit."""
        if self._recovers_from is None:
            return self.ceiling
        grown = (
            self._reduced_rate + self._full_rate * max(now - self._recovers_from, 0.0) / _RECOVERY
        )
        if grown < self._full_rate:
            return grown
        self._recovers_from = None
        return self.ceiling
