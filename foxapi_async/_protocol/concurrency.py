"""How many rows are in flight, adapted to how fast their results come."""

from typing import Final

_FIRST: Final = 16
# A step must be large enough to be seen in the rate.
_STEP: Final = 16
_STEPS_TO_DOUBLE: Final = 8
_MAX: Final = 4096
# A round is faster if it gives so many times the results a second of the best round so far.
_FASTER: Final = 1.05
# Rows wait in a queue if they take so many times the shortest time of a round.
_QUEUED: Final = 2.0
# Rates and times of long ago say nothing of today: the best ones fade by this factor a round.
_FADE: Final = 0.99


class AdaptiveConcurrency:
    """Raises the limit in steps while results come faster, and halves it when they queue.

    One round is as many results as the limit. A round with more results a second than the best one
    raises the limit. A round whose rows take twice the shortest time, without more results a
    second, halves it, as a 429 does at once.
    """

    __slots__ = (
        "_best_rate",
        "_count",
        "_rate_limits",
        "_round_at",
        "_seconds",
        "_shortest",
        "limit",
    )

    def __init__(self) -> None:
        self.limit: int = _FIRST
        self._best_rate = 0.0
        self._shortest = float("inf")
        self._round_at: float | None = None
        self._count = 0
        self._seconds = 0.0
        self._rate_limits = 0

    def finished(self, now: float, seconds: float, rate_limits: int) -> None:
        """Record a result.

        Args:
            now: The current time.
            seconds: How long its row took.
            rate_limits: How many 429s there have been in all.
        """
        if self._round_at is None:
            self._round_at = now - seconds
        self._count += 1
        self._seconds += seconds
        if rate_limits > self._rate_limits:
            self._rate_limits = rate_limits
            self._halve(now)
        elif self._count >= self.limit:
            self._end_round(now)

    def _end_round(self, now: float) -> None:
        elapsed = now - (self._round_at or 0.0)
        rate = self._count / elapsed if elapsed > 0 else float("inf")
        mean = self._seconds / self._count
        is_faster = rate > self._best_rate * _FASTER
        if not is_faster and mean > self._shortest * _QUEUED:
            self._halve(now)
            return
        if is_faster:
            self.limit = min(self.limit + max(_STEP, self.limit // _STEPS_TO_DOUBLE), _MAX)
        self._best_rate = max(rate, self._best_rate * _FADE)
        self._shortest = min(mean, self._shortest / _FADE)
        self._begin_round(now)

    def _halve(self, now: float) -> None:
        self.limit = max(self.limit // 2, 1)
        # The rate of fewer rows is lower, and must not look like a slow service.
        self._best_rate /= 2
        self._begin_round(now)

    def _begin_round(self, now: float) -> None:
        self._round_at, self._count, self._seconds = now, 0, 0.0
