"""The rate of submissions: when the next ones may be sent, and how long a 429 pauses them."""

from collections.abc import Iterable
from math import inf
from typing import Final, NamedTuple, Protocol

from foxapi_async._protocol.rate_limiter import MAX_PAUSE
from foxapi_async._protocol.retry import exponential_delay
from foxapi_async.config import RetryPolicy

BURST: Final = 0.2
"""For how many seconds of the rate late submissions may be made up at once."""
_LEASE_SECONDS: Final = 0.05
_MAX_LEASE: Final = 10


class RateCost(NamedTuple):
    """What submissions use of the two rates, in seconds: their number divided by the rate.

    A rate that has no limit is used for 0 seconds.
    """

    submits: float = 0.0
    tokens: float = 0.0
    correction: float = 0.0
    """What earlier submissions have used of the tokens beyond their reservations; negative if they
    have used less."""


class RateState(NamedTuple):
    """When the next submission may be sent, in seconds of one clock."""

    submits_due: float = -inf
    tokens_due: float = -inf
    paused_until: float = -inf
    submits_before: float = -inf
    """The due times without the last reservation, in case it is cancelled."""
    tokens_before: float = -inf

    def reserve(self, now: float, cost: RateCost) -> "tuple[RateState, float]":
        """Return the next state, and when the submissions of this cost may be sent.

        Each reservation is granted, for a later time if need be. So they are in the order of the
        calls, and none waits for ever. In a window of ``w`` seconds the costs of all but the last
        reservation sum up to at most ``w + BURST``. Each due time follows from the one before, so
        a late call delays no later one. A correction counts at once.
        """
        tokens_due = self.tokens_due + cost.correction
        at = max(self.submits_due, tokens_due, self.paused_until, now)
        return (
            RateState(
                max(self.submits_due, at - BURST) + cost.submits,
                max(tokens_due, at - BURST) + cost.tokens,
                self.paused_until,
                self.submits_due,
                tokens_due,
            ),
            at,
        )

    def cancel(self, lease: "Lease") -> "RateState | None":
        """Return the state without a lease; ``None`` after a later one, whose time counts on it."""
        if (self.submits_due, self.tokens_due) != (lease.submits_due, lease.tokens_due):
            return None
        return self._replace(submits_due=self.submits_before, tokens_due=self.tokens_before)

    def pause(self, now: float, seconds: float) -> "RateState":
        """Return the state in which nothing more is granted for ``seconds``, a minute at most."""
        return self._replace(paused_until=max(self.paused_until, now + min(seconds, MAX_PAUSE)))


class Lease(NamedTuple):
    """A reservation that was made."""

    wait: float
    """Seconds until the submissions may be sent."""
    submits_due: float = 0.0
    """The state after it, by which it is recognised if it is cancelled."""
    tokens_due: float = 0.0


class RateStore(Protocol):
    """Keeps the state of one rate, for one or more queues of submissions."""

    async def reserve(self, cost: RateCost) -> Lease:
        """Reserve for submissions; the lease says how long they wait."""
        ...

    async def cancel(self, lease: Lease) -> bool:
        """Undo a reservation, unless there was a later one; tell whether it is undone."""
        ...

    async def pause(self, seconds: float) -> None:
        """Grant nothing more for ``seconds``."""
        ...

    async def paused(self) -> float:
        """Return the seconds until the end of the pause; 0 without one."""
        ...


def lease_size(costs: Iterable[RateCost]) -> int:
    """Return for how many of the waiting submissions to reserve at once, at least 1.

    Each reservation takes a trip to a database, and the submissions of one are sent together. So
    they are those of a twentieth of a second, and ten at most.
    """
    size, submits, tokens = 0, 0.0, 0.0
    for cost in costs:
        submits, tokens = submits + cost.submits, tokens + cost.tokens
        if size and (size >= _MAX_LEASE or max(submits, tokens) > _LEASE_SECONDS):
            break
        size += 1
    return max(size, 1)


class PauseRule:
    """Decides how long submissions pause after a 429.

    Without a ``Retry-After`` the pause grows as the delay of a retry does, until a submission is
    accepted that was sent after the last 429. POSTs that were under way together count once.
    """

    __slots__ = ("_limited_at", "_pauses")

    def __init__(self) -> None:
        self._limited_at = -1.0
        self._pauses = 0

    def rate_limited(
        self, now: float, *, started_at: float, retry_after: float | None, policy: RetryPolicy
    ) -> float:
        """Return the seconds of the pause; 0 if one has begun since the POST was sent."""
        is_new = started_at > self._limited_at
        if is_new:
            self._limited_at = now
            self._pauses += 1
        if retry_after is not None:
            return min(retry_after, MAX_PAUSE)
        if not is_new:
            return 0.0
        delay = exponential_delay(
            policy.initial, policy.multiplier, policy.max_delay, self._pauses - 1
        )
        return min(delay, MAX_PAUSE)

    def accepted(self, started_at: float) -> None:
        """Begin anew, because a submission was accepted."""
        if started_at > self._limited_at:
            self._pauses = 0
