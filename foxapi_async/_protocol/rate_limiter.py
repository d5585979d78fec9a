"""How many GETs a second: a ceiling, and less for a while after the service has asked for quiet."""

from foxapi_async._protocol.bucket_queue import TICK

MAX_PAUSE = 60.0
_DEFAULT_PAUSE = 1.0
_MIN_RATE = 1.0
_RECOVERY = 30.0
# What starts late may be made up for within one tick; without a margin, that would be one too many.
_MARGIN = 1 + 2 * TICK
_ROUNDING = 1e-9
_UNLIMITED = 1_000_000


class RateLimiter:
    """Says when the next GET may start.

    No second sees more starts than ``ceiling``; ``None`` is no ceiling. ``back_off`` is a pause for
    everybody, after which half the rate is allowed and then steadily more: all of it within 30 s.
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
        # Since `_backed_off_at`, growing from `_reduced_rate` to `_full_rate` once `_recovers_from`
        # is over; `None`: no more.
        self._backed_off_at = -1.0
        self._recovers_from: float | None = None
        self._reduced_rate = 0.0
        self._full_rate = 0.0
        # Counted by the second, for the case that there is no ceiling to come down from.
        self._window_start = 0.0
        self._window_count = 0
        self._last_window_rate = 0.0

    def available(self, now: float) -> int:
        """Tell how many GETs may start."""
        if now < self.next_slot_at - _ROUNDING:
            return 0
        rate = self.ceiling if self._recovers_from is None else self.rate(now)
        if rate is None:
            return _UNLIMITED
        return 1 + int((now - max(self.next_slot_at, now - TICK)) * rate / _MARGIN)

    def acquire(self, now: float) -> None:
        """Note that a GET starts."""
        if now - self._window_start >= 1:
            self._last_window_rate = self._window_count / (now - self._window_start)
            self._window_start = now
            self._window_count = 0
        self._window_count += 1
        rate = self.ceiling if self._recovers_from is None else self.rate(now)
        if rate is not None:
            self.next_slot_at = max(self.next_slot_at, now - TICK) + _MARGIN / rate

    def back_off(self, now: float, *, started_at: float, pause: float | None) -> float:
        """Note that a GET which ``started_at`` then was told to slow down; return the pause.

        ``pause`` is what the service asked for in seconds, if it did. Several GETs that were under
        way together halve the rate once.
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
        """Return how many GETs a second are allowed, ``None`` for any number."""
        if self._recovers_from is None:
            return self.ceiling
        grown = (
            self._reduced_rate + self._full_rate * max(now - self._recovers_from, 0.0) / _RECOVERY
        )
        if grown < self._full_rate:
            return grown
        self._recovers_from = None
        return self.ceiling
