"""Whether a failed call is made again, and when. The one place where money and retries meet."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from math import isfinite

from msgspec import Struct

from foxapi_async.config import RetryPolicy


class Effect(Enum):
    """What a call does to the account."""

    READ = "read"
    BILLED = "billed"


class FailureFacts(Struct, frozen=True, kw_only=True):
    """How one attempt ended without a usable answer.

    ``status`` is ``None`` when there was no answer at all. ``never_sent`` is proof that no byte of
    the body left this process. ``rate_limited`` says that the service itself refused the call as
    one too many, and not a proxy before it. ``unusable`` is a success that cannot be read,
    ``permanent`` what no further attempt can change: a certificate that is not trusted, an answer
    over the bound.
    """

    status: int | None = None
    never_sent: bool = False
    rate_limited: bool = False
    retry_after: float | None = None
    unusable: bool = False
    permanent: bool = False


class RetryIn(Struct, frozen=True):
    """Make the call again after ``seconds``."""

    seconds: float


class GiveUp(Struct, frozen=True):
    """Make no further attempt.

    ``reason`` is ``"final"`` (another attempt would change nothing), ``"ambiguous"`` (it could be
    billed twice), ``"attempts"``, ``"elapsed"``, ``"deadline"`` or ``"retry-after"`` (over the
    cap). ``retry_after`` is the number that the service gave.
    """

    reason: str
    retry_after: float | None = None


def decide(
    effect: Effect,
    attempt: int,
    facts: FailureFacts,
    policy: RetryPolicy,
    *,
    rand: float,
    elapsed: float,
    remaining: float | None,
) -> RetryIn | GiveUp:
    """Judge the call after its attempt number ``attempt``, the first being 1.

    ``rand`` is a drawn number from 0 to 1, ``elapsed`` the time since the call began, ``remaining``
    the time until its deadline, ``None`` without one. A billed call that the service may have seen
    is never made again (contract §8.4).
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
    """Tell whether the service may have accepted, and billed, a call that has no usable answer.

    These are the rows of contract §8.2 that say "amb", and the two statuses that a proxy makes up
    when it has waited for a request or a client in vain (408, 425).
    """
    if effect is not Effect.BILLED or facts.never_sent:
        return False
    status = facts.status
    return (
        status is None
        or facts.unusable
        or status < 200  # noqa: PLR2004 the classes of HTTP statuses need no names
        or status in {408, 425}
        or status >= 500  # noqa: PLR2004
    )


def _may_retry(effect: Effect, facts: FailureFacts, policy: RetryPolicy) -> bool:
    """Tell whether another attempt could end better, and would cost nothing that it should not."""
    if facts.permanent or not _is_transient(facts):
        return False
    if effect is Effect.READ or facts.never_sent:
        return True
    # A 429 after acceptance looks like one before it, so trusting it is the caller's choice
    # (contract §8.4).
    return policy.resubmit_on_429 == "always" or (
        policy.resubmit_on_429 == "envelope" and facts.rate_limited
    )


def _is_transient(facts: FailureFacts) -> bool:
    status = facts.status
    return (
        status is None or facts.unusable or status in {408, 425, 429} or status >= 500  # noqa: PLR2004
    )


def _backoff(attempt: int, policy: RetryPolicy, rand: float) -> float:
    """Return the wait before the next attempt: equal jitter, half of it fixed and half drawn."""
    try:
        full = policy.initial * policy.multiplier ** (attempt - 1)
    except OverflowError:
        full = policy.max_delay
    return min(full, policy.max_delay) * (0.5 + 0.5 * rand)


_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def parse_retry_after(seconds: str | None, milliseconds: str | None, now: float) -> float | None:
    """Read the headers ``Retry-After`` and ``retry-after-ms``; ``now`` is in Unix seconds.

    Returns the seconds to wait, finite and not negative, or ``None`` for anything that is neither a
    number nor an HTTP date. The finer header wins. Never raises.
    """
    if milliseconds is not None and (number := _number(milliseconds)) is not None:
        return number / 1000
    if seconds is None:
        return None
    number = _number(seconds)
    return number if number is not None else _seconds_until(seconds, now)


def _number(text: str) -> float | None:
    # `float` would also take "nan", "inf", "1_0" and digits of other scripts.
    text = text.strip()
    number = float(text) if _SECONDS.fullmatch(text) else None
    return number if number is not None and isfinite(number) else None


def _seconds_until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        # An HTTP date is in GMT; without a zone, `timestamp` would take it for local time.
        wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(wait, 0.0) if isfinite(wait) else None
