"""Laws of the retry decision: no double billing, no late attempt, no endless retries."""

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from foxapi_async._protocol.retry import (
    Effect,
    FailureFacts,
    GiveUp,
    RetryIn,
    decide_retry,
    is_ambiguous,
    parse_retry_after,
)
from foxapi_async.config import RetryPolicy

NOW = 1_776_874_565.0
POLICY = RetryPolicy()

seconds = st.floats(0, 1e6)
rands = st.floats(0, 1)
effects = st.sampled_from(Effect)
statuses = st.none() | st.integers(100, 999)
all_facts = st.builds(
    FailureFacts,
    status=statuses,
    never_sent=st.booleans(),
    rate_limited=st.booleans(),
    retry_after=st.none() | seconds,
    unusable=st.booleans(),
    permanent=st.booleans(),
)
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 10),
    initial=st.floats(0, 100),
    multiplier=st.floats(1, 1e6),
    max_delay=st.floats(0, 1000),
    max_elapsed=seconds,
    max_retry_after=seconds,
    resubmit_on_429=st.sampled_from(["envelope", "always", "never"]),
)


def decide_with_defaults(
    effect: Effect,
    facts: FailureFacts,
    *,
    attempt: int = 1,
    policy: RetryPolicy = POLICY,
    rand: float = 1.0,
    elapsed: float = 0.0,
    remaining: float | None = None,
) -> RetryIn | GiveUp:
    """Decide with defaults for everything that the test does not name."""
    return decide_retry(
        effect, attempt, facts, policy, rand=rand, elapsed=elapsed, remaining=remaining
    )


@given(
    effect=effects,
    attempt=st.integers(1, 12),
    facts=all_facts,
    policy=policies,
    rand=rands,
    elapsed=seconds,
    remaining=st.none() | st.floats(-10, 1e6),
)
def test_a_delay_is_within_every_limit(
    *,
    effect: Effect,
    attempt: int,
    facts: FailureFacts,
    policy: RetryPolicy,
    rand: float,
    elapsed: float,
    remaining: float | None,
) -> None:
    """An attempt is within all limits of the policy, and after the delay of the service."""
    decision = decide_retry(
        effect, attempt, facts, policy, rand=rand, elapsed=elapsed, remaining=remaining
    )
    if isinstance(decision, GiveUp):
        return
    delay = decision.seconds
    assert math.isfinite(delay)
    assert delay >= 0
    assert attempt < policy.attempts
    assert elapsed + delay <= policy.max_elapsed
    assert remaining is None or delay < remaining
    assert not facts.permanent
    if facts.retry_after is None:
        assert delay <= policy.max_delay
    else:
        assert delay == facts.retry_after <= policy.max_retry_after


@given(facts=all_facts, policy=policies, attempt=st.integers(1, 12), rand=rands)
def test_a_billed_call_is_repeated_only_if_it_cannot_be_billed_twice(
    facts: FailureFacts, policy: RetryPolicy, attempt: int, rand: float
) -> None:
    """A billed call is repeated only if it was never sent, or after a trusted 429."""
    decision = decide_with_defaults(Effect.BILLED, facts, attempt=attempt, policy=policy, rand=rand)
    if isinstance(decision, RetryIn):
        trusted = {"always": True, "envelope": facts.rate_limited, "never": False}
        assert facts.never_sent or (facts.status == 429 and trusted[policy.resubmit_on_429])
        assert not is_ambiguous(Effect.BILLED, facts)


@given(facts=all_facts, policy=policies)
def test_the_reason_ambiguous_equals_the_predicate(
    facts: FailureFacts, policy: RetryPolicy
) -> None:
    """``decide_retry`` gives the reason "ambiguous" exactly if ``is_ambiguous`` is true."""
    for effect in Effect:
        decision = decide_with_defaults(effect, facts, policy=policy)
        is_reason = isinstance(decision, GiveUp) and decision.reason == "ambiguous"
        assert is_reason is is_ambiguous(effect, facts)


@given(facts=all_facts, policy=policies, elapsed=seconds)
def test_every_call_ends(facts: FailureFacts, policy: RetryPolicy, elapsed: float) -> None:
    """After the last attempt of the policy there is no other."""
    for effect in Effect:
        decision = decide_with_defaults(
            effect, facts, attempt=policy.attempts, policy=policy, elapsed=elapsed
        )
        assert isinstance(decision, GiveUp)


@given(facts=all_facts)
def test_reads_are_never_ambiguous(facts: FailureFacts) -> None:
    """A read is not billed, so it is never ambiguous."""
    assert not is_ambiguous(Effect.READ, facts)


@given(attempt=st.integers(1, 10**6), rand=rands, policy=policies)
def test_half_of_a_delay_is_random(attempt: int, rand: float, policy: RetryPolicy) -> None:
    """Half of each delay is fixed and half is random, for any number of attempts."""
    endless = replace(policy, attempts=10**7, max_elapsed=1e9)
    longest, drawn = (
        decide_with_defaults(
            Effect.READ, FailureFacts(), attempt=attempt, policy=endless, rand=each
        )
        for each in (1.0, rand)
    )
    assert isinstance(longest, RetryIn)
    assert isinstance(drawn, RetryIn)
    assert longest.seconds / 2 <= drawn.seconds <= longest.seconds


@pytest.mark.parametrize("status", [200, 301, 400, 401, 402, 403, 404, 409, 413, 422])
def test_other_statuses_are_final(status: int) -> None:
    """Other 2xx, 3xx and 4xx are final for every call (contract §8.2)."""
    for effect in Effect:
        assert decide_with_defaults(effect, FailureFacts(status=status)) == GiveUp("final")


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 524, None])
def test_transient_failures_are_repeated_by_reads(status: int | None) -> None:
    """A transient failure is repeated by a read and ambiguous for a billed call (contract §8.2)."""
    assert decide_with_defaults(Effect.READ, FailureFacts(status=status)) == RetryIn(0.5)
    assert decide_with_defaults(Effect.BILLED, FailureFacts(status=status)) == GiveUp("ambiguous")
    assert decide_with_defaults(
        Effect.BILLED, FailureFacts(status=status, never_sent=True)
    ) == RetryIn(0.5)


def test_a_success_that_cannot_be_decoded_is_transient() -> None:
    """A 2xx that cannot be decoded is repeated by a read, and ambiguous for a billed call."""
    facts = FailureFacts(status=200, unusable=True)
    assert decide_with_defaults(Effect.READ, facts) == RetryIn(0.5)
    assert decide_with_defaults(Effect.BILLED, facts) == GiveUp("ambiguous")


@pytest.mark.parametrize(
    ("policy", "rate_limited", "repeats"),
    [
        ("envelope", True, True),
        ("envelope", False, False),
        ("always", False, True),
        ("never", True, False),
    ],
)
def test_the_policy_decides_on_a_429_of_a_billed_call(
    policy: str, *, rate_limited: bool, repeats: bool
) -> None:
    """The policy decides whether a billed call is repeated after a 429; it is never ambiguous."""
    facts = FailureFacts(status=429, rate_limited=rate_limited)
    retry = RetryPolicy(resubmit_on_429=policy)  # type: ignore[arg-type]
    assert decide_with_defaults(Effect.READ, facts, policy=retry) == RetryIn(0.5)
    expected = RetryIn(0.5) if repeats else GiveUp("final")
    assert decide_with_defaults(Effect.BILLED, facts, policy=retry) == expected


def test_a_permanent_failure_is_final() -> None:
    """An untrusted certificate is final for every call, and never ambiguous."""
    facts = FailureFacts(never_sent=True, permanent=True)
    assert decide_with_defaults(Effect.READ, facts) == GiveUp("final")
    assert decide_with_defaults(Effect.BILLED, facts) == GiveUp("final")


def test_each_limit_has_its_reason() -> None:
    """The reason names the limit that was reached."""
    lost = FailureFacts()
    hint = FailureFacts(status=503, retry_after=61.0)
    assert decide_with_defaults(Effect.READ, lost, attempt=4) == GiveUp("attempts")
    assert decide_with_defaults(Effect.READ, hint) == GiveUp("retry-after", 61.0)
    assert decide_with_defaults(Effect.READ, lost, remaining=0.5) == GiveUp("deadline")
    assert decide_with_defaults(Effect.READ, lost, elapsed=59.6) == GiveUp("elapsed")


def test_the_delay_grows_to_its_maximum() -> None:
    """The delay doubles up to the maximum, and no exponent overflows."""
    policy = RetryPolicy(attempts=10**7, max_elapsed=1e9)
    delays = [
        decide_with_defaults(Effect.READ, FailureFacts(), attempt=n, policy=policy, rand=rand)
        for n, rand in [(1, 1), (2, 1), (3, 1), (5, 1), (6, 1), (10**6, 1), (1, 0)]
    ]
    assert delays == [RetryIn(s) for s in (0.5, 1.0, 2.0, 8.0, 8.0, 8.0, 0.25)]


@given(st.none() | st.text(), st.none() | st.text(), st.floats(allow_nan=False))
def test_any_header_gives_a_finite_delay_or_none(
    plain: str | None, fine: str | None, now: float
) -> None:
    """Any header gives a finite delay or none, and never raises."""
    delay = parse_retry_after(plain, fine, now)
    assert delay is None or (math.isfinite(delay) and delay >= 0)


@given(st.floats())
def test_any_number_gives_a_finite_delay_or_none(number: float) -> None:
    """No spelling of a number gives a negative, infinite or NaN delay."""
    for text in (str(number), f"{number:f}", repr(number)):
        delay = parse_retry_after(text, text, NOW)
        assert delay is None or (math.isfinite(delay) and delay >= 0)


@given(st.integers(0, 10**9))
def test_a_date_is_the_delay_until_then(offset: int) -> None:
    """A date gives the seconds until then."""
    date = datetime.fromtimestamp(NOW + offset, UTC)
    assert parse_retry_after(format_datetime(date, usegmt=True), None, NOW) == offset


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("1.25", 1.25),
        ("Wed, 22 Apr 2026 16:16:06 GMT", 1.0),
        ("Wed, 22 Apr 2026 16:16:06", 1.0),
        ("Wednesday, 22-Apr-26 16:16:06 GMT", 1.0),
        ("Wed, 22 Apr 2026 18:16:06 +0200", 1.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_0", None),
        ("٣", None),
        ("9" * 400, None),
        ("Wed, 99 Apr 2026 16:16:06 GMT", None),
        ("Wed, 22 Apr 99999 16:16:06 GMT", None),
        ("soon", None),
    ],
)
def test_seconds_and_dates_are_parsed(text: str, delay: float | None) -> None:
    """Seconds and HTTP dates are parsed; any other text gives no delay."""
    assert parse_retry_after(text, None, NOW) == delay


def test_milliseconds_take_precedence() -> None:
    """``retry-after-ms`` takes precedence if it can be parsed."""
    assert parse_retry_after("9", "1500", NOW) == 1.5
    assert parse_retry_after("9", "soon", NOW) == 9.0
