"""Decides whether a failed call is repeated, and when. All rules on money and retries are here."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from math import isfinite

from msgspec import Struct

from foxapi_async._protocol.status_errors import TRANSIENT_STATUSES, UNCONFIRMED_STATUSES
from foxapi_async.config import RetryPolicy


class Effect(Enum):
    """What a call does to the account."""

    READ = "read"
    """It changes nothing."""
    BILLED = "billed"
    """It is billed."""
    WRITE = "write"
    """It stores something, each time that it is sent."""


class FailureFacts(Struct, frozen=True, kw_only=True):
    """What is known of an attempt without a usable response."""

    status: int | None = None
    """The HTTP status; ``None`` if no response arrived."""
    never_sent: bool = False
    """Whether it is proved that no byte of the body left this process."""
    rate_limited: bool = False
    """Whether the service itself, not a proxy, rejected the call for its rate limit."""
    retry_after: float | None = None
    """The delay in seconds that the service asked for."""
    unusable: bool = False
    """Whether the response is a 2xx that cannot be decoded."""
    permanent: bool = False
    """Whether another attempt fails too: an untrusted certificate, a response over the limit."""


class RetryIn(Struct, frozen=True):
    """Repeat the call after ``seconds``."""

    seconds: float


class GiveUp(Struct, frozen=True):
    """Do not repeat the call."""

    reason: str
    """``final`` (another attempt cannot succeed), ``ambiguous`` (another attempt could be billed
    twice), ``attempts``, ``elapsed``, ``deadline`` or ``retry-after`` (over the maximum).
    """
    retry_after: float | None = None
    """The delay in seconds that the service asked for."""


def decide_retry(
    effect: Effect,
    attempt: int,
    facts: FailureFacts,
    policy: RetryPolicy,
    *,
    rand: float,
    elapsed: float,
    remaining: float | None,
) -> RetryIn | GiveUp:
    """Decide whether a call is repeated after a failed attempt.

    A billed call or a write that the service may have received is never repeated (contract §8.4).

    Args:
        effect: What the call does to the account.
        attempt: The number of the failed attempt; the first is 1.
        facts: What is known of the failed attempt.
        policy: The retry policy of the session.
        rand: A random number from 0 to 1, for the jitter.
        elapsed: Seconds since the call began.
        remaining: Seconds until the deadline of the call; ``None`` without one.

    Returns:
        The delay before the next attempt, or why there is none.
    """
    hint = facts.retry_after
    wait = _backoff(attempt, policy, rand) if hint is None else hint
    if is_ambiguous(effect, facts):
        reason = "ambiguous"
    elif not _may_retry(effect, facts, policy):
        reason = "final"
    elif attempt >= policy.attempts:
        reason = "attempts"
    elif hint is not None and hint > policy.max_retry_after:
        reason = "retry-after"
    elif remaining is not None and wait >= remaining:
        reason = "deadline"
    elif elapsed + wait > policy.max_elapsed:
        reason = "elapsed"
    else:
        return RetryIn(wait)
    return GiveUp(reason, hint)


def is_ambiguous(effect: Effect, facts: FailureFacts) -> bool:
    """Tell whether the service may have accepted a call without a usable response.

    These are the "amb" rows of contract §8.2, and 408 and 425, which proxies send on their own.
    """
    if effect is Effect.READ or facts.never_sent:
        return False
    status = facts.status
    return (
        status is None
        or facts.unusable
        or status < 200  # noqa: PLR2004
        or status in UNCONFIRMED_STATUSES
        or status >= 500  # noqa: PLR2004
    )


def _may_retry(effect: Effect, facts: FailureFacts, policy: RetryPolicy) -> bool:
    """Tell whether another attempt could succeed and cannot be billed twice."""
    if facts.permanent or not _is_transient(facts):
        return False
    if effect is Effect.READ or facts.never_sent:
        return True
    if effect is Effect.WRITE:
        return False
    # A 429 from after the acceptance looks like one from before it, so the policy decides
    # (contract §8.4).
    return policy.resubmit_on_429 == "always" or (
        policy.resubmit_on_429 == "envelope" and facts.rate_limited
    )


def _is_transient(facts: FailureFacts) -> bool:
    status = facts.status
    return (
        status is None or facts.unusable or status in TRANSIENT_STATUSES or status >= 500  # noqa: PLR2004
    )


def _backoff(attempt: int, policy: RetryPolicy, rand: float) -> float:
    """Return the delay before the next attempt; half of it is fixed, half is random."""
    full = exponential_delay(policy.initial, policy.multiplier, policy.max_delay, attempt - 1)
    return full * (0.5 + 0.5 * rand)


def exponential_delay(initial: float, multiplier: float, max_delay: float, step: int) -> float:
    """Return ``initial * multiplier ** step``, at most ``max_delay``."""
    try:
        return min(initial * multiplier**step, max_delay)
    except OverflowError:
        return max_delay


_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def parse_retry_after(seconds: str | None, milliseconds: str | None, now: float) -> float | None:
    """Parse the headers ``Retry-After`` and ``retry-after-ms``. Never raises.

    Args:
        seconds: The value of ``Retry-After``: a number or an HTTP date.
        milliseconds: The value of ``retry-after-ms``, which takes precedence.
        now: The current Unix time in seconds.

    Returns:
        The delay in seconds, finite and not negative; ``None`` if no header can be parsed.
    """
    if milliseconds is not None and (number := _number(milliseconds)) is not None:
        return number / 1000
    if seconds is None:
        return None
    number = _number(seconds)
    return number if number is not None else _seconds_until(seconds, now)


def _number(text: str) -> float | None:
    # `float` would also accept "nan", "inf", "1_0" and digits of other scripts.
    text = text.strip()
    number = float(text) if _SECONDS.fullmatch(text) else None
    return number if number is not None and isfinite(number) else None


def _seconds_until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        # An HTTP date is in GMT. Without a zone, `timestamp` would assume local time.
        wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(wait, 0.0) if isfinite(wait) else None
