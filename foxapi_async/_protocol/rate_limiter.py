"""How many GETs a second: a ceiling, and less for a while after the service has asked for quiet."""

from foxapi_async._protocol.bucket_queue import TICK

LONGEST_PAUSE = 60.0
_PAUSE = 1.0
_LEAST = 1.0
_RECOVERY = 30.0
# What starts late may be made up for within one tick; without a margin, that would be one too many.
_MARGIN = 1 + 2 * TICK
_ROUNDING = 1e-9
_ANY = 1_000_000


class RateLimiter:
    """Says when the next GET may start.

    No second sees more starts than ``ceiling``; ``None`` is no ceiling. ``slow`` is a pause for
    everybody, after which half the rate is allowed and then steadily more: all of it within 30 s.
    """

    __slots__ = (
        "_before",
        "_count",
        "_low",
        "_peak",
        "_resumes",
        "_since",
        "_slowed",
        "ceiling",
        "opens",
    )

    def __init__(self, ceiling: float | None) -> None:
        self.ceiling: float | None = ceiling
        self.opens: float = 0.0
        # Since `_slowed`, growing from `_low` to `_peak` once `_resumes` is over; `None`: no more.
        self._slowed = -1.0
        self._resumes: float | None = None
        self._low = 0.0
        self._peak = 0.0
        # Counted by the second, for the case that there is no ceiling to come down from.
        self._since = 0.0
        self._count = 0
        self._before = 0.0

    def admits(self, now: float) -> int:
        """Tell how many GETs may start."""
        if now < self.opens - _ROUNDING:
            return 0
        rate = self.ceiling if self._resumes is None else self.rate(now)
        if rate is None:
            return _ANY
        return 1 + int((now - max(self.opens, now - TICK)) * rate / _MARGIN)

    def start(self, now: float) -> None:
        """Note that a GET starts."""
        if now - self._since >= 1:
            self._before = self._count / (now - self._since)
            self._since = now
            self._count = 0
        self._count += 1
        rate = self.ceiling if self._resumes is None else self.rate(now)
        if rate is not None:
            self.opens = max(self.opens, now - TICK) + _MARGIN / rate

    def slow(self, now: float, *, began: float, pause: float | None) -> float:
        """Note that a GET which ``began`` then was told to slow down; return the pause.

        ``pause`` is what the service asked for in seconds, if it did. Several GETs that were under
        way together halve the rate once.
        """
        pause = _PAUSE if pause is None else min(max(pause, 0.0), LONGEST_PAUSE)
        if began > self._slowed:
            rate = self.rate(now)
            self._peak = self.ceiling or max(self._before, self._count, _LEAST)
            self._low = max((rate or self._peak) / 2, min(_LEAST, self._peak))
            self._slowed = now
        self.opens = max(self.opens, now + pause)
        self._resumes = self.opens
        return pause

    def rate(self, now: float) -> float | None:
        """Return how many GETs a second are allowed, ``None`` for any number."""
        if self._resumes is None:
            return self.ceiling
        grown = self._low + self._peak * max(now - self._resumes, 0.0) / _RECOVERY
        if grown < self._peak:
            return grown
        self._resumes = None
        return self.ceiling
